"""A training table by parts of the sky: what learns, and what judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadArguments
from astrolake.photoz.metrics import LEAST_REDSHIFT
from astrolake.photoz.photometry import BandColumns
from astrolake.sky.healpix import KEY_ORDER, Int64

#: Cells that are held back or not as a whole; finer ones where the training set fills few of these.
_ORDER, _FINEST, _ENOUGH_CELLS = 6, 16, 50
#: What names of photometric columns start with in a frame of training galaxies; their number follows.
PHOT = "phot_"
#: Redshifts z of one object agree within this times (1 + z), some 600 km/s; others are of two galaxies,
#: or one of them is wrong.
SAME_REDSHIFT = 0.002
#: One cell in so many is held back.
PARTS = 5
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class SkySplit:
    """Which rows are held back from training: those of one HEALPix cell in `PARTS`, by a hash.

    Neighbours share the depth of their images and structures of galaxies: split at random, the rows held
    back would be judged by what is known of their neighbours.
    """

    order: int

    @classmethod
    def of(cls, healpix: Int64) -> SkySplit:
        """Return the split of rows with these indices: cells of order 6, or finer if those are few."""
        for order in range(_ORDER, _FINEST):
            if len(np.unique(healpix >> (2 * (KEY_ORDER - order)))) >= _ENOUGH_CELLS:
                return cls(order)
        return cls(KEY_ORDER)

    def part(self, healpix: Int64) -> Int64:
        """Return the part of each row, 0 to `PARTS` - 1; part 0 is held back."""
        cell = np.asarray(healpix, np.int64) >> (2 * (KEY_ORDER - self.order))
        with np.errstate(over="ignore"):
            mixed = (cell.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
            mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(_GOLDEN)
        return ((mixed >> np.uint64(33)) % np.uint64(PARTS)).astype(np.int64)

    def cell(self, healpix: Int64) -> Int64:
        """Return the cell of each row."""
        return np.asarray(healpix, np.int64) >> (2 * (KEY_ORDER - self.order))


@dataclass(frozen=True)
class TrainingRows:
    """Rows of a training table: columns of the photometry, redshifts, order-29 indices."""

    columns: Mapping[str, NDArray[Any]]
    z: NDArray[np.float64]
    healpix: Int64

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Any) -> TrainingRows:
        """Return some of the rows, by mask or indices."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return TrainingRows(columns, self.z[rows], self.healpix[rows])


def one_redshift_each(
    objects: Int64, z: NDArray[np.float64], sep: NDArray[np.float64]
) -> tuple[NDArray[np.intp], int]:
    """Return the row of the nearest spectrum of each object whose spectra agree, sorted by object.

    Parameters
    ----------
    objects : (n,) int64
        The object of each spectrum.
    z, sep : (n,) float64
        Redshift, NaN or negative (below -0.5) where there is none, and distance from the object.

    Returns
    -------
    rows : (m,) int
    contradicting : int
        Objects whose redshifts differ by more than `SAME_REDSHIFT` (1 + z); they have no row.
    """
    known = np.flatnonzero(np.isfinite(z) & (z > LEAST_REDSHIFT))
    rows = known[np.lexsort((z[known], sep[known], objects[known]))]
    if not len(rows):
        return rows, 0
    first = np.flatnonzero(np.concatenate([[True], np.diff(objects[rows]) != 0]))
    low, high = (extreme.reduceat(z[rows], first) for extreme in (np.minimum, np.maximum))
    agree = high - low <= SAME_REDSHIFT * (1 + low)
    return rows[first[agree]], int((~agree).sum())


def band_columns(
    magnitudes: Sequence[str], errors: Sequence[str], unit: str, names: Sequence[str] = ()
) -> tuple[BandColumns, ...]:
    """Return the bands of columns, named as told, else by what their columns do not share.

    Raises
    ------
    BadArguments
        When there are not as many errors or names as magnitudes, or one is given twice.
    """
    if not magnitudes:
        raise BadArguments("--magnitudes: name the columns of the bands, from blue to red")
    for flag, given in (("--errors", errors), ("--bands", names)):
        if given and len(given) != len(magnitudes):
            raise BadArguments(f"{flag} has {len(given)} values for {len(magnitudes)} --magnitudes")
    for flag, given in (("--magnitudes", magnitudes), ("--errors", errors), ("--bands", names)):
        if twice := sorted({name for name in given if list(given).count(name) > 1}):
            raise BadArguments(f"{flag} has {twice} twice; give each band its own")
    bands = names or _short_names(magnitudes)
    given_errors: Sequence[str | None] = errors or [None] * len(magnitudes)
    return tuple(
        BandColumns(band, value, error or None, unit)  # type: ignore[arg-type]
        for band, value, error in zip(bands, magnitudes, given_errors, strict=True)
    )


def object_bands(present: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the magnitude and error columns of the table `objects`, dereddened where it has them.

    Raises
    ------
    BadArguments
        When there are none: the table is another.
    """
    suffixes = [n.removeprefix("mag_aper_err_") for n in present if n.startswith("mag_aper_err_")]
    if not suffixes:
        raise BadArguments("--magnitudes is needed: the table has no columns mag_aper_<band>")
    kinds = ("mag_aper_dered_", "mag_aper_")
    mags = [next(f"{kind}{s}" for kind in kinds if f"{kind}{s}" in present) for s in suffixes]
    return mags, [f"mag_aper_err_{s}" for s in suffixes]


def _short_names(columns: Sequence[str]) -> list[str]:
    """Return the names without what all share at either end; as they are where nothing would be left."""
    if len(columns) == 1:
        return list(columns)
    backwards = [name[::-1] for name in columns]
    low, high = (_shared(names) for names in (columns, backwards))
    short = [name[low : len(name) - high].strip("_") for name in columns]
    return short if all(short) and len(set(short)) == len(short) else list(columns)


def _shared(names: Sequence[str]) -> int:
    """Return how many first characters all names share."""
    first, last = min(names), max(names)
    return next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
