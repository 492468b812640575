"""Query results as text: aligned columns for a terminal, CSV, JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

#: Positions and times keep decimals (0.004 arcsec, 0.1 s); other numbers significant digits.
_POSITIONS = re.compile(r"(^|_)(ra|dec|mjd)$")
_POSITION_DECIMALS = 6
_DIGITS = 6


def format_table(table: pa.Table, *, max_width: int = 60) -> str:
    """Return the rows as aligned columns under their names, followed by their number.

    Numbers stand to the right with the digits that matter, null is ``-``.

    Parameters
    ----------
    table : pa.Table
    max_width : int
        Longer cells are cut and end in an ellipsis.
    """
    columns = [_column(name, table.column(i), max_width) for i, name in enumerate(table.column_names)]
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    rows = table.num_rows
    return "\n".join([*lines, f"({rows} row{'' if rows == 1 else 's'})"])


def format_csv(table: pa.Table) -> str:
    """Return the rows as CSV with a header; null is empty, lists are JSON."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(map(_csv_value, column.to_pylist()) for column in table.columns), strict=True))
    return buffer.getvalue()


def format_json_lines(table: pa.Table) -> str:
    """Return one JSON object a row; null, NaN and infinity are null, times are ISO 8601."""
    columns = [map(_json_value, column.to_pylist()) for column in table.columns]
    rows: Iterable[tuple[Any, ...]] = zip(*columns, strict=True)
    return "".join(json.dumps(dict(zip(table.column_names, row, strict=True))) + "\n" for row in rows)


def _column(name: str, values: pa.ChunkedArray, max_width: int) -> list[str]:
    """Return header, rule and cells of one column, padded to one width."""
    kind = values.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    cells = _float_cells(name, values) if pa.types.is_floating(kind) else map(_cell, values.to_pylist())
    texts = [name, *(_cut(cell, max_width) for cell in cells)]
    width = max(map(len, texts))
    texts.insert(1, "-" * width)
    return [text.rjust(width) if numeric else text.ljust(width) for text in texts]


def _float_cells(name: str, values: pa.ChunkedArray) -> list[str]:
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    finite = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)])
    form = f".{_decimals(name, finite)}f"
    if finite.size and (finite.max() >= 1e9 or finite.min() < 1e-4):
        form = f".{_DIGITS}g"
    return ["-" if value is None else format(value, form) for value in values.to_pylist()]


def _decimals(name: str, finite: np.ndarray) -> int:
    if _POSITIONS.search(name):
        return _POSITION_DECIMALS
    if not finite.size:
        return 1
    most = int(np.clip(_DIGITS - 1 - math.floor(math.log10(finite.max())), 1, _DIGITS))
    # A column that was rounded shows no more decimals than it was rounded to.
    return next((d for d in range(1, most) if np.array_equal(np.round(finite, d), finite)), most)


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return format(value, f".{_DIGITS}g")
        case datetime():
            return value.isoformat(" ", "seconds").removesuffix("+00:00")
        case list():
            return "[" + ", ".join(map(_cell, value)) + "]"
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _cut(text: str, max_width: int) -> str:
    return text if len(text) <= max_width else text[: max_width - 1] + "…"


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool | list | dict):
        return json.dumps(_json_value(value))
    return _json_value(value) if isinstance(value, bytes | date) else value


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, bool | int | str) or value is None else str(value)
