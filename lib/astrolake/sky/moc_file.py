"""Reading a multi-order coverage map from a file, whole or not at all."""

from __future__ import annotations

import json
import os
import re

import numpy as np
from astropy.io import fits
from mocpy import MOC

from astrolake.errors import BadInput
from astrolake.sky.healpix import KEY_ORDER, N_BASE
from astrolake.sky.separation import Int64

_RANGE = re.compile(r"(\d+)-(\d+)")


def read_moc(path: str) -> Int64:
    """Return the (M, 2) half-open ranges of order-29 indices of a MOC (IVOA MOC 2.0) in FITS, JSON or ASCII.

    Raises
    ------
    BadInput
        When the file cannot be read, is cut off, or holds no cell: what is not in a map is not searched.
    """
    try:
        with open(path, "rb") as stream:
            start = stream.read(6)
        moc = _from_fits(path) if start == b"SIMPLE" else _from_text(path)
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise BadInput(f"{path}: no MOC can be read ({error}); give FITS, JSON or ASCII", "Moc") from error
    ranges = np.asarray(moc.to_depth29_ranges, dtype=np.int64).reshape(-1, 2)
    if not len(ranges):
        raise BadInput(f"{path}: the MOC holds no cell", "Moc")
    return ranges


def _from_fits(path: str) -> MOC:
    with fits.open(path) as hdus:
        begin, header = hdus[1].fileinfo()["datLoc"], hdus[1].header
        missing = begin + header["NAXIS1"] * header["NAXIS2"] - os.path.getsize(path)
    if missing > 0:
        raise ValueError(f"the file ends {missing} bytes early")
    return MOC.load(path, format="fits")


def _from_text(path: str) -> MOC:
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    if not text.lstrip().startswith("{"):
        if any(int(low) > int(high) for low, high in _RANGE.findall(text)):
            raise ValueError("a range of cells ends before it begins")
        return MOC.from_string(text, format="ascii")
    cells = json.loads(text)
    for order, numbers in cells.items():
        if not (order.isdecimal() and int(order) <= KEY_ORDER and isinstance(numbers, list)):
            raise ValueError(f"{order!r} is no order from 0 to {KEY_ORDER} with a list of cells")
        if not all(type(n) is int and 0 <= n < N_BASE << (2 * int(order)) for n in numbers):
            raise ValueError(f"order {order} has cells that do not exist")
    return MOC.from_json(cells)
