"""The true sky and where it falls on the exposures."""

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time

from astrolake.demo.galaxies import draw_galaxies, observe_redshifts
from astrolake.demo.layout import Layout, plan_exposures
from astrolake.demo.render import render_scene
from astrolake.demo.sky import TRUTH_COLUMNS, delta_column, draw_sky, pixel_covariance, project
from astrolake.demo.stars import draw_stars, gaia_parallax_error_mas, locus_g_r, observe_reference

LAYOUT = Layout()


@pytest.fixture(scope="module")
def truth():
    return draw_sky(LAYOUT, 7)


def exposure_of(band, run, field=101):
    plan = plan_exposures(LAYOUT, 7)
    return next(e for e in plan if (e.band.name, e.epoch.run, e.field) == (band, run, field))


def plane_arcsec(sources):
    centre = SkyCoord(LAYOUT.ra, LAYOUT.dec, unit="deg")
    east, north = centre.spherical_offsets_to(SkyCoord(sources["ra"], sources["dec"], unit="deg"))
    return np.stack([east.arcsec, north.arcsec], axis=1)


def test_the_same_seed_gives_the_same_sky(truth):
    pd.testing.assert_frame_equal(truth, draw_sky(LAYOUT, 7))


def test_another_seed_gives_another_sky(truth):
    drawn = truth.loc[truth["truth_id"] <= 2000, "ra"]
    assert not np.isin(draw_sky(LAYOUT, 8)["ra"], drawn).any()


def test_columns_and_keys(truth):
    assert list(truth.columns) == [*TRUTH_COLUMNS, "mag_delta_1001", "mag_delta_1002"]
    assert truth["truth_id"].is_unique
    assert set(truth["type"]) == {"star", "galaxy", "variable", "moving"}


def test_every_detectable_magnitude_has_stars_and_galaxies(truth):
    counts = truth.groupby("type")["mag_r"].describe()
    assert counts.loc["star", "count"] > 500
    assert counts.loc["galaxy", "count"] > 1500
    assert counts.loc["galaxy", "min"] >= 16.0
    assert counts["max"].max() <= 23.0


def test_galaxy_counts_rise_as_10_to_the_0_4_m():
    mag_r = draw_galaxies(np.random.default_rng(1), 200_000)["mag_r"]
    bright, faint = ((mag_r > low).sum() - (mag_r > low + 1.0).sum() for low in (20.5, 21.5))
    assert faint / bright == pytest.approx(10.0**0.4, rel=0.05)


def test_red_galaxies_are_mostly_bulges():
    galaxies = draw_galaxies(np.random.default_rng(1), 20_000)
    nearby = galaxies[galaxies["z"].between(0.15, 0.3)]
    red = nearby["mag_g"] - nearby["mag_r"] > 0.95
    assert (nearby.loc[red, "n_sersic"] == 4.0).mean() > 0.7
    assert (nearby.loc[~red, "n_sersic"] == 1.0).mean() > 0.7


def test_sizes_stay_within_their_bounds():
    galaxies = draw_galaxies(np.random.default_rng(1), 20_000)
    assert galaxies["re_arcsec"].between(0.3, 4.0).all()
    assert 0.4 < galaxies.loc[galaxies["mag_r"] > 21.0, "re_arcsec"].median() < 1.0


def test_stars_follow_the_locus():
    stars = draw_stars(np.random.default_rng(1), 5_000)
    residual = stars["mag_g"] - stars["mag_r"] - locus_g_r((stars["mag_r"] - stars["mag_i"]).to_numpy())
    assert abs(residual.median()) < 0.01
    assert residual.std() < 0.1


@pytest.mark.data
def test_the_locus_is_that_of_real_stars(survey_data):
    path = survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz"
    with fits.open(path) as hdus:
        flux, extinction = hdus[1].data["PSFFLUX"][:, 1:4], hdus[1].data["EXTINCTION"][:, 1:4]
    bright = (flux > 10.0 ** (0.4 * (22.5 - 20.0))).all(axis=1) & (flux < 10.0 ** (0.4 * (22.5 - 15.5))).all(
        axis=1
    )
    g, r, i = (22.5 - 2.5 * np.log10(flux[bright]) - extinction[bright]).T
    residual = g - r - locus_g_r(r - i)
    assert abs(np.median(residual)) < 0.03
    assert np.median(np.abs(residual)) < 0.06


def test_one_variable_changes_by_more_than_0_6_mag(truth):
    deltas = truth.set_index("type")[["mag_delta_1001", "mag_delta_1002"]]
    assert abs(deltas.loc["variable"].diff().iloc[-1]) >= 0.6
    assert (deltas.drop("variable") == 0.0).all(axis=None)
    assert len(deltas.loc[["variable"]]) == 1


def test_five_stars_move_fast(truth):
    stars = truth[truth["type"] == "star"]
    motion = np.hypot(stars["pmra"], stars["pmdec"])
    assert (motion > 200.0).sum() >= 5
    assert 5.0 < motion.median() < 50.0


def test_a_few_pairs_are_blended(truth):
    bright = truth[truth["mag_r"] < 20.5]
    distance = np.linalg.norm(plane_arcsec(bright)[:, None] - plane_arcsec(bright), axis=2)
    pairs = (distance > 1.49) & (distance < 3.01)
    assert pairs.sum() // 2 >= 8


@pytest.mark.parametrize("kind", ["variable", "moving"])
def test_special_sources_are_alone(truth, kind):
    distance = np.linalg.norm(plane_arcsec(truth) - plane_arcsec(truth[truth["type"] == kind]), axis=1)
    assert np.sort(distance)[1] > 9.9


def test_the_moving_source_shifts_between_bands_and_leaves(truth):
    moving = truth[truth["type"] == "moving"]
    scenes = {band: project(moving, exposure_of(band, 1001, 102)) for band in "gri"}
    steps = [np.hypot(*(np.ediff1d([getattr(scenes[b], axis)[0] for b in pair]) for axis in ("x_px", "y_px")))
             for pair in ("gr", "ri")]  # fmt: skip
    # 35 arcsec an hour for 300 s.
    assert np.ravel(steps) * 0.396 == pytest.approx([2.917, 2.917], abs=0.15)
    assert 0 < scenes["g"].x_px[0] < 2047
    assert 0 < scenes["g"].y_px[0] < 1488
    assert project(moving, exposure_of("r", 1002, 102)).flux.size == 0


def test_stars_move_as_astropy_moves_them(truth):
    stars = truth[truth["type"] == "star"]
    exposure = exposure_of("r", 1002)
    start = SkyCoord(
        stars["ra"].to_numpy() * u.deg,
        stars["dec"].to_numpy() * u.deg,
        pm_ra_cosdec=stars["pmra"].to_numpy() * u.mas / u.yr,
        pm_dec=stars["pmdec"].to_numpy() * u.mas / u.yr,
        obstime=Time(2016.0, format="jyear"),
        distance=1.0 * u.kpc,
    )
    moved = start.apply_space_motion(new_obstime=Time(exposure.mid_mjd, format="mjd"))
    x_px, y_px = exposure.wcs.world_to_pixel(SkyCoord(moved.ra, moved.dec))
    scene = project(stars, exposure)
    assert np.hypot(scene.x_px - x_px, scene.y_px - y_px).max() < 1e-3


def test_a_rendered_star_lies_where_the_wcs_says(truth):
    star = truth[truth["type"] == "variable"]
    exposure = exposure_of("r", 1002)
    image = render_scene(project(star, exposure), exposure.shape, exposure.psf_fwhm_arcsec / 0.396).astype(
        float
    )
    rows, columns = np.indices(image.shape)
    centroid = (columns * image).sum() / image.sum(), (rows * image).sum() / image.sum()
    expected = exposure.wcs.wcs_world2pix(star["ra"], star["dec"], 0)
    # Six years at 6 mas/yr are 0.09 pixels.
    assert np.hypot(centroid[0] - expected[0], centroid[1] - expected[1]) < 0.12
    scene = project(star, exposure)
    assert centroid == pytest.approx((scene.x_px[0], scene.y_px[0]), abs=0.005)


def test_flux_follows_the_magnitude_of_the_epoch(truth):
    star = truth[truth["type"] == "variable"]
    fluxes = [project(star, exposure_of("r", run)).flux[0] for run in (1001, 1002)]
    magnitudes = [star["mag_r"].item() + star[delta_column(run)].item() for run in (1001, 1002)]
    assert 22.5 - 2.5 * np.log10(fluxes) == pytest.approx(magnitudes)


def test_position_angle_runs_from_north_through_east():
    east_left = np.array([[-1.0, 0.0], [0.0, 1.0]])
    angles = np.array([0.0, 90.0, 45.0])
    xx, xy, yy = pixel_covariance(np.full(3, 2.0), np.full(3, 0.5), angles, east_left)
    assert xx == pytest.approx([1.0, 4.0, 2.5])
    assert yy == pytest.approx([4.0, 1.0, 2.5])
    # North-east is up and to the left.
    assert xy == pytest.approx([0.0, 0.0, -1.5])


def test_reference_holds_the_bright_stars_at_2016(truth):
    reference = observe_reference(truth, np.random.default_rng(1))
    stars = truth[truth["type"].isin(["star", "variable"]) & (truth["mag_r"] < 20.5)]
    assert len(reference) == len(stars)
    assert (reference["ref_epoch"] == 2016.0).all()
    assert reference["source_id"].is_unique
    offset_mas = (reference["dec"].to_numpy() - stars["dec"].to_numpy()) * 3.6e6
    assert np.std(offset_mas / reference["dec_error"]) == pytest.approx(1.0, abs=0.15)
    pull = (reference["pmra"].to_numpy() - stars["pmra"].to_numpy()) / reference["pmra_error"]
    assert np.std(pull) == pytest.approx(1.0, abs=0.15)


def test_gaia_errors_grow_from_hundredths_of_a_mas_to_one():
    assert gaia_parallax_error_mas(np.array([12.0, 15.0, 20.0, 20.7])) == pytest.approx(
        [0.01294, 0.0295, 0.6165, 1.1143], rel=1e-3
    )


def test_spectra_exist_for_the_bright_galaxies(truth):
    specz = observe_redshifts(truth, np.random.default_rng(1))
    galaxies = truth[(truth["type"] == "galaxy") & (truth["mag_r"] < 21)]
    assert len(specz) == len(galaxies) > 30
    assert (np.abs(specz["z"].to_numpy() - galaxies["z"].to_numpy()) < 5 * specz["z_err"]).all()
