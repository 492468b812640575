"""Checked positions and identifiers, rejects with reasons, the table's declaration."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest

from astrolake.data_access.formats.base import Malformed
from astrolake.data_access.normalise import (
    generated_ids,
    lake_table,
    malformed_rejects,
    normalise_batch,
    output_schema,
    resolve_columns,
)
from astrolake.errors import BadArguments
from astrolake.schema.arrow import arrow_schema


def run(columns, first_row=0, **names):
    batch = pa.RecordBatch.from_pydict(columns)
    numbers = first_row + np.arange(batch.num_rows)
    return normalise_batch(batch, numbers, resolve_columns(batch.schema, **names), "file:///a.csv")


def positions(ra, dec, **more):
    return {
        "source_id": list(range(len(ra))),
        "ra": pa.array(ra, pa.float64()),
        "dec": pa.array(dec, pa.float64()),
        **more,
    }


def test_good_rows_keep_order_and_values():
    rows, rejects = run(positions([10.5, 359.0], [-90.0, 90.0], mag=[20.5, None]))
    assert rejects == []
    assert rows.schema.names == ["source_id", "ra", "dec", "mag"]
    assert rows.to_pydict() == {
        "source_id": [0, 1],
        "ra": [10.5, 359.0],
        "dec": [-90.0, 90.0],
        "mag": [20.5, None],
    }


@pytest.mark.parametrize(
    ("ra", "wrapped"),
    [(-10.0, 350.0), (-360.0, 0.0), (360.0, 0.0), (720.0, 0.0), (365.0, 5.0), (-1e-20, 0.0)],
)
def test_right_ascension_is_wrapped(ra, wrapped):
    rows, rejects = run(positions([ra], [0.0]))
    assert rejects == []
    assert rows.column("ra").to_pylist() == [wrapped]


@pytest.mark.parametrize(
    ("ra", "dec", "kind"),
    [
        (None, 0.0, "MissingPosition"),
        (0.0, None, "MissingPosition"),
        (float("nan"), 0.0, "MissingPosition"),
        (float("inf"), 0.0, "MissingPosition"),
        (0.0, float("-inf"), "MissingPosition"),
        (0.0, 90.0000001, "PositionOutOfRange"),
        (0.0, -999.0, "PositionOutOfRange"),
        (720.0000001, 0.0, "PositionOutOfRange"),
        (-360.0000001, 0.0, "PositionOutOfRange"),
    ],
)
def test_unusable_positions_are_rejected_with_row_and_reason(ra, dec, kind):
    rows, rejects = run(positions([1.0, ra, 3.0], [1.0, dec, 3.0]), first_row=100)
    assert rows.column("source_id").to_pylist() == [0, 2]
    [reject] = rejects
    assert reject.source == "file:///a.csv row 101"
    assert reject.error_type == kind
    assert "correct the row" in reject.message
    assert json.loads(reject.payload)["source_id"] == 1


@pytest.mark.parametrize("ids", [pa.array([1, None]), pa.array(["a", None]), pa.array(["a", ""])])
def test_null_and_empty_identifiers_are_rejected(ids):
    rows, rejects = run(positions([1.0, 2.0], [0.0, 0.0], source_id=ids))
    assert rows.num_rows == 1
    assert [reject.error_type for reject in rejects] == ["MissingId"]


def test_a_row_with_two_problems_is_rejected_once():
    rows, rejects = run(positions([None], [99.0]))
    assert rows.num_rows == 0
    assert [reject.error_type for reject in rejects] == ["MissingPosition"]


def test_rows_and_rejects_add_up_for_any_mixture():
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(-1000, 1000, 5000), rng.uniform(-200, 200, 5000)
    ra[rng.random(5000) < 0.1] = np.nan
    rows, rejects = run(positions(ra, dec))
    good = (ra >= -360) & (ra <= 720) & (np.abs(dec) <= 90)
    assert rows.num_rows == good.sum()
    assert len(rejects) == 5000 - good.sum()
    numbers = [int(reject.source.rsplit(" ", 1)[1]) for reject in rejects]
    assert numbers == np.flatnonzero(~good).tolist()


def test_payloads_are_small_valid_json():
    _, [reject] = run(positions([None], [0.0], text=["x" * 5000], blob=[b"\x00"]))
    assert len(reject.payload) <= 1000
    assert json.loads(reject.payload) == {"source_id": 0, "ra": None, "dec": 0.0, "blob": "b'\\x00'"}


def test_payloads_write_numbers_that_json_has_not_as_text():
    _, [reject] = run(positions([float("nan")], [0.0], mags=[[1.0, float("inf")]]))
    assert json.loads(reject.payload) == {"source_id": 0, "ra": "nan", "dec": 0.0, "mags": "[1.0, inf]"}


def test_payloads_of_many_rejects_are_bounded_but_none_is_lost():
    _, rejects = run(positions([None] * 3000, [0.0] * 3000))
    assert len(rejects) == 3000
    assert sum(1 for reject in rejects if reject.payload) == 1000


def test_radians_and_hours_become_degrees():
    units = {"ra": "hourangle", "dec": "rad"}
    fields = [pa.field(name, pa.float64(), metadata={"unit": unit}) for name, unit in units.items()]
    batch = pa.RecordBatch.from_arrays([pa.array([6.0]), pa.array([np.pi / 4])], schema=pa.schema(fields))
    rows, _ = normalise_batch(batch, np.arange(1), resolve_columns(batch.schema), "a")
    assert rows.column("ra").to_pylist() == [90.0]
    assert rows.column("dec").to_pylist() == pytest.approx([45.0], abs=1e-13)
    assert rows.column("input_ra").to_pylist() == [6.0]


def test_single_precision_and_integer_positions_become_double():
    columns = {"ra": pa.array([1.5], pa.float32()), "dec": pa.array([2], pa.int32())}
    rows, _ = run(columns)
    assert rows.schema.field("ra").type == rows.schema.field("dec").type == pa.float64()


def test_text_identifiers_stay_text():
    rows, _ = run(positions([1.0], [0.0], source_id=["J0001+01"]))
    assert rows.column("source_id").to_pylist() == ["J0001+01"]


def test_columns_without_values_come_out_as_text():
    rows, _ = run(positions([1.0], [0.0], note=pa.nulls(1)))
    assert rows.schema.field("note").type == pa.string()


def test_generated_identifiers_are_the_same_for_the_same_file_and_row():
    columns = {"ra": [1.0, 2.0], "dec": [0.0, 0.0]}
    whole, _ = run(columns)
    again, _ = run({"ra": [2.0], "dec": [0.0]}, first_row=1)
    assert whole.column("source_id").to_pylist()[1:] == again.column("source_id").to_pylist()


def test_generated_identifiers_follow_the_published_formula():
    # SHA-256 of "a/b.fits" starts with this value; 63 bits of it, then the row is added.
    start = int(hashlib.sha256(b"a/b.fits").hexdigest()[:16], 16) >> 1
    assert generated_ids(np.array([0, 5]), "a/b.fits").tolist() == [start, (start + 5) % 2**63]


def test_generated_identifiers_of_many_files_are_distinct_and_positive():
    rows = np.arange(1000)
    ids = np.concatenate([generated_ids(rows, f"part-{i}.parquet") for i in range(500)])
    assert len(np.unique(ids)) == 500_000
    assert ids.min() >= 0


def test_generated_identifiers_wrap_around_below_2_63():
    start = int(generated_ids(np.array([0]), "x")[0])
    assert generated_ids(np.array([2**63 - 1]), "x").tolist() == [start - 1]


def test_malformed_rows_become_rejects():
    [reject] = malformed_rejects([Malformed(7, "1,2", "the row has 2 fields, not 3")], "file:///a.csv")
    assert reject.source == "file:///a.csv row 7"
    assert reject.error_type == "MalformedRow"
    assert reject.payload == "1,2"


SCHEMA = pa.schema(
    [
        pa.field("objID", pa.string()),
        pa.field("ra", pa.float64()),
        pa.field("dec", pa.float64()),
        pa.field(
            "N(m)", pa.list_(pa.field("element", pa.float32())), metadata={"unit": "mag", "ucd": "phot.mag"}
        ),
        pa.field("Npix", pa.int64(), metadata={"doc": "Pixel"}),
        pa.field("empty", pa.null()),
    ]
)


def test_the_table_has_catalog_columns_then_those_of_the_input():
    table = lake_table("my_catalog", SCHEMA, resolve_columns(SCHEMA))
    names = ("_healpix_29", "source_id", "ra", "dec", "objID", "N_m", "input_Npix", "empty", "run_id")
    assert table.column_names == names
    assert table.column("source_id").type == "string"
    assert (table.column("N_m").type, table.column("N_m").unit, table.column("N_m").ucd) == (
        "list<float32>",
        "mag",
        "phot.mag",
    )
    assert table.column("N_m").doc == "(input column 'N(m)')"
    assert table.column("input_Npix").doc == "Pixel (input column 'Npix')"


def test_the_table_and_the_rows_have_the_same_columns():
    column_map = resolve_columns(SCHEMA)
    declared = arrow_schema(lake_table("t", SCHEMA, column_map))
    produced = output_schema(SCHEMA, column_map)
    assert produced.names == [name for name in declared.names if name not in ("_healpix_29", "run_id")]
    assert [produced.field(name).type for name in produced.names] == [
        declared.field(n).type for n in produced.names
    ]


@pytest.mark.parametrize("name", ["Gaia", "2mass", "a-b", "", "a b", "x" * 101])
def test_table_names_that_are_not_lower_snake_case_are_refused(name):
    with pytest.raises(BadArguments, match="lower snake case"):
        lake_table(name, SCHEMA, resolve_columns(SCHEMA))


@pytest.mark.parametrize(
    "name", ["images", "detections", "objects", "runs", "rejects", "photoz", "crossmatches"]
)
def test_names_of_other_tables_are_refused(name):
    with pytest.raises(BadArguments, match="another job"):
        lake_table(name, SCHEMA, resolve_columns(SCHEMA))
