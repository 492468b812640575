"""Reddening of objects: E(B-V) where they are, and magnitudes without the dust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from astrolake.lake.reader import RegionReader
from astrolake.schema.objects import band_columns, dereddened_columns
from astrolake.sky.extinction import dereddened, extinction_coefficient
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions
from astrolake.sky.region import Cone
from astrolake.sky.separation import Float64, Int64, lonlat, separation_arcsec, unit_vectors

#: Dust maps are smooth over some 6 arcmin (SFD): a row farther off says nothing.
EBV_REACH_ARCSEC = 600.0


class EbvSource(Protocol):
    """Something that knows E(B-V) on the scale of SFD at (N,) positions; NaN where it does not."""

    def ebv(self, ra_deg: Float64, dec_deg: Float64) -> Float64:
        """Return E(B-V)."""
        ...


@dataclass(frozen=True)
class EbvTable:
    """E(B-V) of the nearest row of a positional table, within `EBV_REACH_ARCSEC`.

    Parameters
    ----------
    reader : RegionReader
        Reads ra, dec, the key and the column.
    key, column : str
    """

    reader: RegionReader
    key: str
    column: str

    def ebv(self, ra_deg: Float64, dec_deg: Float64) -> Float64:
        """Return E(B-V) at positions that lie together, as those of a cell do."""
        found = np.full(len(ra_deg), np.nan)
        if not len(ra_deg):
            return found
        rows = self.reader.read(_around(ra_deg, dec_deg))
        values = rows.column(self.column).cast(pa.float64()).to_numpy()
        known = np.isfinite(values)
        places = Positions(*(rows.column(name).to_numpy()[known] for name in ("ra", "dec", self.key)))
        pairs = match(Positions(ra_deg, dec_deg, np.arange(len(ra_deg))), places, EBV_REACH_ARCSEC)
        found[pairs.left_index] = values[known][pairs.right_index]
        return found


def _around(ra_deg: Float64, dec_deg: Float64) -> np.ndarray:
    """Return index ranges that hold everything within `EBV_REACH_ARCSEC` of the positions."""
    ra, dec = lonlat(unit_vectors(ra_deg, dec_deg).sum(axis=0))
    radius = separation_arcsec(ra, dec, ra_deg, dec_deg).max() + EBV_REACH_ARCSEC
    return Cone(float(ra), float(dec), float(radius) / 3600.0).ranges()


def detection_coefficients(survey: Sequence[str | None], band: Sequence[str]) -> Float64:
    """Return A / E(B-V) of each detection, by its survey and band."""
    pairs, of_pair = np.unique(
        np.array([[name or "" for name in survey], list(band)], dtype=str), axis=1, return_inverse=True
    )
    return np.array([extinction_coefficient(*pair) for pair in pairs.T])[of_pair.ravel()]


def mean_coefficients(group: Int64, n_groups: int, coefficient: Float64) -> Float64:
    """Return the mean of the coefficients of each group: surveys differ by a few percent.

    NaN where a group has no row, or a row whose coefficient is unknown.
    """
    with np.errstate(invalid="ignore"):
        return np.bincount(group, coefficient, n_groups) / np.bincount(group, minlength=n_groups)


def band_dereddened(
    columns: dict[str, np.ndarray], band: str, coefficient: Float64, ebv: Float64
) -> dict[str, Float64]:
    """Return the dereddened magnitudes of a band (`dereddened_columns`) from those in `columns`."""
    magnitudes = [columns[c.name] for c in band_columns(band) if c.ucd == "phot.mag"]
    names = [column.name for column in dereddened_columns(band)]
    return {name: dereddened(mag, ebv, coefficient) for name, mag in zip(names, magnitudes, strict=True)}
