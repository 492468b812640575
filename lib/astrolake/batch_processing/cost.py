"""Estimates what storing, processing and asking cost on AWS: quantities, measured rates, list prices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from astrolake.batch_processing.prices import (
    Prices,
    athena_tb,
    charged_hours,
    lambda_gb_seconds,
    load_prices,
)
from astrolake.errors import BadArguments

_DAYS_PER_MONTH = 30.0
#: Bands of a field that the rate is of.
_BANDS = 3
#: Beyond these no quantity makes sense, and floats no sums.
_MOST, _LEAST_IMAGE_MB = 1e15, 1e-3
#: vCPUs of a job that extracts a field.
_FIELD_VCPUS = 2


@dataclass(frozen=True)
class Usage:
    """What is stored, processed and asked; what is 0 costs nothing.

    Parameters
    ----------
    months : float
        For how long images and catalogs are stored.
    images_gb, catalog_gb : float
    image_mb : float
        Of an image, which makes their number.
    ia_after_days, glacier_after_days : float
        Age at which images go to Standard-IA and Glacier Instant Retrieval; 0 for never.
    puts, gets : int
        Requests of S3 beside those that processing makes.
    invocations, lambda_s, lambda_gb
        Of the function for uploads, the seconds and memory of each.
    fields, bands : int
        SDSS fields to extract, and of how many bands.
    spot : int
        Whether Batch uses spot instances, 1 or 0.
    galaxies : int
        To classify.
    photoz : int
        Objects to give a redshift.
    training_hours : float
        Of ml.p3.2xlarge.
    glue_dpu, glue_runs, glue_s
        DPUs of a Glue job, its runs, and the seconds of each.
    queries, scanned_gb
        Of Athena, and what each scans.
    logs_gb, transfer_gb : float
        Logs beside those of processing; bytes out of AWS.
    alerts : int
        Messages of SNS by e-mail.

    Raises
    ------
    BadArguments
        When a quantity is negative or beyond all measure, or images would go to Glacier before they go to
        Standard-IA.
    """

    months: float = 1
    images_gb: float = 0
    catalog_gb: float = 0
    image_mb: float = 3.4
    ia_after_days: float = 0
    glacier_after_days: float = 0
    puts: int = 0
    gets: int = 0
    invocations: int = 0
    lambda_s: float = 5
    lambda_gb: float = 2
    fields: int = 0
    bands: int = _BANDS
    spot: int = 1
    galaxies: int = 0
    photoz: int = 0
    training_hours: float = 0
    glue_dpu: float = 2
    glue_runs: int = 0
    glue_s: float = 60
    queries: int = 0
    scanned_gb: float = 0
    logs_gb: float = 0
    transfer_gb: float = 0
    alerts: int = 0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 <= value <= _MOST:
                raise BadArguments(f"{item.name} {repr(value)[:30]}: give a number from 0 to {_MOST:g}")
        if self.image_mb < _LEAST_IMAGE_MB:
            raise BadArguments(
                f"image_mb {self.image_mb:g}: give the size of an image, at least {_LEAST_IMAGE_MB:g}"
            )
        if self.ia_after_days and 0 < self.glacier_after_days < self.ia_after_days + 30:
            raise BadArguments(
                f"glacier_after_days {self.glacier_after_days:g}: an object stays in Standard-IA for 30 days "
                f"at least; give {self.ia_after_days + 30:g} or more"
            )


@dataclass(frozen=True)
class Line:
    """One item of an estimate."""

    what: str
    service: str
    quantity: float
    unit: str
    usd: float
    basis: str


@dataclass(frozen=True)
class Scenario:
    """Quantities with a name, and what a project's document says they cost.

    Parameters
    ----------
    name, title, note : str
    claim : dict
        low, high (USD), per, from.
    usage : Usage
    """

    name: str
    title: str
    claim: dict[str, Any]
    usage: Usage
    note: str = ""


@cache
def _data() -> dict[str, Any]:
    text = files(__package__).joinpath("scenarios.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def scenario_names() -> list[str]:
    """Return the names of all scenarios."""
    return list(_data()["scenarios"])


def scenario(name: str) -> Scenario:
    """Return a scenario.

    Raises
    ------
    BadArguments
        When there is none of this name; the message lists all.
    """
    if name not in _data()["scenarios"]:
        raise BadArguments(f"no scenario {name!r}; there are {', '.join(scenario_names())}")
    found = _data()["scenarios"][name]
    return Scenario(name, found["title"], found["claim"], Usage(**found["usage"]), found.get("note", ""))


def rate(name: str) -> tuple[float, str]:
    """Return a rate at which things are processed, and whether it was measured, claimed or assumed."""
    found = _data()["rates"][name]
    return float(found["value"]), f"{found['value']:g} {found['unit']} ({found['basis']})"


def estimate(usage: Usage, prices: Prices | None = None) -> list[Line]:
    """Return the items that cost something, in US dollars.

    Parameters
    ----------
    usage : Usage
    prices : Prices
        Those of the library's file by default.
    """
    book = prices or load_prices()
    makers = (_storage, _requests, _function, _batch, _learning, _redshifts, _glue, _asking)
    return [line for make in makers for line in make(usage, book) if line.usd > 0]


def total_usd(lines: list[Line]) -> float:
    """Return the sum of an estimate."""
    return sum(line.usd for line in lines)


def _line(book: Prices, what: str, key: str, quantity: float, basis: str = "given") -> Line:
    unit = book.entry(key)["unit"]
    return Line(what, key, quantity, unit, book.usd(key, quantity), basis)


def _storage(usage: Usage, book: Prices) -> Iterator[Line]:
    """Images, class after class as they age, and catalogs; a month has 30 days."""
    steps = [
        ("standard", 0.0),
        ("standard_ia", usage.ia_after_days),
        ("glacier_ir", usage.glacier_after_days),
    ]
    steps = [(name, days / _DAYS_PER_MONTH) for name, days in steps if name == "standard" or days]
    ends = [begin for _, begin in steps[1:]] + [usage.months]
    images = usage.images_gb * 1024 / usage.image_mb
    for (name, begin), end in zip(steps, ends, strict=True):
        months = max(min(end, usage.months) - begin, 0.0)
        if not months:
            continue
        key = f"s3.{name}"
        monthly = book.usd(key, usage.images_gb)
        basis = f"{months:g} months"
        yield Line(f"images in {name}", key, usage.images_gb * months, "GB-month", monthly * months, basis)
        if name != "standard":
            yield _line(book, f"images to {name}", f"s3.transition.{name}", images, "an image each")
    monthly = book.usd("s3.standard", usage.catalog_gb)
    quantity, basis = usage.catalog_gb * usage.months, f"{usage.months:g} months"
    yield Line("catalogs", "s3.standard", quantity, "GB-month", monthly * usage.months, basis)


def _requests(usage: Usage, book: Prices) -> Iterator[Line]:
    # Of a field its frames are looked for, listed beside and read twice; catalog and rejects are written.
    frames = usage.fields * usage.bands
    yield _line(
        book, "S3 writes", "s3.put", usage.puts + 2 * usage.fields + 2 * frames + 2 * usage.invocations
    )
    yield _line(book, "S3 reads", "s3.get", usage.gets + 6 * frames + 4 * usage.invocations)


def _function(usage: Usage, book: Prices) -> Iterator[Line]:
    seconds = lambda_gb_seconds(usage.invocations, usage.lambda_s, usage.lambda_gb)
    yield _line(book, "invocations", "lambda.request", usage.invocations)
    yield _line(
        book, "function", "lambda.gb_second", seconds, f"{usage.lambda_s:g} s of {usage.lambda_gb:g} GB"
    )
    # Sent, received and deleted.
    yield _line(book, "messages", "sqs.request", 3 * usage.invocations)
    yield _line(book, "alerts", "sns.publish", usage.alerts)
    yield _line(book, "alerts by e-mail", "sns.email", usage.alerts)


def _batch(usage: Usage, book: Prices) -> Iterator[Line]:
    key = f"batch.c5.2xlarge.{'spot' if usage.spot else 'on_demand'}"
    core_s, basis = rate("field_core_s")
    start_s, start_basis = rate("field_start_s")
    at_once = book.entry(key)["vcpus"] / _FIELD_VCPUS
    hours = usage.fields * (start_s + core_s * usage.bands / _BANDS) / at_once / 3600
    yield _line(book, "extraction of fields", key, hours, f"{basis}; {start_basis}")


def _learning(usage: Usage, book: Prices) -> Iterator[Line]:
    per_s, basis = rate("classified_per_s")
    hours = charged_hours(usage.galaxies / per_s, 0)
    yield _line(book, "classification of galaxies", "sagemaker.ml.g4dn.xlarge", hours, basis)
    yield _line(book, "training", "sagemaker.ml.p3.2xlarge", usage.training_hours)


def _redshifts(usage: Usage, book: Prices) -> Iterator[Line]:
    per_core_s, basis = rate("photoz_per_core_s")
    vcpus, _ = rate("vcpus_per_core")
    memory, _ = rate("gb_per_vcpu")
    minimum = book.entry("emr_serverless.vcpu")["minimum_s"]
    hours = charged_hours(usage.photoz / per_core_s, minimum) * vcpus
    yield _line(book, "redshifts, processors", "emr_serverless.vcpu", hours, basis)
    yield _line(book, "redshifts, memory", "emr_serverless.memory", hours * memory, basis)


def _glue(usage: Usage, book: Prices) -> Iterator[Line]:
    hours = (
        usage.glue_runs * charged_hours(usage.glue_s, book.entry("glue.dpu")["minimum_s"]) * usage.glue_dpu
    )
    yield _line(book, "Glue jobs", "glue.dpu", hours)


def _asking(usage: Usage, book: Prices) -> Iterator[Line]:
    scanned = athena_tb(usage.queries, usage.scanned_gb, book.entry("athena.scan")["minimum_mb"])
    yield _line(book, "queries", "athena.scan", scanned, f"{usage.queries} of {usage.scanned_gb:g} GB")
    per_job, basis = rate("log_gb_per_job")
    logs = usage.logs_gb + per_job * (usage.fields + usage.invocations)
    yield _line(book, "logs", "logs.ingest", logs, basis)
    yield _line(book, "logs, stored", "logs.store", logs * usage.months, f"{usage.months:g} months")
    yield _line(book, "transfer out of AWS", "transfer.out", usage.transfer_gb)
