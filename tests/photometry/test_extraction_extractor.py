import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from star_fields import gaussian_stars, grid, observed

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photometry import SourceExtractor
from astrolake.photometry.flags import Flag
from astrolake.photometry.options import ExtractionOptions

X, Y = grid(250, 50)
FRAME = observed(gaussian_stars((250, 250), X, Y, 30_000.0, 1.7), gain=4.7)
EXTRACTOR = SourceExtractor(detection_threshold=1.5, min_pixels=5, deblend=True)
SOURCES = EXTRACTOR.detect(FRAME, gain=4.7, pixel_scale=0.396)


def test_detect_gives_one_row_per_star():
    assert isinstance(SOURCES, pd.DataFrame)
    assert len(SOURCES) == len(X)
    assert all(np.ndim(value) == 0 for value in SOURCES.iloc[0])


def test_pixel_scale_gives_the_width_in_arcsec():
    np.testing.assert_allclose(SOURCES["fwhm_arcsec"], SOURCES["fwhm"] * 0.396)
    assert "fwhm_arcsec" not in EXTRACTOR.detect(FRAME)


def test_photometry_adds_columns_and_keeps_the_rows():
    photometry = EXTRACTOR.measure_photometry(FRAME, SOURCES, aperture_radius=8.0, sky_annulus=[10, 15])
    pd.testing.assert_frame_equal(photometry[SOURCES.columns.drop("flags")], SOURCES.drop(columns="flags"))
    np.testing.assert_allclose(photometry["flux"], 30_000, rtol=0.01)
    assert set(photometry) - set(SOURCES) == {"flux", "flux_err", "sky", "sky_rms"}
    assert "flux" not in SOURCES


def test_photometry_uses_the_gain_of_the_detection():
    remembered = EXTRACTOR.measure_photometry(FRAME, SOURCES)
    given = EXTRACTOR.measure_photometry(FRAME, SOURCES[["x", "y"]], gain=4.7)
    unknown = EXTRACTOR.measure_photometry(FRAME, pd.DataFrame({"x": X, "y": Y}))
    np.testing.assert_array_equal(remembered["flux_err"], given["flux_err"])
    assert unknown["flux_err"].median() < remembered["flux_err"].median()
    assert (unknown["flags"] & Flag.NO_GAIN > 0).all()


@pytest.mark.parametrize(
    "convert",
    [Table.from_pandas, lambda table: table.to_records(index=False), lambda table: table.to_dict("list")],
    ids=["astropy", "structured", "dict"],
)
def test_sources_may_be_any_table(convert):
    expected = EXTRACTOR.measure_photometry(FRAME, SOURCES, gain=4.7)
    photometry = EXTRACTOR.measure_photometry(FRAME, convert(SOURCES), gain=4.7)
    np.testing.assert_array_equal(photometry["flux"], expected["flux"])
    np.testing.assert_array_equal(photometry["flags"], expected["flags"])


def test_flags_of_detection_and_photometry_are_joined():
    sources = pd.DataFrame({"x": [X[0], np.nan], "y": [Y[0], 10.0], "flags": [2, 2]})
    photometry = EXTRACTOR.measure_photometry(FRAME, sources, gain=4.7)
    assert photometry["flags"].tolist() == [2, 2 | Flag.OUTSIDE]
    assert np.isnan(photometry["flux"][1])


def test_deblend_off_keeps_blends_together():
    pair = observed(gaussian_stars((90, 90), [40.0, 48.0], [45.0, 45.0], 20_000.0, 1.7))
    assert len(EXTRACTOR.detect(pair)) == 2
    assert len(SourceExtractor(deblend=False).detect(pair)) == 1


def test_threshold_and_pixels_reach_the_detection():
    assert len(SourceExtractor(detection_threshold=1e4).detect(FRAME)) == 0
    assert len(SourceExtractor(min_pixels=1000).detect(FRAME)) == 0


def test_other_options_are_kept():
    options = ExtractionOptions(background_box_px=32, detect_sigma=99)
    extractor = SourceExtractor(options=options)
    assert extractor.options.background_box_px == 32
    assert extractor.options.detect_sigma == 1.5


def test_sources_without_positions_are_refused():
    with pytest.raises(MissingColumns, match=r"sources lacks the columns \['x', 'y'\]; it has \['ra'\]"):
        EXTRACTOR.measure_photometry(FRAME, pd.DataFrame({"ra": [1.0]}))


@pytest.mark.parametrize(
    "arguments",
    [
        {"aperture_radius": 0},
        {"aperture_radius": np.nan},
        {"sky_annulus": [15, 10]},
        {"sky_annulus": [10]},
        {"sky_annulus": [-1, 10]},
    ],
)
def test_impossible_radii_are_refused(arguments):
    with pytest.raises(BadArguments, match=next(iter(arguments))):
        EXTRACTOR.measure_photometry(FRAME, SOURCES, **arguments)


@pytest.mark.parametrize("arguments", [{"pixel_scale": 0}, {"gain": -1.0}])
def test_impossible_arguments_of_detect_are_refused(arguments):
    with pytest.raises(BadArguments, match=next(iter(arguments))):
        EXTRACTOR.detect(FRAME, **arguments)


def test_an_empty_image_is_refused_with_the_reason():
    with pytest.raises(BadInput, match="0 of 400 pixels can be used"):
        EXTRACTOR.detect(np.full((20, 20), np.nan))
