"""What makes one fetch differ from another, and rows of another table in the answers of a service."""

import time
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.fetch import fetch_catalog
from astrolake.data_access.surveys.model import Condition
from astrolake.errors import ServiceError
from astrolake.lake.storage import Storage
from astrolake.sky.region import Box
from tests.data_access.servers.generated import NATIVE, sources, survey_table
from tests.data_access.servers.query_engine import Database
from tests.data_access.servers.tap_server import TapServer


@pytest.fixture(scope="module")
def database() -> Database:
    return Database({NATIVE: sources()})


@pytest.fixture
def tap(database):
    with TapServer(database, waits=0) as server:
        yield server


def client() -> HttpClient:
    return HttpClient("generated survey", 400.0, 4, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))


def coadds(url: str):
    """A table some of whose rows, those with flags 7, are of another one."""
    return replace(survey_table(url, format="csv"), others={"coadd": (Condition("flags", "=", 7),)})


def test_rows_of_another_table_are_left_out_though_nobody_asked_for_what_tells_them(tap, tmp_path):
    region = Box(0.1, 0.4, -0.2, 0.1)
    found = fetch_catalog(
        coadds(tap.tap_url), region, Storage.at(str(tmp_path)), columns=["mag_psf_r"], client=client()
    )
    [uri] = found.uris
    rows = pq.read_table(uri.removeprefix("file://"))
    native = sources()
    ra, dec = native["ra"].to_numpy(), native["dec"].to_numpy()
    mask = region.contains(ra, dec)
    own = mask & (native["flags"].to_numpy() != 7)
    assert rows.column_names == ["source_id", "ra", "dec", "mag_psf_r"]
    assert set(rows["source_id"].to_pylist()) == set(native["objid"].to_numpy()[own].tolist())
    assert 0 < own.sum() < mask.sum()


def test_an_answer_of_another_table_alone_is_refused(tap, tmp_path):
    table = replace(coadds(tap.tap_url), others={"coadd": (Condition("flags", ">=", 0),)})
    with pytest.raises(ServiceError, match="some rows are of coadd"):
        fetch_catalog(table, Box(0.1, 0.2, 0, 0.1), Storage.at(str(tmp_path)), client=client())


def test_another_meaning_of_a_column_of_a_filter_is_another_request(tap, tmp_path):
    table = survey_table(tap.tap_url, format="csv")
    sentinel = tuple(replace(c, null=(-1,)) if c.name == "flags" else c for c in table.columns)
    wish = {"columns": ["mag_psf_r"], "filters": {"flags": 3}, "client": client()}
    storage, region = Storage.at(str(tmp_path)), Box(0.1, 0.2, 0, 0.1)
    first = fetch_catalog(table, region, storage, **wish)
    second = fetch_catalog(replace(table, columns=sentinel), region, storage, **wish)
    assert first.uris != second.uris


def test_a_region_is_the_same_in_any_kind_of_numbers(tap, tmp_path):
    table, storage = survey_table(tap.tap_url, format="csv"), Storage.at(str(tmp_path))
    numbers = np.array([0, 1, 0, 1])
    found = [
        fetch_catalog(table, Box(*kind), storage, columns=["ra"], client=client()).uris
        for kind in (numbers.tolist(), numbers, numbers.astype(float))
    ]
    assert found[0] == found[1] == found[2]
