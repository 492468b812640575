"""How much a query scans: the column chunks that pruning leaves, which is what Athena bills."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.pushdown_predicates import pushdown_predicates
from sqlglot.optimizer.pushdown_projections import pushdown_projections
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.optimizer.simplify import simplify

from astrolake.errors import BadArguments
from astrolake.lake.delta import DataFile, Snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.sql_connection import pinned_snapshot, sql_tables
from astrolake.lake.sql_statement import parse_query, plain_message
from astrolake.schema.model import HEALPIX_COLUMN

_THREADS = 16
#: (column, operator, value): a condition that statistics can rule out.
Bound = tuple[str, str, Any]
_OPERATORS: dict[type[exp.Expr], str] = {exp.EQ: "=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


@dataclass(frozen=True)
class Scan:
    """What a query reads.

    Parameters
    ----------
    bytes : int
        Compressed column chunks of the row groups that no condition rules out.
    files, files_of : int
        Data files that are read, and those that the tables have; a table that is named twice counts twice.
    """

    bytes: int
    files: int
    files_of: int

    def __str__(self) -> str:
        return f"{self.bytes:,} bytes in {self.files} of {self.files_of} files"


@dataclass(frozen=True)
class _Reading:
    """One place where a query names a table: the columns it needs, and what bounds them."""

    table: str
    columns: frozenset[str]
    bounds: tuple[Bound, ...]


def scan_size(lake: Lake, sql: str, versions: Mapping[str, int] | None = None) -> Scan:
    """Return what a query scans, by statistics of files and row groups; it is not run.

    Conditions of the form ``column <op> constant`` that must hold for a row count, wherever they are
    pushed down to; no dynamic filters of joins, so that an engine may read less.

    Parameters
    ----------
    lake : Lake
    sql : str
        A SELECT in Athena's SQL; see `bind` for parameters.
    versions : mapping of str to int
        Versions to read instead of the newest, by table.

    Raises
    ------
    BadArguments
        When the statement cannot be parsed, or a column or table in it cannot be resolved.
    TableNotFound
        When it names a table that is not there.
    """
    query, known = parse_query(sql), sql_tables(lake)
    snapshots = {name: pinned_snapshot(lake, name, versions or {}, known)[1] for name in query.tables}
    scans = [_scan(snapshots[reading.table], reading) for reading in _readings(query.tree, snapshots)]
    return Scan(sum(s.bytes for s in scans), sum(s.files for s in scans), sum(s.files_of for s in scans))


def _readings(tree: exp.Expr, snapshots: Mapping[str, Snapshot]) -> list[_Reading]:
    schema: dict[str, object] = {
        table: {name.lower(): "unknown" for name in snapshot.schema.names}
        for table, snapshot in snapshots.items()
    }
    try:
        tree = qualify(_without_databases(tree), schema=schema, dialect="athena", quote_identifiers=False)
        tree = pushdown_projections(tree)
        tree = pushdown_predicates(simplify(tree, dialect="athena"), dialect="athena")
        scopes = traverse_scope(tree)
    except SqlglotError as error:
        raise BadArguments(f"the columns of the query cannot be resolved: {plain_message(error)}") from error
    return [
        _Reading(
            source.name.lower(),
            frozenset(column.name.lower() for column in scope.source_columns(alias)),
            tuple(_bounds(scope.expression.args.get("where"), alias)),
        )
        for scope in scopes
        for alias, (_, source) in scope.selected_sources.items()
        if isinstance(source, exp.Table)
    ]


def _without_databases(tree: exp.Expr) -> exp.Expr:
    tree = tree.copy()
    for table in tree.find_all(exp.Table):
        table.set("db", None)
        table.set("catalog", None)
    return tree


def _bounds(where: exp.Expr | None, alias: str) -> Iterable[Bound]:
    """Yield the bounds on columns of one source that all rows must keep."""
    if where is None:
        return
    whole = where.this.unnest()
    for part in whole.flatten() if isinstance(whole, exp.And) else [whole]:
        condition = part.unnest()
        if isinstance(condition, exp.Between):
            yield from _bound(condition.this, ">=", condition.args["low"], alias)
            yield from _bound(condition.this, "<=", condition.args["high"], alias)
        elif operator := _OPERATORS.get(type(condition)):
            yield from _bound(condition.this, operator, condition.expression, alias)
            yield from _bound(condition.expression, _MIRRORED[operator], condition.this, alias)


def _bound(column: exp.Expr, operator: str, value: exp.Expr, alias: str) -> Iterable[Bound]:
    column, constant = column.unnest(), _constant(value.unnest())
    if isinstance(column, exp.Column) and column.table == alias and constant is not None:
        yield column.name.lower(), operator, constant


def _constant(value: exp.Expr) -> str | int | float | None:
    """Return the value of a literal, None for anything else."""
    if isinstance(value, exp.Neg):
        inner = _constant(value.this.unnest())
        return -inner if isinstance(inner, int | float) else None
    if not isinstance(value, exp.Literal):
        return None
    if value.is_string:
        return str(value.this)
    return int(value.this) if value.is_int else float(value.this)


def _scan(snapshot: Snapshot, reading: _Reading) -> Scan:
    kept = [file for file in snapshot.files if _may_hold(_file_ranges(file), reading.bounds)]
    with ThreadPoolExecutor(_THREADS) as pool:
        sizes = list(pool.map(lambda file: _chunk_bytes(snapshot, file, reading), kept))
    return Scan(sum(sizes), len(kept), len(snapshot.files))


def _file_ranges(file: DataFile) -> dict[str, tuple[Any, Any]]:
    """Return the least and greatest value of the row key and of the partition columns."""
    values = {
        name.lower(): int(value) for name, value in file.partition_values().items() if value is not None
    }
    ranges: dict[str, tuple[Any, Any]] = {name: (value, value) for name, value in values.items()}
    if file.low is not None and file.high is not None:
        ranges[HEALPIX_COLUMN] = (file.low, file.high)
    return ranges


def _may_hold(ranges: Mapping[str, tuple[Any, Any]], bounds: Sequence[Bound]) -> bool:
    return all(
        name not in ranges or _meets(ranges[name], operator, value) for name, operator, value in bounds
    )


def _meets(span: tuple[Any, Any], operator: str, value: Any) -> bool:
    low, high = span
    if isinstance(value, str) != isinstance(low, str) or isinstance(low, bool):
        return True
    meets = {
        "=": lambda: low <= value <= high,
        "<": lambda: low < value,
        "<=": lambda: low <= value,
        ">": lambda: high > value,
        ">=": lambda: high >= value,
    }
    return bool(meets[operator]())


def _chunk_bytes(snapshot: Snapshot, file: DataFile, reading: _Reading) -> int:
    storage = snapshot.storage
    with storage.fs.open(storage.path(*file.path.split("/")), "rb") as stream:
        metadata = pq.read_metadata(pa.PythonFile(stream, mode="r"))
    leaves = [str(metadata.schema.column(i).path).split(".")[0].lower() for i in range(metadata.num_columns)]
    wanted = [i for i, name in enumerate(leaves) if name in reading.columns]
    total = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        ranges = {leaves[i]: span for i in wanted if (span := _chunk_range(group.column(i)))}
        if _may_hold(ranges, reading.bounds):
            total += sum(group.column(i).total_compressed_size for i in wanted)
    return total


def _chunk_range(chunk: Any) -> tuple[Any, Any] | None:
    stats = chunk.statistics
    return (stats.min, stats.max) if stats is not None and stats.has_min_max else None
