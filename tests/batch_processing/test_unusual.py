"""An alert is for what is measured well and very bright, or a streak."""

import numpy as np
import pyarrow as pa
import pytest

from astrolake.batch_processing.unusual import UnusualRule, find_unusual
from astrolake.photometry.flags import Flag

PLAIN = {"flags": 0, "snr": 100.0, "mag_auto": 18.0, "a_arcsec": 0.8, "b_arcsec": 0.7, "flux": 200.0}


def rows(*sources: dict) -> pa.Table:
    found = [
        PLAIN | {"source_id": f"1-{i}", "ra": 1.0, "dec": 2.0} | source for i, source in enumerate(sources)
    ]
    return pa.Table.from_pylist(found)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"mag_auto": 11.9}, "bright"),
        ({"mag_auto": 12.1}, None),
        ({"mag_auto": None}, None),
        ({"mag_auto": 11.0, "snr": 49.0}, None),
        ({"mag_auto": 11.0, "snr": None}, None),
        ({"mag_auto": 11.0, "flags": int(Flag.SATURATED)}, None),
        ({"mag_auto": 11.0, "flags": int(Flag.TRUNCATED | Flag.BLENDED)}, None),
        ({"mag_auto": 11.0, "flags": int(Flag.BLENDED)}, "bright"),
        ({"a_arcsec": 9.0, "b_arcsec": 0.9}, "streak"),
        ({"a_arcsec": 9.0, "b_arcsec": 1.5}, None),
        ({"a_arcsec": 3.0, "b_arcsec": 0.2}, None),
    ],
)
def test_the_rule(source, why):
    found = find_unusual(rows(PLAIN, source, PLAIN))
    assert [one["why"] for one in found.sources] == ([why] if why else [])
    assert found.count == len(found.sources)
    assert all(one["source_id"] == "1-1" for one in found.sources)


def test_only_some_are_shown_those_of_best_signal_first():
    snr = np.arange(60.0, 90.0)
    found = find_unusual(rows(*({"mag_auto": 10.0, "snr": float(one)} for one in snr)), most=3)
    assert found.count == 30
    assert [one["snr"] for one in found.sources] == [89.0, 88.0, 87.0]


def test_limits_are_arguments():
    assert find_unusual(rows({"mag_auto": 14.0}), UnusualRule(bright_mag_ab=15.0)).count == 1
