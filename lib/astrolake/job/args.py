"""Flags of a job: a frozen dataclass, its parser, and Glue's own flags set aside."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar, get_type_hints

from astrolake.errors import BadArguments
from astrolake.lake.partitioning import COUNT_ORDER

#: Flags that Glue itself puts on a job's command line (AWS Glue, "Using job parameters").
_GLUE = re.compile(
    r"^--(JOB_[A-Z_]+|SECURITY_CONFIGURATION|TempDir|RedshiftTempDir|WORKFLOW_[A-Z_]+"
    r"|additional-python-modules|python-modules-installer-option|auto-scale-within-microbatch|class|conf"
    r"|continuous-log-.+|custom-logGroup-prefix|custom-logStream-prefix|customer-(driver|executor)-env-vars"
    r"|datalake-formats|disable-proxy-v2|enable-.+|encryption-type|executor-cores|extra-files|extra-jars"
    r"|extra-py-files|job-bookmark-.+|job-language|packages|python-version|python-virtual-env|scriptLocation"
    r"|spark-event-logs-path|use-postgres-driver|user-jars-first|write-shuffle-.+)$"
)
#: Its value, an option of pip, looks like a flag.
_TAKES_A_FLAG = "--python-modules-installer-option"


def flag(default: Any = dataclasses.MISSING, *, help: str, choices: Sequence[str] = ()) -> Any:
    """Declare a field as a flag; without default the flag is required."""
    metadata = {"help": help, "choices": tuple(choices)}
    if isinstance(default, list | tuple):
        return field(default_factory=lambda: tuple(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class JobArgs:
    """Flags that every job has; a job adds its own in a subclass."""

    lake: str = flag(help="root of the lake: a directory, file:///... or s3://bucket/prefix")
    strict: bool = flag(False, help="exit with 3 when anything was rejected")
    max_rows: int = flag(1_000_000, help="greatest number of rows in a HEALPix partition")
    order_min: int = flag(0, help="coarsest HEALPix order of a partition")
    order_max: int = flag(COUNT_ORDER, help="finest one, which may hold more than --max-rows")
    local_memory: str = flag("2g", help="memory of embedded Spark (ignored on a cluster)")
    s3_endpoint_url: str = flag("", help="endpoint of an S3-compatible store")
    s3_region: str = flag("", help="region of the lake's bucket")

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise BadArguments(f"--max-rows must be at least 1, not {self.max_rows}")
        if not 0 <= self.order_min <= self.order_max <= COUNT_ORDER:
            raise BadArguments(
                f"--order-min {self.order_min} --order-max {self.order_max}: give orders within "
                f"[0, {COUNT_ORDER}], the coarser first"
            )
        self.check()

    def check(self) -> None:
        """Raise BadArguments for values that no run could use; subclasses extend this."""

    @property
    def storage_options(self) -> dict[str, str]:
        """Object-store options from the flags."""
        return s3_options(self.s3_endpoint_url, self.s3_region)


@dataclass(frozen=True, kw_only=True)
class ImageArgs(JobArgs):
    """Flags of a job that works on images of the lake."""

    band: tuple[str, ...] = flag((), help="bands of the images to take (all)")
    survey: str = flag("", help="survey of the images to take (all)")
    where: str = flag("", help='SQL condition on the table images, e.g. "mjd > 59000"')


@dataclass(frozen=True, kw_only=True)
class LearningArgs(JobArgs):
    """Flags of a job that trains: how trees and networks learn."""

    n_trees: int = flag(500, help="trees of a forest, rounds of boosting (500, of gbt rather 100)")
    max_depth: int = flag(20, help="depth of a tree (of gbt and xgboost rather 6)")
    max_bins: int = flag(128, help="thresholds of a feature that are tried")
    min_instances: int = flag(1, help="galaxies of a leaf, at least")
    learning_rate: float = flag(0.1, help="of boosting")
    epochs: int = flag(60, help="times that a network sees each galaxy")
    cross_validate: bool = flag(False, help="choose among a few settings of trees by cross-validation")
    max_training_rows: int = flag(1_000_000, help="sample that is collected; MLlib grows trees on all rows")
    seed: int = flag(1, help="of everything random")


def s3_options(endpoint_url: str, region: str) -> dict[str, str]:
    """Return object-store options for an endpoint and a region, each empty when not given."""
    options = {"AWS_ENDPOINT_URL": endpoint_url, "AWS_REGION": region}
    if endpoint_url.startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    return {name: value for name, value in options.items() if value}


A = TypeVar("A", bound=JobArgs)


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that the runner decides on the exit code."""

    def error(self, message: str) -> NoReturn:
        raise BadArguments(f"{message}\n{self.format_usage().strip()}\nUse --help for all flags.")


def parse_args(kind: type[A], argv: Sequence[str], name: str, doc: str) -> A:
    """Return the validated arguments of a job.

    Raises
    ------
    BadArguments
        For an unknown, missing or malformed flag; the message names it.
    """
    parser = _parser(kind, name, doc)
    known, unknown = parser.parse_known_args(list(argv))
    rest = drop_glue_flags(unknown)
    if rest:
        flags = sorted(option for action in parser._actions for option in action.option_strings)
        raise BadArguments(f"{name}: unknown arguments {rest}; known flags are {', '.join(flags)}")
    return kind(**vars(known))


def drop_glue_flags(argv: Sequence[str]) -> list[str]:
    """Return the arguments without the flags Glue reserves, and without their values."""
    rest: list[str] = []
    skip_value = False
    before = ""
    for token in argv:
        is_flag, before = token.startswith("--") and before != _TAKES_A_FLAG, token
        if is_flag:
            skip_value = bool(_GLUE.match(token.partition("=")[0]))
            if not skip_value:
                rest.append(token)
        elif skip_value:
            skip_value = False
        else:
            rest.append(token)
    return rest


def _parser(kind: type[JobArgs], name: str, doc: str) -> _Parser:
    parser = _Parser(prog=name, description=doc, allow_abbrev=False)
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        options: dict[str, Any] = {"help": item.metadata["help"], "required": required, "dest": item.name}
        if not required:
            options["default"] = default
        if item.metadata["choices"]:
            options["choices"] = item.metadata["choices"]
        options |= _value_options(hints[item.name])
        parser.add_argument("--" + item.name.replace("_", "-"), **options)
    return parser


def _value_options(hint: Any) -> dict[str, Any]:
    if hint is bool:
        return {"nargs": "?", "const": True, "type": _boolean, "metavar": "true|false"}
    if hint == tuple[str, ...]:
        return {"nargs": "+", "action": _Values}
    if hint == tuple[float, ...]:
        return {"nargs": "+", "action": _Values, "type": _numbers}
    return {"type": _number if hint is float else hint}


class _Values(argparse.Action):
    """Several values after one flag, or one JSON list (Glue passes one string a flag); repeats add up."""

    given: tuple[Any, ...] = ()

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        for value in values:
            self.given += tuple(value if isinstance(value, list) else _texts(value))
        setattr(namespace, self.dest, self.given)


def _texts(value: str) -> list[str]:
    """Return the strings of a JSON list of strings; any other value, ``[ab].fits`` too, is one string.

    An empty value is no string: a template that always gives a parameter gives it so.
    """
    if not value:
        return []
    try:
        found = json.loads(value) if value.startswith("[") else None
    except json.JSONDecodeError:
        return [value]
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        return found
    return [value]


def _numbers(text: str) -> list[float]:
    try:
        return [_number(part) for part in text.strip("[]").split(",") if part.strip()]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _number(text: str) -> float:
    """Return a finite number: NaN and infinities pass every later comparison in silence."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return number


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "yes", ""):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def print_help(kind: type[JobArgs], name: str, doc: str) -> None:
    """Print the help of a job to stdout."""
    sys.stdout.write(_parser(kind, name, doc).format_help())
