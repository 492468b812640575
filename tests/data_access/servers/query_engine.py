"""Tables that answer the ADQL and T-SQL of catalog services: SQLite in memory with their functions."""

import math
import re
import sqlite3
import threading

import pyarrow as pa

_TOP = re.compile(r"^\s*SELECT\s+TOP\s+(\d+)\s+", re.IGNORECASE)
_CONTAINS = re.compile(
    r"CONTAINS\(\s*POINT\(\s*'ICRS'\s*,\s*(\w+)\s*,\s*(\w+)\s*\)\s*,\s*CIRCLE\(\s*'ICRS'\s*,([^)]*)\)\s*\)\s*=\s*1"
)
_NEARBY = re.compile(r"dbo\.fGetNearbyObjAllEq\(([^,()]*),([^,()]*),([^,()]*)\)")


class QueryRefused(Exception):
    """The query is none that the database understands."""


class Database:
    """Tables by the names that queries use, with or without a schema."""

    def __init__(self, tables: dict[str, pa.Table], ra: str = "ra", dec: str = "dec") -> None:
        self._schemas = {name.lower(): table.schema for name, table in tables.items()}
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.create_function("in_circle", 5, _in_circle, deterministic=True)
        for name, table in tables.items():
            self._add(name, table, ra, dec)

    def _add(self, name: str, table: pa.Table, ra: str, dec: str) -> None:
        schema, _, bare = name.rpartition(".")
        if schema:
            self._connection.execute(f"ATTACH ':memory:' AS {schema}")
        columns = ", ".join(f'"{column}"' for column in table.column_names)
        self._connection.execute(f"CREATE TABLE {name} ({columns})")
        marks = ", ".join("?" * table.num_columns)
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        self._connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        prefix = f"{schema}." if schema else ""
        self._connection.execute(f'CREATE INDEX {prefix}by_position_{bare} ON {bare} ("{ra}", "{dec}")')

    def run(self, sql: str, max_rows: int | None = None) -> pa.Table:
        """Return the rows of a query, in the types of the tables; one more than `max_rows` where there are."""
        limits = [max_rows + 1] if max_rows is not None else []
        if top := _TOP.match(sql):
            limits.append(int(top[1]))
            sql = "SELECT " + sql[top.end() :]
        sql = _CONTAINS.sub(r"in_circle(\1, \2, \3)", sql)
        objects = (
            "(SELECT objID FROM PhotoObj WHERE dec BETWEEN {1} - {2} / 60.0 AND {1} + {2} / 60.0 "
            "AND in_circle(ra, dec, {0}, {1}, {2} / 60.0))"
        )
        sql = _NEARBY.sub(lambda found: objects.format(*found.groups()), sql)
        if limits:
            sql += f" LIMIT {min(limits)}"
        with self._lock:
            try:
                cursor = self._connection.execute(sql)
                rows = cursor.fetchall()
            except sqlite3.Error as error:
                raise QueryRefused(str(error)) from error
        names = [column[0] for column in cursor.description]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        types = [self._type(name, sql) for name in names]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        return pa.table(dict(zip(names, arrays, strict=True)))

    def _type(self, name: str, sql: str) -> pa.DataType:
        for table, schema in self._schemas.items():
            if table in sql.lower():
                found = {field.name.lower(): field.type for field in schema}
                return found.get(name.lower(), pa.int64())
        return pa.int64()


def _in_circle(ra: float, dec: float, ra0: float, dec0: float, radius: float) -> bool:
    a, b = math.radians(dec), math.radians(dec0)
    half = math.sin((a - b) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(ra - ra0) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(half, 1.0)))) <= radius
