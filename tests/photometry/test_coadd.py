import numpy as np
import pytest
from astropy.io import fits
from star_fields import gaussian_stars, grid, observed

from astrolake.errors import BadArguments, BadInput
from astrolake.photometry.astrometry import build_wcs
from astrolake.photometry.coadd import detection_image, resampled
from astrolake.photometry.extraction import extract_frame, prepare_sky
from astrolake.photometry.options import ExtractionOptions

SIZE = 512


def sky_of(flux, seed, shape=(SIZE, SIZE), x=None, y=None, **noise):
    if x is None:
        x, y = grid(SIZE, 48)
    return prepare_sky(
        observed(gaussian_stars(shape, x, y, flux, 1.8), seed=seed, **noise), None, None, ExtractionOptions()
    )


@pytest.mark.parametrize("method", ["chi2", "weighted"])
@pytest.mark.parametrize("smooth", [0.0, 1.8])
def test_empty_sky_has_unit_noise(method, smooth):
    skies = [sky_of(0.0, seed, noise=3.0 + seed) for seed in range(4)]
    image, bad = detection_image(skies, method, smooth)
    assert image.mean() == pytest.approx(0.0, abs=0.06)
    assert image.std() == pytest.approx(1.0, abs=0.05)
    assert not bad.any()


@pytest.mark.parametrize("method", ["chi2", "weighted"])
def test_more_is_found_on_four_bands_than_on_one(method):
    """Sources at 4 sigma a band (matched filter), without a false one in 121."""
    flux = 4.0 * 5.0 * np.sqrt(4 * np.pi) * 1.8
    skies = [sky_of(flux, seed) for seed in range(4)]
    x, y = grid(SIZE, 48)

    def found(image):
        columns = extract_frame(
            image, options=ExtractionOptions(detect_sigma=3.5, kernel=None, min_pixels=2)
        ).columns
        distance = np.hypot(np.subtract.outer(x, columns["x"]), np.subtract.outer(y, columns["y"])).min(
            axis=1
        )
        return (distance < 2).mean()

    together = found(detection_image(skies, method, 1.8)[0])
    assert together > 0.95
    assert together > found(detection_image(skies[:1], "weighted", 1.8)[0]) + 0.2


def test_bad_pixels_of_one_band_are_seen_in_the_others():
    skies = [sky_of(0.0, seed) for seed in range(2)]
    bad = np.zeros((SIZE, SIZE), bool)
    bad[:10], bad[10:20] = True, True
    one = prepare_sky(skies[0].residual, bad, None, ExtractionOptions())
    image, nowhere = detection_image([one, skies[1]])
    assert not nowhere.any()
    assert image[:20].std() == pytest.approx(1.0, abs=0.1)
    with pytest.raises(BadInput, match="resample"):
        detection_image([skies[0], prepare_sky(skies[1].residual[:-2], None, None, ExtractionOptions())])
    with pytest.raises(BadArguments, match="0 images"):
        detection_image([])


def wcs(ra=150.0, dec=2.0, angle=0.0, scale=0.4 / 3600):
    cosine, sine = np.cos(np.radians(angle)) * scale, np.sin(np.radians(angle)) * scale
    cards = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CRPIX1": 256.0,
        "CRPIX2": 256.0,
    }
    cards |= {"CD1_1": -cosine, "CD1_2": sine, "CD2_1": sine, "CD2_2": cosine}
    return build_wcs(fits.Header(list(cards.items())).tostring(sep="\n"))


def test_a_shifted_and_turned_image_lies_on_the_grid():
    target, source = wcs(), wcs(150.002, 2.001, angle=7.0)
    x, y = grid(SIZE, 48)
    there = source.sky_to_pixel(*target.pixel_to_sky(x, y))
    sky = sky_of(5000.0, 1, x=there[0], y=there[1], noise=0.01, background=0.0)
    moved = resampled(sky, source, target, (SIZE, SIZE))
    truth = gaussian_stars((SIZE, SIZE), x, y, 5000.0, 1.8)
    assert moved.bad.mean() < 0.3
    good = ~moved.bad
    assert np.abs(moved.residual - truth)[good].max() < 0.02 * truth.max()
    assert not good[0, 0] or np.isfinite(moved.residual).all()
