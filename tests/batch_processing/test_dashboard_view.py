"""The dashboard's view is flat, typed and right, on the local twin."""

from pathlib import Path

import pyarrow as pa
import pytest

from astrolake.lake.sql import create_view
from astrolake.lake.sql_connection import confined_connection
from astrolake.schema import SOURCES
from astrolake.schema.arrow import arrow_schema

VIEW = Path(__file__).parents[2] / "sql" / "views" / "sources_dashboard.sql"


@pytest.fixture
def rows():
    schema = arrow_schema(SOURCES)
    for name in ("survey", "band"):
        schema = schema.append(pa.field(name, pa.string()))
    given = [
        {"source_id": "1-1", "snr": 60.0, "star_prob": 0.9, "mjd": 51544.5, "flags": 0, "a_arcsec": 2.0},
        {"source_id": "1-2", "snr": 20.0, "star_prob": 0.1, "mjd": None, "flags": 4, "a_arcsec": 0.0},
        {"source_id": "1-3", "snr": None, "star_prob": None, "mjd": 51544.5, "flags": 0, "a_arcsec": 1.0},
        {"source_id": "1-4", "snr": 4.0, "star_prob": 0.5, "mjd": 51544.5, "flags": 0, "a_arcsec": 1.0},
    ]
    common = {"b_arcsec": 1.0, "survey": "sdss", "band": "r", "image_id": 1, "uri": "s3://a/b.fits", "hdu": 0}
    sources = pa.Table.from_pylist([common | row for row in given], schema=schema)
    connection = confined_connection((), [], [])
    connection.register("sources", sources)
    assert create_view(connection, VIEW.read_text()) == "sources_dashboard"
    relation = connection.sql("SELECT * FROM sources_dashboard ORDER BY source_id")
    return relation.to_arrow_table()


def test_classes_and_times(rows):
    found = rows.to_pylist()
    assert [row["signal_to_noise_class"] for row in found] == ["very high", "medium", "unknown", "low"]
    assert [row["object_type"] for row in found] == ["star", "galaxy", "unknown", "star"]
    assert [row["is_clean"] for row in found] == [True, False, True, True]
    assert [row["ellipticity"] for row in found] == [0.5, None, 0.0, 0.0]
    assert found[0]["observed_at_utc"].isoformat(" ") == "2000-01-01 12:00:00"
    assert found[1]["observed_at_utc"] is None


def test_no_column_is_nested_and_names_are_plain(rows):
    assert not any(pa.types.is_nested(field.type) for field in rows.schema)
    assert all(name.isidentifier() and not name.startswith("_") for name in rows.column_names)
    assert rows.schema.field("observed_at_utc").type == pa.timestamp("us")
    assert rows.schema.field("is_clean").type == pa.bool_()
