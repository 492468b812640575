"""The archives themselves, for those who have the internet: pytest -m live."""

import pytest

from astrolake.data_access.download import download_files
from astrolake.data_access.imaging.find import find_images
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.surveys.registry import load_survey
from astrolake.photometry.scan import scan_file
from astrolake.sky.region import Cone
from tests.data_access.imaging_fixtures import target

__all__ = ["target"]

pytestmark = pytest.mark.live

SEARCHES = {
    "sdss": (Cone(200.45, 36.81, 0.01), ["r"], {}),
    "panstarrs": (Cone(334.0199, -7.8982, 0.005), ["i"], {}),
    "panstarrs warps": (Cone(334.0199, -7.8982, 0.005), ["i"], {"kind": "warp", "planes": ("",)}),
    "legacy": (Cone(0.125, -0.25, 0.005), ["r"], {"planes": ("image", "invvar")}),
    "legacy north": (Cone(95.95, 80.5, 0.005), ["g"], {"planes": ("image",)}),
    "legacy cutout": (Cone(150.1, 2.2, 0.005), ["r"], {"cutout": True}),
    "wise": (Cone(150.1, 2.2, 0.005), ["W1"], {}),
    "wise atlas": (Cone(150.1, 2.2, 0.005), ["W1"], {"kind": "allwise"}),
    "twomass": (Cone(275.0, -16.25, 0.005), ["Ks"], {}),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_images_of_an_archive_are_found_downloaded_and_understood(name, target):
    region, bands, options = SEARCHES[name]
    survey = load_survey(name.split()[0])
    client = HttpClient(survey.title, survey.imaging.requests_per_s, survey.imaging.connections)
    files = find_images(survey, region, bands, client, target, **options)
    assert files
    # An image and its companion; a place may have tens of warps.
    outcomes = list(download_files(files[:2], client))
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    images = [image for outcome in outcomes for image in scan_file(outcome.value.uri).images]
    science = [image for image in images if image["image_type"] == "science"]
    assert science
    for image in science:
        assert (image["survey"], image["band"]) == (survey.name, bands[0])
        assert image["zero_point_ab"] is not None
        assert image["wcs_kind"] != "none"
