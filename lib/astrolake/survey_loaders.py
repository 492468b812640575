"""Surveys in two lines of Python: images into a lake, catalogs as tables.

The classes are the public names of `astrolake.data_access`; they stand here, above the jobs, since what they
download is registered by the job `fetch_survey`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from deltalake import DeltaTable

from astrolake.cli import load_job
from astrolake.data_access.bulk import BulkQuery
from astrolake.data_access.fetched import OUTPUTS, read_fetched
from astrolake.data_access.imaging.find import bands_of, check_options
from astrolake.data_access.manifest import read_manifest
from astrolake.data_access.places import fetches_of, manifest_of
from astrolake.data_access.services.fetch import fetch_catalog
from astrolake.data_access.services.progress_bar import fetch_progress
from astrolake.data_access.surveys.conditions import parse_filters
from astrolake.data_access.surveys.model import Survey
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import AstrolakeError, BadArguments
from astrolake.job.runner import run_job
from astrolake.lake.lake import Lake
from astrolake.schema import IMAGES
from astrolake.sky.region import Region, parse_region

_POLE_DEG = 89.99
#: Options of an object store that jobs have flags for; secrets are not among them.
_OPTIONS_OF_JOBS = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ALLOW_HTTP"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class SurveyLoader:
    """Images and catalogs of a survey.

    Parameters
    ----------
    bucket_name : str, optional
        Bucket of S3 whose lake (``s3://<bucket>/lake``) takes what is fetched; made where there is none.
    survey : str
        Name of a survey, or a .toml file that describes one; the subclasses have theirs.
    lake : str or Path, optional
        Root of the lake, in place of a bucket: a directory or URI.
    release : str
        Release of the survey, its first by default.
    storage_options : mapping, optional
        Object-store options in the spelling of delta-rs, such as AWS_REGION; by default the ambient ones.
    workers : int
        Queries, or files, at a time; the rate of the survey's services is kept in any case.

    Raises
    ------
    BadArguments
        When no lake is named, or survey or release are unknown.

    Examples
    --------
    >>> loader = SurveyLoader(survey="twomass", lake="lake")  # doctest: +SKIP
    >>> stars = loader.load_catalog([184.5, 185.5], [15.0, 16.0])  # doctest: +SKIP
    """

    survey_name = ""

    def __init__(
        self,
        bucket_name: str | None = None,
        *,
        survey: str = "",
        lake: Any = None,
        release: str = "",
        storage_options: Mapping[str, str] | None = None,
        workers: int = 4,
    ) -> None:
        if (bucket_name is None) == (lake is None):
            raise BadArguments("name the lake: bucket_name='my-bucket' or lake='directory', one of them")
        if bucket_name is not None and not _BUCKET.fullmatch(bucket_name):
            raise BadArguments(
                f"bucket_name {bucket_name!r} is no name of a bucket; for another place give lake="
            )
        if workers < 1:
            raise BadArguments(f"workers {workers}: give one at least")
        name = survey or self.survey_name
        if not name:
            raise BadArguments("survey: name the survey, or a .toml file that describes one")
        self._named = name
        self.survey: Survey = load_survey(name, release)
        self.lake_uri = f"s3://{bucket_name}/lake" if bucket_name is not None else str(lake)
        self.storage_options = dict(storage_options or {})
        self.workers = workers

    def download_imaging(
        self,
        ra: float | None = None,
        dec: float | None = None,
        width: float | None = None,
        bands: Sequence[str] = (),
        *,
        height: float | None = None,
        region: str = "",
        **options: Any,
    ) -> pd.DataFrame:
        """Download the images that touch a field into the lake and register them in its table `images`.

        Files that are there are not downloaded again; those that cannot be had are in the table `rejects`.

        Parameters
        ----------
        ra, dec : float
            Centre of the field, ICRS, degrees.
        width : float
            Size of the field along right ascension, degrees on the sky.
        bands : sequence of str
            Such as ["g", "r"], "gr" or "W1,W2"; all by default.
        height : float, optional
            Size along declination, degrees; the width by default.
        region : str
            In place of a field: ``cone:RA,DEC,RADIUS``, ``polygon:...``, ``moc:FILE``, see `sky.region`.
        **options
            The survey's own, such as ``kind="warp"`` of Pan-STARRS (docs/survey-images.md).

        Returns
        -------
        pd.DataFrame
            Rows of `images`, one for each image: survey, band, mjd, uri, zero_point_ab and others.

        Raises
        ------
        BadArguments
            When the survey has no images, or not in these bands, or the field cannot be understood, or
            `storage_options` hold secrets.
        AstrolakeError
            When the archive, or the job that registers the images, fails.
        """
        if unknown := sorted(set(self.storage_options) - _OPTIONS_OF_JOBS):
            raise BadArguments(
                f"images are registered by a job, which is not given {', '.join(unknown)}: leave them out of "
                "storage_options, and set them in the environment"
            )
        asked = region or _field(ra, dec, width, height)
        check_options(self.survey, options)
        job = load_job("fetch_survey")
        args = job.args(
            lake=self.lake_uri,
            survey=self._named,
            release=self.survey.release,
            region=asked,
            catalog="none",
            images=True,
            bands=bands_of(self.survey, bands) if bands else (),
            image_options=json.dumps(options) if options else "",
            workers=self.workers,
            s3_endpoint_url=self.storage_options.get("AWS_ENDPOINT_URL", ""),
            s3_region=self.storage_options.get("AWS_REGION", ""),
        )
        summary = run_job(job, args)
        if summary["status"] != "done":
            kind = BadArguments if summary["status"] == "bad_arguments" else AstrolakeError
            raise kind(summary.get("message", "the images could not be fetched"))
        return self._images(manifest_of(self._lake(), self.survey, asked, args.bands, options))

    def load_catalog(
        self,
        ra_range: Sequence[float] | None = None,
        dec_range: Sequence[float] | None = None,
        filters: Mapping[str, Any] | None = None,
        *,
        region: str = "",
        columns: Sequence[str] | None = None,
        cuts: Sequence[str] = (),
        table: str = "",
        output: str = "pandas",
    ) -> Any:
        """Return the survey's sources within a region, from its service.

        What is fetched is kept in the lake: asked again, or interrupted and asked again, only the rest is
        fetched. The job `fetch_survey` makes a table of the lake of it.

        Parameters
        ----------
        ra_range, dec_range : (float, float)
            Borders, ICRS, degrees; [350, 10] spans right ascension 0.
        filters : mapping, optional
            Such as ``{"type": "GALAXY", "r_mag": [18, 22]}``: a range, a value, or a list of values of a
            column; ``r_mag`` is the survey's usual magnitude in r, AB.
        region : str
            In place of the ranges: ``cone:RA,DEC,RADIUS``, ``polygon:...``, ``moc:FILE``, see `sky.region`.
        columns : sequence of str, optional
            Columns of the lake; identifier and position always come too.
        cuts : sequence of str
            Named selections of the survey, such as ``clean``.
        table : str
            Table of the survey, its first by default.
        output : str
            pandas, astropy (a Table with units), arrow or spark.

        Returns
        -------
        pandas.DataFrame, astropy.table.Table, pyarrow.Table or pyspark.sql.DataFrame

        Raises
        ------
        BadArguments
            When region, column, filter, cut or output is unknown.
        ServiceError
            When the service cannot be reached, or refuses the query.
        """
        if output not in OUTPUTS:
            raise BadArguments(f"output {output!r} is unknown; choose one of {OUTPUTS}")
        chosen = self.survey.table(table)
        where = parse_region(region) if region else _box(ra_range, dec_range)
        with fetch_progress(self.survey.name) as progress:
            fetched = fetch_catalog(
                chosen,
                where,
                fetches_of(self._lake(), self.survey),
                columns=columns,
                filters=filters,
                cuts=cuts,
                workers=self.workers,
                progress=progress,
            )
        return read_fetched(fetched.uris, self.storage_options, output)

    def read_bulk(
        self,
        spark: Any,
        region: str = "",
        *,
        columns: Sequence[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        cuts: Sequence[str] = (),
        table: str = "",
    ) -> Any:
        """Return the survey's release on a public bucket as a Spark DataFrame, read in place.

        Only files, row groups and columns that are needed are read; arguments as in `load_catalog`, the
        whole sky without a region.

        Raises
        ------
        BadArguments
            When the survey has no such release, or an argument is unknown.
        """
        from astrolake.data_access.spark_bulk import bulk_frame

        chosen = self.survey.table(table)
        query = BulkQuery(
            chosen,
            chosen.select(columns),
            parse_filters(chosen, filters or {}),
            tuple(cuts),
            parse_region(region) if region else None,
        )
        return bulk_frame(spark, query)

    def _lake(self) -> Lake:
        return Lake.create(self.lake_uri, self.storage_options)

    def _images(self, manifest: str) -> pd.DataFrame:
        """Return the rows of `images` of the files that a manifest tells of."""
        uris = [row["uri"] for row in read_manifest(manifest, self.storage_options) if "error" not in row]
        lake = self._lake()
        if not lake.has_table(IMAGES.name):
            return pd.DataFrame(columns=list(IMAGES.column_names))
        place = lake.delta_storage(IMAGES.name, positional=False)
        images = DeltaTable(place.delta_uri(), storage_options=place.options or None)
        rows = images.to_pyarrow_dataset().to_table(filter=pc.field("uri").isin(uris))
        found: pd.DataFrame = rows.sort_by([("uri", "ascending"), ("hdu", "ascending")]).to_pandas()
        return found


class SDSSDataLoader(SurveyLoader):
    """Sloan Digital Sky Survey: corrected frames, and photometry by SkyServer."""

    survey_name = "sdss"


class PanSTARRSLoader(SurveyLoader):
    """Pan-STARRS1: stacks and warps, and the objects of data release 2."""

    survey_name = "panstarrs"


class LegacySurveyLoader(SurveyLoader):
    """DESI Legacy Imaging Surveys: coadded bricks, and Tractor's sources."""

    survey_name = "legacy"


class WISELoader(SurveyLoader):
    """WISE: coadds, and the AllWISE and CatWISE sources."""

    survey_name = "wise"


class GaiaLoader(SurveyLoader):
    """Gaia: sources; the mission publishes no images."""

    survey_name = "gaia"


def _field(ra: float | None, dec: float | None, width: float | None, height: float | None) -> str:
    """Return the box of a field of some size on the sky."""
    if ra is None or dec is None or width is None:
        raise BadArguments("give ra, dec and width of a field, or a region")
    size = width if height is None else height
    ra, dec, width, size = (_number("ra, dec, width and height", each) for each in (ra, dec, width, size))
    if not (all(map(math.isfinite, (ra, dec, width, size))) and width > 0 and size > 0 and abs(dec) <= 90):
        raise BadArguments(
            f"ra {ra}, dec {dec}, width {width}, height {size}: give degrees, dec in [-90, 90], sizes above 0"
        )
    low, high = max(dec - size / 2, -90.0), min(dec + size / 2, 90.0)
    # The corners nearest to the pole are the farthest apart in right ascension.
    shrink = math.cos(math.radians(min(max(abs(low), abs(high)), _POLE_DEG)))
    half = min(width / 2 / shrink, 180.0)
    if half >= 180.0:
        return f"box:0,360,{low!r},{high!r}"
    return f"box:{(ra - half) % 360.0!r},{(ra + half) % 360.0!r},{low!r},{high!r}"


def _box(ra_range: Sequence[float] | None, dec_range: Sequence[float] | None) -> Region:
    pairs = [
        pair for pair in (ra_range, dec_range) if isinstance(pair, Sequence | np.ndarray) and len(pair) == 2
    ]
    if len(pairs) != 2:
        raise BadArguments("give ra_range=[from, to] and dec_range=[from, to] in degrees, or a region")
    numbers = [_number("ra_range and dec_range", each) for pair in pairs for each in pair]
    return parse_region("box:" + ",".join(repr(number) for number in numbers))


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadArguments(f"{name}: give numbers of degrees, not {value!r}") from error
