"""Unit prices of AWS, from one file with a date, and the arithmetic of how AWS charges."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from astrolake.errors import BadArguments

GB_PER_TB = 1024
_MB_PER_TB = 1024 * 1024


@dataclass(frozen=True)
class Prices:
    """Unit prices.

    Parameters
    ----------
    date, region, note : str
    table : dict
        Entries of the file by key.
    """

    date: str
    region: str
    note: str
    table: dict[str, dict[str, Any]]

    def entry(self, key: str) -> dict[str, Any]:
        """Return usd, unit, source, and what else is known of a price.

        Raises
        ------
        BadArguments
            When there is no such price; the message lists all.
        """
        if key not in self.table:
            raise BadArguments(f"no price {key!r}; there are {', '.join(sorted(self.table))}")
        return self.table[key]

    def usd(self, key: str, quantity: float) -> float:
        """Return the price of a quantity in US dollars; of what is charged by tiers, over the tiers."""
        entry = self.entry(key)
        tiers = entry.get("tiers") or [[None, entry["usd"]]]
        total, below = 0.0, 0.0
        for top, usd in tiers:
            above = math.inf if top is None else float(top)
            total += max(min(quantity, above) - below, 0.0) * usd
            below = above
        return total


@cache
def load_prices() -> Prices:
    """Return the prices of the file that comes with the library."""
    found = json.loads(files(__package__).joinpath("prices.json").read_text(encoding="utf-8"))
    return Prices(found["date"], found["region"], found["note"], found["prices"])


def athena_tb(queries: int, scanned_gb: float, minimum_mb: int) -> float:
    """Return the TB that queries are charged for: each rounded up to the MB, at least the minimum.

    Parameters
    ----------
    queries : int
    scanned_gb : float
        By each of them.
    minimum_mb : int
    """
    megabytes = max(math.ceil(round(scanned_gb * GB_PER_TB, 6)), minimum_mb)
    return queries * megabytes / _MB_PER_TB


def lambda_gb_seconds(invocations: int, seconds: float, memory_gb: float) -> float:
    """Return the GB-seconds that invocations are charged for: each rounded up to the millisecond."""
    return invocations * math.ceil(round(seconds * 1000, 6)) / 1000 * memory_gb


def charged_hours(seconds: float, minimum_s: float) -> float:
    """Return the hours that a run of a service charged by the second with a minimum is charged for."""
    return max(math.ceil(round(seconds, 6)), minimum_s) / 3600 if seconds > 0 else 0.0
