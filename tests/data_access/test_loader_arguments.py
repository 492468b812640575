"""Arguments of the loaders that cannot be meant: refused by name, before anything is asked or made."""

import pytest

from astrolake.data_access import GaiaLoader, SDSSDataLoader, WISELoader
from astrolake.data_access.imaging.find import bands_of
from astrolake.errors import BadArguments


@pytest.fixture
def lake(tmp_path):
    yield tmp_path / "lake"
    assert not (tmp_path / "lake").exists() or not list((tmp_path / "lake").rglob("plan.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bucket_name": ""}, "'' is no name of a bucket"),
        ({"bucket_name": "../elsewhere"}, "is no name of a bucket; for another place give lake="),
        ({"bucket_name": "s3://my-bucket"}, "is no name of a bucket"),
        ({"lake": "x", "workers": 0}, "workers 0: give one at least"),
        ({"lake": "x", "release": "../.."}, r"no release '\.\./\.\.'"),
    ],
)
def test_places_and_workers(arguments, message):
    with pytest.raises(BadArguments, match=message):
        SDSSDataLoader(**arguments)


@pytest.mark.parametrize(
    ("ra", "dec", "message"),
    [
        (5, [1, 2], "give ra_range="),
        ([1, 2, 3], [1, 2], "give ra_range="),
        ([1, None], [1, 2], "give numbers of degrees, not None"),
        ("ab", [1, 2], "give numbers of degrees, not 'a'"),
        ([float("nan"), 2], [1, 2], "region 'box:nan"),
        ([1, 2], [2, 1], "dec_min 2.0 lies above"),
    ],
)
def test_ranges(lake, ra, dec, message):
    with pytest.raises(BadArguments, match=message):
        SDSSDataLoader(lake=lake).load_catalog(ra, dec)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ra": "x"}, "give numbers of degrees, not 'x'"),
        ({"width": float("nan")}, "sizes above 0"),
        ({"bands": "W9"}, "no bands"),
        ({"client": 1}, "no options client; they have kind, planes, version"),
        ({"note": "x"}, "no options note"),
        ({"version": 5}, "version=5 should be like ''"),
        ({"planes": 1}, "planes=1 should be like"),
    ],
)
def test_fields_bands_and_options_of_images(lake, arguments, message):
    with pytest.raises(BadArguments, match=message):
        WISELoader(lake=lake).download_imaging(**({"ra": 1.0, "dec": 1.0, "width": 0.1} | arguments))


def test_truth_values_are_no_texts(lake):
    """The text "false" is true."""
    with pytest.raises(BadArguments, match="all_epochs='false' should be like False"):
        SDSSDataLoader(lake=lake).download_imaging(1.0, 1.0, 0.1, all_epochs="false")
    with pytest.raises(BadArguments, match="Gaia publishes no images"):
        GaiaLoader(lake=lake).download_imaging(1.0, 1.0, 0.1)


def test_bands_as_one_text():
    wise, sdss = WISELoader(lake="x").survey, SDSSDataLoader(lake="x").survey
    assert bands_of(wise, "W1") == ("W1",)
    assert bands_of(wise, "W2, W1") == ("W1", "W2")
    assert bands_of(sdss, "ig") == ("g", "i")
