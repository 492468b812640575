"""What a container of AWS Batch runs: one SDSS field, or any astrolake job over a slice of a manifest.

    entrypoint.py field --run 2583 --camcol 2 --field 136 --bands g r i --output s3://bucket/processed
    entrypoint.py step ingest_images --manifest s3://bucket/frames.txt --slice-size 100 -- --lake s3://bucket/lake

Exit codes are those of every job: 0 done, 1 failed (nothing written), 2 bad arguments, 3 with --strict when
anything was rejected. Logs go to stderr; the last line on stdout is a JSON summary.

Environment: IMAGES_URI (where frames lie, in place of --images), LAKE (in place of --lake), LOG_LEVEL,
AWS_BATCH_JOB_ARRAY_INDEX (the slice; set by Batch).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from astrolake.batch_processing.field_task import FieldTask, add_field_flags
from astrolake.batch_processing.manifest import read_slice, unpack_indices
from astrolake.errors import AstrolakeError, BadArguments
from astrolake.redact import RedactingFormatter

DONE, FAILED, BAD_ARGUMENTS, REJECTED = 0, 1, 2, 3
#: The flag of a job that takes the files of a slice.
INPUT_FLAGS = {"ingest_images": "--images", "ingest_catalog": "--input"}
#: Jobs that take the images of a slice, by their URIs.
WHERE_JOBS = ("extract_sources", "force_photometry")
#: Bound of the first pause between tries, in seconds; it doubles.
_PAUSE_S = 10.0
_LOG = logging.getLogger("astrolake")


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command line and return the exit code."""
    _configure_logging(environment.get("LOG_LEVEL", "INFO"))
    own, _, rest = _split(argv)
    try:
        flags = _parser().parse_args(own)
        if flags.command == "field":
            return _field(flags, environment)
        return _step(flags, rest, environment)
    except BadArguments as error:
        _LOG.error("%s", error)
        return BAD_ARGUMENTS
    except (AstrolakeError, OSError) as error:
        _LOG.error("%s", error)
        return FAILED


def _split(argv: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Return the words before and after the first ``--``: those after it are the job's."""
    words = list(argv)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], "--", words[at + 1 :]


def _field(flags: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from astrolake.batch_processing.field_catalog import process_field

    clock = time.monotonic()
    task = FieldTask.of_flags(flags, environment.get("IMAGES_URI", ""))
    found = process_field(task, again=flags.again)
    _summarise(
        job="field",
        run_id=found.run_id,
        status="done",
        rows_in=found.frames,
        rows_out=found.frames - found.rejected,
        rows_rejected=found.rejected,
        rows_written={"catalog": found.rows},
        catalog=found.catalog_uri,
        kept=found.kept,
        seconds=round(time.monotonic() - clock, 3),
    )
    return REJECTED if flags.strict and found.rejects else DONE


def _step(flags: argparse.Namespace, job_flags: list[str], environment: Mapping[str, str]) -> int:
    from astrolake.cli import load_job
    from astrolake.job import main as run_job

    job = load_job(flags.job)

    def tried(words: list[str]) -> int:
        return _tried(lambda: run_job(job, words), flags.tries)

    if "LAKE" in environment and not any(word.split("=")[0] == "--lake" for word in job_flags):
        job_flags = [*job_flags, "--lake", environment["LAKE"]]
    if not flags.manifest:
        return tried(job_flags)
    index = _slice_index(flags, environment)
    inputs = read_slice(flags.manifest, index, flags.slice_size)
    _LOG.info("slice %d of %s: %d inputs", index, flags.manifest, len(inputs))
    if flags.job in WHERE_JOBS:
        return tried([*job_flags, "--where", _where(inputs)])
    flag = flags.input_flag or INPUT_FLAGS.get(flags.job, "")
    if not flag:
        takers = ", ".join([*INPUT_FLAGS, *WHERE_JOBS])
        raise BadArguments(
            f"{flags.job} takes no manifest: give --input-flag, or no --manifest; those that do are {takers}"
        )
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as listed:
        listed.write("\n".join(inputs) + "\n")
        listed.flush()
        return tried([*job_flags, flag, f"@{listed.name}"])


def _tried(run: Callable[[], int], tries: int) -> int:
    """Run a job until it does not fail: children of an array that write one table meet in its commits.

    A job that failed has changed nothing, so that it may be run again.
    """
    for attempt in range(1, tries):
        if (code := run()) != FAILED:
            return code
        pause_s = random.uniform(0, _PAUSE_S * 2**attempt)  # noqa: S311 - no secret
        _LOG.warning("try %d of %d failed; the next one follows in %.0f s", attempt, tries, pause_s)
        time.sleep(pause_s)
    return run()


def _slice_index(flags: argparse.Namespace, environment: Mapping[str, str]) -> int:
    text = environment.get("AWS_BATCH_JOB_ARRAY_INDEX", "0")
    if not text.isdecimal():
        raise BadArguments(f"AWS_BATCH_JOB_ARRAY_INDEX {text!r} is no number")
    index = int(text)
    if not flags.indices:
        return index
    chosen = unpack_indices(flags.indices)
    if index >= len(chosen):
        raise BadArguments(
            f"--indices {flags.indices} has no index {index}: make the array {len(chosen)} large"
        )
    return chosen[index]


def _where(uris: Sequence[str]) -> str:
    quoted = ", ".join("'" + uri.replace("\\", "\\\\").replace("'", "\\'") + "'" for uri in uris)
    return f"uri IN ({quoted})"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="entrypoint.py", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(required=True, dest="command", metavar="field|step")
    add_field_flags(commands.add_parser("field", help="extract one SDSS field"))
    step = commands.add_parser("step", help="run an astrolake job; its own flags follow --")
    step.add_argument("job", metavar="JOB")
    step.add_argument("--manifest", default="", help="text file with one input a line")
    step.add_argument("--slice-size", type=_positive, default=100, help="inputs of a child of an array job")
    step.add_argument("--indices", default="", help="slices to run, as 0-3,7; the child's index counts these")
    step.add_argument("--tries", type=_positive, default=3, help="runs of a job that fails")
    step.add_argument("--input-flag", default="", help="the job's flag that takes @files")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise BadArguments(f"{self.prog}: {message}")


def _summarise(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _configure_logging(level: str) -> None:
    if not _LOG.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        _LOG.addHandler(handler)
        _LOG.propagate = False
    known = level.upper() in logging.getLevelNamesMapping()
    _LOG.setLevel(level.upper() if known else logging.INFO)
    if not known:
        _LOG.warning("LOG_LEVEL %r is none of %s: INFO", level, ", ".join(logging.getLevelNamesMapping()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
