import numpy as np
import pyarrow as pa
import pytest
from test_merge import detections

from astrolake.objects import merge_objects, objects_table
from astrolake.objects.reddening import EbvTable, detection_coefficients
from astrolake.schema.arrow import arrow_schema
from astrolake.sky.healpix import healpix29
from astrolake.sky.ranges import inside


class Everywhere:
    """The same dust all over the sky."""

    def ebv(self, ra_deg, dec_deg):
        return np.full(len(ra_deg), 0.5)


class FakeReader:
    """Rows of a table in memory, by range."""

    def __init__(self, **columns):
        self.rows = pa.table(columns)
        self.index = healpix29(*(self.rows[name].to_numpy() for name in ("ra", "dec")))

    def read(self, ranges):
        return self.rows.filter(pa.array(inside(ranges, self.index)))


def test_objects_without_the_dust():
    rows = detections({"mag_auto": 20.0}, {"mag_auto": 21.0, "band": "g", "survey": "panstarrs"})
    table = merge_objects(rows, np.zeros(2, np.int64), ["g", "r"], reddening=Everywhere())
    declared = arrow_schema(objects_table(["g", "r"], dereddened=True))
    assert table.schema.equals(declared.remove(declared.get_field_index("run_id")), check_metadata=True)
    found = table.to_pylist()[0]
    assert found["ebv"] == 0.5
    assert found["mag_auto_dered_r"] == pytest.approx(20.0 - 0.5 * 2.285)
    assert found["mag_auto_dered_g"] == pytest.approx(21.0 - 0.5 * 3.172)
    assert found["mag_aper_dered_r"] == pytest.approx(20.5 - 0.5 * 2.285)


def test_surveys_of_one_band_share_a_mean_coefficient():
    rows = detections({"visit": "a"}, {"visit": "b", "survey": "des"})
    found = merge_objects(rows, np.zeros(2, np.int64), ["r"], reddening=Everywhere()).to_pylist()[0]
    assert found["mag_auto_dered_r"] == pytest.approx(20.0 - 0.5 * (2.285 + 2.176) / 2)


def test_bands_that_are_missing_or_unknown_stay_null():
    rows = detections({"band": "N540"})
    found = merge_objects(rows, np.zeros(1, np.int64), ["N540", "r"], reddening=Everywhere()).to_pylist()[0]
    assert found["mag_auto_dered_n540"] is None
    assert found["mag_auto_dered_r"] is None
    assert np.isnan(detection_coefficients([None], [""])).all()


@pytest.mark.parametrize("place", [(10.0, 0.0), (359.999, 0.0), (77.0, 89.95)])
def test_ebv_of_the_nearest_row(place):
    """Across ra = 0 and near a pole; rows without E(B-V), or too far away, do not count."""
    ra0, dec0 = place
    step = 0.02 / np.cos(np.radians(dec0))
    ra = (ra0 + step * np.array([0.0, 1.0, -1.0, 100.0])) % 360
    reader = FakeReader(
        ra=ra, dec=np.full(4, dec0), source_id=np.arange(4), ebv=np.array([np.nan, 0.2, 0.3, 9.0])
    )
    dust = EbvTable(reader, "source_id", "ebv")
    at = (ra0 + step * np.array([0.4, -0.4])) % 360
    np.testing.assert_array_equal(dust.ebv(at, np.full(2, dec0)), [0.2, 0.3])
    assert np.isnan(dust.ebv(np.array([(ra0 + 180) % 360]), np.array([-dec0]))).all()
    assert dust.ebv(np.empty(0), np.empty(0)).size == 0
