"""Errors of fluxes and magnitudes against repeated simulated fields: background, photons, zero point."""

import numpy as np
import pytest
import sep
from star_fields import gaussian_stars, grid, nearest, observed

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.magnitudes import calibrate
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.reference import ReferenceStars, check_against, total_flux
from astrolake.sky.positions import Positions

SIZE, SIGMA_PX, GAIN, ZERO_POINT, SCALE = 640, 1.8, 3.0, 27.0, 0.4
RADII_PX = (4.0, 8.0)


def one_field(seed):
    """Return the extraction of a field, the row of each star, their magnitudes and light in the aperture."""
    rng = np.random.default_rng(seed)
    x, y = grid(SIZE, 64, seed)
    mag = rng.uniform(16.5, 20.5, len(x))
    image = gaussian_stars((SIZE, SIZE), x, y, 10 ** (-0.4 * (mag - ZERO_POINT)), SIGMA_PX)
    options = ExtractionOptions(aperture_radii_px=RADII_PX, background_box_px=128)
    found = extract_frame(observed(image, noise=4.0, gain=GAIN, seed=seed), gain=GAIN, options=options)
    index, distance = nearest(found.columns, x, y)
    held, _, _ = sep.sum_circle(image, x, y, RADII_PX[0], subpix=5)
    return found, index, distance < 1.0, mag, held


@pytest.fixture(scope="module")
def fields():
    return [one_field(seed) for seed in range(25)]


@pytest.mark.parametrize(("bright", "faint"), [(16.5, 18.0), (18.0, 19.5), (19.5, 20.5)])
def test_aperture_fluxes_scatter_as_their_errors_say(fields, bright, faint):
    pulls = []
    for found, index, seen, mag, held in fields:
        columns, use = found.columns, seen & (mag > bright) & (mag <= faint)
        flux, error = (columns[name][index[use], 0] for name in ("flux_aper", "flux_aper_err"))
        pulls.append((flux - held[use]) / error)
    pull = np.concatenate(pulls)
    assert 0.9 < pull.std() < 1.1
    assert abs(pull.mean()) < 0.35


def test_magnitudes_scatter_as_errors_with_a_fitted_zero_point_say(fields):
    """Each field is calibrated with nine of its stars; the others' mean offsets follow its zero point's error."""
    mean_pulls, pulls = [], []
    for found, index, seen, mag, _ in fields[:12]:
        rows = np.flatnonzero(seen)
        total = total_flux(found.columns)
        chosen = rows[np.argsort(mag[rows])[5:50:5]]
        ra, dec = found.columns["x"] * SCALE / 3600, found.columns["y"] * SCALE / 3600
        places = Positions(ra[index[chosen]], dec[index[chosen]], chosen)
        noisy = mag[chosen] + np.random.default_rng(chosen.sum()).normal(0, 0.02, len(chosen))
        stars = ReferenceStars(places, noisy, np.full(len(chosen), 0.02), None)
        fit = check_against(stars, ra, dec, total.flux, total.flux_err, found.columns["flags"]).zero_point
        assert fit.n_stars + fit.n_rejected == len(chosen)
        columns = calibrate(found, fit.zero_point, SCALE, fit.error)
        others = np.setdiff1d(rows[mag[rows] < 19.5], chosen)
        shift = -2.5 * np.log10(total.flux[index[others]]) + fit.zero_point - mag[others]
        mean_pulls.append(np.median(shift) / fit.error)
        error = columns["mag_aper_err"][index[others], 0]
        assert (error >= fit.error).all()
        pulls.append(shift / error)
    assert 0.5 < np.std(mean_pulls) < 1.5
    assert abs(np.mean(mean_pulls)) < 0.8
    pull = np.concatenate(pulls)
    assert 0.75 < 1.4826 * np.median(np.abs(pull)) < 1.25


@pytest.fixture(scope="module")
def psf_fields():
    """Return the magnitudes of stars down to 7 sigma, and errors over claimed errors of their PSF measures."""
    mags, pulls = [], {name: [] for name in ("flux_psf", "x_psf", "x", "y")}
    for seed in range(8):
        x, y = grid(SIZE, 40, seed)
        mag = np.random.default_rng(seed).uniform(16.5, 21.0, len(x))
        truth = {"flux_psf": 10 ** (-0.4 * (mag - ZERO_POINT)), "x_psf": x, "x": x, "y": y}
        image = gaussian_stars((SIZE, SIZE), x, y, truth["flux_psf"], SIGMA_PX)
        image = observed(image, noise=4.0, gain=GAIN, seed=seed)
        columns = extract_frame(image, gain=GAIN, options=ExtractionOptions(psf="gaussian")).columns
        index, distance = nearest(columns, x, y)
        seen = distance < 1
        mags.append(mag[seen])
        for name, values in truth.items():
            error = columns[f"{name}_err"][index[seen]]
            pulls[name].append((columns[name][index[seen]] - values[seen]) / error)
    return np.concatenate(mags), {name: np.concatenate(values) for name, values in pulls.items()}


@pytest.mark.parametrize(("bright", "faint"), [(16.5, 18.0), (18.0, 19.0), (19.0, 20.0), (20.0, 21.0)])
@pytest.mark.parametrize("name", ["flux_psf", "x_psf", "x", "y"])
def test_psf_fluxes_and_positions_scatter_as_their_errors_say(psf_fields, name, bright, faint):
    mag, pulls = psf_fields
    pull = pulls[name][(mag > bright) & (mag <= faint)]
    assert len(pull) > 300
    assert 0.87 < pull.std() < 1.13
    assert abs(np.median(pull)) < 0.35
