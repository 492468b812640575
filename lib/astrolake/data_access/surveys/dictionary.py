"""The surveys as a part of the data dictionary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from astrolake.data_access.surveys.model import Condition, Cut, Survey, SurveyColumn, SurveyTable
from astrolake.data_access.surveys.registry import load_survey, survey_names
from astrolake.schema.objects import band_suffix

_INTRO = """## Surveys

What the columns of a survey are called in the lake when `ingest_catalog --survey` or a query of the
survey's archive brings them, from the files in `lib/astrolake/data_access/surveys/`;
[surveys.md](surveys.md) tells how to add one. A value is null where the survey has none (its own marks,
such as -9999, are in the column "none"), and where the conversion has none, such as the magnitude of a
negative flux. Columns in *italics* are asked for by name only.
"""
_COLUMN_HEADS = ("column", "native", "type", "unit", "none", "conversion", "meaning")
_CUT_HEADS = ("cut", "conditions", "keeps", "source")


def survey_dictionary() -> str:
    """Return the Markdown section on all surveys that come with the package."""
    return "\n".join([_INTRO, *(_survey_section(load_survey(name)) for name in survey_names())])


def _survey_section(survey: Survey) -> str:
    head = [
        f"### Survey `{survey.name}`: {survey.title}",
        "",
        f"Releases {', '.join(survey.releases)} (the first unless another is named). <{survey.reference}>",
        "",
    ]
    return "\n".join([*head, *(_table_section(survey, table) for table in survey.tables.values())])


def _table_section(survey: Survey, table: SurveyTable) -> str:
    where = f"`{table.native}` at <{table.service.url}>" if table.service else "from files"
    bulk = f" In bulk: `{table.bulk.uri}`." if table.bulk else ""
    lines = [
        f"#### `{survey.name}` / `{table.name}`",
        "",
        f"{table.doc}; {where}.{bulk} Source: {table.source}",
        "",
        *_rows(_COLUMN_HEADS, (_column_row(list(columns)) for _, columns in groupby(table.columns, _family))),
    ]
    if table.cuts:
        lines += _rows(_CUT_HEADS, (_cut_row(cut) for cut in table.cuts.values()))
    return "\n".join(lines)


def _family(column: SurveyColumn) -> str:
    """Return the name that the columns of all bands share."""
    return column.name.removesuffix(band_suffix(column.band)) + "<band>" if column.band else column.name


def _column_row(columns: Sequence[SurveyColumn]) -> tuple[str, ...]:
    first, last = columns[0], columns[-1]
    several = len(columns) > 1
    name = f"`{_family(first)}`" if several else f"`{first.name}`"
    native = f"`{_native(first)}` to `{_native(last)}`" if several else f"`{_native(first)}`"
    bands = f" ({', '.join(band_suffix(column.band) for column in columns)})" if several else ""
    meaning = re.sub(rf"\b{first.band}\b", "the band", first.doc) if several else first.doc
    if first.values:
        meaning += f" ({', '.join(f'{key} {value}' for key, value in first.values.items())})"
    conversion = f"`{first.conversion.kind}`" if first.conversion else ""
    shown = f"{name}{bands}" if first.default else f"*{name}{bands}*"
    none = ", ".join(str(value) for value in first.null)
    return (shown, native, first.type, first.unit, none, conversion, meaning)


def _native(column: SurveyColumn) -> str:
    return column.native if column.element is None else f"{column.native}[{column.element}]"


def _cut_row(cut: Cut) -> tuple[str, ...]:
    return (f"`{cut.name}`", " and ".join(_condition(c) for c in cut.conditions), cut.doc, cut.source)


def _condition(condition: Condition) -> str:
    value = list(condition.value) if isinstance(condition.value, tuple) else condition.value
    return f"`{condition.column} {condition.operator.replace('_', ' ')} {value}`"


def _rows(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [heads, ("---",) * len(heads), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines), ""]
