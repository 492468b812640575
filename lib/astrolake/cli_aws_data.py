"""What `astrolake download`, `upload`, `invoke` and `query` do and print."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from astrolake.batch_processing.athena import (
    QueryState,
    Target,
    query_cost_usd,
    query_pages,
    quicksight_manifest,
    run_athena,
)
from astrolake.batch_processing.aws import make_session
from astrolake.batch_processing.invoke import Handler, invoke_images, lambda_handler
from astrolake.batch_processing.local_tier import ensure_sources_table, local_handler
from astrolake.batch_processing.objects import list_objects
from astrolake.batch_processing.stacks import stack_output, stack_outputs
from astrolake.batch_processing.upload import find_files, upload_files
from astrolake.batch_processing.upload_function import UploadSettings
from astrolake.data_access.download import download_files
from astrolake.data_access.sdss_sample import sample_frames
from astrolake.data_access.services.client import HttpClient
from astrolake.demo import write_sample_sky
from astrolake.errors import BadArguments
from astrolake.lake.sql import format_csv, format_json_lines, format_table
from astrolake.lake.sql_glue import run_glue_query
from astrolake.lake.sql_params import Value, bind, cone_ranges
from astrolake.redact import redact

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
#: Exit code of a command that Ctrl-C ended, as shells have it.
_INTERRUPTED = 130
_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}|arn:\S+")
#: Of Athena's longest decimals.
_DIGITS = 38
_PAGE_ROWS, _TABLE_ROWS = 10_000, 1000
_REQUESTS_PER_S = 5.0


def download(args: argparse.Namespace) -> int:
    """Download frames of SDSS, or write a generated sky; exit code 1 when any file failed."""
    out = Path(args.out)
    if args.generated:
        sample = write_sample_sky(out)
        print(f"{len(sample.images)} images and {len(sample.bad_images)} damaged ones: {sample.images_dir}")
        return 0
    files = sample_frames(args.out, args.field, args.bands, args.base_url)
    client = HttpClient("SDSS", _REQUESTS_PER_S, args.workers)
    counts: Counter[str] = Counter()
    with tqdm(desc="download", total=len(files), unit="file", disable=None) as bar:
        for outcome in download_files(files, client, args.workers):
            bar.update()
            if outcome.value is None:
                counts["failed"] += 1
                _say(f"failed: {outcome.error}")
            else:
                counts["skipped" if outcome.value.skipped else "new"] += 1
                counts["bytes"] += 0 if outcome.value.skipped else outcome.value.n_bytes
    print(
        f"{counts['new']} downloaded ({counts['bytes'] / 1e6:.1f} MB), {counts['skipped']} there already, "
        f"{counts['failed']} failed: {out}"
    )
    return 1 if counts["failed"] else 0


def upload(args: argparse.Namespace) -> int:
    """Upload files; exit code 1 when any of them failed."""
    session = make_session(args.region, args.profile)
    bucket = _images_bucket(args, session)
    files = find_files(args.paths, args.prefix, args.every_file)
    sent = skipped = failed = n_bytes = 0
    with tqdm(desc="upload", unit="file", disable=None) as bar:
        for outcome in upload_files(files, bucket, args.workers, session):
            bar.update()
            if outcome.value is None:
                failed += 1
                _say(f"failed: {outcome.item.path}: {outcome.error}")
            elif outcome.value.skipped:
                skipped += 1
            else:
                sent += 1
                n_bytes += outcome.value.n_bytes
    print(
        f"{sent} uploaded ({n_bytes / 1e6:.1f} MB), {skipped} there already, {failed} failed: s3://{bucket}"
    )
    return 1 if failed else 0


def invoke(args: argparse.Namespace) -> int:
    """Find the sources on the images of a bucket; exit code 1 when any call failed."""
    session = make_session(args.region, args.profile)
    bucket = _images_bucket(args, session)
    handler = _local(args, session) if args.local else _remote(args, session)
    counts: Counter[str] = Counter()
    images = list_objects(bucket, args.prefix, session)
    with tqdm(desc="images", unit="image", disable=None) as bar:
        for outcome in invoke_images(images, handler, args.workers or (1 if args.local else 8)):
            bar.update()
            if outcome.value is None:
                counts["failed"] += 1
                _say(f"failed: {outcome.item.key}: {outcome.error}")
            else:
                counts.update(_shown(outcome.value.answer))
    total = counts["unchanged"] + counts["done"] + counts["rejected"] + counts["gone"]
    print(
        f"{total} images: {counts['rows']} sources; {counts['unchanged']} as before, "
        f"{counts['rejected']} rejected, {counts['failed']} failed"
    )
    return 1 if counts["failed"] else 0


def _images_bucket(args: argparse.Namespace, session: Any) -> str:
    bucket = args.bucket or stack_output(args.stack, "SurveyImagesBucket", session)
    if not _BUCKET.fullmatch(bucket):
        raise BadArguments(f"--bucket {bucket!r}: give the name alone, without s3:// and slashes")
    return str(bucket)


def _shown(answer: dict[str, Any]) -> Counter[str]:
    """Print what became of the image of an answer, and return what there is to count."""
    counts: Counter[str] = Counter()
    for image in answer.get("images", ()):
        status = str(image["status"])
        unchanged = status == "done" and not image["changed"]
        counts.update({"unchanged" if unchanged else status: 1, "rows": int(image["rows"])})
        tqdm.write(
            redact(f"{status:9s}{image['rows']:7d} sources {image['seconds']:7.1f} s  {image['image']}")
        )
        for reject in image["rejects"]:
            _say(f"rejected: {reject['source']}: {reject['message']}")
    for problem in answer.get("problems", ()):
        counts["failed"] += 1
        _say(f"failed: {problem}")
    return counts


def _remote(args: argparse.Namespace, session: Any) -> Handler:
    function = args.function or stack_output(args.stack, "UploadFunction", session)
    return lambda_handler(function, args.workers or 8, session)


def _local(args: argparse.Namespace, session: Any) -> Handler:
    outputs = {} if args.catalog_bucket and args.database else stack_outputs(args.stack, session)
    bucket = args.catalog_bucket or outputs.get("SourceCatalogsBucket", "")
    settings = UploadSettings(bucket, database=args.database or outputs.get("GlueDatabase", Target.database))
    # What fails is told as the image's outcome; without a handler it would be printed as a traceback, too.
    logging.getLogger("astrolake").addHandler(logging.NullHandler())
    # A bucket that is not there would fail image by image.
    next(list_objects(bucket, session=session), None)
    ensure_sources_table(settings, session)
    return local_handler(settings, session)


def query(args: argparse.Namespace) -> int:
    """Ask one statement and print its rows; what it scanned and cost goes to stderr."""
    sql = args.sql if args.file is None else _read(args.file)
    params, names = query_values(args.param, args.text, args.cone), name_values(args.name)
    session = make_session(args.region, args.profile)
    if args.local:
        return _query_local(args, bind(sql, params, names), session)
    try:
        state = run_athena(sql, params, names, _target(args, session), session, _show_state)
    except KeyboardInterrupt:
        _say("\nthe query is cancelled")
        return _INTERRUPTED
    _say(
        f"query {state.query_id}: {state.seconds:.1f} s, {state.scanned_bytes / 1e6:.1f} MB scanned, "
        f"USD {query_cost_usd(state.scanned_bytes):.5f}"
    )
    if args.quicksight_manifest:
        _write_manifest(args.quicksight_manifest, state)
    pages = query_pages(state, _PAGE_ROWS, session)
    show_pages(
        (pa.Table.from_pandas(page, preserve_index=False) for page in pages), args.format, args.max_rows
    )
    return 0


def _query_local(args: argparse.Namespace, sql: str, session: Any) -> int:
    if args.quicksight_manifest:
        raise BadArguments("--quicksight-manifest needs Athena, which keeps the answer on S3")
    database = args.database or Target.database
    limit = None if args.max_rows is None and args.format != "table" else (args.max_rows or _TABLE_ROWS) + 1
    show_pages(
        iter([run_glue_query(database, sql, limit=limit, session=session)]), args.format, args.max_rows
    )
    return 0


def query_values(
    numbers: Sequence[str], texts: Sequence[str], cone: Sequence[float] | None = None
) -> dict[str, Value]:
    """Return the value of each ``:name``: numbers and truth values where they look so, but not in `texts`."""
    values: dict[str, Value] = {name: _value(text) for name, text in map(_pair, numbers)}
    values |= dict(map(_pair, texts))
    if cone is not None:
        ra, dec, radius_arcsec = cone
        values |= {"ra": ra, "dec": dec, "radius_arcsec": radius_arcsec}
        values |= cone_ranges(ra, dec, radius_arcsec)
    return values


def name_values(pairs: Sequence[str]) -> dict[str, str]:
    """Return the table, column or database for each ``${name}``."""
    return dict(map(_pair, pairs))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadArguments(f"{text!r}: write NAME=VALUE")
    return name, value


def _value(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not _NUMBER.match(text):
        return text
    if set(text) & set(".eE"):
        return float(text)
    if len(text) > _DIGITS:
        raise BadArguments(f"a whole number of {len(text)} digits, Athena has {_DIGITS}; --text passes text")
    return int(text)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadArguments(f"--file {path}: {error}") from error


def _target(args: argparse.Namespace, session: Any) -> Target:
    """Return where to ask; the stack is looked at only for what is not given."""
    if args.workgroup or args.output:
        return Target(args.database or Target.database, args.workgroup, args.output)
    outputs = stack_outputs(args.stack, session)
    database = args.database or outputs.get("GlueDatabase", Target.database)
    return Target(database, outputs.get("AthenaWorkgroup", ""))


def _show_state(state: QueryState) -> None:
    if sys.stderr.isatty():
        end = "\r" if state.is_over else ""
        _say(f"\r\033[K{state.state.lower()}, {state.scanned_bytes / 1e6:.1f} MB scanned{end}", end="")


def _write_manifest(path: str, state: QueryState) -> None:
    if not state.result_uri.endswith(".csv"):
        raise BadArguments("--quicksight-manifest needs a SELECT: only its answer is a CSV file")
    Path(path).write_text(
        json.dumps(quicksight_manifest(state.result_uri), indent=2) + "\n", encoding="utf-8"
    )
    _say(f"QuickSight's manifest is {path}")


def show_pages(pages: Iterator[pa.Table], form: str, max_rows: int | None) -> None:
    """Print rows: a table at once; CSV and JSON lines page by page, so that an answer may have any length."""
    most = max_rows or (_TABLE_ROWS if form == "table" else None)
    shown = _first_rows(pages, most)
    if form == "table":
        tables = list(shown)
        print(format_table(pa.concat_tables(tables)) if tables else "(0 rows)")
        return
    for number, page in enumerate(shown):
        text = format_json_lines(page) if form == "jsonl" else format_csv(page)
        print(text if form == "jsonl" or not number else text.partition("\n")[2], end="")


def _first_rows(pages: Iterator[pa.Table], most: int | None) -> Iterator[pa.Table]:
    left = most
    for page in pages:
        yield page.slice(0, left)
        if left is not None and page.num_rows >= left:
            if page.num_rows > left or next(pages, None) is not None:
                _say(f"only the first {most} rows are shown; --max-rows shows more")
            return
        left = None if left is None else left - page.num_rows


def _say(text: str, end: str = "\n") -> None:
    # Names of files need not be UTF-8.
    shown = redact(text).encode(errors="backslashreplace").decode()
    print(shown, file=sys.stderr, end=end, flush=True)
