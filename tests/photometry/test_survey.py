import pytest
from fits_files import cards

from astrolake.photometry.survey import band_name, image_type, recognise_survey


@pytest.mark.parametrize(
    ("header", "survey"),
    [
        ({"ORIGIN": "SDSS"}, "sdss"),
        ({"RUN": 4247, "CAMCOL": 4, "NMGY": 0.005}, "sdss"),
        ({"LEGPIPEV": "dr6", "SURVEY": "DECaLS", "INSTRUME": "90prime"}, "legacy"),
        ({"INSTRUME": "DECam", "DES_EXT": "IMAGE"}, "decam"),
        ({"TILENAME": "DES2143-4040"}, "des"),
        ({"PSCAMERA": "GPC1"}, "panstarrs"),
        ({"DATASET": "2MASS"}, "twomass"),
        ({"INSTRUME": "NIRCAM"}, "jwst"),
        ({"SURVEY": "DEMO", "RUN": 1, "CAMCOL": 1}, "demo"),
        ({"SURVEY": "My Survey (deep)"}, "my_survey_deep"),
        ({}, "unknown"),
    ],
)
def test_surveys_are_recognised_by_their_cards(header, survey):
    assert recognise_survey(cards(**header), "image.fits") == survey


def test_a_name_serves_where_the_header_says_nothing():
    assert recognise_survey(cards(), "frame-g-002583-2-0136.fits") == "sdss"


def test_the_header_wins_over_the_name():
    assert recognise_survey(cards(SURVEY="DEMO"), "frame-g-002583-2-0136.fits") == "demo"


@pytest.mark.parametrize(
    ("header", "survey", "band"),
    [
        ({"FILTER": "r DECam SDSS c0002 6415.0 1480.0"}, "decam", "r"),
        ({"FILTER": "i.00000"}, "panstarrs", "i"),
        ({"FILTER": "k"}, "twomass", "Ks"),
        ({"BAND": "J"}, "twomass", "J"),
        ({"CHNLNUM": 2}, "spitzer", "IRAC2"),
        ({"BAND": 1}, "wise", "W1"),
        ({"FILTER": "F200W"}, "jwst", "F200W"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "hst", "F814W"),
        ({"FILTER": "Clear"}, "unknown", "Clear"),
        ({"FILTER": "NB 659"}, "unknown", "NB 659"),
        ({}, "unknown", ""),
    ],
)
def test_bands_have_their_usual_names(header, survey, band):
    assert band_name(cards(**header), survey) == band


@pytest.mark.parametrize(
    ("header", "name", "role"),
    [
        ({}, "image.fits", "science"),
        ({"PRODTYPE": "image"}, "c4d_171113_061941_oow_r_ls9.fits", "weight"),
        ({"PRODTYPE": "image"}, "c4d_171113_061941_ood_r_ls9.fits", "mask"),
        ({"PRODTYPE": "dqmask"}, "image.fits", "mask"),
        ({"IMTYPE": "nexp", "PRODTYPE": "image"}, "legacysurvey-0959p805-nexp-g.fits.fz", "other"),
        ({"EXTNAME": "SCI"}, "jw01324_i2d_stamp.WebbPSF.fits", "psf"),
        ({"EXTNAME": "SCI"}, "jw02561.crossConvd.sfftdiff.SNR.fits", "difference"),
        ({"NAME_REF": "a", "NAME_SCI": "b"}, "image.fits", "difference"),
        ({"EXTNAME": "DQ"}, "jw02561_cal.fits", "mask"),
        ({"EXTNAME": "ERR"}, "jw02561_cal.fits", "other"),
        ({}, "coadd.weight.fits", "weight"),
        ({}, "legacysurvey-0959p805-psfsize-g.fits", "other"),
        ({}, "diffuse_nebula.fits", "science"),
        ({"OBSTYPE": "dome flat"}, "image.fits", "other"),
        ({"IMAGETYP": "Light Frame"}, "image.fits", "science"),
    ],
)
def test_roles_of_images(header, name, role):
    assert image_type(cards(**header), name) == role
