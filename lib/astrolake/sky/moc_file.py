"""Reading a multi-order coverage map from a file, whole or not at all."""

from __future__ import annotations

import io
import json
import re
import tempfile

import fsspec
import numpy as np
from astropy.io import fits
from mocpy import MOC

from astrolake.errors import BadInput
from astrolake.sky.healpix import KEY_ORDER, N_BASE
from astrolake.sky.separation import Int64

_ASCII = re.compile(r"(\s*(\d+)/((\s|,)*\d+(-\d+)?)+)+\s*")


def read_moc(path: str) -> Int64:
    """Return the (M, 2) half-open ranges of order-29 indices of a MOC (IVOA MOC 2.0) in FITS, JSON or ASCII.

    Raises
    ------
    BadInput
        When the file cannot be read, holds cells that do not exist, or none: what is not in a map is not
        searched.
    """
    try:
        with fsspec.open(path, "rb") as stream:
            content = stream.read()
        moc = _from_fits(content) if content.startswith(b"SIMPLE") else _from_text(content.decode())
        ranges = np.asarray(moc.to_depth29_ranges).astype(np.int64).reshape(-1, 2)
        edges = ranges.ravel()
        if len(ranges) and (
            edges[0] < 0 or edges[-1] > N_BASE << (2 * KEY_ORDER) or (np.diff(edges) <= 0).any()
        ):
            raise ValueError("it has cells that do not exist")
    except (OSError, ValueError, TypeError, KeyError, IndexError, ImportError) as error:
        raise BadInput(
            f"{path}: no MOC can be read ({error}); give FITS, JSON or ASCII, not compressed", "Moc"
        ) from error
    if not len(ranges):
        raise BadInput(f"{path}: the MOC holds no cell", "Moc")
    return ranges


def _from_fits(content: bytes) -> MOC:
    with fits.open(io.BytesIO(content)) as hdus:
        begin, header = hdus[1].fileinfo()["datLoc"], hdus[1].header
        missing = begin + header["NAXIS1"] * header["NAXIS2"] - len(content)
    if missing > 0:
        raise ValueError(f"the file ends {missing} bytes early")
    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        file.write(content)
        file.flush()
        return MOC.load(file.name, format="fits")


def _from_text(text: str) -> MOC:
    if text.lstrip().startswith("{"):
        cells = json.loads(text)
        _check({order: np.array(numbers) for order, numbers in cells.items()})
        return MOC.from_json(cells)
    if not _ASCII.fullmatch(text):
        raise ValueError("orders with their cells, such as 3/1-4 5/7, are expected")
    named = {}
    for order, numbers in re.findall(r"(\d+)/([^/]*)(?=\s\d+/|$)", " ".join(text.split())):
        spans = [[int(n) for n in part.split("-")] for part in re.split(r"[\s,]+", numbers.strip())]
        if any(span[0] > span[-1] for span in spans):
            raise ValueError("a range of cells ends before it begins")
        named[order] = np.array([span[-1] for span in spans])
    _check(named)
    return MOC.from_string(text, format="ascii")


def _check(cells: dict[str, np.ndarray]) -> None:
    """Raise ValueError for orders and cells that do not exist."""
    for order, numbers in cells.items():
        if not (order.isdecimal() and int(order) <= KEY_ORDER and numbers.ndim == 1):
            raise ValueError(f"{order!r} is no order from 0 to {KEY_ORDER} with a list of cells")
        whole = numbers.dtype.kind in "iu" or not numbers.size
        if not whole or (numbers < 0).any() or (numbers >= N_BASE << (2 * int(order))).any():
            raise ValueError(f"order {order} has cells that do not exist")
