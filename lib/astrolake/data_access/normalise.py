"""Rows of any catalog in the lake's columns: checked positions and identifiers, and rejects with reasons."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrolake.data_access.column_map import ColumnMap, resolve_columns
from astrolake.data_access.formats.base import Malformed
from astrolake.errors import BadArguments
from astrolake.schema import CATALOG, REGISTRY, Table
from astrolake.schema.arrow import arrow_type, column_of

__all__ = [
    "ColumnMap",
    "Reject",
    "generated_ids",
    "lake_table",
    "malformed_rejects",
    "normalise_batch",
    "output_schema",
    "resolve_columns",
]

#: Tables that other jobs write, beside those of the registry.
_RESERVED = {
    "alerts",
    "clusters",
    "correlation",
    "crossmatches",
    "cutouts",
    "light_curves",
    "models",
    "morphology",
    "photoz",
    "transients",
}
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_PAYLOAD_BYTES = 1000
#: Rejected rows of a batch whose values are recorded; of the others only number and reason.
_MAX_PAYLOADS = 1000


@dataclass(frozen=True)
class Reject:
    """A row that does not go into the table; fields are those of the table `rejects`."""

    source: str
    error_type: str
    message: str
    payload: str


def generated_ids(row_numbers: NDArray[np.int64], label: str) -> NDArray[np.int64]:
    """Return identifiers for the rows of a file that has none.

    (h + row) mod 2**63, with h the first 63 bits of SHA-256 of the label: the same for the
    same file, distinct within it, and so thinly spread that files meet with a chance
    of about files**2 * rows / 2**63.

    Parameters
    ----------
    row_numbers : (N,) int64
    label : str
        What identifies the file, see `InputFile.label`.
    """
    start = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big") >> 1
    ids = row_numbers.astype(np.uint64) + np.uint64(start)
    return (ids & np.uint64(2**63 - 1)).astype(np.int64)


def output_schema(schema: pa.Schema, column_map: ColumnMap) -> pa.Schema:
    """Return the columns of `normalise_batch`: source_id, ra, dec, then the others of the input."""
    id_type = _id_type(schema, column_map)
    head = [pa.field("source_id", id_type), pa.field("ra", pa.float64()), pa.field("dec", pa.float64())]
    extra = [
        pa.field(lake, arrow_type(column_of(schema.field(name))), metadata=schema.field(name).metadata)
        for name, lake in column_map.extra
    ]
    return pa.schema([*head, *extra])


def _id_type(schema: pa.Schema, column_map: ColumnMap) -> pa.DataType:
    is_text = column_map.id is not None and pa.types.is_string(schema.field(column_map.id).type)
    return pa.string() if is_text else pa.int64()


def normalise_batch(
    batch: pa.RecordBatch,
    row_numbers: NDArray[np.int64],
    column_map: ColumnMap,
    source_label: str,
    id_label: str = "",
) -> tuple[pa.RecordBatch, list[Reject]]:
    """Return the rows in the lake's columns, and those with unusable position or identifier.

    Positions become float64 degrees, right ascensions in [-360, 720] are wrapped into
    [0, 360). Rejected are rows whose ra or dec is null, NaN or infinite, whose dec lies
    outside [-90, 90] or ra outside [-360, 720], and whose identifier is null or empty.
    len(batch) == rows returned + rejects; the order is kept.

    Parameters
    ----------
    batch : pa.RecordBatch
        Input columns, as `read_batches` gives them.
    row_numbers : (N,) int64
        Numbers of the rows in their file.
    source_label : str
        URI of the file, for the rejects.
    id_label : str
        What generated identifiers are made from, see `generated_ids`; `source_label` if empty.
    """
    ra = _degrees(batch.column(column_map.ra), column_map.ra_factor)
    dec = _degrees(batch.column(column_map.dec), column_map.dec_factor)
    if column_map.id is None:
        ids = pa.array(generated_ids(row_numbers, id_label or source_label))
    else:
        ids = batch.column(column_map.id)
    problems = _problems(ra, dec, _missing_ids(ids))
    good = np.ones(batch.num_rows, dtype=bool)
    for _, _, mask in problems:
        good &= ~mask
    schema = output_schema(batch.schema, column_map)
    columns = [
        ids,
        pa.array(_wrapped(ra)),
        pa.array(dec),
        *(batch.column(name) for name, _ in column_map.extra),
    ]
    arrays = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
    records = pa.RecordBatch.from_arrays(arrays, schema=schema)
    if good.all():
        return records, []
    return records.filter(pa.array(good)), _rejects(batch, row_numbers, problems, source_label)


Problem = tuple[str, str, NDArray[np.bool_]]


def _problems(ra: NDArray[np.float64], dec: NDArray[np.float64], no_id: NDArray[np.bool_]) -> list[Problem]:
    no_position = ~(np.isfinite(ra) & np.isfinite(dec))
    with np.errstate(invalid="ignore"):
        bad_dec = np.abs(dec) > 90.0
        bad_ra = (ra < -360.0) | (ra > 720.0)
    return [
        ("MissingPosition", "ra or dec is null, NaN or infinite; correct the row", no_position),
        ("PositionOutOfRange", "dec lies outside [-90, 90] degrees; correct the row or its unit", bad_dec),
        ("PositionOutOfRange", "ra lies outside [-360, 720] degrees; correct the row or its unit", bad_ra),
        ("MissingId", "the identifier is null or empty; correct the row or name another column", no_id),
    ]


def _degrees(column: pa.Array, factor: float) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values if factor == 1.0 else values * factor


def _wrapped(ra_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        wrapped: NDArray[np.float64] = np.mod(ra_deg, 360.0)
    # A tiny negative angle rounds up to 360 itself.
    return np.where(wrapped == 360.0, 0.0, wrapped)


def _missing_ids(ids: pa.Array) -> NDArray[np.bool_]:
    missing = pc.is_null(ids)
    if pa.types.is_string(ids.type):
        missing = pc.or_(missing, pc.fill_null(pc.equal(ids, ""), True))
    mask: NDArray[np.bool_] = missing.to_numpy(zero_copy_only=False)
    return mask


def _rejects(
    batch: pa.RecordBatch, row_numbers: NDArray[np.int64], problems: Iterable[Problem], source: str
) -> list[Reject]:
    reasons: dict[int, tuple[str, str]] = {}
    for kind, message, mask in problems:
        for i in np.flatnonzero(mask):
            reasons.setdefault(int(i), (kind, message))
    order = sorted(reasons)
    payloads = [_payload(row) for row in batch.take(pa.array(order[:_MAX_PAYLOADS], pa.int64())).to_pylist()]
    payloads += [""] * (len(order) - len(payloads))
    return [
        Reject(f"{source} row {row_numbers[i]}", *reasons[i], payload)
        for i, payload in zip(order, payloads, strict=True)
    ]


def _payload(row: dict[str, Any]) -> str:
    """Return the row as a JSON object of at most 1000 bytes; columns that do not fit are left out."""
    parts: list[str] = []
    size = 2
    for name, value in row.items():
        part = f"{json.dumps(name)}: {_json(value)}"
        if size + len(part) + 2 <= _PAYLOAD_BYTES:
            parts.append(part)
            size += len(part) + 2
    return "{" + ", ".join(parts) + "}"


def _json(value: Any) -> str:
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        # JSON has no NaN or infinity.
        return json.dumps(str(value))


def malformed_rejects(malformed: Iterable[Malformed], source_label: str) -> list[Reject]:
    """Return the rejects for rows that could not be read."""
    return [
        Reject(f"{source_label} row {bad.row}", "MalformedRow", f"{bad.message}; correct the row", bad.text)
        for bad in malformed
    ]


def lake_table(name: str, schema: pa.Schema, column_map: ColumnMap) -> Table:
    """Declare the table of an ingested catalog: the columns of CATALOG, then those of the input.

    Raises
    ------
    BadArguments
        When the name is not lower snake case or belongs to another table of the lake.
    """
    if not _TABLE_NAME.fullmatch(name):
        raise BadArguments(
            f"--table {name!r} must be lower snake case: a letter, then at most 99 letters, digits and _"
        )
    if "_x_" in name:
        raise BadArguments(f"--table {name!r}: _x_ joins the two names of a cross-match; choose another name")
    if name in _RESERVED | set(REGISTRY) or name.startswith("forced_"):
        raise BadArguments(f"--table {name!r} is a table that another job writes; choose another name")
    id_type = "string" if pa.types.is_string(_id_type(schema, column_map)) else "int64"
    columns = tuple(replace(c, type=id_type) if c.name == "source_id" else c for c in CATALOG.columns)
    extra = []
    for original, lake in column_map.extra:
        column = column_of(schema.field(original))
        doc = column.doc if lake == original else f"{column.doc} (input column {original!r})".strip()
        extra.append(replace(column, name=lake, doc=doc))
    return replace(CATALOG, columns=columns, doc=f"Ingested catalog {name}.").with_columns(tuple(extra), name)
