"""Real files on their way from an archive to the row of an image: found, downloaded, checked, ingested."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolake.data_access.download import download_files
from astrolake.data_access.imaging.find import find_images
from astrolake.data_access.surveys.registry import load_survey
from astrolake.photometry.fits_io import read_frame
from astrolake.photometry.headers import silence
from astrolake.photometry.scan import scan_file
from astrolake.sky.region import Cone
from tests.data_access.imaging_fixtures import client, server, target
from tests.data_access.servers.archives import (
    Field,
    SiaImage,
    SkycellImage,
    on_loopback,
    serve_brick,
    serve_fields,
    serve_frames,
    serve_sia,
    serve_skycells,
)

__all__ = ["client", "server", "target"]

pytestmark = pytest.mark.data


def fetched(files, client):
    """Download files and return the images in them, by name of the file."""
    outcomes = list(download_files(files, client))
    assert [outcome.error for outcome in outcomes] == [None] * len(files)
    scans = {outcome.value.uri.rsplit("/", 1)[-1]: scan_file(outcome.value.uri) for outcome in outcomes}
    assert not [reject for scan in scans.values() for reject in scan.rejects]
    return {name: scan.images[0] for name, scan in scans.items()}


def header_of(path):
    with silence(), fits.open(path) as hdus:
        return hdus[0].header


def test_a_frame_of_sdss(server, client, target, survey_data):
    serve_fields(server, [Field(4510, 4, 30, 200.4545, 36.80834, 95.0, 37.5)])
    serve_frames(server, survey_data / "images_sdss")
    survey = on_loopback(load_survey("sdss", "dr17"), server)
    files = find_images(survey, Cone(200.45, 36.81, 0.02), "r", client, target)
    image = fetched(files, client)["frame-r-004510-4-0030.fits.bz2"]
    assert (image["survey"], image["band"], image["visit"], image["image_type"]) == (
        "sdss",
        "r",
        "4510",
        "science",
    )
    assert (image["zero_point_ab"], image["flux_unit"]) == (22.5, "nanomaggy")
    # Camera column 4, r: 4.885 electrons per count (data model of frame); NMGY nanomaggies per count.
    assert image["gain"] == pytest.approx(4.885 / 0.00491124, rel=0.05)
    assert (image["mjd"], image["time_scale"]) == (pytest.approx(53081.354251, abs=1e-6), "TAI")
    assert image["exptime_s"] == pytest.approx(53.907456)


def test_a_brick_of_the_legacy_surveys_with_its_weight(server, client, target, survey_data):
    names = [f"legacysurvey-0959p805-{plane}-g.fits.fz" for plane in ("image", "invvar", "nexp")]
    folder = survey_data / "images_legacy_brick"
    serve_brick(server, "dr9/north", "0959p805", {name: folder / name for name in names})
    survey = on_loopback(load_survey("legacy"), server)
    files = find_images(survey, Cone(95.95, 80.5, 0.01), "g", client, target, planes=("image", "invvar"))
    assert len(files) == 2
    images = fetched(files, client)
    science = images[names[0]]
    assert (science["survey"], science["band"], science["zero_point_ab"]) == ("legacy", "g", 22.5)
    assert science["weight_uri"] == images[names[1]]["uri"]
    assert (science["weight_kind"], images[names[1]]["image_type"]) == ("invvar", "weight")


def test_a_cutout_of_panstarrs(server, client, target, survey_data):
    path = survey_data / "images_ps1_des" / "frb190608_panstarrs_iband.fits"
    header = header_of(path)
    name = "/rings.v3.skycell/1226/009/rings.v3.skycell.1226.009.stk.i.unconv.fits"
    with silence():
        wcs = WCS(header)
    # The skycell of 6291 x 6247 pixels, of which the file is a part.
    wcs.wcs.crpix = [237.5 - 4 * 5811, 240.0 + 5 * 5767]
    serve_skycells(server, [SkycellImage(1226, 9, wcs, (6247, 6291), name, "i", "stack", path)])
    survey = on_loopback(load_survey("panstarrs"), server)
    files = find_images(survey, Cone(334.0199, -7.8982, 0.009), "i", client, target, planes=("",))
    image = fetched(files, client)["rings.v3.skycell.1226.009.stk.i.unconv.fits"]
    assert (image["survey"], image["band"], image["visit"]) == ("panstarrs", "i", "RINGS.V3")
    assert image["zero_point_ab"] == pytest.approx(25 + 2.5 * np.log10(2685.0))
    assert image["gain"] == pytest.approx(1.071877)
    assert image["exptime_s"] == 2685.0
    assert server.requests[-1].query["size"] == "260"


def test_an_atlas_image_of_2mass(server, client, target, survey_data):
    path = survey_data / "images_infrared" / "aK_asky_990502s1350080.fits.gz"
    header = header_of(path)
    with silence():
        footprint = WCS(header).calc_footprint()
    url = "/ibe/data/twomass/allsky/allsky/990502s/s135/image/ki1350080.fits.gz"
    serve_sia(server, [SiaImage("twomass_allsky", "K", url, tuple(map(tuple, footprint)))])
    server.serve(url, path)
    survey = on_loopback(load_survey("twomass"), server)
    files = find_images(survey, Cone(275.0, -16.25, 0.01), ["Ks"], client, target)
    image = fetched(files, client)["ki1350080.fits.gz"]
    assert (image["survey"], image["band"], image["flux_unit"]) == ("twomass", "Ks", "dn")
    # m_AB - m_Vega of Ks: Blanton & Roweis 2007.
    assert image["zero_point_ab"] == pytest.approx(header["MAGZP"] + 1.85)
    assert image["gain"] is None
    assert image["mjd"] == pytest.approx(51300, abs=1)


def test_files_that_are_there_are_not_downloaded_again(server, client, target, survey_data):
    """What is downloaded is found again: nothing is asked of the archive but its lists."""
    names = [f"legacysurvey-0959p805-{plane}-g.fits.fz" for plane in ("image", "invvar")]
    folder = survey_data / "images_legacy_brick"
    serve_brick(server, "dr9/north", "0959p805", {name: folder / name for name in names})
    survey = on_loopback(load_survey("legacy"), server)
    search = (survey, Cone(95.95, 80.5, 0.01), "g", client, target)
    first = fetched(find_images(*search, planes=("image", "invvar")), client)
    asked = len(server.requests)
    again = list(download_files(find_images(*search, planes=("image", "invvar")), client))
    assert [outcome.value.skipped for outcome in again] == [True, True]
    assert {path.rsplit(".", 1)[-1] for path in server.paths()[asked:]} == {"sha256sum"}
    frame = read_frame(first[names[0]])
    # About 88 per cent of the brick is uncovered.
    assert frame.bad.mean() == pytest.approx(0.88, abs=0.02)
