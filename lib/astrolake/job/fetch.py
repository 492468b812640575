"""From a survey's archive into the lake: rows by its service or in bulk, and image files."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from astrolake.data_access.bulk import BulkQuery
from astrolake.data_access.catalog_files import InputFile, ReadOptions
from astrolake.data_access.download import download_files
from astrolake.data_access.imaging.find import check_options, find_images
from astrolake.data_access.manifest import downloaded_before, manifest_row, read_manifest, write_manifest
from astrolake.data_access.normalise import Reject, lake_table, resolve_columns
from astrolake.data_access.places import fetches_of, files_of, manifest_of
from astrolake.data_access.schemas import fit_schema
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.fetch import fetch_catalog
from astrolake.data_access.services.progress_bar import fetch_progress
from astrolake.data_access.spark import plan_catalog, stored_table
from astrolake.data_access.spark_bulk import plan_bulk
from astrolake.data_access.surveys.conditions import parse_filters
from astrolake.data_access.surveys.model import Survey, SurveyTable
from astrolake.data_access.surveys.translate import lake_fields
from astrolake.errors import BadArguments
from astrolake.job.context import JobContext, Outcome
from astrolake.job.ingest import joined, register_images, reject_frame, write_catalog
from astrolake.schema import Table
from astrolake.sky.region import Region

_LOG = logging.getLogger("astrolake")


@dataclass(frozen=True)
class CatalogWish:
    """Rows to fetch; fields are those of `fetch_catalog`."""

    table: SurveyTable
    region: Region
    columns: Sequence[str] | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    cuts: Sequence[str] = ()
    verify_counts: bool = False


@dataclass(frozen=True)
class ImageWish:
    """Images to fetch, in all bands unless some are named; `asked` is the text of the region."""

    survey: Survey
    region: Region
    asked: str
    bands: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def read_json(flag: str, text: str) -> dict[str, Any]:
    """Return the object that a flag holds as JSON, an empty one for no text.

    Raises
    ------
    BadArguments
        When it is none.
    """
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise BadArguments(f"{flag} {text!r} is no JSON ({error}); quote it as a whole") from error
    if not isinstance(found, dict):
        raise BadArguments(f"{flag} {text!r} is no JSON object; write {{...}}")
    return found


def fetch_rows_of(
    context: JobContext, survey: Survey, wish: CatalogWish, source: str, name: str, workers: int
) -> Outcome:
    """Fetch rows and add them to a table of the lake; units are rows.

    Parameters
    ----------
    source : str
        service or bulk.
    name : str
        Of the table; empty: the survey's.

    Raises
    ------
    BadArguments
        When the table has other columns than those asked for.
    BadInput
        When it has them in other units.
    """
    name = name or survey.name
    stored = stored_table(context.writer, name)
    append = stored is not None
    if stored is not None:
        _check_columns(stored, lake_fields(wish.table.select(wish.columns)))
    if source == "bulk":
        columns, conditions = wish.table.select(wish.columns), parse_filters(wish.table, wish.filters)
        query = BulkQuery(wish.table, columns, conditions, tuple(wish.cuts), wish.region)
        return write_catalog(context, *plan_bulk(query, name), append=append)
    files = _fetched_files(context, survey, wish, workers)
    options = ReadOptions(storage_options=context.lake.storage.options)
    planned = plan_catalog(context.spark, files, options, name, "source_id", stored, append=append)
    return write_catalog(context, *planned, append=append)


def _check_columns(stored: Table, coming: pa.Schema) -> None:
    """Refuse rows that a table cannot take before hours are spent on them."""
    fitted = fit_schema(coming, set(), {name: name for name in coming.names}, stored)
    planned = lake_table(stored.name, fitted, resolve_columns(fitted, "ra", "dec", "source_id"))
    there, wanted = ({column.name: column.type for column in t.columns} for t in (stored, planned))
    if wrong := sorted(name for name in there | wanted if there.get(name) != wanted.get(name)):
        raise BadArguments(
            f"table {stored.name} has other columns than those asked for ({', '.join(wrong)}): name another "
            "table by --table, or what it has by --columns and --survey-table"
        )


def _fetched_files(context: JobContext, survey: Survey, wish: CatalogWish, workers: int) -> list[InputFile]:
    with fetch_progress(survey.name) as progress:
        fetched = fetch_catalog(
            wish.table,
            wish.region,
            fetches_of(context.lake, survey),
            columns=wish.columns,
            filters=wish.filters,
            cuts=wish.cuts,
            workers=workers,
            verify_counts=wish.verify_counts,
            progress=progress,
        )
    _LOG.info(
        "%s: %d rows of %s by %d queries (%d rows came twice)",
        survey.title,
        fetched.n_rows,
        wish.table.native,
        fetched.n_queries,
        fetched.n_duplicates,
    )
    return [InputFile(uri, "parquet", label=uri.rpartition("/")[2]) for uri in fetched.uris]


def fetch_images_of(context: JobContext, wish: ImageWish, workers: int) -> Outcome:
    """Download the images of a region into the lake and register them; units are files.

    A file that cannot be had is rejected beside the others. The manifest of the fetch lists all.
    """
    survey, lake = wish.survey, context.lake
    check_options(survey, wish.options)
    service = survey.imaging
    rate = (service.requests_per_s, service.connections) if service else ()
    client = HttpClient(survey.title, *rate)
    files = list(find_images(survey, wish.region, wish.bands, client, files_of(lake, survey), **wish.options))
    manifest = manifest_of(lake, survey, wish.asked, wish.bands, wish.options)
    options = lake.storage.options
    known = downloaded_before(row for row in read_manifest(manifest, options) if "error" not in row)
    rows: list[dict[str, Any]] = []
    failed: list[Reject] = []
    with tqdm(desc=f"download {survey.name}", total=len(files), unit="file", disable=None) as bar:
        for outcome in download_files(files, client, workers, options, known):
            bar.update()
            if outcome.value is not None:
                rows.append(manifest_row(outcome.item, outcome.value))
                continue
            kind = getattr(outcome.error, "kind", type(outcome.error).__name__)
            failed.append(Reject(outcome.item.url, kind, str(outcome.error), ""))
            rows.append({"uri": outcome.item.uri, "url": outcome.item.url, "error": str(outcome.error)})
    write_manifest(manifest, rows, options)
    _LOG.info(
        "%s: %d files, %d could not be had; manifest %s", survey.title, len(files), len(failed), manifest
    )
    lost = Outcome(len(failed), 0, len(failed), [], reject_frame(context, failed))
    there = sorted(row["uri"] for row in rows if "error" not in row)
    if not there:
        return lost
    return joined([register_images(context, there, survey.name, options), lost])
