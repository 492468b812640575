import json
from datetime import UTC, datetime

import pyarrow as pa

from astrolake.lake.sql import format_csv, format_json_lines, format_table


def test_numbers_stand_to_the_right_and_text_to_the_left():
    table = pa.table({"name": ["a", "long"], "n": [5, 1234]})
    assert format_table(table).splitlines() == [
        "name     n",
        "----  ----",
        "a        5",
        "long  1234",
        "(2 rows)",
    ]


def test_null_is_a_dash():
    table = pa.table({"x": pa.array([None, 1.5]), "s": pa.array([None, "a"])})
    assert [line.split() for line in format_table(table).splitlines()[2:4]] == [["-", "-"], ["1.5", "a"]]


def _cells(name: str, values: list) -> list[str]:
    return [
        line.strip()
        for line in format_table(pa.table({name: pa.array(values, pa.float64())})).splitlines()[2:-1]
    ]


def test_magnitudes_have_six_significant_digits():
    assert _cells("mag_auto", [17.123456, 9.5]) == ["17.1235", "9.5000"]


def test_positions_have_six_decimals():
    assert _cells("ra", [359.123456789]) == ["359.123457"]
    assert _cells("first_mjd", [51544.5]) == ["51544.500000"]


def test_very_small_and_large_numbers_have_an_exponent():
    assert _cells("flux", [1.23456789e-9, 2.0]) == ["1.23457e-09", "2"]
    assert _cells("flux", [1.5e12]) == ["1.5e+12"]


def test_infinity_and_nan_are_shown():
    assert _cells("x", [float("inf"), float("nan"), 0.0]) == ["inf", "nan", "0.0"]


def test_times_and_lists_and_booleans_are_readable():
    table = pa.table(
        {
            "t": pa.array([datetime(2024, 3, 5, 6, 7, 8, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            "l": [[1.5, None, 2.0]],
            "b": [True],
        }
    )
    assert (
        "  ".join(format_table(table).splitlines()[2].split("  ")) == "2024-03-05 06:07:08  [1.5, -, 2]  true"
    )


def test_long_and_broken_lines_are_cut_to_one_cell():
    lines = format_table(pa.table({"s": ["a\nb" + "c" * 100]}), max_width=10).splitlines()
    assert lines[2] == "a\\nbccccc…"


def test_an_empty_table_shows_its_columns():
    table = pa.table({"ra": pa.array([], pa.float64()), "n": pa.array([], pa.int64())})
    assert format_table(table).splitlines() == ["ra  n", "--  -", "(0 rows)"]


def test_csv_keeps_all_digits_and_quotes():
    table = pa.table({"x": [0.1, None], "s": ['a,"b"', None], "l": [[1, 2], None], "b": [True, False]})
    assert format_csv(table) == 'x,s,l,b\n0.1,"a,""b""","[1, 2]",true\n,,,false\n'


def test_json_lines_hold_one_object_a_row():
    table = pa.table(
        {
            "x": [float("nan"), 1.5],
            "t": pa.array([datetime(2024, 3, 5, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
            "l": [[1.0, None], []],
            "y": [b"\x01", None],
        }
    )
    rows = [json.loads(line) for line in format_json_lines(table).splitlines()]
    assert rows == [
        {"x": None, "t": "2024-03-05T00:00:00+00:00", "l": [1.0, None], "y": "01"},
        {"x": 1.5, "t": None, "l": [], "y": None},
    ]
