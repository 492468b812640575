"""The report: one HTML file with everything inside, readable on a phone, on a laptop and on paper."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from astrolake.visualization.picture import Picture
from astrolake.visualization.report_style import CSS
from astrolake.visualization.report_tables import Fact, ReportTable
from astrolake.visualization.report_values import show

_MOST_ROWS = 50


@dataclass(frozen=True)
class Provenance:
    """Where a report comes from.

    Parameters
    ----------
    version : str
        Of astrolake.
    lake_uri : str
    made_at : str
        Date and time, as the reader shall see it.
    """

    version: str
    lake_uri: str
    made_at: str


def build_report(
    pictures: Sequence[Picture],
    tables: Sequence[ReportTable],
    out: Path,
    title: str,
    provenance: Provenance,
    subtitle: str = "",
    facts: Sequence[Fact] = (),
) -> Path:
    """Write a report as one HTML file that needs nothing else: pictures inside, no scripts, no network.

    Parameters
    ----------
    pictures : sequence of Picture
        Those without a file are listed with the reason.
    tables : sequence of ReportTable
        The first one comes before the pictures, the others behind them; at most 50 rows of each.
    out : Path
        The file; directories are made.
    title, subtitle : str
    provenance : Provenance
    facts : sequence of Fact
        Numbers shown large at the top.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    OSError
        When a picture's file cannot be read or `out` cannot be written.
    """
    lead, rest = tables[:1], tables[1:]
    body = [
        _header(title, subtitle, facts, provenance),
        *(_table_section(table) for table in lead),
        *(_picture_section(picture, picture.path) for picture in pictures if picture.path is not None),
        _skipped_section([picture for picture in pictures if picture.path is None]),
        *(_table_section(table) for table in rest),
    ]
    page = _page(title, "\n".join(part for part in body if part), _footer(provenance))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return out


def _page(title: str, body: str, footer: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{CSS}</style>
</head>
<body>
<main>
{body}
</main>
{footer}
</body>
</html>
"""


def _header(title: str, subtitle: str, facts: Sequence[Fact], provenance: Provenance) -> str:
    numbers = "".join(f"<div><dt>{escape(fact.label)}</dt><dd>{fact.value:,}</dd></div>" for fact in facts)
    tiles = f'<dl class="facts">{numbers}</dl>' if numbers else ""
    lead = f'<p class="lead">{escape(subtitle)}</p>' if subtitle else ""
    made = f'<p class="made">{escape(provenance.made_at)}</p>'
    return f"<header><h1>{escape(title)}</h1>{lead}{made}{tiles}</header>"


def _picture_section(picture: Picture, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<section id="{escape(picture.name)}"><h2>{escape(picture.topic)}</h2><figure>'
        f'<img src="data:image/png;base64,{data}" alt="{escape(picture.title)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure></section>"
    )


def _skipped_section(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    items = "".join(
        f"<li><strong>{escape(picture.topic)}</strong>: {escape(picture.skipped)}</li>"
        for picture in pictures
    )
    return f'<section id="not-drawn"><h2>Not drawn</h2><ul class="skipped">{items}</ul></section>'


def _table_section(table: ReportTable) -> str:
    sql = f"<pre><code>{escape(table.sql)}</code></pre>" if table.sql else ""
    caption = f"<p>{escape(table.caption)}</p>" if table.caption else ""
    more = len(table.rows) - _MOST_ROWS
    rest = f'<p class="made">{more:,} more rows are not shown.</p>' if more > 0 else ""
    return f"<section><h2>{escape(table.title)}</h2>{caption}{sql}{_html_table(table.rows)}{rest}</section>"


def _html_table(rows: pd.DataFrame) -> str:
    if rows.empty:
        return '<p class="made">No rows.</p>'
    names = [str(name) for name in rows.columns]
    numeric = [pd.api.types.is_numeric_dtype(rows[name]) for name in rows.columns]
    classes = [' class="number"' if is_number else "" for is_number in numeric]
    head = "".join(
        f'<th scope="col"{kind}>{_breakable(name)}</th>' for name, kind in zip(names, classes, strict=True)
    )
    lines = []
    for record in rows.head(_MOST_ROWS).itertuples(index=False, name=None):
        cells = zip(record, names, classes, strict=True)
        lines.append(
            "<tr>"
            + "".join(f"<td{kind}>{_breakable(show(v, name))}</td>" for v, name, kind in cells)
            + "</tr>"
        )
    body = "".join(lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _breakable(text: str) -> str:
    """Return escaped text that a narrow column may break after underscores."""
    return escape(text).replace("_", "_<wbr>")


def _footer(provenance: Provenance) -> str:
    return (
        f"<footer><p>astrolake {escape(provenance.version)} · lake <code>{escape(provenance.lake_uri)}</code>"
        f" · {escape(provenance.made_at)}</p></footer>"
    )
