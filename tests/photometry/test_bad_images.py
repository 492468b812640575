"""Every kind of bad image has one clear outcome: a named refusal, or sources with flags."""

import numpy as np
import pytest
from astropy.io import fits
from star_fields import gaussian_stars, observed

from astrolake.errors import BadArguments, BadInput
from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.flags import Flag
from astrolake.photometry.image_sources import image_sources
from astrolake.photometry.magnitudes import calibrate
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file

SHAPE = (200, 240)
rng = np.random.default_rng(21)
X, Y = rng.uniform(5, 235, 25), rng.uniform(5, 195, 25)
FIELD = observed(gaussian_stars(SHAPE, X, Y, 10_000.0, 1.7))
#: In one piece and in parts: both refuse alike.
WAYS = [ExtractionOptions(), ExtractionOptions(subtile_px=100, subtile_margin_px=40)]


@pytest.mark.parametrize("options", WAYS, ids=["whole", "parts"])
@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"data": np.full(SHAPE, np.nan)}, "NoGoodPixels"),
        ({"data": np.full(SHAPE, np.inf)}, "NoGoodPixels"),
        ({"data": np.zeros(SHAPE)}, "NoGoodPixels"),
        ({"data": np.full(SHAPE, 7.0)}, "NoNoise"),
        ({"data": FIELD, "variance": np.zeros(SHAPE)}, "NoGoodPixels"),
        ({"data": FIELD, "variance": np.full(SHAPE, -1.0)}, "NoGoodPixels"),
        ({"data": FIELD, "bad": np.ones(SHAPE, bool)}, "NoGoodPixels"),
        ({"data": FIELD, "bad": np.zeros((3, 3), bool)}, "BadShape"),
        ({"data": FIELD, "variance": np.ones((3, 3))}, "BadShape"),
        ({"data": FIELD[0]}, "BadShape"),
        ({"data": np.zeros((0, 5))}, "BadShape"),
        ({"data": FIELD.astype(complex)}, "BadType"),
    ],
)
def test_images_without_content_are_refused_by_name(arguments, kind, options):
    with pytest.raises(BadInput) as raised:
        extract_frame(**arguments, options=options)
    assert raised.value.kind == kind


@pytest.mark.parametrize("gain", [0.0, -4.0, np.nan, np.inf])
def test_a_gain_that_cannot_be_is_refused(gain):
    with pytest.raises(BadArguments, match="must be positive; leave it out when it is unknown"):
        extract_frame(FIELD, gain=gain)


def test_a_gain_a_million_times_too_small_only_swells_the_errors():
    right, wrong = extract_frame(FIELD, gain=2.0).columns, extract_frame(FIELD, gain=2e-6).columns
    np.testing.assert_array_equal(wrong["flux_auto"], right["flux_auto"])
    assert (wrong["flux_auto_err"] > 100 * right["flux_auto_err"]).all()


@pytest.mark.parametrize("options", WAYS, ids=["whole", "parts"])
def test_some_zero_and_negative_weights_leave_the_rest(options):
    variance = np.full(SHAPE, 25.0)
    variance[:, :80] = 0
    variance[:, 80:120] = -3
    columns = extract_frame(FIELD, variance=variance, options=options).columns
    assert len(columns["x"]) == pytest.approx(np.count_nonzero(X > 120), abs=2)
    assert columns["x"].min() > 118


@pytest.mark.parametrize("options", WAYS, ids=["whole", "parts"])
def test_a_saturated_star_that_fills_the_image_is_extracted_and_flagged(options):
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    star = 1e7 * (1 + ((xx - 120) ** 2 + (yy - 100) ** 2) / 400) ** -1.5
    data = np.minimum(observed(star, noise=5.0), 60_000)
    found = extract_frame(data, gain=2.0, saturation=60_000, options=options)
    assert len(found) >= 1
    flags = found.columns["flags"][found.columns["peak"].argmax()]
    assert flags & Flag.SATURATED
    assert np.isfinite(found.columns["x"]).all()


def test_an_image_that_is_saturated_everywhere_has_no_noise():
    with pytest.raises(BadInput, match="constant"):
        extract_frame(np.full(SHAPE, 65_535, np.uint16), saturation=60_000)


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2", "<i4", "u2", "u1"])
def test_byte_order_and_integers_do_not_matter(kind):
    counts = np.rint(FIELD / 4).clip(0, 255)
    expected = extract_frame(counts.astype(np.float32), gain=2.0).columns
    found = extract_frame(counts.astype(kind), gain=2.0).columns
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_fifty_thousand_sources_are_all_measured():
    tile = gaussian_stars(
        (64, 64),
        *(axis.ravel() for axis in np.meshgrid(np.arange(4, 64, 8.0), np.arange(4, 64, 8.0))),
        800.0,
        1.2,
    )
    data = observed(np.tile(tile, (28, 28)), noise=1.0)
    found = extract_frame(data, options=ExtractionOptions(background_box_px=256))
    assert len(found) == pytest.approx(28 * 28 * 64, rel=0.002)
    assert np.isfinite([found.columns[name] for name in ("x", "y", "flux_auto", "flux_auto_err")]).all()


def test_limits_never_lose_an_image(monkeypatch):
    from astrolake.photometry import detection

    monkeypatch.setattr(detection, "_PIXEL_STACK", 100)
    monkeypatch.setattr(detection, "_SUB_OBJECTS", 2)
    monkeypatch.setattr(detection, "_MAX_SUB_OBJECTS", 2)
    found = extract_frame(FIELD, options=ExtractionOptions(detect_sigma=0.3, deblend_contrast=0))
    assert found.info.attempts > 1
    assert not found.info.deblended
    assert (found.columns["flags"] & Flag.NOT_DEBLENDED > 0).all()


def test_without_zero_point_there_are_fluxes_and_no_magnitudes(tmp_path):
    path = tmp_path / "plain.fits"
    fits.writeto(path, FIELD)
    image = scan_file(str(path)).images[0]
    assert image["zero_point_ab"] is None
    found = image_sources(image, [], ExtractionOptions(), (1.5, 3.0))
    rows = found.rows.to_pandas()
    assert not found.has_wcs
    assert rows["mag_auto"].isna().all()
    assert rows["mag_petro"].isna().all()
    assert (rows["flux_auto"] > 0).all()
    assert np.isnan(calibrate(extract_frame(FIELD), None)["mag_aper"]).all()
