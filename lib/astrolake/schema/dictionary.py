"""What the columns mean: the data dictionary, and the declaration of a table as it is stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pyarrow as pa

from astrolake.schema.arrow import column_of
from astrolake.schema.model import PARTITION_COLUMNS, Column, Table
from astrolake.schema.objects import EBV, OBJECTS, band_columns, colour_column, dereddened_columns
from astrolake.schema.serverless import SOURCES
from astrolake.schema.tables import CATALOG, CROSSMATCH, REGISTRY

#: The partition columns of every positional table; they stand in paths, not in files.
PARTITION = (
    Column("Norder", "int32", "HEALPix order of the partition", nullable=False),
    Column("Dir", "int32", "Npix rounded down to a multiple of 10000", nullable=False),
    Column("Npix", "int32", "HEALPix cell of the partition (NESTED) at its order", nullable=False),
)

_HEADER = """# Data dictionary

Generated from the table registry by `python docs/make_dictionary.py`; edit
the tables in `lib/astrolake/schema/`, not this page.

Units follow the IVOA/FITS spelling, UCDs are UCD1+ words. Magnitudes are AB, angles are
degrees unless the unit says otherwise, times are UTC. A column that may be missing is null
there, never NaN. A cross-match `crossmatches/a_x_b` is called `crossmatches_a_x_b` in SQL.
"""
_COLUMN_HEADS = ("column", "type", "unit", "UCD", "null", "meaning")


def data_dictionary(flags: Mapping[int, str], photoz_flags: Mapping[int, str] | None = None) -> str:
    """Return the Markdown page that describes all declared tables.

    Parameters
    ----------
    flags : mapping of int to str
        Meaning of every bit of the `flags` columns.
    photoz_flags : mapping of int to str
        Of the column `photoz_flags`.
    """
    sections = [_HEADER, *(_table_section(table) for table in (*REGISTRY.values(), SOURCES))]
    sections.insert(1 + list(REGISTRY).index(OBJECTS.name) + 1, _band_section())
    bits = (
        _flags_section("Flags", "flags", flags),
        _flags_section("Photo-z flags", "photoz_flags", photoz_flags or {}),
    )
    return "\n".join([*sections, _partition_section(), *bits])


def describe_stored(name: str, schema: pa.Schema) -> Table:
    """Return the declaration of a table as it is stored.

    The registry tells grain, key and meaning; columns that it does not know (those of an
    ingested catalog) have no meaning attached.

    Parameters
    ----------
    name : str
        Name in the lake, ``crossmatches/a_x_b`` for a cross-match.
    schema : pa.Schema
        Columns of the Delta table, partition columns among them.
    """
    declared = _declaration(name)
    known = {column.name: column for column in (*declared.columns, *_optional_columns(schema.names))}
    stored = [field for field in schema if field.name not in PARTITION_COLUMNS]
    columns = tuple(_meaning(field, known.get(field.name)) for field in stored)
    positional = PARTITION_COLUMNS[0] in schema.names
    return replace(declared, name=name, columns=columns, positional=positional)


def partition_columns(table: Table) -> tuple[Column, ...]:
    """Return the declarations of the table's partition columns."""
    return PARTITION if table.positional else ()


def _declaration(name: str) -> Table:
    return CROSSMATCH if name.startswith("crossmatches/") else REGISTRY.get(name, CATALOG)


def _optional_columns(names: Iterable[str]) -> list[Column]:
    """Return the per-band and colour columns of `objects` for the bands that the names tell of."""
    pattern = r"mag_auto_(?!(?:err|dered)(?:_|$))(\w+)"
    bands = [match[1] for name in names if (match := re.fullmatch(pattern, name))]
    colours = [colour_column(blue, red) for blue in bands for red in bands if blue != red]
    of_bands = (column for band in bands for column in (*band_columns(band), *dereddened_columns(band)))
    return [*of_bands, *colours, EBV]


def _meaning(field: pa.Field, known: Column | None) -> Column:
    """Return the stored type with the declared meaning: an identifier may be a string."""
    stored = column_of(field)
    return stored if known is None else replace(known, type=stored.type)


def _table_section(table: Table) -> str:
    facts = [f"One row is {table.grain}.", f"Key: {_names(table.key)}."]
    partitioned = (
        f"Partitioned by {_names(table.partition_by)}." if table.partition_by else "Not partitioned."
    )
    return "\n".join(
        [
            f"## `{table.name}`",
            "",
            table.doc,
            "",
            " ".join([*facts, partitioned]),
            "",
            *_column_rows((*table.columns, *table.hive_partitions)),
        ]
    )


def _placeholders(text: str) -> str:
    """Mark the names of bands in a text as places for real ones."""
    return re.sub(r"(?<![a-z])(band|blue|red)(?![a-z])", r"<\1>", text)


def _band_section() -> str:
    named = (*band_columns("band"), colour_column("blue", "red"), EBV, *dereddened_columns("band"))
    columns = tuple(
        replace(column, name=_placeholders(column.name), doc=_placeholders(column.doc)) for column in named
    )
    intro = (
        "For every band present `objects` also has these columns, with the band in lower case "
        "(`_cap` behind the capitals U G R I Z Y, which are other filters than the small letters); "
        "colours are those of neighbouring bands. `ebv` and the dereddened magnitudes are there when "
        "`build_objects` was told where E(B-V) comes from."
    )
    return "\n".join(["### `objects`: columns of a band", "", intro, "", *_column_rows(columns)])


def _partition_section() -> str:
    intro = (
        "Partition columns of every positional table, chosen so that a partition holds at most a "
        "threshold of rows."
    )
    return "\n".join(["## Partition columns", "", intro, "", *_column_rows(PARTITION)])


def _flags_section(title: str, column: str, flags: Mapping[int, str]) -> str:
    intro = (
        f"Bits of the `{column}` columns; 0 is a clean measurement. "
        f"`bitwise_and({column}, 4) <> 0` tests a bit in SQL."
    )
    rows = [(str(int(bit)), meaning) for bit, meaning in sorted(flags.items())]
    return "\n".join([f"## {title}", "", intro, "", *_rows(("bit", "meaning"), rows)])


def _column_rows(columns: Iterable[Column]) -> list[str]:
    rows = [(f"`{c.name}`", c.type, c.unit, c.ucd, "yes" if c.nullable else "no", c.doc) for c in columns]
    return _rows(_COLUMN_HEADS, rows)


def _rows(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [heads, ("---",) * len(heads), *rows]
    return [*("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines), ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
