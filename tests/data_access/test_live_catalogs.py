"""The archives themselves: a small cone from every table of every survey. Run by ``pytest -m live``."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.data_access.services.fetch import fetch_catalog
from astrolake.data_access.surveys.registry import load_survey, survey_names
from astrolake.lake.storage import Storage
from astrolake.sky.region import Cone

pytestmark = pytest.mark.live

#: In the footprint of all surveys.
REGION = Cone(180.0, 0.5, 0.05)
TABLES = [
    (name, table.name)
    for name in survey_names()
    for table in load_survey(name).tables.values()
    if table.service
]


@pytest.mark.parametrize(("survey", "name"), TABLES)
def test_a_small_cone_of_an_archive(survey, name, tmp_path):
    table = load_survey(survey).tables[name]
    found = fetch_catalog(table, REGION, Storage.at(str(tmp_path)), verify_counts=True)
    rows = pa.concat_tables(pq.read_table(uri.removeprefix("file://")) for uri in found.uris)
    assert rows.num_rows == found.n_rows > 0
    assert REGION.contains(rows["ra"].to_numpy(), rows["dec"].to_numpy()).all()
    assert len(set(rows["source_id"].to_pylist())) == rows.num_rows
    assert rows.column_names == [column.name for column in table.select()]
