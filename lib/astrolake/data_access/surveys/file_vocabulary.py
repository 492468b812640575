"""Files of a survey's catalogs: which table they hold, and their rows in the vocabulary of the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from astrolake.data_access.column_map import lake_name
from astrolake.data_access.surveys.conditions import keep_native
from astrolake.data_access.surveys.model import Survey, SurveyColumn, SurveyTable
from astrolake.data_access.surveys.native_rows import Mask, NativeRows
from astrolake.data_access.surveys.translate import lake_fields, translate
from astrolake.errors import BadArguments, MissingColumns

_KEYS = ("source_id", "ra", "dec")


def recognise_table(survey: Survey, names: Sequence[str]) -> SurveyTable:
    """Return the table of a survey whose files have columns of these names, in any case.

    Raises
    ------
    BadArguments
        When no table or more than one fits; the message says what each needs.
    """
    present = {name.lower() for name in names}
    layouts = {table.name: table for table in survey.tables.values() if table.layout_of}
    found = [t for t in layouts.values() if {name.lower() for name in t.layout_of} <= present]
    if len(found) != 1:
        needed = "; ".join(f"{table.name} has {list(table.layout_of)}" for table in layouts.values())
        fits = f"the tables {[table.name for table in found]} all fit" if found else "no table fits"
        raise BadArguments(
            f"survey {survey.name}: {fits} files with the columns {list(names)}: {needed}; name one "
            f"of the tables {list(survey.tables)} by --survey-table"
        )
    return found[0]


@dataclass(frozen=True)
class FileVocabulary:
    """How the rows of files become those of the lake.

    Parameters
    ----------
    table : SurveyTable
    columns : tuple of SurveyColumn
        Those that the files have the native columns for.
    others : tuple of (native name, lake name)
        Columns that the survey's file does not tell of: kept as they are.
    cuts : tuple of str
        Rows that do not pass are left out.
    """

    table: SurveyTable
    columns: tuple[SurveyColumn, ...]
    others: tuple[tuple[str, str], ...]
    cuts: tuple[str, ...] = ()

    @classmethod
    def of_schema(cls, table: SurveyTable, schema: pa.Schema, cuts: Sequence[str] = ()) -> FileVocabulary:
        """Return the vocabulary of files with these columns.

        Raises
        ------
        BadArguments
            When the table has no such cut.
        MissingColumns
            When identifier, position or a column of a cut is not there.
        """
        rows = NativeRows(table, schema.empty_table())
        columns = tuple(column for column in table.columns if not rows.missing(column))
        there = {column.name for column in columns}
        lost = [name for column in table.columns if column.name in _KEYS for name in rows.missing(column)]
        of_cuts = [condition.column for cut in table.select_cuts(cuts) for condition in cut.conditions]
        lost += [name for name in of_cuts if rows.spelling(name) is None]
        if lost:
            raise MissingColumns(f"a file of table {table.name}", sorted(set(lost)), list(schema.names))
        used = {rows.spelling(name) for column in columns for name in (column.native, *column.inputs)}
        taken = {name.lower() for name in there}
        others = []
        for name in (name for name in schema.names if name not in used):
            lake = lake_name(name)
            others.append((name, f"input_{lake}" if lake.lower() in taken else lake))
        return cls(table, columns, tuple(others), tuple(cuts))

    def lake_schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the columns that `translated` gives for files of a schema."""
        others = [schema.field(name).with_name(lake) for name, lake in self.others]
        return pa.schema([*lake_fields(self.columns), *others])

    def translated(self, records: pa.RecordBatch) -> tuple[pa.RecordBatch, Mask]:
        """Return the rows that pass the cuts in the vocabulary of the lake, and which rows these are.

        Raises
        ------
        BadInput
            When values do not fit, see `translate`.
        """
        native = pa.Table.from_batches([records])
        kept = keep_native(self.table, self.cuts, native)
        native = native if kept.all() else native.filter(pa.array(kept))
        rows = translate(self.table, self.columns, native)
        for name, lake in self.others:
            rows = rows.append_column(native.schema.field(name).with_name(lake), native.column(name))
        batches = rows.combine_chunks().to_batches()
        empty = pa.RecordBatch.from_pylist([], schema=rows.schema)
        return (batches[0] if batches else empty), kept


@dataclass(frozen=True)
class SurveyFiles:
    """Whose catalog some files are.

    Parameters
    ----------
    survey : Survey
    table : str
        Empty: found by the columns of the files.
    cuts : tuple of str
        Named cuts of the table, all of which rows must pass.
    """

    survey: Survey
    table: str = ""
    cuts: tuple[str, ...] = ()

    def vocabulary(self, schema: pa.Schema) -> FileVocabulary:
        """Return how the rows of files with these columns become those of the lake.

        Raises
        ------
        BadArguments, MissingColumns
            See `recognise_table` and `FileVocabulary.of_schema`.
        """
        named = self.survey.table(self.table) if self.table else recognise_table(self.survey, schema.names)
        return FileVocabulary.of_schema(named, schema, self.cuts)
