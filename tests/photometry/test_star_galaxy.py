import sys
from pathlib import Path

import numpy as np
import pytest
from star_fields import gaussian_stars, grid, nearest, observed

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.star_galaxy import (
    MODEL,
    StarGalaxyModel,
    class_densities,
    fit_population,
    fit_prior,
    galaxy_extension,
    log_star_galaxy_ratio,
    star_probabilities,
)
from astrolake.photometry.stellar_locus import COMPACT, WIDE, half_sample_mode

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
SIGMA_PX, ZERO_POINT, SCALE = 1.6, 25.0, 0.4


def mixed_field(seed, step=40, size=1400):
    """Return an image of stars and galaxies, both Gaussian, and their places, magnitudes and classes."""
    rng = np.random.default_rng(seed)
    x, y = grid(size, step, seed)
    star = rng.random(len(x)) < 0.5
    mag = rng.uniform(17, 22, len(x))
    size_arcsec = np.exp(
        MODEL.ln_size + MODEL.ln_size_per_mag * (mag - 20) + MODEL.ln_size_sigma * rng.normal(size=len(x))
    )
    width = np.where(star, SIGMA_PX, np.hypot(SIGMA_PX, np.minimum(size_arcsec / SCALE, 4.0)))
    flux = 10 ** (-0.4 * (mag - ZERO_POINT))
    image = np.zeros((size, size))
    for one in range(len(x)):
        low = (np.array([y[one], x[one]]) - 24).round().astype(int).clip(0)
        high = (low + 49).clip(max=size)
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        shape = tuple(high - low)
        image[part] += gaussian_stars(
            shape, [x[one] - low[1]], [y[one] - low[0]], flux[one : one + 1], width[one]
        )
    return observed(image, noise=0.35, gain=20.0, seed=seed), x, y, mag, star


@pytest.fixture(scope="module")
def measured():
    """Sources of three fields: class, magnitude, extension, its error, probability."""
    rows = []
    for seed in (1, 2, 3):
        image, x, y, mag, star = mixed_field(seed)
        found = extract_frame(image, gain=20.0)
        columns = found.columns
        index, distance = nearest(columns, x, y)
        with np.errstate(invalid="ignore", divide="ignore"):
            auto = ZERO_POINT - 2.5 * np.log10(columns["flux_auto"])
        fwhm = found.info.stars.fwhm_px
        probability = star_probabilities(columns["extension"], columns["extension_err"], auto, fwhm * SCALE)
        seen = distance < 1.5
        chosen = index[seen]
        parts = (columns["extension"], columns["extension_err"], probability)
        rows.append(
            np.c_[star[seen], mag[seen], *(part[chosen] for part in parts), np.full(seen.sum(), fwhm)]
        )
    return np.concatenate(rows)


def test_the_width_of_the_stars_is_found(measured):
    expected = 2.3548 * np.hypot(SIGMA_PX, np.sqrt(1 / 12))
    assert measured[:, 5] == pytest.approx(expected, rel=0.03)


def test_the_errors_of_the_extension_are_those_of_stars(measured):
    stars = measured[measured[:, 0] == 1]
    for low, high in ((17, 19), (19, 20.5), (20.5, 22)):
        part = stars[(stars[:, 1] >= low) & (stars[:, 1] < high)]
        pull = part[:, 2] / part[:, 3]
        assert 0.8 < 1.4826 * np.nanmedian(np.abs(pull)) < 1.15, (low, high)


def test_probabilities_part_stars_and_galaxies(measured):
    from star_galaxy import auc, calibration_error

    known = np.isfinite(measured[:, 4])
    assert known.mean() > 0.98
    star, probability = measured[known, 0] == 1, measured[known, 4]
    assert auc(probability, star) > 0.97
    assert calibration_error(probability, star) < 0.03
    assert abs(probability.mean() - star.mean()) < 0.03


@pytest.mark.data
def test_spectroscopic_labels_held_back(survey_data):
    """Trained on every second labelled source, tried on the others; the shipped model is what training gives."""
    from star_galaxy import auc, calibrated, calibration_error, read_labels, train

    star, extension, mag = read_labels(survey_data / "star_galaxy")
    held_back = np.arange(len(star)) % 2 == 1
    model = train(star[~held_back], extension[~held_back], mag[~held_back])
    for name in ("ln_size", "ln_size_per_mag", "ln_size_sigma", "outliers"):
        assert getattr(model, name) == pytest.approx(getattr(MODEL, name), abs=0.005), name
    probability = calibrated(model, extension[held_back], mag[held_back])
    for low, high, least in ((14, 21, 0.97), (20, 21, 0.97), (21, 21.5, 0.96)):
        part = (mag[held_back] >= low) & (mag[held_back] < high)
        assert auc(probability[part], star[held_back][part]) >= least
        assert calibration_error(probability[part], star[held_back][part]) < 0.03


def test_extension_of_gaussian_galaxies():
    """Against sums over the light profiles."""
    r = np.linspace(0, 60, 600_001)

    def within(radius, sigma):
        profile = np.exp(-0.5 * (r / sigma) ** 2) * r
        return profile[r <= radius].sum() / profile.sum()

    fwhm, sigma = 2.3548 * 2.0, np.hypot(2.0, 1.5)
    contrast = [-2.5 * np.log10(within(COMPACT * fwhm, s) / within(WIDE * fwhm, s)) for s in (2.0, sigma)]
    assert galaxy_extension(1.5 / 2.0) == pytest.approx(contrast[1] - contrast[0], abs=1e-3)
    assert galaxy_extension(0.75, "model") == pytest.approx(2.5 * np.log10(1 + 0.75**2 / 2))
    assert galaxy_extension(0.0) == 0.0


def test_densities_are_densities():
    x = np.linspace(-5, 5, 20_001)
    for error in (0.01, 0.3):
        parts = class_densities(
            x, np.full(x.size, error), np.full(x.size, 20.5), 1.3, StarGalaxyModel(outliers=1e-9)
        )
        for part in parts:
            assert np.trapezoid(part, x) == pytest.approx(1.0, abs=0.02)


def test_the_prior_is_that_of_the_sources():
    rng = np.random.default_rng(5)
    mag = rng.uniform(18, 22, 5000)
    star = rng.random(5000) < 1 / (1 + np.exp(-(0.8 - 0.9 * (mag - 20))))
    ratio = np.where(star, 2.0, -2.0) + rng.normal(0, 2.0, 5000)  # ln of two normals 2 apart
    offset, slope = fit_prior(ratio, mag)
    assert offset == pytest.approx(0.8, abs=0.15)
    assert slope == pytest.approx(-0.9, abs=0.12)
    assert fit_prior(np.empty(0), np.empty(0)) == (MODEL.prior, MODEL.prior_per_mag)


def test_what_is_unknown_stays_unknown():
    ratio = log_star_galaxy_ratio([0.0, np.nan, 0.0], [0.1, 0.1, 0.1], [20.0, 20.0, np.nan], 1.3)
    assert np.isfinite(ratio).tolist() == [True, False, False]
    assert np.isnan(star_probabilities(np.zeros(2), np.ones(2), np.full(2, 20.0), np.nan)).all()


def test_few_stars_tell_nothing():
    x, y = np.array([30.0, 90.0]), np.array([30.0, 90.0])
    found = extract_frame(observed(gaussian_stars((128, 128), x, y, np.full(2, 3e4), 1.5)))
    assert np.isnan(found.columns["extension"]).all()
    assert np.isnan(found.info.stars.fwhm_px)


def test_half_sample_mode():
    rng = np.random.default_rng(6)
    values = np.concatenate([rng.normal(2.0, 0.05, 300), rng.uniform(1, 8, 700)])
    assert half_sample_mode(values) == pytest.approx(2.0, abs=0.06)
    assert half_sample_mode(np.array([1.0, 3.0])) == 2.0


def test_sizes_and_prior_of_a_population_are_found():
    """Galaxies a third larger than those trained on, among as many stars."""
    rng = np.random.default_rng(8)
    mag = rng.uniform(18, 21.5, 2000)
    star = rng.random(2000) < 0.5
    ln_size = MODEL.ln_size + 0.3 - 0.25 * (mag - 20) + MODEL.ln_size_sigma * rng.normal(size=2000)
    fwhm = 1.2
    extension = np.where(star, 0.0, galaxy_extension(np.exp(ln_size) / (fwhm / 2.3548)))
    error = 0.01 * 10 ** (0.35 * (mag - 18))
    found = fit_population(rng.normal(extension, error), error, mag, fwhm)
    assert found.ln_size == pytest.approx(MODEL.ln_size + 0.3, abs=0.12)
    assert found.ln_size_per_mag == pytest.approx(-0.25, abs=0.08)
    assert found.prior == pytest.approx(0.0, abs=0.4)
    assert fit_population(error[:0], error[:0], mag[:0], fwhm) == MODEL
