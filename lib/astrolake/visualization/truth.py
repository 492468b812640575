"""True sources and the objects that were made of them."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from astrolake.errors import BadInput, MissingColumns
from astrolake.sky.epoch import julian_year, propagate
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions
from astrolake.visualization.footprints import MOST_IMAGES, image_footprints
from astrolake.visualization.source import Float64, LakeSource, floats, mean_epoch_sql

EPOCH_YR = 2016.0
RADIUS_ARCSEC, EDGE_ARCSEC = 1.0, 4.0
KINDS = ("star", "galaxy")
_MOST_OBJECTS = 2_000_000


@dataclass(frozen=True, eq=False)
class TruthMatch:
    """True sources inside the images, and what was measured of each.

    Parameters
    ----------
    kind : (N,) str
        One of `KINDS`.
    true_mag, measured_mag : (N,) float64
        The latter NaN where the source was not found.
    """

    kind: NDArray[np.str_]
    true_mag: Float64
    measured_mag: Float64

    @property
    def found(self) -> NDArray[np.bool_]:
        """Whether each source was found."""
        return np.isfinite(self.measured_mag)

    def of(self, kind: str) -> TruthMatch:
        """Return the sources of one kind."""
        keep = self.kind == kind
        return TruthMatch(self.kind[keep], self.true_mag[keep], self.measured_mag[keep])


def read_truth(path: Path, band: str) -> pd.DataFrame:
    """Return the stars and galaxies of a truth table that have a magnitude in a band.

    Parameters
    ----------
    path : Path
        Parquet with ra, dec (deg, ICRS, epoch 2016.0), pmra (times cos(dec)), pmdec (mas/yr),
        mag_<band> (AB) and type; types other than star and galaxy are left out.

    Returns
    -------
    DataFrame
        ra, dec, pmra, pmdec, type, mag.

    Raises
    ------
    MissingColumns
        When the file lacks a column.
    """
    needed = ["ra", "dec", "pmra", "pmdec", "type", f"mag_{band}"]
    present = pq.read_schema(path).names
    if missing := [name for name in needed if name not in present]:
        raise MissingColumns(str(path), missing, present)
    truth = pq.read_table(path, columns=needed).to_pandas().rename(columns={f"mag_{band}": "mag"})
    keep = truth["type"].isin(KINDS) & np.isfinite(floats(truth, "mag"))
    return pd.DataFrame(truth[keep]).reset_index(drop=True)


def match_truth(source: LakeSource, truth: pd.DataFrame, band: str) -> TruthMatch:
    """Return the true sources at least 4 arcsec inside the images of a band, with their objects.

    A source is found when an object with a magnitude in the band lies within 1 arcsec of it at the
    middle epoch of the objects. Of several sources near one object only the brightest was found: an
    unresolved blend is a miss.

    Parameters
    ----------
    source : LakeSource
    truth : DataFrame
        As from `read_truth`.
    band : str

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When there are no objects or images on these sources, or too many to hold.
    """
    source.require("objects", ("ra", "dec", f"mag_auto_{band}", "first_mjd", "last_mjd"))
    outlines = image_footprints(source, band)
    if len(outlines) > MOST_IMAGES:
        raise BadInput(
            f"more than {MOST_IMAGES} images in {band}: compare a smaller lake with the truth", "TooLarge"
        )
    objects = _read_objects(source, truth, band)
    ra, dec, pmra, pmdec = (floats(truth, name) for name in ("ra", "dec", "pmra", "pmdec"))
    ra, dec = propagate(ra, dec, pmra, pmdec, EPOCH_YR, _middle_epoch(objects))
    inside = outlines.cover(ra, dec, EDGE_ARCSEC)
    if not inside.any():
        raise BadInput(f"no true source lies on an image in {band}; give the truth of this sky", "NoOverlap")
    magnitude = floats(truth, "mag")[inside]
    measured = _measured(Positions(ra[inside], dec[inside], np.arange(magnitude.size)), magnitude, objects)
    return TruthMatch(truth["type"].to_numpy(dtype=np.str_)[inside], magnitude, measured)


def _read_objects(source: LakeSource, truth: pd.DataFrame, band: str) -> pd.DataFrame:
    """Return the objects measured in a band in the declinations of the truth."""
    if truth.empty:
        raise BadInput(f"the truth has no {' or '.join(KINDS)} with a magnitude in {band}", "NoTruth")
    low, high = float(truth["dec"].min()), float(truth["dec"].max())
    where = f"dec BETWEEN {low - 0.01!r} AND {high + 0.01!r} AND isfinite(mag_auto_{band})"
    count = int(source.row(f"SELECT count(*) AS n FROM objects WHERE {where}")["n"])
    if count > _MOST_OBJECTS:
        raise BadInput(
            f"{count:,} objects in the declinations of the truth: give a smaller truth", "TooLarge"
        )
    if not count:
        raise BadInput(
            f"no object has a magnitude in {band} where the truth lies; ingest that sky", "NoObjects"
        )
    return source.query(
        f"SELECT ra, dec, mag_auto_{band} AS mag, {mean_epoch_sql()} AS mjd FROM objects WHERE {where} "
        "ORDER BY ra, dec"
    )


def _middle_epoch(objects: pd.DataFrame) -> float:
    mjd = floats(objects, "mjd")
    return float(julian_year(np.nanmedian(mjd))) if np.isfinite(mjd).any() else EPOCH_YR


def _measured(sources: Positions, magnitude: Float64, objects: pd.DataFrame) -> Float64:
    """Return the magnitude of the object of each source, NaN where it has none of its own."""
    candidates = Positions(floats(objects, "ra"), floats(objects, "dec"), np.arange(len(objects)))
    nearest = match(sources, candidates, RADIUS_ARCSEC)
    brightest_first = np.argsort(magnitude[nearest.left_index], kind="stable")
    _, first = np.unique(nearest.right_index[brightest_first], return_index=True)
    own = brightest_first[first]
    measured = np.full(magnitude.size, np.nan)
    measured[nearest.left_index[own]] = floats(objects, "mag")[nearest.right_index[own]]
    return measured
