"""All pictures of a lake, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from astrolake.errors import AstrolakeError
from astrolake.visualization.colours import colours_picture
from astrolake.visualization.completeness import completeness_picture
from astrolake.visualization.composite import composite_picture
from astrolake.visualization.ellipses import detections_picture
from astrolake.visualization.field import ReadFrame
from astrolake.visualization.number_counts import number_counts_picture
from astrolake.visualization.picture import Drawing, Picture, save_picture
from astrolake.visualization.separations import separations_picture
from astrolake.visualization.sky_map import sky_map_picture
from astrolake.visualization.source import LakeSource, Query


@dataclass(frozen=True)
class Subject:
    """What the pictures are of.

    Parameters
    ----------
    source : LakeSource
        The tables.
    read_frame : callable
        (uri, hdu) -> 2-D array of an image of the lake.
    truth : Path, optional
        True sources, for simulated skies.
    catalog : str
        Table with which the objects were cross-matched.
    """

    source: LakeSource
    read_frame: ReadFrame
    truth: Path | None
    catalog: str


@dataclass(frozen=True)
class Plot:
    """A kind of picture: the stem of its file, its topic, and how it is drawn."""

    name: str
    topic: str
    draw: Callable[[Subject], Drawing]


def _completeness(subject: Subject) -> Drawing:
    if subject.truth is None:
        raise AstrolakeError("no table of true sources was given: real skies have none")
    return completeness_picture(subject.source, subject.truth)


PLOTS: tuple[Plot, ...] = (
    Plot("colour_composite", "The sky in colour", lambda s: composite_picture(s.source, s.read_frame)),
    Plot("detections", "Detected sources", lambda s: detections_picture(s.source, s.read_frame)),
    Plot("sky_map", "Where the objects are", lambda s: sky_map_picture(s.source)),
    Plot("number_counts", "Number counts and depth", lambda s: number_counts_picture(s.source)),
    Plot("colours", "Colours of the objects", lambda s: colours_picture(s.source)),
    Plot("completeness", "Completeness against the truth", _completeness),
    Plot("separations", "Cross-match separations", lambda s: separations_picture(s.source, s.catalog)),
)


def lake_pictures(
    query: Query, read_frame: ReadFrame, outdir: Path, truth: Path | None = None, catalog: str = "gaia"
) -> list[Picture]:
    """Draw all pictures that a lake has the data for, one PNG file each.

    Parameters
    ----------
    query : callable
        DuckDB SQL over the tables of the lake -> DataFrame; cross-matches under the name
        ``crossmatches_objects_x_<catalog>``. It raises TableNotFound or duckdb.CatalogException for a
        table that is not there.
    read_frame : callable
        (uri, hdu) of a row of `images` -> 2-D array. It raises OSError or an error of astrolake for an
        image that cannot be read.
    outdir : Path
        Directory of the files, made where it does not exist.
    truth : Path, optional
        Parquet file of true sources; see `completeness_picture`.
    catalog : str
        Table with which the objects were cross-matched.

    Returns
    -------
    list of Picture
        In the order of `PLOTS`. A picture for which something is missing has no path and says why.
    """
    subject = Subject(LakeSource(query), read_frame, truth, catalog)
    return [_draw(plot, subject, Path(outdir)) for plot in PLOTS]


def _draw(plot: Plot, subject: Subject, outdir: Path) -> Picture:
    try:
        drawing = plot.draw(subject)
    except (AstrolakeError, OSError) as error:
        return Picture(plot.name, plot.topic, skipped=str(error))
    return save_picture(drawing, plot.name, plot.topic, outdir)
