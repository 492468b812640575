"""What a cross-match shall do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from astrolake.errors import BadArguments
from astrolake.lake.cells import CELL_ROWS
from astrolake.sky.magnitude_prior import MagnitudePrior, read_prior
from astrolake.sky.matching import EXCLUSIVE, Mode, check_n, check_radius
from astrolake.sky.probability import SKY_DEG2
from astrolake.sky.region import Region, parse_region


@dataclass(frozen=True)
class Sigma:
    """Positional error of a side in one coordinate: columns (their root mean square), or arcsec."""

    columns: tuple[str, ...] = ()
    arcsec: float = 0.0


@dataclass(frozen=True)
class MatchOptions:
    """Options of a cross-match.

    Parameters
    ----------
    radius_arcsec : float
    mode : str
        See `astrolake.sky.matching.match`.
    n : int
        For nearest-n.
    epoch : float, optional
        Julian year that both sides are brought to.
    region : Region, optional
        Only left rows in it are matched.
    left_columns, right_columns : tuple of str
        Columns carried along.
    left_sigma, right_sigma : Sigma, optional
        Both or none; with them matches have probabilities, and rank by them.
    completeness : float
        Share of left rows that have a counterpart in the right table, for the prior.
    density_deg2 : float, optional
        Right rows per square degree, for the prior; measured when not given.
    cell_rows : int
        Rows that a task holds at a time, about.
    priors : tuple of (column, MagnitudePrior or None)
        Columns of the right table that tell counterparts from others; None learns how from the sure matches.
    """

    radius_arcsec: float
    mode: Mode = "best"
    n: int = 1
    epoch: float | None = None
    region: Region | None = None
    left_columns: tuple[str, ...] = ()
    right_columns: tuple[str, ...] = ()
    left_sigma: Sigma | None = None
    right_sigma: Sigma | None = None
    completeness: float = 1.0
    density_deg2: float | None = None
    cell_rows: int = CELL_ROWS
    priors: tuple[tuple[str, MagnitudePrior | None], ...] = ()

    def __post_init__(self) -> None:
        check_radius(self.radius_arcsec)
        check_n(self.n)
        if not 0 < self.completeness <= 1:
            raise BadArguments(f"completeness={self.completeness}: give a share in (0, 1]")
        if self.density_deg2 is not None and not self.density_deg2 * SKY_DEG2 >= 1:
            raise BadArguments(
                f"density_deg2={self.density_deg2}: give one of at least one row on the whole sky"
            )
        if self.cell_rows < 1:
            raise BadArguments(f"cell_rows={self.cell_rows}: must be at least 1")
        if (self.left_sigma is None) != (self.right_sigma is None):
            raise BadArguments("positional errors: give those of both sides, left:... and right:...")
        if self.has_sigma and self.mode in (*EXCLUSIVE, "anti"):
            raise BadArguments(
                f"mode {self.mode} goes by separation alone; probabilities are for best, left, all, nearest-n"
            )

        if self.priors and not self.has_sigma:
            raise BadArguments("--magnitude-prior weighs probabilities: give --sigma-column, too")

    @property
    def has_sigma(self) -> bool:
        """Whether matches have probabilities."""
        return self.left_sigma is not None


def match_options(flags: Any) -> MatchOptions:
    """Return the options that the flags of `crossmatch_catalogs`, attributes of one object, stand for.

    Raises
    ------
    BadArguments
        For what no match could use.
    """
    columns, sigma = by_side("--select", flags.select), by_side("--sigma-column", flags.sigma_column)
    return MatchOptions(
        flags.radius_arcsec,
        flags.mode,
        flags.n,
        flags.epoch or None,
        parse_region(flags.region) if flags.region else None,
        columns["left"],
        columns["right"],
        sigma_of("--sigma-column", sigma["left"]),
        sigma_of("--sigma-column", sigma["right"]),
        flags.completeness,
        flags.density_deg2 or None,
        flags.cell_rows,
        priors_of("--magnitude-prior", flags.magnitude_prior),
    )


def by_side(flag: str, values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what ``left:a,b right:c`` says of each side.

    Raises
    ------
    BadArguments
        When a value names no side, or nothing.
    """
    found: dict[str, tuple[str, ...]] = {"left": (), "right": ()}
    for value in values:
        side, _, names = value.partition(":")
        parts = tuple(name.strip() for name in names.split(",") if name.strip())
        if side not in found or not parts:
            raise BadArguments(f"{flag} {value!r}: give left:NAME,NAME and right:NAME,NAME")
        found[side] += parts
    return found


def sigma_of(flag: str, values: tuple[str, ...]) -> Sigma | None:
    """Return the error that one side's values give: a number of arcsec, or names of columns."""
    if not values:
        return None
    try:
        arcsec = float(values[0])
    except ValueError:
        return Sigma(columns=values)
    if len(values) > 1 or not 0 <= arcsec < float("inf"):
        raise BadArguments(f"{flag} {','.join(values)}: give one number of arcsec, or names of columns")
    return Sigma(arcsec=arcsec)


def priors_of(flag: str, values: Sequence[str]) -> tuple[tuple[str, MagnitudePrior | None], ...]:
    """Return the columns, and the priors in files, that ``right:mag,mag2 right:colour=FILE`` names.

    Raises
    ------
    BadArguments
        When a value names no column of the right side, or one twice.
    BadInput
        When a file holds no prior.
    """
    found: list[tuple[str, MagnitudePrior | None]] = []
    for value in values:
        side, _, rest = value.partition(":")
        names, _, path = rest.partition("=")
        columns = [name.strip() for name in names.split(",")]
        if side != "right" or not all(columns) or (path and len(columns) > 1):
            raise BadArguments(f"{flag} {value!r}: give right:COLUMN,COLUMN or right:COLUMN=FILE")
        found += [(name, read_prior(path) if path else None) for name in columns]
    if len(dict(found)) < len(found):
        raise BadArguments(f"{flag}: a column is named twice")
    return tuple(found)
