"""Filters and cuts: as conditions, as SQL that keeps enough, and as exact tests of rows."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from astrolake.data_access.surveys.conditions import keep, keep_native, parse_filters, to_sql
from astrolake.data_access.surveys.model import Condition
from astrolake.data_access.surveys.native_rows import NativeRows
from astrolake.data_access.surveys.registry import load_survey
from astrolake.data_access.surveys.translate import translate
from astrolake.errors import BadArguments, BadInput, MissingColumns
from tests.data_access.survey_rows import GAIA_DR3, read_rows

SDSS = load_survey("sdss").table()
GAIA = load_survey("gaia").table()
LEGACY = load_survey("legacy").table()


def test_filters_of_the_loaders():
    found = parse_filters(SDSS, {"type": "GALAXY", "r_mag": [18, 22]})
    assert found == (
        Condition("type", "=", "GALAXY"),
        Condition("mag_model_r", "between", (18, 22)),
    )
    assert parse_filters(SDSS, None) == ()


@pytest.mark.parametrize(
    ("table", "filters", "expected"),
    [
        (SDSS, {"type": "galaxy"}, Condition("type", "=", "GALAXY")),
        (SDSS, {"type": ["GALAXY", "STAR"]}, Condition("type", "in", ("GALAXY", "STAR"))),
        (SDSS, {"RUN": 756}, Condition("run", "=", 756)),
        (SDSS, {"mag_psf_r": [None, 20.5]}, Condition("mag_psf_r", "<=", 20.5)),
        (SDSS, {"mag_psf_r": (20.5, None)}, Condition("mag_psf_r", ">=", 20.5)),
        (SDSS, {"camcol": [1, 2, 3]}, Condition("camcol", "in", (1, 2, 3))),
        (SDSS, {"g_mag": [np.float64(1), 2]}, Condition("mag_model_g", "between", (1, 2))),
        (GAIA, {"G_mag": [3, 4]}, Condition("mag_g_cap", "between", (3, 4))),
        (GAIA, {"g_mag": [3, 4]}, Condition("mag_g_cap", "between", (3, 4))),
        (GAIA, {"BP_mag": [3, 4]}, Condition("mag_bp", "between", (3, 4))),
        (LEGACY, {"W1_mag": [3, 4]}, Condition("mag_w1", "between", (3, 4))),
    ],
)
def test_filters_by_column_band_and_range(table, filters, expected):
    assert parse_filters(table, filters) == (expected,)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"color": 1}, r"filter 'color': table photoobj has no such column; it has .*'mag_psf_r'"),
        ({"y_mag": [1, 2]}, r"filter 'y_mag': table photoobj has no such column"),
        ({"type": "NEBULA"}, r"filter type: 'NEBULA' is none of .*'GALAXY'"),
        ({"type": [3, 6]}, r"column type is a text, not 3"),
        ({"type": 3}, r"column type is a text, not 3"),
        ({"r_mag": "bright"}, r"column mag_model_r is a number, not 'bright'"),
        ({"r_mag": [None, None]}, r"a range needs one end"),
        ({"camcol": []}, r"list of values is empty"),
        ({"run": None}, r"None is no value"),
        ({"r_mag": [22, 18]}, r"the range \[22, 18\] ends before it begins"),
        ({"run": [5, 1]}, r"ends before it begins"),
        ({"r_mag": [float("nan"), 18]}, r"nan is no number that a column can have"),
        ({"r_mag": [float("-inf"), 18]}, r"-inf is no number .* null leaves an end open"),
        ({"source_id": 2**70}, r"filter source_id: 1180591620717411303424 is no number"),
        ({"morphology": "\udc80"}, r"filter 'morphology'"),
        ({7: 1}, r"filter '7': table photoobj has no such column"),
        ([("r_mag", 1)], r"filters must map columns to values"),
    ],
)
def test_filters_that_cannot_be_met(filters, message):
    with pytest.raises(BadArguments, match=f"(?s){message}"):
        parse_filters(SDSS, filters)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"duplicated_source": "'; DROP"}, r"column duplicated_source is true or false"),
        ({"duplicated_source": [0, 2]}, r"column duplicated_source is true or false, not 2"),
        ({"variability": "a\0b"}, r"letters that no catalog has"),
        ({"variability": "\ud800"}, r"letters that no catalog has"),
    ],
)
def test_texts_and_truth_values_that_cannot_be_met(filters, message):
    with pytest.raises(BadArguments, match=message):
        parse_filters(GAIA, filters)


# SQL


@pytest.mark.parametrize("dialect", ["adql", "tsql"])
@pytest.mark.parametrize("text", ["x' OR '1'='1", "\\'; DROP TABLE t; --", "Ω ' \" ]", "''"])
def test_texts_stay_texts(dialect, text):
    """The predicate compares with the text, whatever it holds."""
    (predicate,) = to_sql(GAIA, [Condition("variability", "=", text)], dialect=dialect)
    rows = duckdb.from_arrow(pa.table({"phot_variable_flag": [text, "x", ""]}))
    assert rows.filter(predicate).fetchall() == [(text,)]


def test_long_lists_narrow_a_query_without_being_written():
    numbers, texts = tuple(range(7, 5000)), tuple(map(str, range(5000)))
    assert to_sql(SDSS, [Condition("run", "in", numbers)], dialect="tsql") == ["run BETWEEN 7 AND 4999"]
    assert to_sql(GAIA, [Condition("variability", "in", texts)]) == []


def test_sql_of_the_mission():
    conditions = parse_filters(SDSS, {"type": "GALAXY", "r_mag": [18, 22]})
    kind, magnitude, *cut = to_sql(SDSS, conditions, ["clean"], "tsql")
    assert kind == "type IN (3)"
    name, low, high = magnitude.replace(" BETWEEN ", " AND ").split(" AND ")
    assert name == "modelMag_r"
    # f/f0 = 1.585e-9 and b = 1.2e-10 give the asinh magnitude -1.0857 (2.5866 - 22.8434).
    assert 17.9999 < float(low) <= 18
    assert float(high) == pytest.approx(21.9937, abs=2e-4)
    assert cut == ["mode = 1", "clean = 1"]


@pytest.mark.parametrize("dialect", ["adql", "tsql"])
def test_numbers_of_numpy_are_numbers_in_sql(dialect):
    wanted = parse_filters(SDSS, {"camcol": [np.float64(1), np.float64(2)], "run": np.int64(756)})
    assert to_sql(SDSS, wanted, dialect=dialect) == ["camcol BETWEEN 1.0 AND 2.0", "run = 756"]


def test_bits_are_left_to_the_client_in_adql():
    mean = load_survey("panstarrs").table()
    assert to_sql(mean, (), ["clean"], "adql") == ["nDetections > 1"]
    assert to_sql(mean, (), ["clean"], "tsql") == [
        "nDetections > 1",
        "(qualityFlag & CAST(4 AS bigint)) = 4",
    ]
    assert to_sql(mean, (), ["star"], "tsql") == ["(qualityFlag & CAST(1 AS bigint)) = 0"]


def test_sql_of_texts_truth_values_and_lists():
    assert to_sql(GAIA, (), ["clean"], "adql") == ["ruwe < 1.4", "duplicated_source = 'false'"]
    assert to_sql(LEGACY, parse_filters(LEGACY, {"type": "GALAXY"}), [], "adql") == [
        "type IN ('REX', 'EXP', 'DEV', 'SER', 'COMP')"
    ]
    assert to_sql(LEGACY, parse_filters(LEGACY, {"brick_primary": True})) == ["brick_primary IN (1)"]
    assert to_sql(LEGACY, parse_filters(LEGACY, {"brickname": "o'1"})) == ["brickname = 'o''1'"]
    assert to_sql(SDSS, parse_filters(SDSS, {"camcol": [1, 2, 3]})) == ["camcol IN (1, 2, 3)"]
    # A service may keep truth values as anything: exact on the rows, not in the query.
    assert to_sql(GAIA, parse_filters(GAIA, {"duplicated_source": False})) == []


def test_decreasing_conversions_turn_the_range_round():
    [flux] = to_sql(LEGACY, parse_filters(LEGACY, {"r_mag": [None, 20.0]}))
    name, value = flux.split(" >= ")
    assert (name, float(value)) == ("flux_r", pytest.approx(10.0, rel=1e-5))
    [snr] = to_sql(GAIA, parse_filters(GAIA, {"mag_err_bp": [0, 0.1]}))
    name, value = snr.split(" >= ")
    assert (name, float(value)) == ("phot_bp_mean_flux_over_error", pytest.approx(10.857, rel=1e-4))


def test_what_cannot_be_inverted_is_left_out():
    assert to_sql(SDSS, parse_filters(SDSS, {"mag_psf_err_r": [0, 0.1]})) == []


def test_mistakes_in_sql():
    with pytest.raises(BadArguments, match="dialect 'mysql' is unknown"):
        to_sql(SDSS, (), (), "mysql")
    with pytest.raises(BadArguments, match=r"no cuts \['tidy'\]"):
        to_sql(SDSS, (), ["tidy"])
    with pytest.raises(BadArguments, match="no number that a column can have"):
        to_sql(SDSS, parse_filters(SDSS, {"r_mag": [18, float("inf")]}))
    with pytest.raises(BadArguments, match="no column 'x'"):
        to_sql(SDSS, [Condition("x", "=", 1)])


def _queried(native: pa.Table, predicates: list[str]) -> set[int]:
    """Return the numbers of the native rows that a database returns."""
    rows = native.append_column("row_number_", pa.array(range(native.num_rows)))
    with duckdb.connect() as connection:
        connection.register("catalog", rows)
        where = " AND ".join(predicates) or "true"
        return {
            row[0] for row in connection.execute(f"SELECT row_number_ FROM catalog WHERE {where}").fetchall()
        }


REAL = [
    ("sdss", "", "photoobj", "catalogs/sdss_308.csv", {"mag_model_r": [14.3, 15.1]}),
    ("sdss", "", "photoobj", "catalogs/sdss_308.csv", {"type": "GALAXY", "mag_model_z": [None, 14.9]}),
    ("sdss", "", "stripe82", "catalogs/coadd_for_3325_5_110.fit", {"mag_psf_z": [20, 23.5]}),
    ("sdss", "", "stripe82", "catalogs/coadd_for_3325_5_110.fit", {"mag_psf_u": [24, 26]}),
    ("panstarrs", "", "mean", "catalogs/panstarrs_308.csv", {"r_mag": [13, 14.2]}),
    ("gaia", "dr2", "gaia_source", "images_decam/case6/chunk-03687.fits", {"RP_mag": [17, 18.5]}),
    ("gaia", "dr2", "gaia_source", "images_decam/case6/chunk-03687.fits", {"mag_err_rp": [0.01, 0.05]}),
    ("gaia", "dr2", "gaia_source", "images_decam/case6/chunk-03687.fits", {"parallax": [0.5, 3]}),
]


@pytest.mark.parametrize(("survey", "release", "table", "path", "filters"), REAL)
def test_queries_keep_every_wanted_row_and_few_others(survey_data, survey, release, table, path, filters):
    native = read_rows(survey_data / path)
    found = load_survey(survey, release).table(table)
    conditions = parse_filters(found, filters)
    rows = NativeRows(found, native)
    columns = [column for column in found.columns if not rows.missing(column)]
    wanted = set(np.flatnonzero(keep(found, conditions, translate(found, columns, native))).tolist())
    # A service has the documented names: those of the file may be others.
    spelt = {rows.spelling(column.native): column.native for column in columns}
    queried = _queried(
        native.rename_columns([spelt.get(name, name) for name in native.column_names]),
        to_sql(found, conditions),
    )
    assert wanted <= queried
    assert 0 < len(wanted) < native.num_rows
    assert len(queried - wanted) <= 0.02 * native.num_rows


# Exact tests


def test_conditions_are_exact_and_null_meets_none():
    rows = pa.table(
        {
            "mag_model_r": pa.array([18.0, 22.0, 22.0000001, None]),
            "type": ["GALAXY", "GALAXY", "STAR", None],
            "flags": pa.array([0, 1 << 40, 3, None]),
        }
    )
    assert keep(SDSS, parse_filters(SDSS, {"r_mag": [18, 22]}), rows).tolist() == [True, True, False, False]
    galaxies = parse_filters(SDSS, {"type": ["GALAXY"]})
    assert keep(SDSS, galaxies, rows).tolist() == [True, True, False, False]
    assert keep(SDSS, [Condition("type", "!=", "STAR")], rows).tolist() == [True, True, False, False]
    assert keep(SDSS, [Condition("flags", "bits_clear", 1 << 40)], rows).tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert keep(SDSS, [Condition("flags", "bits_set", 3)], rows).tolist() == [False, False, True, False]
    assert keep(SDSS, (), rows).all()
    with pytest.raises(MissingColumns, match=r"lacks the columns \['run'\]"):
        keep(SDSS, parse_filters(SDSS, {"run": 1}), rows)


def test_cuts_are_exact_on_native_rows():
    rows = pa.table(
        {"MODE": pa.array([1, 1, 2, None]), "Clean": pa.array([1, 0, 1, 1]), "type": [3, 6, 3, 6]}
    )
    assert keep_native(SDSS, ["clean"], rows).tolist() == [True, False, False, False]
    assert keep_native(SDSS, ["primary", "star"], rows).tolist() == [False, True, False, False]
    assert keep_native(SDSS, [], rows).all()
    with pytest.raises(MissingColumns, match=r"lacks the columns \['mode'\]"):
        keep_native(SDSS, ["primary"], rows.drop(["MODE"]))


def test_a_cut_on_values_of_another_type_is_named():
    wise = load_survey("wise").table("catwise")
    with pytest.raises(BadInput, match=r"column ab_flags is double: = '00' has no meaning there"):
        keep_native(wise, ["clean"], pa.table({"ab_flags": [0.0, 1.5]}))


def test_truth_values_by_any_name():
    for values in ([True, False], [1, 0]):
        rows = pa.table({"brick_primary": values, "maskbits": [0, 0]})
        assert keep_native(LEGACY, ["clean"], rows).tolist() == [True, False]
    texts = {**GAIA_DR3, "duplicated_source": pa.array(["true", "false"])}
    assert keep_native(GAIA, ["clean"], pa.table(texts)).tolist() == [False, True]
