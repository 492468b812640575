"""An empirical point-spread function: a profile corrected by the residuals of the stars, over the field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, lsqr

from astrolake.photometry.psf_build import (
    MAX_ERROR,
    StarStamps,
    fit_star_fluxes,
    profile_error,
    star_residuals,
)
from astrolake.photometry.psf_model import FieldBasis, Float64, PsfModel

#: Stars that a correction needs, and one that varies over the field linearly and quadratically.
MIN_STARS, _MIN_LINEAR, _MIN_QUADRATIC = 8, 25, 80
#: Distance of the knots, and reach of the correction, in FWHM.
_KNOT_FWHM, _REACH_FWHM = 0.35, 2.8
#: How far the profile may be wrong: relative to its value, and for each degree of the field relative to that.
_RELATIVE, _VARIATION = 0.15, 0.5
_FLOOR = 2e-5
_ROUNDS, _LSQR_ROUNDS, _LSQR_TOLERANCE = 2, 15, 1e-3
_SOFTENING = 0.005


def empirical_model(stamps: StarStamps, profile: PsfModel, shape: tuple[int, int]) -> PsfModel:
    """Return a profile with the correction that the residuals of the stars ask for.

    The correction is a bicubic spline in the position within the PSF times a polynomial over the field,
    fitted to all pixels of all stars at once. It is held to the profile by a prior (a fraction of the
    profile's value), so that noise in the wings stays out. The flux within the tables is that of the profile
    everywhere on the field.

    Parameters
    ----------
    stamps : StarStamps
        Pixels of the stars, out to 3 FWHM.
    profile : PsfModel
        What is corrected.
    shape : (ny, nx)
        Shape of the image.

    Returns
    -------
    PsfModel
        Of kind 'empirical'; the profile itself with fewer than 8 stars.
    """
    n = len(stamps)
    if n < MIN_STARS:
        return profile
    degree = 2 if n >= _MIN_QUADRATIC else 1 if n >= _MIN_LINEAR else 0
    basis = FieldBasis.of_shape(degree, shape)
    tables = np.zeros((basis.n_terms, *profile.tables.shape[1:]))
    tables[0] = profile.tables[0]
    model = replace(profile, tables=tables, basis=basis, kind="empirical", error=0.0)
    for _ in range(_ROUNDS):
        stamps, flux = fit_star_fluxes(stamps, model, 2)
        correction = _correction(stamps, flux, model, profile)
        model = replace(model, tables=_normalised(model.tables + correction, profile))
    stamps, flux = fit_star_fluxes(stamps, model, 2)
    return model.with_error(min(profile_error(stamps, flux, model), MAX_ERROR))


def _correction(stamps: StarStamps, flux: Float64, model: PsfModel, profile: PsfModel) -> Float64:
    """Return what to add to the tables of a model."""
    step = _KNOT_FWHM * profile.fwhm_px
    half = int(np.ceil(_REACH_FWHM / _KNOT_FWHM))
    knots: Float64 = np.arange(-half, half + 1, dtype=np.float64) * step
    light, residual = star_residuals(stamps, flux, model)
    weight = np.sqrt(stamps.weights(light, _SOFTENING))
    scale = (weight * flux[:, None]).ravel().astype(np.float64)
    inner = _splines(stamps, step, half)
    inner = inner.multiply(scale[:, None]).tocsr()
    terms = np.repeat(model.basis(stamps.x, stamps.y), residual.shape[1], axis=0)
    sigma = _prior(profile, knots)[:, None] * _VARIATION ** (np.arange(terms.shape[1]) > 0)
    size = sigma.size

    def forward(vector: Float64) -> Float64:
        return np.asarray(((inner @ (vector.reshape(sigma.shape) * sigma)) * terms).sum(axis=1))

    def backward(vector: Float64) -> Float64:
        return np.asarray(((inner.T @ (terms * vector[:, None])) * sigma).ravel())

    operator = LinearOperator((len(scale), size), matvec=forward, rmatvec=backward)
    target = (weight * residual).ravel().astype(np.float64)
    tolerance = {"atol": _LSQR_TOLERANCE, "btol": _LSQR_TOLERANCE, "iter_lim": _LSQR_ROUNDS}
    solution = lsqr(operator, target, damp=1.0, **tolerance)[0].reshape(sigma.shape) * sigma
    axis = (np.arange(model.tables.shape[1]) - model.tables.shape[1] // 2) / model.oversampling
    along = _bspline((axis[:, None] - knots) / step)
    grid = solution.T.reshape(-1, len(knots), len(knots))
    return np.asarray(np.einsum("yj,pji,xi->pyx", along, grid, along, optimize=True))


def _prior(profile: PsfModel, knots: Float64) -> Float64:
    """Return the standard deviation of the coefficients, (knots^2,)."""
    table, centre = profile.tables[0], profile.tables.shape[-1] // 2
    place = np.rint(knots * profile.oversampling).astype(np.intp) + centre
    place = place.clip(0, len(table) - 1)
    return np.asarray(_RELATIVE * (table[np.ix_(place, place)] + _FLOOR * table.max()).ravel())


def _splines(stamps: StarStamps, step: float, half: int) -> csr_matrix:
    """Return the splines at all pixels of all stars: (stars x pixels, knots^2), 16 values a row."""
    width = 2 * half + 1
    columns, values = [], []
    for offset, position in (
        (stamps.dy, stamps.y - stamps.middle_y),
        (stamps.dx, stamps.x - stamps.middle_x),
    ):
        place = ((offset - position[:, None]) / step).ravel()
        first = np.floor(place).astype(np.intp) - 1
        index = first[:, None] + np.arange(4)
        value = _bspline(place[:, None] - index)
        outside = np.abs(index) > half
        columns.append(np.where(outside, 0, index + half))
        values.append(np.where(outside, 0.0, value))
    index = (columns[0][:, :, None] * width + columns[1][:, None, :]).reshape(len(columns[0]), -1)
    value = (values[0][:, :, None] * values[1][:, None, :]).reshape(len(index), -1)
    starts = np.arange(0, index.size + 1, index.shape[1])
    return csr_matrix((value.ravel(), index.ravel(), starts), shape=(len(index), width**2))


def _bspline(u: Float64) -> Float64:
    """Return the cubic B-spline of unit spacing, centred on 0."""
    a = np.abs(u)
    near, far = 2 / 3 - a**2 + a**3 / 2, (2 - a).clip(min=0) ** 3 / 6
    return np.where(a < 1, near, far)


def _normalised(tables: Float64, profile: PsfModel) -> Float64:
    """Return tables with the profile's flux at every position: the terms of higher degree hold none."""
    total = profile.tables[0].sum()
    out = tables.copy()
    out[0] *= total / out[0].sum()
    out[1:] -= (out[1:].sum(axis=(1, 2)) / total)[:, None, None] * out[0]
    return out
