"""Runs a job: arguments, session, reconciliation, commits, provenance, exit code."""

from __future__ import annotations

import json
import logging
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException

from astrolake import __version__
from astrolake.errors import AstrolakeError, BadArguments, BadInput, RowsDoNotReconcile
from astrolake.job.args import JobArgs, parse_args, print_help
from astrolake.job.context import JobContext, Outcome
from astrolake.job.progress import stage_progress
from astrolake.lake.delta import apply_commit
from astrolake.lake.hats import release_claim
from astrolake.lake.lake import Lake
from astrolake.lake.runs import RunRecord
from astrolake.lake.session import spark_session
from astrolake.lake.storage import Storage
from astrolake.redact import RedactingFormatter, redact
from astrolake.schema import REJECTS

DONE, FAILED, BAD_ARGUMENTS, REJECTED = 0, 1, 2, 3
#: What Spark says of a worker that was killed.
_WORKER_DIED = "Python worker exited unexpectedly (crashed)"
_LOG = logging.getLogger("astrolake")


@dataclass(frozen=True)
class Job:
    """A deployable job.

    Parameters
    ----------
    name : str
        The same as its file and its Glue job.
    args : type
        Its flags.
    run : callable
        ``run(args, context) -> Outcome``.
    doc : str
        First line of the help.
    creates_lake : bool
        Whether it may start a new lake.
    """

    name: str
    args: type[Any]
    run: Callable[[Any, JobContext], Outcome]
    doc: str
    creates_lake: bool = False


def main(job: Job, argv: Sequence[str] | None = None) -> int:
    """Run a job from its command line and return the exit code (see docs/architecture.md).

    Logs go to stderr; the last line on stdout is the JSON summary.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if "--help" in given or "-h" in given:
        print_help(job.args, job.name, job.doc)
        return DONE
    _configure_logging()
    try:
        args = parse_args(job.args, given, job.name, job.doc)
    except (BadArguments, BadInput) as error:  # the latter of a file that a flag names
        _LOG.error("%s", error)
        return BAD_ARGUMENTS
    with _terminable():
        summary = run_job(job, args)
    # The log has it already, in front of what may be a long way to this line.
    summary.pop("message", None)
    sys.stdout.write(json.dumps(summary) + "\n")
    sys.stdout.flush()
    if summary["status"] == "bad_arguments":
        return BAD_ARGUMENTS
    if summary["status"] != "done":
        return FAILED
    return REJECTED if args.strict and summary["rows_rejected"] else DONE


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the run as an error does: recorded, and cleared up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_job(job: Job, args: JobArgs) -> dict[str, Any]:
    """Run a job with its arguments and return its summary; failures are part of the summary."""
    started = datetime.now(UTC)
    clock = time.monotonic()
    run_id = f"{started:%Y%m%dT%H%M%S}-{job.name}-{secrets.token_hex(3)}"
    record = RunRecord(run_id, job.name, __version__, asdict(args), started)
    lake: Lake | None = None
    try:
        lake = (Lake.create if job.creates_lake else Lake.open)(args.lake, args.storage_options)
        record.record(lake)
        _execute(job, args, lake, record)
    except (AstrolakeError, PySparkException, Py4JError, DeltaError, OSError) as error:
        record.status = "bad_arguments" if isinstance(error, BadArguments) else "failed"
        record.message = _first_cause(error)
        _LOG.error("%s failed: %s", job.name, record.message)
        if not isinstance(error, AstrolakeError):
            _LOG.debug("traceback", exc_info=True)
    except Exception as error:  # noqa: BLE001 - whatever it is: the caller reads the summary, the log has it all
        record.status, record.message = "failed", f"{type(error).__name__}: {error}"
        _LOG.exception("%s failed", job.name)
    except BaseException as error:
        record.status, record.message = "failed", f"{type(error).__name__}: {error}"
        _finish(lake, record)
        raise
    _finish(lake, record)
    return {
        **({"message": record.message} if record.message else {}),
        "job": job.name,
        "run_id": run_id,
        "status": record.status,
        "rows_in": record.rows_in,
        "rows_out": record.rows_out,
        "rows_rejected": record.rows_rejected,
        "tables": record.outputs,
        "rows_written": record.rows_written,
        "seconds": round(time.monotonic() - clock, 3),
    }


def _execute(job: Job, args: JobArgs, lake: Lake, record: RunRecord) -> None:
    spark = spark_session(
        job.name, Storage.at(args.lake, args.storage_options), local_memory=args.local_memory
    )
    orders = (args.order_min, args.order_max)
    context = JobContext(spark, lake, record.run_id, job.name, args.max_rows, orders, record.inputs)
    with stage_progress(spark.sparkContext, job.name), closing(context):
        outcome = job.run(args, context)
        record.rows_in, record.rows_out = outcome.rows_in, outcome.rows_out
        record.rows_rejected = outcome.rows_rejected
        _reconcile(outcome)
        _commit(outcome, context, record)
    record.status = "done"


def _reconcile(outcome: Outcome) -> None:
    if outcome.rows_in != outcome.rows_out + outcome.rows_rejected:
        raise RowsDoNotReconcile(
            f"rows_in {outcome.rows_in} differs from rows_out {outcome.rows_out} + rows_rejected "
            f"{outcome.rows_rejected}: nothing was committed; please report this"
        )


def _commit(outcome: Outcome, context: JobContext, record: RunRecord) -> None:
    pending = list(outcome.written)
    if outcome.rejects is not None:
        rejects = outcome.rejects.selectExpr(
            f"'{context.job}' as job", "source", "error_type", "message", "payload"
        )
        recorded = context.writer.append_rows(rejects, REJECTS)
        if recorded.rows_new < outcome.rows_rejected:
            raise RowsDoNotReconcile(
                f"{outcome.rows_rejected} rejected, but only {recorded.rows_new} reasons to record; "
                "nothing was committed; please report this"
            )
        pending.extend([recorded] if recorded.rows_new else [])
    for written in pending:
        record.outputs[written.table] = apply_commit(written.commit)
        record.rows_written[written.table] = written.rows_new
        release_claim(context.lake.table_storage(written.table), context.run_id)
    record.outputs |= outcome.tables


def _finish(lake: Lake | None, record: RunRecord) -> None:
    record.ended_at = datetime.now(UTC)
    record.message = redact(record.message) if record.message else record.message
    if lake is None:
        return
    try:
        record.record(lake)
    except (AstrolakeError, DeltaError, OSError) as error:
        # The tables are as the status says; a full disk must not hide that.
        _LOG.error("run %s (%s) could not be recorded: %s", record.run_id, record.status, _first_cause(error))


def _first_cause(error: BaseException) -> str:
    """Return one line: of Spark's errors the innermost cause, else type and message."""
    text = str(error).strip()
    if isinstance(error, AstrolakeError):
        return text
    if not isinstance(error, PySparkException | Py4JError):
        return f"{type(error).__name__}: {text}"
    if _WORKER_DIED in text:
        return "a Python worker died again and again: killed, or out of memory (give it more, or fewer cores)"
    if isinstance(error, Py4JError) and not isinstance(error, Py4JJavaError):
        first = text.splitlines()[0] if text else type(error).__name__
        return f"Java stopped answering: killed, or out of memory ({first})"
    _, python, trace = text.rpartition("Traceback (most recent call last):\n")
    lines = [line for line in trace.splitlines() if line.strip() and not line.startswith((" ", "\t"))]
    if python and lines:
        return lines[0]
    # A Java stack trace starts with ": " and ends with the innermost cause.
    marks = (": ", "Caused by: ")
    causes = [line.removeprefix(mark) for mark in marks for line in lines if line.startswith(mark)]
    return causes[-1] if causes else f"{type(error).__name__}: {lines[0] if lines else text}"


def _configure_logging() -> None:
    if not _LOG.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        _LOG.addHandler(handler)
        _LOG.setLevel(logging.INFO)
        _LOG.propagate = False
