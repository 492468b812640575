"""Rendered stars and galaxies against their truth and against GalSim."""

import galsim
import numpy as np
import pytest

from astrolake.demo.profiles import moffat_alpha, moffat_mixture, sersic_mixture
from astrolake.demo.render import POINT_SOURCE, Scene, render_scene
from astrolake.demo.sky import pixel_covariance

SCALE = 0.396
FWHM = 1.25
FWHM_PX = FWHM / SCALE
SIZE = 257
CENTRE = SIZE // 2
#: re_arcsec, n_sersic, axis_ratio, angle_deg (from y towards -x, as on a sky with east to the left)
GALAXIES = [(0.4, 1.0, 0.9, 20.0), (1.5, 1.0, 0.3, 70.0), (0.5, 4.0, 0.6, 110.0), (2.0, 4.0, 0.8, 160.0)]


def point_sources(x, y, flux):
    zero = np.zeros(len(x))
    n = np.full(len(x), POINT_SOURCE)
    return Scene(*(np.asarray(v, dtype=float) for v in (x, y, flux)), zero, zero, zero, n)


def galaxy(x, y, flux, re_arcsec, n, axis_ratio, angle_deg):
    east_left = np.array([[-1.0, 0.0], [0.0, 1.0]]) / SCALE
    shape = (np.array([v]) for v in (re_arcsec, axis_ratio, angle_deg))
    return Scene(*(np.array([v]) for v in (x, y, flux)), *pixel_covariance(*shape, east_left), np.array([n]))


def galsim_image(profile, dx=0.0, dy=0.0):
    seen = galsim.Convolve(profile, galsim.Moffat(beta=3.0, fwhm=FWHM)).shift(dx * SCALE, dy * SCALE)
    return seen.drawImage(nx=SIZE, ny=SIZE, scale=SCALE).array


def galsim_galaxy(re_arcsec, n, axis_ratio, angle_deg):
    round_radius = re_arcsec * np.sqrt(axis_ratio)
    # GalSim turns from +x to +y; the position angle starts at +y and turns to -x.
    turn = (90.0 + angle_deg) * galsim.degrees
    return galsim.Sersic(n=n, half_light_radius=round_radius).shear(q=axis_ratio, beta=turn)


def aperture_flux(image, radius_arcsec, x=CENTRE, y=CENTRE):
    rows, columns = np.indices(image.shape)
    return image[np.hypot(columns - x, rows - y) * SCALE <= radius_arcsec].sum(dtype=float)


def centroid(image):
    rows, columns = np.indices(image.shape)
    total = image.sum(dtype=float)
    return (columns * image).sum(dtype=float) / total, (rows * image).sum(dtype=float) / total


def ellipticity(image):
    shape = galsim.hsm.FindAdaptiveMom(galsim.Image(image.astype(float), scale=1.0)).observed_shape
    return shape.e1, shape.e2


def test_flux_of_a_star():
    image = render_scene(point_sources([CENTRE + 0.3], [CENTRE - 0.2], [250.0]), (SIZE, SIZE), FWHM_PX)
    assert image.sum(dtype=float) == pytest.approx(250.0, rel=1e-3)


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.31, -0.44), (0.5, 0.5)])
def test_centroid_of_a_star(dx, dy):
    image = render_scene(point_sources([CENTRE + dx], [CENTRE + dy], [1.0]), (SIZE, SIZE), FWHM_PX)
    assert centroid(image) == pytest.approx((CENTRE + dx, CENTRE + dy), abs=1e-3)


@pytest.mark.parametrize("radius_arcsec", [1.0, 3.0, 10.0])
def test_star_apertures_agree_with_galsim(radius_arcsec):
    image = render_scene(point_sources([CENTRE + 0.3], [CENTRE - 0.2], [1.0]), (SIZE, SIZE), FWHM_PX)
    oracle = galsim_image(galsim.DeltaFunction(), 0.3, -0.2)
    assert aperture_flux(image, radius_arcsec) == pytest.approx(
        aperture_flux(oracle, radius_arcsec), rel=2e-3
    )


def test_star_pixels_agree_with_galsim_at_the_peak():
    image = render_scene(point_sources([CENTRE], [CENTRE], [1.0]), (SIZE, SIZE), FWHM_PX)
    assert image.max() == pytest.approx(galsim_image(galsim.DeltaFunction()).max(), rel=5e-3)


@pytest.mark.parametrize("shape", GALAXIES)
def test_flux_of_a_galaxy(shape):
    image = render_scene(galaxy(CENTRE, CENTRE, 80.0, *shape), (SIZE, SIZE), FWHM_PX)
    assert image.sum(dtype=float) == pytest.approx(80.0, rel=0.005)


@pytest.mark.parametrize("radius_arcsec", [1.5, 3.0, 10.0, 45.0])
@pytest.mark.parametrize("shape", GALAXIES)
def test_galaxy_apertures_agree_with_galsim(shape, radius_arcsec):
    image = render_scene(galaxy(CENTRE, CENTRE, 1.0, *shape), (SIZE, SIZE), FWHM_PX)
    oracle = aperture_flux(galsim_image(galsim_galaxy(*shape)), radius_arcsec)
    assert aperture_flux(image, radius_arcsec) == pytest.approx(oracle, rel=0.01)


@pytest.mark.parametrize("shape", GALAXIES)
def test_galaxy_orientation_agrees_with_galsim(shape):
    image = render_scene(galaxy(CENTRE, CENTRE, 1.0, *shape), (SIZE, SIZE), FWHM_PX)
    assert ellipticity(image) == pytest.approx(ellipticity(galsim_image(galsim_galaxy(*shape))), abs=0.005)


def test_equals_the_sum_of_all_gaussians_at_every_pixel():
    shape = (1.0, 4.0, 0.5, 35.0)
    scene = galaxy(30.3, 19.8, 10.0, *shape)
    rows, columns = np.indices((48, 64))
    alpha2, expected = moffat_alpha(FWHM_PX, 3.0) ** 2, np.zeros((48, 64))
    profile, psf = sersic_mixture(4.0), moffat_mixture(3.0)
    for w1, v1 in zip(profile.weights, profile.variances, strict=True):
        for w2, v2 in zip(psf.weights, psf.variances, strict=True):
            round_part = v2 * alpha2 + 1.0 / 12.0
            c = v1 * np.array([[scene.cov_xx[0], scene.cov_xy[0]], [scene.cov_xy[0], scene.cov_yy[0]]])
            c += round_part * np.eye(2)
            d = np.stack([columns - 30.3, rows - 19.8])
            distance2 = np.einsum("iyx,ij,jyx->yx", d, np.linalg.inv(c), d)
            expected += 10.0 * w1 * w2 * np.exp(-0.5 * distance2) / (2 * np.pi * np.sqrt(np.linalg.det(c)))
    np.testing.assert_allclose(render_scene(scene, (48, 64), FWHM_PX), expected, atol=1e-5)


def test_a_source_beyond_the_edge_is_the_crop_of_a_larger_image():
    outside = render_scene(point_sources([-3.2], [40.1], [100.0]), (64, 64), FWHM_PX)
    larger = render_scene(point_sources([-3.2 + 32], [40.1 + 32], [100.0]), (128, 128), FWHM_PX)
    np.testing.assert_allclose(outside, larger[32:96, 32:96], atol=1e-6)
    assert outside.max() > 0.1


def test_sources_add():
    together = render_scene(point_sources([20.0, 26.5], [30.0, 31.5], [5.0, 9.0]), (64, 64), FWHM_PX)
    apart = [render_scene(point_sources([x], [y], [f]), (64, 64), FWHM_PX) for x, y, f in
             ((20.0, 30.0, 5.0), (26.5, 31.5, 9.0))]  # fmt: skip
    np.testing.assert_allclose(together, apart[0] + apart[1], atol=1e-6)


@pytest.mark.parametrize(("x", "flux"), [(np.nan, 5.0), (20.0, np.nan), (20.0, 0.0), (1e9, 5.0)])
def test_sources_without_light_in_the_image_leave_it_empty(x, flux):
    assert not render_scene(point_sources([x], [20.0], [flux]), (40, 40), FWHM_PX).any()
