"""Measured separations and offsets of cross-matched positions."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from astrolake.errors import BadInput
from astrolake.sky.epoch import julian_year, propagate
from astrolake.visualization.source import Float64, LakeSource, floats, mean_epoch_sql

#: Bins per decade, and the smallest separation that gets one of its own.
PER_DECADE, SMALLEST_ARCSEC = 8, 1e-4
#: Parts of the matches whose largest separation is measured.
PARTS = (0.5, 0.8, 0.95)
_SAMPLE = 4000
_MOTION = ("pmra", "pmdec", "ref_epoch")
#: Gaia's position errors, mas.
_CATALOG_ERRORS = ("ra_error", "dec_error")


@dataclass(frozen=True, eq=False)
class Separations:
    """Separations of nearest matches.

    Parameters
    ----------
    counts : DataFrame
        centre (decimal logarithm of arcsec), n.
    n : int
    quantiles_arcsec : dict
        Part of the matches -> separation within which it lies.
    """

    counts: pd.DataFrame
    n: int
    quantiles_arcsec: dict[float, float]


@dataclass(frozen=True, eq=False)
class Offsets:
    """Object minus catalog position of a sample of matches.

    Parameters
    ----------
    ra_arcsec, dec_arcsec : (N,) float64
        The former times cos(dec).
    sigma_arcsec : (N,) float64
        Formal error per axis of both positions together; NaN where the object has none.
    moved : bool
        Whether proper motions were applied.
    """

    ra_arcsec: Float64
    dec_arcsec: Float64
    sigma_arcsec: Float64
    moved: bool

    @property
    def within_three_sigma(self) -> float:
        """Part of the offsets shorter than three formal errors; 98.9 % when the errors are right."""
        known = self.sigma_arcsec > 0
        short = np.hypot(self.ra_arcsec, self.dec_arcsec)[known] < 3.0 * self.sigma_arcsec[known]
        return float(short.mean()) if known.any() else float("nan")


def measure_separations(source: LakeSource, table: str) -> Separations:
    """Return the distribution of the separations of rank 1 in a cross-match.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When the table cannot answer or has no match.
    """
    source.require(table, ("left_id", "right_id", "sep_arcsec", "rank"))
    nearest = "rank = 1 AND isfinite(sep_arcsec)"
    quantiles = ", ".join(f"approx_quantile(sep_arcsec, {part}) AS q{k}" for k, part in enumerate(PARTS))
    row = source.row(f"SELECT count(*) AS n, {quantiles} FROM {table} WHERE {nearest}")
    if not row["n"]:
        raise BadInput(f"{table} has no match; match with a larger --radius-arcsec", "NoMatches")
    logarithm = f"log10(greatest(sep_arcsec, {SMALLEST_ARCSEC}))"
    counts = source.histogram(table, logarithm, 1.0 / PER_DECADE, nearest)
    return Separations(counts, int(row["n"]), {part: float(row[f"q{k}"]) for k, part in enumerate(PARTS)})


def sample_offsets(source: LakeSource, table: str, catalog: str) -> Offsets:
    """Return the offsets of up to 4000 matches, chosen by a hash of their key.

    Where the catalog has proper motions it is moved to the middle epoch of each object; where it has
    Gaia's ra_error and dec_error (mas) they enter the formal errors.

    Raises
    ------
    TableNotFound, MissingColumns
        When objects or catalog cannot answer.
    """
    source.require("objects", ("object_id", "ra", "dec", "ra_err", "dec_err", "first_mjd", "last_mjd"))
    source.require(catalog, ("source_id", "ra", "dec"))
    present = set(source.columns(catalog))
    moved, with_errors = present >= set(_MOTION), present >= set(_CATALOG_ERRORS)
    extra = [*(_MOTION if moved else ()), *(_CATALOG_ERRORS if with_errors else ())]
    rows = source.query(_sample_sql(table, catalog, extra))
    ra, dec = floats(rows, "cat_ra"), floats(rows, "cat_dec")
    if moved:
        pmra, pmdec, epoch = (floats(rows, name) for name in _MOTION)
        ra, dec = propagate(ra, dec, pmra, pmdec, epoch, julian_year(floats(rows, "mjd")))
    variance = floats(rows, "ra_err") ** 2 + floats(rows, "dec_err") ** 2
    if with_errors:
        variance += sum(np.nan_to_num(floats(rows, name)) ** 2 for name in _CATALOG_ERRORS) / 1e6
    turn = (floats(rows, "ra") - ra + 180.0) % 360.0 - 180.0
    east = turn * np.cos(np.radians(dec)) * 3600.0
    return Offsets(east, (floats(rows, "dec") - dec) * 3600.0, np.sqrt(0.5 * variance), moved)


def rayleigh_fraction(edges_arcsec: Float64, sigma_arcsec: Float64) -> Float64:
    """Return the part of the separations expected in each bin, for matches with these errors per axis.

    The mean of Rayleigh distributions: between a and b lies exp(-a² / 2σ²) - exp(-b² / 2σ²).

    Parameters
    ----------
    edges_arcsec : (B + 1,) float64
    sigma_arcsec : (N,) float64
        Positive.

    Returns
    -------
    (B,) float64
    """
    beyond = np.exp(-0.5 * (edges_arcsec[:, np.newaxis] / sigma_arcsec) ** 2).mean(axis=1)
    return np.asarray(beyond[:-1] - beyond[1:])


def _sample_sql(table: str, catalog: str, extra: list[str]) -> str:
    more = "".join(f", c.{name}" for name in extra)
    return f"""
        SELECT o.ra, o.dec, o.ra_err, o.dec_err, {mean_epoch_sql("o.first_mjd", "o.last_mjd")} AS mjd,
               c.ra AS cat_ra, c.dec AS cat_dec{more}
        FROM (
            SELECT left_id, right_id FROM {table} WHERE rank = 1
            ORDER BY hash(left_id), left_id LIMIT {_SAMPLE}
        ) AS m
        JOIN objects AS o ON o.object_id = m.left_id
        JOIN {catalog} AS c ON c.source_id = m.right_id
        ORDER BY m.left_id
    """
