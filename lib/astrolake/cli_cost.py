"""The command `astrolake cost`: what storing, processing and asking would cost on AWS."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields, replace
from typing import Any

from astrolake.batch_processing.cost import (
    Line,
    Scenario,
    Usage,
    estimate,
    scenario,
    scenario_names,
    total_usd,
)
from astrolake.batch_processing.prices import GB_PER_TB, load_prices

#: Flags in TB of quantities in GB.
_TB = {"images_tb": "images_gb", "catalog_tb": "catalog_gb"}


def add_parser(commands: Any) -> None:
    """Add the command to the subcommands of `astrolake`."""
    parser = commands.add_parser("cost", help="estimate what a project costs on AWS")
    parser.description = "An estimate from list prices of a date, measured rates and the quantities given."
    parser.add_argument(
        "--scenario", default="", metavar="NAME", help=f"one of {', '.join(scenario_names())}"
    )
    parser.add_argument("--all", action="store_true", help="all scenarios beside what their documents say")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    for name in _TB:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="TB")
    for item in fields(Usage):
        kind = int if isinstance(item.default, int) and item.name not in ("months", "lambda_s") else float
        kind = float if item.name.endswith(("_gb", "_days", "_hours", "_s", "_dpu")) else kind
        flag = f"--{item.name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, metavar="N", help=f"default {item.default:g}")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> None:
    """Print an estimate."""
    if args.all:
        found = [(one, estimate(one.usage)) for one in map(scenario, scenario_names())]
        print(_json(found) if args.format == "json" else _overview(found))
        return
    chosen = scenario(args.scenario) if args.scenario else Scenario("given", "Given quantities", {}, Usage())
    given = {item.name: getattr(args, item.name) for item in fields(Usage)}
    given |= {gb: getattr(args, tb) * GB_PER_TB for tb, gb in _TB.items() if getattr(args, tb) is not None}
    changes = {name: value for name, value in given.items() if value is not None}
    chosen = replace(chosen, usage=replace(chosen.usage, **changes))
    lines = estimate(chosen.usage)
    print(_json([(chosen, lines)]) if args.format == "json" else _table(chosen, lines))


def _table(chosen: Scenario, lines: list[Line]) -> str:
    rows = [f"{chosen.title}\n", f"{'what':<30}{'price':<30}{'quantity':>16}  {'unit':<12}{'USD':>12}"]
    rows += [
        f"{line.what:<30}{line.service:<30}{line.quantity:>16,.4g}  {line.unit:<12}{line.usd:>12,.4f}"
        for line in lines
    ]
    rows.append(f"{'total':<88}{total_usd(lines):>12,.2f}")
    if chosen.claim:
        rows.append(f"The document says {_claim(chosen)} USD per {chosen.claim['per']}.")
    rows += [chosen.note] if chosen.note else []
    bases = dict.fromkeys(line.basis for line in lines if ":" in line.basis)
    rows += [f"Rate: {basis}" for basis in bases]
    return "\n".join([*rows, _caveat()])


def _overview(found: list[tuple[Scenario, list[Line]]]) -> str:
    rows = [f"{'scenario':<26}{'estimate, USD':>16}{'document, USD':>18}  what"]
    rows += [
        f"{one.name:<26}{total_usd(lines):>16,.2f}{_claim(one):>18}  {one.title}" for one, lines in found
    ]
    return "\n".join([*rows, _caveat()])


def _claim(chosen: Scenario) -> str:
    return f"{chosen.claim['low']:,} to {chosen.claim['high']:,}"


def _caveat() -> str:
    prices = load_prices()
    return f"An estimate, with prices of {prices.date} in {prices.region}. {prices.note}"


def _json(found: list[tuple[Scenario, list[Line]]]) -> str:
    prices = load_prices()
    estimates = [
        {
            "scenario": one.name,
            "title": one.title,
            "claim": one.claim or None,
            "note": one.note,
            "usage": asdict(one.usage),
            "lines": [asdict(line) for line in lines],
            "total_usd": round(total_usd(lines), 6),
        }
        for one, lines in found
    ]
    head = {"prices_of": prices.date, "region": prices.region, "currency": "USD", "is_estimate": True}
    return json.dumps(head | {"note": prices.note, "estimates": estimates}, indent=2)
