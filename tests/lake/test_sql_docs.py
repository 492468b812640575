"""The values that docs/sql.md tells are those that the local engine gives."""

import json
import re
from pathlib import Path

import pytest

from astrolake.errors import BadArguments
from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query

_PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
_ROW = re.compile(
    r"^\| `(?P<expression>.+?)` \| (?:`(?P<value>.+?)`|error: (?P<error>.+?)) \| .+ \|$", re.MULTILINE
)
ROWS = [match.groupdict() for match in _ROW.finditer(_PAGE.replace("\\|", "\x00")) if "sql/" not in match[1]]


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake.create(str(tmp_path_factory.mktemp("empty")))


def test_the_page_has_both_tables():
    assert len(ROWS) == len(re.findall(r"^\| `(?!sql/)", _PAGE, re.MULTILINE)) == 32


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["expression"].replace("\x00", "|"))
def test_a_documented_value_is_the_value(lake, row):
    query = "SELECT " + row["expression"].replace("\x00", "|")
    if row["error"]:
        with pytest.raises(BadArguments, match=re.escape(row["error"])):
            run_query(lake, query)
        return
    (value,) = run_query(lake, query).to_pylist()[0].values()
    told = value.isoformat() if hasattr(value, "isoformat") else value
    assert json.dumps(told) == row["value"]
