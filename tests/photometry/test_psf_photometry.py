from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from moffat_fields import GAIN, SKY, draw, matched, noisy, star_field
from scipy.spatial import cKDTree

from astrolake.errors import BadArguments, BadInput
from astrolake.photometry import SourceExtractor
from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.flags import Flag
from astrolake.photometry.magnitudes import calibrate
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.psf_growth import Growth, StarFluxes
from astrolake.photometry.psf_sky import residual_sky
from astrolake.photometry.psf_stars import select_stars

RADII = (5.0, 7.6)
FIELD = star_field(110, 31)


def extracted(field, psf, crowded="auto", **keywords):
    options = ExtractionOptions(psf=psf, crowded=crowded, aperture_radii_px=RADII)
    return extract_frame(field.image, gain=GAIN, options=options, **keywords)


MOFFAT, GAUSSIAN = extracted(FIELD, "moffat"), extracted(FIELD, "gaussian")


def residuals(field, extraction, mags, isolation_px=12.0):
    """Return magnitude errors and pulls of stars in a range of magnitudes."""
    columns = extraction.columns
    star, row = matched(field, columns, isolation_px=isolation_px)
    chosen = (field.mag[star] >= mags[0]) & (field.mag[star] < mags[1])
    star, row = star[chosen], row[chosen]
    flux, error = columns["flux_psf"][row], columns["flux_psf_err"][row]
    return -2.5 * np.log10(flux / field.flux[star]), (flux - field.flux[star]) / error


def test_the_profile_of_the_field_is_found():
    info = MOFFAT.info.psf
    assert (info.kind, info.source) == ("moffat", "stars")
    assert info.n_stars >= 20
    assert info.fwhm_px == pytest.approx(3.41, abs=0.03)  # 3.3, and the pixel
    assert info.error < 0.01
    assert not info.crowded


@pytest.mark.parametrize("kind", ["moffat", "empirical"])
def test_magnitudes_are_true_and_their_errors_too(kind):
    extraction = MOFFAT if kind == "moffat" else extracted(FIELD, kind)
    bright, _ = residuals(FIELD, extraction, (15, 19))
    assert len(bright) >= 20
    assert abs(np.median(bright)) < 3 * extraction.info.psf.zero_point_error < 0.01
    assert 1.4826 * np.median(np.abs(bright - np.median(bright))) < 0.006
    _, pulls = residuals(FIELD, extraction, (15, 22))
    assert 0.75 < 1.4826 * np.median(np.abs(pulls - np.median(pulls))) < 1.25


def test_a_gaussian_of_moffat_stars_is_tied_to_their_apertures():
    for mags in ((15, 18), (18, 20)):
        errors, _ = residuals(FIELD, GAUSSIAN, mags)
        assert abs(np.median(errors)) < 3 * GAUSSIAN.info.psf.zero_point_error < 0.05


def test_positions_are_good_to_the_noise():
    star, row = matched(FIELD, MOFFAT.columns, isolation_px=12.0)
    for mags, limit in (((15, 17), 0.006), ((17, 19), 0.02)):
        chosen = (FIELD.mag[star] > mags[0]) & (FIELD.mag[star] < mags[1])
        shift = (MOFFAT.columns["x_psf"][row] - FIELD.x[star])[chosen]
        assert np.median(np.abs(shift)) < limit


def test_aperture_corrections_give_total_fluxes():
    columns = calibrate(MOFFAT, 22.5, 0.4)
    star, row = matched(FIELD, columns, isolation_px=20.0)
    bright = FIELD.mag[star] < 18
    corrected = columns["mag_aper"][row[bright]] + columns["aper_correction"][row[bright]]
    assert bright.sum() >= 8
    assert np.abs(np.median(corrected - FIELD.mag[star[bright], None], axis=0)).max() < 0.006
    assert (columns["aper_correction"] < 0).all()
    assert (columns["aper_correction_err"] < 0.02).all()
    assert columns["mag_psf"].shape == columns["mag_auto"].shape


def test_a_psf_that_varies_over_the_field():
    field = star_field(
        260, 32, shape=(700, 700), mags=(15.5, 20.5), slope=0.02, fwhm=lambda x, y: 3.0 + 0.6 * x / 700
    )
    columns = extracted(field, "empirical").columns
    star, row = matched(field, columns, isolation_px=14.0)
    bright = field.mag[star] < 18
    x, error = field.x[star[bright]], (-2.5 * np.log10(columns["flux_psf"][row] / field.flux[star]))[bright]
    left, right = error[x < 300], error[x > 400]
    assert min(len(left), len(right)) > 15
    assert abs(np.median(left) - np.median(right)) < 0.008
    sharpness = columns["psf_sharpness"][row[bright]]
    assert abs(np.median(sharpness[x < 300]) - np.median(sharpness[x > 400])) < 0.03
    constant = extracted(field, "moffat").columns
    star, row = matched(field, constant, isolation_px=14.0)
    x = field.x[star]
    assert (
        np.median(constant["psf_sharpness"][row][x > 400])
        > np.median(constant["psf_sharpness"][row][x < 300]) + 0.1
    )


CROWDED = star_field(1100, 33, shape=(400, 400), mags=(16, 23), slope=0.25)


@pytest.fixture(scope="module")
def searched():
    return extracted(CROWDED, "moffat")


def test_a_crowded_field_is_searched_again(searched):
    plain = extracted(CROWDED, "moffat", crowded="no")
    assert searched.info.psf.crowded
    assert searched.info.psf.n_from_residual > 20
    from_residual = searched.columns["flags"] & Flag.FROM_RESIDUAL > 0
    assert from_residual.sum() == searched.info.psf.n_from_residual
    assert not from_residual[: len(plain)].any()

    def completeness(extraction):
        star, row = matched(CROWDED, extraction.columns)
        found = np.abs(-2.5 * np.log10(extraction.columns["flux_psf"][row] / CROWDED.flux[star])) < 1
        of_interest = (CROWDED.mag > 20) & (CROWDED.mag < 21)
        return np.isin(np.flatnonzero(of_interest), star[found]).mean()

    assert completeness(searched) > 0.9
    assert completeness(searched) > completeness(plain) + 0.05


def test_what_is_found_in_a_crowded_field_is_there(searched):
    columns = searched.columns
    distance = np.hypot(
        np.subtract.outer(columns["x_psf"], CROWDED.x), np.subtract.outer(columns["y_psf"], CROWDED.y)
    )
    mag = 22.5 - 2.5 * np.log10(columns["flux_psf"].clip(1e-9))
    near = (distance < 2) & (np.abs(mag[:, None] - CROWDED.mag) < 1)
    wanted = (mag > 20) & (mag < 21)
    assert wanted.sum() > 60
    assert near.any(axis=1)[wanted].mean() >= 0.985


def test_crowded_magnitudes_are_not_biased(searched):
    errors, _ = residuals(CROWDED, searched, (16, 19), isolation_px=0.0)
    assert len(errors) > 80
    assert abs(np.median(errors)) < min(4 * searched.info.psf.zero_point_error, 0.012)
    assert searched.info.psf.zero_point_error < 0.005


def test_the_same_catalog_every_time(searched):
    again = extracted(CROWDED, "moffat").columns
    for name, values in searched.columns.items():
        np.testing.assert_array_equal(values, again[name])


def test_too_few_stars_fall_back_to_the_header_or_to_moments():
    image = noisy(draw((150, 150), [75.2], [70.8], [200.0]), 5)
    options = ExtractionOptions(psf="moffat")
    by_header = extract_frame(image, gain=GAIN, options=options, psf_fwhm_px=3.3)
    by_moments = extract_frame(image, gain=GAIN, options=options)
    assert (by_header.info.psf.source, by_moments.info.psf.source) == ("header", "moments")
    assert by_header.info.psf.fwhm_px == pytest.approx(3.4, abs=0.1)
    for extraction in (by_header, by_moments):
        brightest = np.nanargmax(extraction.columns["flux_psf"])
        assert extraction.columns["flux_psf"][brightest] == pytest.approx(200, rel=0.15)
        assert (extraction.columns["flags"] & Flag.PSF_FALLBACK > 0).all()
        assert np.isnan(extraction.columns["aper_correction_err"]).all()


def test_an_image_without_sources_has_the_columns_of_psf_photometry():
    empty = extract_frame(
        noisy(np.zeros((128, 128)), 6), gain=GAIN, options=ExtractionOptions(psf="moffat", detect_sigma=30)
    )
    assert len(empty) == 0
    assert set(empty.columns) == set(MOFFAT.columns)
    assert empty.columns["aper_correction"].shape == (0, 3)
    assert empty.info.psf.kind == "none"


def test_stars_are_selected_and_galaxies_are_not():
    rng = np.random.default_rng(7)
    x, y = (
        axis.ravel().astype(float) for axis in np.meshgrid(np.arange(30, 500, 45), np.arange(30, 500, 45))
    )
    extended = rng.uniform(size=len(x)) < 0.4
    image = draw((520, 520), x, y, 60.0 * np.ones(len(x)), fwhm=np.where(extended, 4.6, 3.3))
    columns = extract_frame(noisy(image, 8), gain=GAIN).columns
    stars = select_stars(columns)
    nearest = np.hypot(
        *(np.subtract.outer(columns[n][stars.index], v) for n, v in (("x", x), ("y", y)))
    ).argmin(axis=1)
    assert len(stars.index) > 40
    assert not extended[nearest].any()
    assert stars.fwhm_px == pytest.approx(3.7, abs=0.4)


def test_flat_tops_are_no_stars():
    x, y = np.arange(30.0, 500, 45), np.full(11, 40.0)
    flux = np.where(np.arange(11) < 2, 3000.0, 60.0)
    image = np.minimum(draw((120, 520), x, y, flux), 60.0)
    columns = extract_frame(noisy(image, 9), gain=GAIN).columns
    assert columns["x"][select_stars(columns).index].min() > 100


def test_the_residual_sky_is_right_on_whole_numbers():
    rng = np.random.default_rng(10)
    truth = 0.37 + np.linspace(0, 0.5, 256)[None, :] * np.ones((256, 1))
    pixels = np.round((truth + rng.normal(0, 1, truth.shape)) / 0.3) * 0.3
    blocked = np.zeros(truth.shape, bool)
    blocked[:64, :64] = True
    sky = residual_sky(pixels.astype(np.float32), blocked, 64, 3)
    assert np.median(sky - truth) == pytest.approx(0, abs=0.02)
    assert np.abs(sky - truth)[96:-32, 96:-32].max() < 0.06


@pytest.mark.parametrize("values", [{"psf": "sersic"}, {"crowded": "maybe"}, {"psf_fit_radius_px": 0.0}])
def test_options_are_checked(values):
    with pytest.raises(BadArguments, match=next(iter(values))):
        ExtractionOptions(**values)


EXTRACTOR = SourceExtractor()
SOURCES = EXTRACTOR.detect(FIELD.image, gain=GAIN, pixel_scale=0.396)


def truth_of(table):
    star, row = matched(
        FIELD, {"x_psf": table["x"].to_numpy(), "y_psf": table["y"].to_numpy()}, isolation_px=20.0
    )
    bright = FIELD.mag[star] < 18
    return FIELD.flux[star[bright]], row[bright]


@pytest.mark.parametrize(("model", "radius"), [("moffat", 15), ("gaussian", None), ("empirical", 8)])
def test_psf_photometry_of_a_table(model, radius):
    table = EXTRACTOR.psf_photometry(FIELD.image, SOURCES, psf_model=model, fit_radius=radius)
    flux, row = truth_of(SOURCES)
    assert table["flux_psf"].to_numpy()[row] == pytest.approx(flux, rel=0.06 if model == "gaussian" else 0.02)
    assert abs(np.median(table["flux_psf"].to_numpy()[row] / flux - 1)) < (
        0.02 if model == "gaussian" else 0.006
    )
    assert (table.index == SOURCES.index).all()
    assert table.attrs["n_psf_stars"] >= 15


def test_psf_photometry_elsewhere_is_flagged_and_neighbours_are_fitted_all_the_same():
    _, row = truth_of(SOURCES)
    few = SOURCES.iloc[row][["x", "y"]].reset_index(drop=True)
    few.loc[len(few)] = [np.nan, 5.0]
    few.loc[len(few)] = [9999.0, 5.0]
    table = EXTRACTOR.psf_photometry(FIELD.image, few, gain=GAIN)
    whole = EXTRACTOR.psf_photometry(FIELD.image, SOURCES)["flux_psf"].to_numpy()[row]
    np.testing.assert_allclose(table["flux_psf"][:-2], whole, rtol=2e-3)
    assert np.isnan(table["flux_psf"][-2:]).all()
    assert (table["flags"][-2:] & Flag.OUTSIDE > 0).all()


def test_aperture_corrections_are_applied_once():
    photometry = EXTRACTOR.measure_photometry(FIELD.image, SOURCES, aperture_radius=5.0)
    corrected = EXTRACTOR.apply_aperture_corrections(photometry)
    flux, row = truth_of(SOURCES)
    assert np.median(corrected["flux"].to_numpy()[row] / flux) == pytest.approx(1, abs=0.006)
    assert np.median(photometry["flux"].to_numpy()[row] / flux) < 0.93
    factor = 10 ** (-0.4 * corrected["aper_correction"])
    np.testing.assert_allclose(corrected["flux"], photometry["flux"] * factor)
    with pytest.raises(BadArguments, match="growth curve"):
        EXTRACTOR.apply_aperture_corrections(corrected)


def test_what_has_no_psf_says_so():
    image = noisy(np.zeros((100, 100)), 11) + SKY
    with pytest.raises(BadInput, match="point-spread function"):
        SourceExtractor(detection_threshold=30).psf_photometry(image, {"x": [50.0], "y": [50.0]}, gain=GAIN)
    with pytest.raises(BadArguments, match="psf"):
        EXTRACTOR.psf_photometry(FIELD.image, SOURCES, psf_model="sersic")
    photometry = SourceExtractor(detection_threshold=30).measure_photometry(image, {"x": [50.0], "y": [50.0]})
    with pytest.raises(BadInput, match="growth curve"):
        EXTRACTOR.apply_aperture_corrections(photometry)


def test_a_dense_field_settles_and_what_is_left_is_noise():
    """4000 stars in 1000 x 1000 px are as dense as here: overlapping stars solved apart would swing ever wider."""
    field = star_field(1440, 7, shape=(600, 600))
    found = extracted(field, "moffat", "yes")
    columns = found.columns
    new = (columns["flags"] & Flag.FROM_RESIDUAL) != 0
    assert new.sum() > 200
    # Bright stars would be found at all events; these are those that only the search brings.
    star, row = matched(field, columns)
    faint = (field.mag[star] > 19) & (field.mag[star] < 21)
    wanted = np.count_nonzero((field.mag > 19) & (field.mag < 21))
    assert np.count_nonzero(faint) > 0.85 * wanted
    pulls = (columns["flux_psf"][row] - field.flux[star])[faint] / columns["flux_psf_err"][row][faint]
    assert abs(np.median(pulls)) < 0.5


def test_sources_of_the_second_search_are_flagged_for_their_pixels():
    field = star_field(600, 8, shape=(400, 400))
    mask = np.zeros(field.image.shape, np.int32)
    mask[:, 200:] = Flag.BAD_PIXELS
    found = extracted(field, "moffat", "yes", flag_image=mask)
    columns = found.columns
    new = (columns["flags"] & Flag.FROM_RESIDUAL) != 0
    assert new.sum() > 20
    for right in (False, True):
        there = new & ((columns["x"] > 203) if right else (columns["x"] < 196))
        assert there.sum() > 5
        flagged = (columns["flags"][there] & Flag.BAD_PIXELS) != 0
        assert flagged.all() if right else flagged.mean() < 0.2
    assert found.info.psf.n_from_residual == new.sum()
    np.testing.assert_array_equal(columns["x"][new], columns["x_psf"][new])


@pytest.mark.parametrize("ratios", [[0.8, 1.2], [0.85, 0.85, 1.15, 1.15]])
def test_stars_that_disagree_have_a_growth_curve_of_large_error(ratios):
    growth = object.__new__(Growth)
    growth.stars = StarFluxes(
        *(np.arange(len(ratios)) * 20.0 + 30 for _ in range(2)), *(np.ones(len(ratios)),) * 2
    )
    growth._canvas = SimpleNamespace(shape=(200, 200))
    found = growth._fit(np.array(ratios), np.full(len(ratios), 0.01))
    assert found.coefficients[0] == pytest.approx(1.0, abs=0.01)
    assert found.error > 0.05


def test_an_image_in_parts_has_the_psf_magnitudes_of_the_whole():
    field = star_field(500, 9, shape=(900, 900))
    options = ExtractionOptions(psf="moffat", crowded="no", aperture_radii_px=RADII)
    whole = extract_frame(field.image, gain=GAIN, options=options)
    parts = extract_frame(
        field.image, gain=GAIN, options=replace(options, subtile_px=450, subtile_margin_px=64)
    )
    assert len(whole) == pytest.approx(len(parts), abs=2)
    tree = cKDTree(np.column_stack([parts.columns["x_psf"], parts.columns["y_psf"]]))
    bright = whole.columns["flux_auto"] > 100 * whole.columns["flux_auto_err"]
    away, row = tree.query(np.column_stack([whole.columns["x_psf"], whole.columns["y_psf"]])[bright])
    assert (away < 0.05).mean() > 0.98
    ratio = parts.columns["flux_psf"][row] / whole.columns["flux_psf"][bright]
    assert abs(np.median(ratio) - 1) < 0.005
    assert parts.info.psf.n_stars == pytest.approx(whole.info.psf.n_stars, rel=0.35)
    assert parts.info.psf.fwhm_px == pytest.approx(whole.info.psf.fwhm_px, rel=0.01)
