import math
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.errors import BadArguments
from astrolake.lake.lake import Lake
from astrolake.lake.sql import athena_parameters, bind, cone_ranges, parameter_names, run_query
from astrolake.sky.healpix import healpix29


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake.create(str(tmp_path_factory.mktemp("empty")))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (5, "5"),
        (np.int32(5), "5"),
        (0.1, "0.1E0"),
        (np.float64(0.1), "0.1E0"),
        (1e-12, "1E-12"),
        ("it's", "'it''s'"),
        (date(2024, 3, 5), "DATE '2024-03-05'"),
        (datetime(2024, 3, 5, 6, 7, 8, 9), "TIMESTAMP '2024-03-05 06:07:08.000009 UTC'"),
        (
            datetime(2024, 3, 5, 1, tzinfo=timezone(timedelta(hours=2))),
            "TIMESTAMP '2024-03-04 23:00:00.000000 UTC'",
        ),
    ],
)
def test_a_value_becomes_a_literal(value, text):
    assert bind("SELECT :x", {"x": value}) == f"SELECT {text}"


def test_a_negative_number_cannot_start_a_comment():
    assert bind("SELECT 1 -:x, 2", {"x": -5}) == "SELECT 1 -(-5), 2"


@pytest.mark.parametrize("value", [math.nan, math.inf, [1], b"x", "a\0b"])
def test_a_value_without_literal_is_refused(value):
    with pytest.raises(BadArguments, match="cannot be a parameter"):
        bind("SELECT :x", {"x": value})


def test_strings_comments_and_casts_stay_as_they_are():
    sql = "SELECT ':x', a::bigint, \":x\" -- :x\n/* :x */ FROM t WHERE b = :x"
    assert bind(sql, {"x": 1}) == sql.removesuffix(":x") + "1"


def test_a_parameter_can_be_named_like_a_type():
    assert bind("SELECT dec - :dec", {"dec": 1}) == "SELECT dec - 1"


def test_a_missing_value_is_named():
    with pytest.raises(BadArguments, match="needs values for :a, :b"):
        bind("SELECT :b, :a, :c", {"c": 1})


def test_a_value_without_parameter_is_named():
    with pytest.raises(BadArguments, match="has no parameter limit; it has a"):
        bind("SELECT :a", {"a": 1, "limit": 1})


INJECTIONS = [
    "'; DROP TABLE runs; --",
    "' OR '1'='1",
    "x' UNION SELECT 1 --",
    "\\' OR 1=1 --",
    "/* ' */ :x",
    "${lake}",
    "a\nb",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_text_stays_a_text(lake, text):
    rows = run_query(lake, bind("SELECT :x AS x, 'after' AS y", {"x": text}))
    assert rows.to_pylist() == [{"x": text, "y": "after"}]


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
def test_any_text_stays_one_literal(text):
    bound = bind("SELECT :x AS x", {"x": text})
    assert bound == "SELECT '" + text.replace("'", "''") + "' AS x"


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_all_its_digits(number):
    text = bind("SELECT :x", {"x": number}).removeprefix("SELECT ").strip("()")
    assert float(text) == number


def test_names_are_filled_in():
    assert bind("SELECT 1 FROM ${db}.${t}", {}, {"db": "sky", "t": "stars"}) == "SELECT 1 FROM sky.stars"


@pytest.mark.parametrize("name", ["stars; DROP TABLE t", "a b", 'a"b', "", "A", "a.b", "1a", "a\n"])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(BadArguments, match="is no name"):
        bind("SELECT 1 FROM ${t}", {}, {"t": name})


def test_a_missing_name_is_named():
    with pytest.raises(BadArguments, match=r"needs values for \$\{t\}"):
        bind("SELECT 1 FROM ${t}", {})


def test_athena_takes_question_marks_and_literals_in_order():
    sql, values = athena_parameters(
        "SELECT ':a' FROM ${t} WHERE x = :b AND y = :a OR z = :b", {"a": 1.5, "b": "q"}, {"t": "s"}
    )
    assert sql == "SELECT ':a' FROM s WHERE x = ? AND y = ? OR z = ?"
    assert values == ["'q'", "1.5E0", "'q'"]


def test_parameters_are_listed_once_in_order():
    assert parameter_names("SELECT :b, :a, :b, ':c' FROM ${t}") == ["b", "a"]


def _covered(ranges: dict[str, int], index: np.ndarray) -> np.ndarray:
    return np.any(
        [(index >= ranges[f"low_{i}"]) & (index <= ranges[f"high_{i}"]) for i in range(1, 5)], axis=0
    )


@pytest.mark.parametrize(
    ("ra", "dec"),
    [(10.0, 20.0), (0.0, 0.0), (45.0, 0.0), (359.9999, -30.0), (0.0, 90.0), (123.0, -90.0), (90.0, 41.8103)],
)
@pytest.mark.parametrize("radius_arcsec", [0.01, 1.0, 60.0, 3600.0, 100_000.0, 648_000.0])
def test_the_ranges_cover_the_cone(ra, dec, radius_arcsec):
    rng = np.random.default_rng(1)
    theta = np.radians(radius_arcsec / 3600) * np.sqrt(rng.random(2000))
    phi = rng.random(2000) * 2 * np.pi
    # Points at distance theta and position angle phi from the centre.
    d0 = np.radians(dec)
    d = np.arcsin(np.clip(np.sin(d0) * np.cos(theta) + np.cos(d0) * np.sin(theta) * np.cos(phi), -1, 1))
    dra = np.arctan2(np.sin(phi) * np.sin(theta) * np.cos(d0), np.cos(theta) - np.sin(d0) * np.sin(d))
    index = healpix29((ra + np.degrees(dra)) % 360, np.degrees(d))
    assert _covered(cone_ranges(ra, dec, radius_arcsec), index).all()


def test_the_ranges_are_narrow():
    ranges = cone_ranges(10.0, 20.0, 10.0)
    width = sum(ranges[f"high_{i}"] - ranges[f"low_{i}"] + 1 for i in range(1, 5))
    cone = math.pi * (10 / 3600) ** 2
    cell29 = 41252.96 / (12 << 58)
    assert width * cell29 < 20 * cone


def test_unused_ranges_hold_no_index():
    ranges = cone_ranges(10.0, 20.0, 648_000.0)
    assert (ranges["low_1"], ranges["high_1"]) == (0, (12 << 58) - 1)
    assert (ranges["low_4"], ranges["high_4"]) == (-1, -1)


@pytest.mark.parametrize(
    "cone", [(math.nan, 0, 1), (0, 91, 1), (0, 0, 0), (0, 0, -1), (0, 0, 1e6), (0, 0, math.nan)]
)
def test_an_impossible_cone_is_refused(cone):
    with pytest.raises(BadArguments, match="no cone"):
        cone_ranges(*cone)


def test_times_are_compared_in_utc(lake):
    moment = datetime(2024, 3, 5, 12, tzinfo=UTC)
    query = bind("SELECT :t = TIMESTAMP '2024-03-05 14:00:00 +02:00' AS same", {"t": moment})
    assert run_query(lake, query).to_pylist() == [{"same": True}]
