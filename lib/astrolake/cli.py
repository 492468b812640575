"""The command `astrolake`: run a job, ask SQL, list tables, draw pictures, show the demo."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from deltalake.exceptions import DeltaError
from pyarrow import ArrowException

from astrolake import __version__, cli_cost
from astrolake.cli_aws import add_aws_commands
from astrolake.errors import AstrolakeError, BadArguments
from astrolake.job import Job
from astrolake.job import main as run_main
from astrolake.job.args import s3_options
from astrolake.lake.lake import Lake
from astrolake.redact import redact

#: Of the extra `sql`, which clusters do without.
_SQL_MODULES = ("duckdb", "duckdb_extension_delta", "sqlglot")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed, 2 bad arguments, 3 strict rejects."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        # Everything after the job's name is the job's own, --help included.
        if given[:1] == ["run"] and len(given) > 1 and not given[1].startswith("-"):
            return run_main(load_job(given[1]), given[2:])
        args = _parser().parse_args(given)
        return int(args.command(args) or 0)
    except BadArguments as error:
        print(redact(f"astrolake: {error}"), file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except ModuleNotFoundError as error:
        if error.name not in _SQL_MODULES:
            raise
        print(f"astrolake: {error}: pip install 'astrolake[sql]'", file=sys.stderr)
        return 1
    except (AstrolakeError, ArrowException, DeltaError, OSError) as error:
        print(redact(f"astrolake: {error}"), file=sys.stderr)
        return 1


def job_names() -> list[str]:
    """Return the names of all jobs."""
    jobs = importlib.import_module("astrolake.jobs")
    return sorted(module.name for module in pkgutil.iter_modules(jobs.__path__))


def load_job(name: str) -> Job:
    """Return a job by name, or raise BadArguments listing all."""
    if name not in job_names():
        raise BadArguments(f"no job {name!r}; the jobs are {', '.join(job_names())}")
    job: Job = importlib.import_module(f"astrolake.jobs.{name}").JOB
    return job


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="astrolake", description=__doc__)
    parser.add_argument("--version", action="version", version=f"astrolake {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help=f"run a job: {', '.join(job_names())}")
    run.add_argument("job", metavar="JOB", help="then the job's flags; JOB --help lists them")
    run.set_defaults(command=lambda args: run_main(load_job(args.job), []))
    sql = _with_lake(commands.add_parser("sql", help="ask a lake in Athena SQL"), _sql)
    sql.add_argument("query", help="one SELECT; tables are named as `astrolake tables` lists them")
    sql.add_argument("--format", choices=("table", "csv", "jsonl"), default="table")
    sql.add_argument(
        "--version-of", action="append", default=[], metavar="TABLE=N", help="read an earlier version"
    )
    sql.add_argument("--scan", action="store_true", help="tell how much the query scans, without running it")
    _with_lake(commands.add_parser("tables", help="list the tables of a lake"), _tables)
    plot = _with_lake(commands.add_parser("plot", help="draw a lake's pictures and an HTML report"), _plot)
    plot.add_argument("--out", default="pictures", help="directory for the pictures")
    plot.add_argument("--truth", default="", help="Parquet file with the true sources, if known")
    demo = commands.add_parser("demo", help="the whole chain on a generated sky")
    demo.add_argument("--dir", default="demo", help="where the sample sky, the lake and the report go")
    demo.add_argument(
        "--seed",
        type=int,
        choices=range(2**31),
        metavar="SEED",
        default=7,
        help="another seed gives another sky",
    )
    demo.set_defaults(command=_demo)
    add_aws_commands(commands)
    cli_cost.add_parser(commands)
    return parser


def _seed(text: str) -> int:
    if not (text.isdecimal() and text.isascii()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _with_lake(parser: argparse.ArgumentParser, command: object) -> argparse.ArgumentParser:
    parser.add_argument("--lake", required=True, help="root of the lake: a directory or s3://...")
    parser.add_argument("--s3-endpoint-url", default="", help="endpoint of an S3-compatible store")
    parser.add_argument("--s3-region", default="", help="region of the lake's bucket")
    parser.set_defaults(command=command)
    return parser


def _sql(args: argparse.Namespace) -> None:
    from astrolake.lake.sql import run_query
    from astrolake.lake.sql_text import format_csv, format_json_lines, format_table

    if args.scan:
        from astrolake.lake.sql_scan import scan_size

        print(scan_size(_lake(args), args.query, _versions(args.version_of)))
        return
    answer = run_query(_lake(args), args.query, versions=_versions(args.version_of))
    form = {"table": format_table, "csv": format_csv, "jsonl": format_json_lines}[args.format]
    print(form(answer).rstrip("\n"))


def _versions(pairs: Sequence[str]) -> dict[str, int]:
    versions = {}
    for pair in pairs:
        table, _, number = pair.partition("=")
        if not (number.isdecimal() and number.isascii() and len(number) < 19):
            raise BadArguments(f"--version-of {pair!r}: write TABLE=NUMBER")
        versions[table] = int(number)
    return versions


def _tables(args: argparse.Namespace) -> None:
    import pyarrow as pa

    from astrolake.cli_report import inventory
    from astrolake.lake.sql_text import format_table

    print(format_table(pa.Table.from_pandas(inventory(_lake(args)), preserve_index=False)))


def _plot(args: argparse.Namespace) -> None:
    from astrolake.cli_report import write_report

    truth = Path(args.truth) if args.truth else None
    if truth is not None and not truth.is_file():
        raise BadArguments(f"--truth {args.truth}: there is no such file")
    for path in write_report(_lake(args), Path(args.out), truth):
        print(path)


def _demo(args: argparse.Namespace) -> int:
    from astrolake.cli_demo import run_demo

    return run_demo(Path(args.dir), args.seed)


def _lake(args: argparse.Namespace) -> Lake:
    return Lake.open(args.lake, s3_options(args.s3_endpoint_url, args.s3_region))


if __name__ == "__main__":
    sys.exit(main())
