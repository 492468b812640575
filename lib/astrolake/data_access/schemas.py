"""Schemas of input files: reduced to the lake's types, checked, and merged over many files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
from astropy import units as u

from astrolake.errors import BadInput
from astrolake.schema import Column, Table
from astrolake.schema.arrow import arrow_type, column_of

_SHOWN = 60
_KEPT_METADATA = (b"unit", b"ucd", b"doc")


def lake_schema(fields: Iterable[pa.Field], source: str) -> pa.Schema:
    """Return the fields in types that the lake has, with their unit, UCD and description.

    A column that holds nothing but nulls keeps the null type: another file may know better.

    Raises
    ------
    BadInput
        When a type has no counterpart, or names are empty, repeat or differ only by case;
        the message names the file, the column and the remedy.
    """
    kept = [_lake_field(field, source) for field in fields]
    seen: dict[str, str] = {}
    for field in kept:
        key = field.name.lower()
        if key in seen:
            raise BadInput(
                f"{source}: the columns {seen[key]!r} and {field.name!r} are one to SQL, which ignores case; "
                "rename one in the file",
                "BadColumnName",
            )
        seen[key] = field.name
    return pa.schema(kept)


def _lake_field(field: pa.Field, source: str) -> pa.Field:
    if not field.name.strip():
        raise BadInput(f"{source}: a column has no name; name every column of the file", "BadColumnName")
    metadata = {key: value for key, value in (field.metadata or {}).items() if key in _KEPT_METADATA} or None
    if pa.types.is_null(field.type):
        return pa.field(field.name, pa.null(), metadata=metadata)
    try:
        return pa.field(field.name, arrow_type(column_of(field)), metadata=metadata)
    except ValueError as error:
        shown = str(field.type) if len(str(field.type)) < _SHOWN else f"{str(field.type)[:_SHOWN]}..."
        raise BadInput(
            f"{source}: column {field.name} is {shown}, which has no counterpart in the lake; exclude it",
            "UnsupportedType",
        ) from error


def merge_schemas(schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    """Return one schema that holds the rows of all files.

    Types widen: int32 -> int64 -> float64 -> string, bool and timestamp -> string; a column
    that a file lacks is null in its rows, one that is null everywhere becomes string.
    Integers that meet floats in another file keep 53 bits.

    Parameters
    ----------
    schemas : sequence of (uri, pa.Schema)
        What `file_schema` returned for each file; columns keep the order of appearance.

    Raises
    ------
    BadInput
        When a column has types or units in two files that do not go together, or names
        that differ only by case; the message names the files, the column and the remedy.
    """
    if not schemas:
        raise BadInput("no file to take a schema from; give at least one", "EmptyInput")
    merged: dict[str, tuple[str, pa.Field]] = {}
    for source, schema in schemas:
        for field in schema:
            known = merged.get(field.name.lower())
            merged[field.name.lower()] = (source, field) if known is None else _merged(*known, source, field)
    return pa.schema([_settled(field) for _, field in merged.values()])


def empty_columns(schemas: Sequence[pa.Schema]) -> set[str]:
    """Return the columns that hold no value in any of the files."""
    found = {field.name for schema in schemas for field in schema if pa.types.is_null(field.type)}
    return found - {field.name for schema in schemas for field in schema if not pa.types.is_null(field.type)}


def fit_schema(schema: pa.Schema, empty: set[str], lake_names: dict[str, str], stored: Table) -> pa.Schema:
    """Return the schema with the types and units of a table that its rows are added to, where they fit.

    Whole numbers become floats where the table has floats, and a column without any value takes any type.
    What does not fit is left as it is, for the write to refuse.

    Parameters
    ----------
    empty : set of str
        Columns without any value.
    lake_names : dict
        Names in the table of the columns of the files.

    Raises
    ------
    BadInput
        When a column has another unit than the table's.
    """
    known = {column.name: column for column in stored.columns}
    fields = []
    for field in schema:
        column = known.get(lake_names.get(field.name, ""))
        fields.append(field if column is None else _fitted(field, field.name in empty, column, stored.name))
    return pa.schema(fields)


def _fitted(field: pa.Field, empty: bool, column: Column, table: str) -> pa.Field:
    metadata = dict(field.metadata or {})
    unit = metadata.get(b"unit", b"").decode()
    if not _same_unit(unit, column.unit):
        raise BadInput(
            f"column {field.name} is in {unit}, but in {column.unit} in the table {table}; convert it, or "
            "ingest all files anew without --append",
            "UnitConflict",
        )
    if column.unit:
        metadata[b"unit"] = column.unit.encode()
    target = arrow_type(column)
    fits = empty or wider_type(field.type, target) == target
    return pa.field(field.name, target if fits else field.type, metadata=metadata or None)


def _settled(field: pa.Field) -> pa.Field:
    return field.with_type(pa.string()) if pa.types.is_null(field.type) else field


def _merged(first: str, known: pa.Field, source: str, field: pa.Field) -> tuple[str, pa.Field]:
    if known.name != field.name:
        raise BadInput(
            f"{source}: column {field.name!r} is spelled {known.name!r} in {first}, and SQL ignores case; "
            "rename or exclude one",
            "BadColumnName",
        )
    arrow = wider_type(known.type, field.type)
    if arrow is None:
        raise BadInput(
            f"{source}: column {field.name} is {field.type}, but {known.type} in {first}; exclude it",
            "TypeConflict",
        )
    mine, theirs = dict(known.metadata or {}), dict(field.metadata or {})
    my_unit, their_unit = (meta.get(b"unit", b"").decode() for meta in (mine, theirs))
    if not _same_unit(my_unit, their_unit):
        raise BadInput(
            f"{source}: column {field.name} is in {their_unit}, but in {my_unit} in {first}; convert one",
            "UnitConflict",
        )
    return first, pa.field(field.name, arrow, metadata={**theirs, **mine} or None)


def wider_type(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """Return the lake type that holds values of both types, None when there is none."""
    types = pa.types
    if a == b or types.is_null(b):
        return a
    if types.is_null(a):
        return b
    if types.is_list(a) and types.is_list(b):
        element = wider_type(a.value_type, b.value_type)
        return None if element is None else pa.list_(pa.field("element", element))
    return None if types.is_nested(a) or types.is_nested(b) else _wider_scalar(a, b)


def _wider_scalar(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_binary(a) or types.is_binary(b):
        return None
    if types.is_integer(a) and types.is_integer(b):
        return pa.int64()
    numbers = all(types.is_integer(t) or types.is_floating(t) for t in (a, b))
    return pa.float64() if numbers else pa.string()


def _same_unit(a: str, b: str) -> bool:
    # An undeclared unit is taken to be the declared one of the other files.
    if not a or not b or a.casefold() == b.casefold():
        return True
    return bool(u.Unit(a, parse_strict="silent") == u.Unit(b, parse_strict="silent"))
