import numpy as np
import pytest
import sep
from star_fields import gaussian_stars, observed

from astrolake.photometry.background import native_image, subtract_background
from astrolake.photometry.detection import detect_sources
from astrolake.photometry.flags import Flag, aperture_flags, object_flags
from astrolake.photometry.measure import (
    Scene,
    centroids,
    circular_photometry,
    ellipses,
    isophotal_photometry,
    kron_photometry,
    surroundings,
)
from astrolake.photometry.options import ExtractionOptions

OPTIONS = ExtractionOptions()
# A bright star and, 14 px to its right, a faint one.
PAIR = observed(gaussian_stars((100, 100), [40.3, 54.3], [50.2, 50.2], [400_000.0, 8_000.0], 1.7), noise=2.0)
SKY = subtract_background(*native_image(PAIR), OPTIONS)
FOUND = detect_sources(SKY, OPTIONS)
FAINT = int(np.hypot(FOUND.objects["x"] - 54.3, FOUND.objects["y"] - 50.2).argmin())
IDS = np.arange(1, len(FOUND.objects) + 1, dtype=np.int32)
SCENE = Scene(SKY, FOUND.segments, None)


def test_flags_of_sep_become_those_of_sextractor():
    sep_flags = np.array(
        [0, sep.OBJ_MERGED, sep.OBJ_TRUNC, sep.OBJ_SINGU, sep.OBJ_MERGED | sep.OBJ_TRUNC], np.int16
    )
    assert object_flags(sep_flags).tolist() == [0, 2, 8, 256, 10]


def test_aperture_flags_of_sep_become_those_of_sextractor():
    sep_flags = np.array([0, sep.APER_TRUNC, sep.APER_HASMASKED, sep.APER_ALLMASKED], np.int16)
    assert aperture_flags(sep_flags).tolist() == [0, 16, 0, 16]


def test_ellipses_are_always_fit_for_sep():
    objects = np.zeros(3, dtype=[("a", "f8"), ("b", "f8"), ("theta", "f8")])
    objects["a"], objects["b"] = [np.nan, 0.1, 3.0], [1.0, np.nan, 2.0]
    objects["theta"] = [np.nan, np.nextafter(np.pi / 2, 2), 0.5]
    a, b, theta = ellipses(objects)
    assert (a >= b).all()
    assert (b > 0).all()
    assert (np.abs(theta) <= np.pi / 2).all()
    assert (a[2], b[2], theta[2]) == (3.0, 2.0, 0.5)


def test_a_centroid_that_runs_to_a_neighbour_is_held_back():
    wide = np.full(len(IDS), 9.0)
    columns = centroids(SCENE, FOUND.objects, wide, FOUND.objects["flux"])
    moved, _, _ = sep.winpos(SKY.residual, FOUND.objects["x"], FOUND.objects["y"], wide)
    assert abs(moved[FAINT] - 54.3) > 5
    assert abs(columns["x"][FAINT] - 54.3) < 0.3
    assert columns["flags"][FAINT] == Flag.ISOPHOTAL_CENTROID


def test_a_centroid_without_half_light_radius_is_the_isophotal_one():
    columns = centroids(SCENE, FOUND.objects, np.full(len(IDS), np.nan), FOUND.objects["flux"])
    np.testing.assert_array_equal(columns["x"], FOUND.objects["x"])
    assert (columns["flags"] == Flag.ISOPHOTAL_CENTROID).all()


def test_pixels_of_others_count_as_nothing():
    x, y = FOUND.objects["x"], FOUND.objects["y"]
    masked = circular_photometry(SCENE, x, y, IDS, (12.0,))["flux_aper"][FAINT, 0]
    plain = circular_photometry(Scene(SKY, None, None), x, y, IDS, (12.0,))["flux_aper"][FAINT, 0]
    assert plain > 5 * 8_000
    assert masked == pytest.approx(8_000, rel=0.05)


def test_kron_radius_includes_factor_and_minimum():
    plain = kron_photometry(
        SCENE, FOUND.objects, IDS, ExtractionOptions(kron_factor=1.0, kron_min_radius=0.0)
    )
    doubled = kron_photometry(
        SCENE, FOUND.objects, IDS, ExtractionOptions(kron_factor=2.0, kron_min_radius=0.0)
    )
    floored = kron_photometry(SCENE, FOUND.objects, IDS, ExtractionOptions(kron_min_radius=50.0))
    np.testing.assert_allclose(doubled["kron_radius"], 2 * plain["kron_radius"])
    assert (floored["kron_radius"] == 50).all()


def test_a_source_without_positive_moment_gets_the_smallest_aperture():
    data = PAIR.copy()
    yy, xx = np.mgrid[:100, :100]
    ring = np.hypot(xx - 80, yy - 20)
    data += np.where(ring < 2, 60, np.where(ring < 12, -40, 0)).astype(np.float32)
    sky = subtract_background(*native_image(data), OPTIONS)
    found = detect_sources(sky, OPTIONS)
    index = int(np.hypot(found.objects["x"] - 80, found.objects["y"] - 20).argmin())
    ids = np.arange(1, len(found.objects) + 1, dtype=np.int32)
    columns = kron_photometry(Scene(sky, found.segments, None), found.objects, ids, OPTIONS)
    assert columns["flags"][index] & Flag.NO_KRON_RADIUS
    assert columns["kron_radius"][index] == OPTIONS.kron_min_radius


def test_isophotal_flux_is_the_sum_of_the_segment():
    columns = isophotal_photometry(SCENE, FOUND.objects, FOUND.segments)
    own = FOUND.segments == FAINT + 1
    assert columns["n_pixels"][FAINT] == own.sum()
    assert columns["flux_iso"][FAINT] == pytest.approx(SKY.residual[own].sum(), rel=1e-5)
    assert columns["flux_iso_err"][FAINT] == pytest.approx(np.sqrt((SKY.noise[own] ** 2).sum()), rel=1e-5)


def test_gain_adds_photon_noise_to_the_isophotal_error():
    dark = isophotal_photometry(SCENE, FOUND.objects, FOUND.segments)
    lit = isophotal_photometry(Scene(SKY, None, 4.0), FOUND.objects, FOUND.segments)
    np.testing.assert_allclose(
        lit["flux_iso_err"] ** 2 - dark["flux_iso_err"] ** 2, dark["flux_iso"] / 4, rtol=1e-6
    )


def test_gain_adds_photon_noise_to_the_kron_error():
    dark, lit = (
        kron_photometry(Scene(SKY, FOUND.segments, gain), FOUND.objects, IDS, OPTIONS) for gain in (None, 4.0)
    )
    added = lit["flux_auto_err"] ** 2 - dark["flux_auto_err"] ** 2
    np.testing.assert_allclose(added, dark["flux_auto"].clip(0) / 4, rtol=1e-6)


def test_noise_of_a_bad_pixel_is_unknown():
    bad = np.zeros(PAIR.shape, bool)
    bad[50, 40] = True
    noise = np.where(bad, 0, 2).astype(np.float32)
    sky = subtract_background(PAIR, bad, OPTIONS, noise)
    columns = surroundings(sky, np.array([40.2, 60.0]), np.array([50.1, 60.0]))
    np.testing.assert_array_equal(columns["background_rms"], [np.nan, 2.0])
