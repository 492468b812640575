"""What a match works on and what it gives: positions with identifiers, and pairs of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.sky.separation import Float64, Int64, checked_positions


@dataclass(frozen=True)
class Positions:
    """One side of a match.

    Parameters
    ----------
    ra, dec : (N,) float64
        Degrees; must be finite, dec within [-90, 90].
    id : (N,) int64 or str
        Unique key of each row; breaks ties.

    Raises
    ------
    ValueError
        When a position is not finite, a declination is out of range, or lengths differ.
    """

    ra: Float64
    dec: Float64
    id: NDArray[Any]

    def __post_init__(self) -> None:
        ra, dec = checked_positions(self.ra, self.dec)
        ids = np.asarray(self.id)
        if ids.shape != ra.shape:
            raise ValueError(f"positions: {ra.size} positions but ids of shape {ids.shape}")
        object.__setattr__(self, "ra", ra)
        object.__setattr__(self, "dec", dec)
        object.__setattr__(self, "id", ids)

    def __len__(self) -> int:
        return self.ra.size

    def __getitem__(self, rows: NDArray[Any]) -> Positions:
        """Return some rows, by index or mask."""
        return Positions(self.ra[rows], self.dec[rows], self.id[rows])


@dataclass(frozen=True)
class Matches:
    """Pairs of rows; those of a left row stand together, ordered by rank.

    Parameters
    ----------
    left_index, right_index : (M,) int64
        Row numbers; right_index is -1 where a left row without partner is listed.
    sep_arcsec : (M,) float64
        Separation; NaN without partner.
    rank : (M,) int32
        1 for the nearest right row of this left row, then 2, ...; 0 without partner.
    """

    left_index: Int64
    right_index: Int64
    sep_arcsec: Float64
    rank: NDArray[np.int32]

    def __len__(self) -> int:
        return self.left_index.size

    def __getitem__(self, rows: NDArray[Any]) -> Matches:
        """Return some pairs, by index or mask."""
        return Matches(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def none(cls) -> Matches:
        """Return no pairs."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int32))

    @classmethod
    def alone(cls, rows: Int64) -> Matches:
        """Return left rows that have no partner."""
        size = rows.size
        return cls(rows, np.full(size, -1), np.full(size, np.nan), np.zeros(size, dtype=np.int32))

    @classmethod
    def join(cls, parts: Sequence[Matches]) -> Matches:
        """Return the pairs of several pieces, one after the other."""
        if len(parts) == 1:
            return parts[0]
        parts = [cls.none(), *parts]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def by_left_row(self) -> Matches:
        """Return the pairs in the order of the left rows."""
        return self[np.argsort(self.left_index, kind="stable")]
