"""Subcommands of `astrolake` for AWS: their flags; what they do is in `cli_aws_data` and `cli_aws_stack`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any

DEFAULT_STACK = "sky-survey-stack"


def add_aws_commands(commands: Any) -> None:
    """Add the subcommands to those of `astrolake`."""
    for add in (_add_setup, _add_download, _add_upload, _add_invoke, _add_query, _add_cleanup):
        add(commands)


def _add_setup(commands: Any) -> None:
    parser = _command(commands, "setup", "cli_aws_stack", "make or change the stack on AWS")
    _stack(parser)
    parser.add_argument("--tier", choices=("serverless", "full"), default="", help="serverless if new")
    parser.add_argument("--environment", choices=("dev", "prod"), default="dev")
    parser.add_argument("--alert-email", default="", help="address that alerts are sent to")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, change nothing")
    parser.add_argument("--artifacts-only", action="store_true", help="upload what the stack needs, no more")
    parser.add_argument("--checkout", default=".", help="directory with cloudformation/, jobs/ and dist/")
    parser.add_argument("--artifacts-bucket", default="", help="in place of <project>-artifacts-...")
    parser.add_argument("--vpc-id", default="", help="in place of the region's default VPC")
    parser.add_argument("--subnet-ids", nargs="+", default=[], metavar="SUBNET", help="of that VPC")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PARAMETER=VALUE", help="parameter of the template"
    )


def _add_download(commands: Any) -> None:
    summary = "sample images of SDSS, or a generated sky, to this machine"
    parser = commands.add_parser("download", help=summary, description=summary)
    parser.add_argument("--out", default="sample", help="directory of the images")
    parser.add_argument("--generated", action="store_true", help="write a generated sky; needs no network")
    parser.add_argument(
        "--field", nargs="+", default=[], metavar="RUN-CAMCOL-FIELD", help="in place of the sample"
    )
    parser.add_argument("--bands", default="", help="such as gr, in place of all")
    parser.add_argument("--base-url", default="", help="directory of the frames, in place of SDSS's DR17")
    parser.add_argument("--workers", type=_positive, default=4, help="files at a time")
    parser.set_defaults(command=_later("cli_aws_data", "download"))


def _add_upload(commands: Any) -> None:
    parser = _command(commands, "upload", "cli_aws_data", "images of this machine to S3")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files, and directories with images")
    _bucket(parser, "SurveyImagesBucket")
    parser.add_argument("--every-file", action="store_true", help="of directories, not just images")
    parser.add_argument("--workers", type=_positive, default=4, help="files at a time")


def _add_invoke(commands: Any) -> None:
    parser = _command(commands, "invoke", "cli_aws_data", "find the sources on the images of a bucket")
    _bucket(parser, "SurveyImagesBucket")
    parser.add_argument("--function", default="", help="Lambda function; the stack's by default")
    parser.add_argument(
        "--local", action="store_true", help="run the function in this process, not on Lambda"
    )
    parser.add_argument("--catalog-bucket", default="", help="for --local: where sources are written")
    parser.add_argument("--database", default="", help="for --local: Glue database; the stack's by default")
    parser.add_argument("--workers", type=_positive, default=None, help="images at a time; 8, or 1 if local")


def _add_query(commands: Any) -> None:
    parser = _command(commands, "query", "cli_aws_data", "ask Athena, or its local twin, in SQL")
    _stack(parser)
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("sql", nargs="?", metavar="SQL", help="one statement; :name stands for a value")
    text.add_argument("--file", help="file with the statement, such as sql/queries/cone_search.sql")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="number, true, false or text of :NAME",
    )
    parser.add_argument(
        "--text", action="append", default=[], metavar="NAME=VALUE", help="text of :NAME even if a number"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME=TABLE",
        help="table, column or database of ${NAME}",
    )
    parser.add_argument(
        "--cone",
        nargs=3,
        type=float,
        metavar=("RA", "DEC", "ARCSEC"),
        help="sets :ra, :dec, :radius_arcsec and the ranges of a cone search",
    )
    parser.add_argument("--database", default="", help="Glue database; the stack's by default")
    parser.add_argument("--workgroup", default="", help="Athena workgroup; the stack's by default")
    parser.add_argument("--output", default="", help="s3://... for results where the workgroup says nothing")
    parser.add_argument("--local", action="store_true", help="ask the local twin of Athena")
    parser.add_argument("--format", choices=("table", "csv", "jsonl"), default="table")
    parser.add_argument(
        "--max-rows", type=_positive, default=None, help="rows shown; 1000 for a table, all otherwise"
    )
    parser.add_argument(
        "--quicksight-manifest", default="", metavar="FILE", help="write QuickSight's manifest of the answer"
    )


def _add_cleanup(commands: Any) -> None:
    parser = _command(commands, "cleanup", "cli_aws_stack", "delete the stack and all that it holds")
    _stack(parser)
    parser.add_argument("--environment", choices=("dev", "prod"), default="dev", help="prod must be said")
    parser.add_argument(
        "--bucket", nargs="+", default=[], help="delete these instead, which an earlier cleanup left"
    )
    parser.add_argument("--keep-data", action="store_true", help="keep the stack's buckets")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be deleted")
    parser.add_argument("--yes", action="store_true", help="do not ask; for scripts")


def _command(commands: Any, name: str, module: str, summary: str) -> argparse.ArgumentParser:
    """Return the parser of a command, run by the function of its name in a module."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("--region", default="", help="AWS region; the ambient one by default")
    parser.add_argument("--profile", default="", help="AWS profile; the ambient one by default")
    parser.set_defaults(command=_later(module, name))
    return parser


def _later(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """Return a function that is imported when it is called: boto3 is not needed to show help."""

    def run(args: argparse.Namespace) -> int:
        return int(getattr(importlib.import_module(f"astrolake.{module}"), function)(args))

    return run


def _stack(parser: Any) -> None:
    parser.add_argument("--stack", default=DEFAULT_STACK, help=f"CloudFormation stack ({DEFAULT_STACK})")


def _bucket(parser: argparse.ArgumentParser, output: str) -> None:
    group = parser.add_mutually_exclusive_group()
    _stack(group)
    group.add_argument("--bucket", default="", help=f"in place of the stack's {output}")
    parser.add_argument("--prefix", default="", help="of the keys")


def _positive(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)
