"""A generated survey of 2 x 2 deg that spans right ascension 0, with clumps and sources on borders."""

from functools import cache

import numpy as np
import pyarrow as pa

from astrolake.data_access.services.tiling import roots
from astrolake.data_access.surveys.model import Condition, Conversion, Cut, Service, SurveyColumn, SurveyTable
from astrolake.sky.region import Box

REGION = Box(359.0, 1.0, -1.0, 1.0)
ROW_LIMIT = 2_000
NATIVE = "generated.sources"


def borders() -> tuple[list[float], list[float]]:
    """Return right ascensions and declinations of borders of boxes, of the region itself and of ra 0."""
    tiles = list(roots(REGION))
    for _ in range(3):
        tiles = [part for tile in tiles for part in tile.split()]
    ra = {end % 360.0 for tile in tiles for end in (tile.ra_min, tile.ra_max)} | {0.0, 1.0, 359.0}
    dec = {end for tile in tiles for end in (tile.dec_min, tile.dec_max)} | {-1.0, 0.0, 1.0}
    return sorted(ra), sorted(dec)


@cache
def sources(n_field: int = 18_000, n_clump: int = 7_000) -> pa.Table:
    """Return native rows: even field, three clumps, and sources on right ascension 0 and on likely borders."""
    rng = np.random.default_rng(8)
    ra = [rng.uniform(-1.2, 1.2, n_field)]
    dec = [rng.uniform(-1.2, 1.2, n_field)]
    for at_ra, at_dec, size in ((0.0, 0.25, 0.01), (-0.6, -0.4, 0.003), (0.7, 0.9, 0.02)):
        ra.append(rng.normal(at_ra, size, n_clump // 3))
        dec.append(rng.normal(at_dec, size, n_clump // 3))
    lines_ra, lines_dec = borders()
    grid_ra, grid_dec = np.meshgrid(lines_ra, lines_dec)
    ra, dec = np.concatenate([*ra, grid_ra.ravel()]), np.concatenate([*dec, grid_dec.ravel()])
    n = len(ra)
    shuffled = rng.permutation(n)
    ra, dec = np.mod(ra, 360.0)[shuffled], dec[shuffled]
    ra = np.where(ra >= 360.0, 0.0, ra)
    return pa.table(
        {
            "objid": pa.array(4_000_000_000_000_000_000 + np.arange(n, dtype=np.int64)),
            "ra": ra,
            "dec": dec,
            "mag": pa.array(rng.uniform(14, 24, n)),
            "kind": pa.array(rng.integers(0, 3, n)),
            "flags": pa.array(rng.integers(0, 8, n)),
        }
    )


def inside(rows: pa.Table, region: Box = REGION) -> set[int]:
    """Return the identifiers of rows that lie in a box over ra 0, by its definition, not by `Box.contains`."""
    ra, dec = rows["ra"].to_numpy(), rows["dec"].to_numpy()
    mask = (ra >= region.ra_min) | (ra <= region.ra_max)
    mask &= (dec >= region.dec_min) & (dec <= region.dec_max)
    return set(rows["objid"].to_numpy()[mask].tolist())


def survey_table(url: str, protocol: str = "tap", row_limit: int = ROW_LIMIT, **options) -> SurveyTable:
    """Return the table as a survey's file would describe it."""
    columns = (
        SurveyColumn("objid", "source_id", "int64", "Identifier"),
        SurveyColumn("ra", "ra", "float64", "Right ascension", "deg"),
        SurveyColumn("dec", "dec", "float64", "Declination", "deg"),
        SurveyColumn(
            "mag", "mag_psf_r", "float64", "Magnitude", "mag", conversion=Conversion("scale", {"offset": 0.5})
        ),
        SurveyColumn("kind", "type", "string", "Kind", values={0: "STAR", 1: "GALAXY"}),
        SurveyColumn("flags", "flags", "int64", "Flags", default=False),
    )
    cuts = {"clean": Cut("clean", (Condition("flags", "bits_clear", 4),), "no bad flag", "generated")}
    return SurveyTable(
        name="sources",
        native="PhotoObj" if protocol == "skyserver" else NATIVE,
        id="objid",
        ra="ra",
        dec="dec",
        columns=columns,
        cuts=cuts,
        service=Service(protocol, url, requests_per_s=500.0, connections=4, options=options),
        row_limit=row_limit,
        rows_per_deg2=4_500.0,
        magnitude="mag_psf",
    )
