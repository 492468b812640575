"""One table of a cross-match: its rows in a part of the sky, at the epoch of the match, with their errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import astropy.units as u
import numpy as np
import pyarrow as pa

from astrolake.crossmatch.options import Sigma
from astrolake.errors import BadArguments
from astrolake.lake.delta import Snapshot
from astrolake.lake.reader import RegionReader, require_columns
from astrolake.schema import Table
from astrolake.schema.arrow import float_column
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.epoch import propagate
from astrolake.sky.healpix import Int64
from astrolake.sky.positions import Positions
from astrolake.sky.separation import Bool, Float64, separation_arcsec

#: Columns that make proper motion known, and those that add its perspective.
MOTION = ("pmra", "pmdec", "ref_epoch")
PERSPECTIVE = ("parallax", "radial_velocity")
#: What a column without a unit is in.
_USUAL = {
    "pmra": "mas/yr",
    "pmdec": "mas/yr",
    "ref_epoch": "yr",
    "parallax": "mas",
    "radial_velocity": "km/s",
}


@dataclass(frozen=True)
class Rows:
    """Rows of a side with their positions at the epoch of the match."""

    table: pa.Table
    positions: Positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, mask: Bool) -> Rows:
        """Return some of the rows."""
        return Rows(self.table.filter(pa.array(mask)), self.positions[mask])

    @property
    def index(self) -> Int64:
        """`_healpix_29` of each row, as stored."""
        return np.asarray(self.table.column(HEALPIX_COLUMN).to_numpy())

    def floats(self, name: str) -> Float64:
        """Return a column as float64, null as NaN."""
        return float_column(self.table, name)

    def distance_arcsec(self, ra_deg: float, dec_deg: float) -> Float64:
        """Return the separation of each row from a position."""
        return separation_arcsec(self.positions.ra, self.positions.dec, ra_deg, dec_deg)


@dataclass(frozen=True)
class Side:
    """One table of the match.

    Parameters
    ----------
    reader : RegionReader
    table : Table
        Its declaration.
    motion : tuple of str
        Columns of proper motion that are used; none when rows stay where they are.
    epoch : float, optional
        Julian year of the match.
    sigma : Sigma, optional
    factors : dict
        Of columns of motion and error, from their units to the usual ones (errors: arcsec).
    reach_deg : float
        The farthest that a row moves.
    """

    reader: RegionReader
    table: Table
    motion: tuple[str, ...] = ()
    epoch: float | None = None
    sigma: Sigma | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    reach_deg: float = 0.0

    @property
    def id_column(self) -> str:
        """The key."""
        return self.table.key[0]

    def read(self, ranges: Int64) -> Rows:
        """Return the rows whose stored position lies in the ranges."""
        rows = self.reader.read(ranges)
        ra, dec = float_column(rows, "ra"), float_column(rows, "dec")
        if self.epoch is not None and self.motion and rows.num_rows:
            ra, dec = self._moved(rows, ra, dec, self.epoch)
        return Rows(rows, Positions(ra, dec, rows.column(self.id_column).to_numpy()))

    def sigma_arcsec(self, rows: Rows) -> Float64:
        """Return the positional error of rows: the root mean square of its columns, NaN where one is none."""
        sigma = self.sigma or Sigma()
        if not sigma.columns:
            return np.full(len(rows), sigma.arcsec)
        errors = np.array([rows.floats(name) * self.factors[name] for name in sigma.columns])
        # Surveys write -999, 1e30 and the like where an error is unknown; the sky is no wider than this.
        errors[~((errors >= 0) & (errors <= 648000))] = np.nan
        return np.asarray(np.sqrt(np.mean(np.square(errors), axis=0)))

    def _moved(self, rows: pa.Table, ra: Float64, dec: Float64, epoch: float) -> tuple[Float64, Float64]:
        motion = (float_column(rows, name) * self.factors[name] for name in self.motion)
        pmra, pmdec, since, *distance = motion
        # A row without motion, or without an epoch of its own, stays where the catalog has it.
        return propagate(ra, dec, pmra, pmdec, since, epoch, *distance)


def side_of(
    table: Table, snapshot: Snapshot, epoch: float | None, columns: tuple[str, ...], sigma: Sigma | None
) -> Side:
    """Return a side, once it is known to have the columns it needs.

    Raises
    ------
    MissingColumns
        When it has not.
    BadArguments
        When a column of motion or error is no number, or its unit cannot be converted.
    """
    names = snapshot.stored_names
    needed = (*columns, *(sigma.columns if sigma else ()))
    require_columns(table.name, names, (table.key[0], *needed))
    motion: tuple[str, ...] = ()
    if epoch is not None and {"pmra", "pmdec"} & set(names):
        require_columns(f"{table.name} (--epoch needs motions whole)", names, MOTION)
        motion = MOTION + (PERSPECTIVE if set(PERSPECTIVE) <= set(names) else ())
    factors = {name: _factor(table, name, _USUAL[name]) for name in motion}
    factors |= {name: _factor(table, name, "arcsec") for name in (sigma.columns if sigma else ())}
    read = tuple(dict.fromkeys((table.key[0], "ra", "dec", *motion, *needed)))
    reader = RegionReader(snapshot.storage, snapshot.files, read)
    return Side(reader, table, motion, epoch, sigma, factors)


def _factor(table: Table, name: str, usual: str) -> float:
    """Return what a column is to be multiplied by to be in the usual unit."""
    column = table.column(name)
    if not column.is_number:
        raise BadArguments(f"{table.name}.{name} is {column.type}; a number in {usual} is needed")
    # A Julian epoch is a date: years are its unit, whatever name they have.
    years = name == "ref_epoch" and re.fullmatch("yr|a|.*year.*", column.unit.lower())
    if not column.unit or years:
        return 1.0
    try:
        unit = u.Unit(column.unit)
        factor = np.nan if isinstance(unit, u.function.FunctionUnitBase) else float(unit.to(u.Unit(usual)))
    except ValueError:
        factor = np.nan
    # A date in days cannot be scaled to years.
    if name == "ref_epoch" or np.isnan(factor):
        raise BadArguments(
            f"{table.name}.{name} is in {column.unit!r}, which is not understood as {usual}: correct the "
            "unit, or convert the column, and ingest the table again"
        )
    return factor
