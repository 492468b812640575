import pytest
from fits_files import cards

from astrolake.photometry.observation import read_observation


def test_sdss_counts_tai_seconds():
    """Run 2583: its own DATE-OBS and TAIHMS say 2001-09-20 06:24:41.19."""
    found = read_observation(cards(TAI=4507683881.19, TIMESYS="TAI"), "sdss")
    assert found.mjd == pytest.approx(52172 + (6 * 3600 + 24 * 60 + 41.19) / 86400, abs=1e-9)
    assert found.time_scale == "TAI"


def test_mjd_obs_is_utc_unless_the_header_says_otherwise():
    assert read_observation(cards(MJD__OBS=58070.25), "decam").time_scale == "UTC"
    assert read_observation(cards(MJD__OBS=58070.25, TIMESYS="tdb"), "tess").time_scale == "TDB"


@pytest.mark.parametrize(
    ("header", "survey", "mjd"),
    [
        ({"DATE__OBS": "2015-12-27T06:00:00"}, "unknown", 57383.25),
        ({"DATE__OBS": "2015-12-27", "TIME__OBS": "18:00:00.0"}, "unknown", 57383.75),
        ({"DATE__OBS": "29/11/51", "UT": "12:00:00.00"}, "dss", 33979.5),
        ({"UT_DATE": "990502", "UT": "06:00:00.0"}, "twomass", 51300.25),
        ({"JD": 2457383.75}, "unknown", 57383.25),
        ({"DATE__OBS": "2015-12-27"}, "unknown", 57383.0),
    ],
)
def test_dates_in_their_many_spellings(header, survey, mjd):
    assert read_observation(cards(**header), survey).mjd == pytest.approx(mjd, abs=1e-9)


def test_a_date_that_ends_in_z_is_utc():
    found = read_observation(cards(DATE__OBS="2018-09-15T12:00:00Z", TIMESYS="TDB"), "tess")
    assert (found.mjd, found.time_scale) == (58376.5, "UTC")


@pytest.mark.parametrize("date", ["", "yesterday", "2015-13-45", "00/00/00"])
def test_no_date_gives_no_time(date):
    found = read_observation(cards(DATE__OBS=date), "unknown")
    assert (found.mjd, found.time_scale, found.visit) == (None, None, None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"EXPTIME": "53.9"}, 53.9),
        ({"EXPOSURE": (0.5, "[d] time on source")}, 43200.0),
        ({"EXPOSURE": (50.0, "Exposure time minutes")}, 3000.0),
        ({"EXPTIME": -1.0}, None),
        ({}, None),
    ],
)
def test_exposure_times_are_in_seconds(header, seconds):
    assert read_observation(cards(**header), "unknown").exptime_s == seconds


@pytest.mark.parametrize(
    ("header", "survey", "visit"),
    [
        ({"RUN": 2583, "MJD__OBS": 52172.3}, "sdss", "2583"),
        ({"EXPNUM": 695773, "OBSID": "ct4m"}, "decam", "695773"),
        ({"DECALSDR": "DR6", "DATEOBS1": "2016-01-12"}, "legacy", "DR6"),
        ({"TESS_ID": "RINGS.V3", "STK_TYPE": "DEEP_STACK", "MJD__OBS": 56434.6}, "panstarrs", "RINGS.V3"),
        ({"TESS_ID": "RINGS.V3", "MJD__OBS": 55331.376213}, "panstarrs", "55331.37621"),
        ({"WRELEASE": "allwise", "DATEOBS1": "2010-06-14T03:00:00"}, "wise", "allwise"),
        ({"UNW_VER": "87a7f8e", "MJDMIN": 55365.1}, "wise", "unwise"),
        ({"VERSION": "DR10"}, "legacy", "DR10"),
        ({"MJD__OBS": 57383.25}, "unknown", "2015-12-26"),
        ({"MJD__OBS": 57383.75}, "unknown", "2015-12-27"),
    ],
)
def test_visits(header, survey, visit):
    assert read_observation(cards(**header), survey).visit == visit
