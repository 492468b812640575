"""Tables that a job about tables works on."""

from __future__ import annotations

from collections.abc import Sequence

from astrolake.errors import TableNotFound
from astrolake.lake.lake import Lake


def chosen_tables(lake: Lake, wanted: Sequence[str]) -> list[str]:
    """Return the wanted tables of a lake, or all.

    Raises
    ------
    TableNotFound
        When one does not exist; the message lists those that do.
    """
    present = lake.tables()
    if missing := [name for name in wanted if name not in present]:
        raise TableNotFound(f"{lake.uri} has no table {missing}; it has {present}")
    return list(dict.fromkeys(wanted)) or present
