"""PSF photometry: positions and fluxes of all sources of an image fitted at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrolake.photometry.flags import Flag, where
from astrolake.photometry.measure import Int32
from astrolake.photometry.psf_groups import Links, NormalEquations
from astrolake.photometry.psf_model import Float32, Float64, Index, PsfModel
from astrolake.photometry.psf_pixels import Canvas, Painter, chunks, corners

#: Sources nearer than this many FWHM are solved together; others see each other's light in the residuals.
_LINK_FWHM = 3.5
_MAX_ROUNDS = 12
#: Sources that still move after so many rounds swing to and fro: they take smaller steps.
_FREE_ROUNDS, _RELAXED = 4, 0.6
#: Largest step of a position in one round, and largest distance from where it started, in FWHM.
_MAX_STEP_FWHM, _MAX_SHIFT_FWHM = 0.25, 0.7
#: Sources nearer to each other than this stay where they are: only their fluxes are fitted.
_MIN_SEPARATION_FWHM = 0.35
#: A source stands still when its step is below this fraction of its error, or this many px.
_STILL_SIGMA, _STILL_PX = 0.03, 0.0005
#: Enough before the sky is mapped again, or more sources are looked for.
ROUGHLY = 0.2
#: One that still moves by more than this fraction of its error after the last round was not fitted.
_RESTLESS_SIGMA = 0.5
#: Scale of the damping of positions (Levenberg-Marquardt), in FWHM.
_DAMPING_FWHM = 0.5
#: Fraction of the weight of the model that the usable pixels must hold.
_MIN_COVERAGE = 0.2
_COMPLETE = 0.98
#: Keeps divisions by sums over no pixel finite.
_TINY = float(np.finfo(np.float32).tiny)
#: The equations of a pair are computed again when one of them has moved by this fraction of a FWHM.
_STALE_FWHM = 0.02
#: Keeps the equations of nearly identical sources solvable.
_RIDGE = 1e-4


@dataclass(frozen=True, eq=False)
class PsfFit:
    """What the fit found; arrays of shape (n,).

    Parameters
    ----------
    x, y, x_err, y_err : float64
        Positions, px; errors NaN where the position was not fitted.
    flux, flux_err : float64
        Total flux and its error from the covariance, neighbours left free; NaN without usable pixels.
    chi2 : float64
        Reduced chi-square of the pixels within the fit radius.
    sharpness : float64
        Second moment in excess of the model's, as a fraction of it: 0 for a star, less for a cosmic ray.
    coverage : float64
        Fraction of the model's light within the fit radius that usable pixels hold.
    flags : int32
    """

    x: Float64
    y: Float64
    x_err: Float64
    y_err: Float64
    flux: Float64
    flux_err: Float64
    chi2: Float64
    sharpness: Float64
    coverage: Float64
    flags: Int32


class Fitter:
    """A simultaneous fit of all sources of a canvas.

    Newton's method on the unknowns flux, flux times x shift, flux times y shift of every source, in which
    the model is linear (as in crowdsource: Schlafly et al. 2018, ApJS 234, 39). The equations of
    overlapping sources are solved together, whatever the size of their group, and residuals hold the
    light of all.

    Weights are the inverse variance of the sky alone. With photon noise in the weights a flux would be a
    per cent more precise, but where the model errs the weights, and with them the error of the flux, would
    change with brightness: no calibration could take it away. The errors allow for all noise.

    Parameters
    ----------
    canvas : Canvas
        The picture of the fitted sources is left in `canvas.drawn`.
    model : PsfModel
    x, y : (n,) float64
        Finite first guesses.
    fit_radius_px : float
        Pixels nearer than this to the first guess enter the fit.
    fixed : (n,) bool, optional
        Sources whose position is kept.
    flux : (n,) float64, optional
        First guess; 0 is good enough.
    """

    def __init__(
        self,
        canvas: Canvas,
        model: PsfModel,
        x: Float64,
        y: Float64,
        fit_radius_px: float,
        fixed: NDArray[np.bool_] | None = None,
        flux: Float64 | None = None,
    ) -> None:
        self.canvas, self.model = canvas, model
        self.half = min(int(np.ceil(fit_radius_px)), canvas.pad)
        self.size = 2 * self.half + 1
        axis = np.arange(-self.half, self.half + 1)
        self._radius = max(fit_radius_px, 1.0)
        self._inside = np.flatnonzero(np.hypot(axis[:, None], axis).ravel() <= self._radius)
        self.start = (x.copy(), y.copy())
        ny, nx = canvas.shape
        self.corner = corners(x.clip(0, nx - 1), y.clip(0, ny - 1), self.half)
        self.x, self.y, self.flux = x.copy(), y.copy(), np.zeros(len(x))
        self.fixed = np.zeros(len(x), bool) if fixed is None else fixed.copy()
        self.links = Links.within(x, y, _LINK_FWHM * model.fwhm_px)
        self._painter = Painter(canvas, model, self.half)
        canvas.drawn[:] = 0
        if flux is not None:
            self.flux = np.where(np.isfinite(flux), flux, 0.0)
            self._painter.paint(self.x, self.y, self.flux)
        self._blocks = np.zeros((len(self.links.first), 3, 3))
        self._correlated = _correlated_variance(canvas, model)
        self._paired = (np.full(len(x), np.nan), np.full(len(x), np.nan))
        self._restless = np.zeros(len(x), dtype=bool)

    def run(self) -> PsfFit:
        """Fit until the sources stand still and return what was found."""
        self.settle()
        return self.result()

    def settle(self, still_sigma: float = _STILL_SIGMA) -> None:
        """Fit until the steps of all sources are below this fraction of their errors."""
        self._still_sigma = still_sigma
        active = np.ones(len(self.x), dtype=bool)
        for round_ in range(_MAX_ROUNDS):
            if not active.any():
                break
            self._refresh_pairs()
            active = self._round(active, _RELAXED if round_ >= _FREE_ROUNDS else 1.0)

    def _round(self, active: NDArray[np.bool_], relaxation: float) -> NDArray[np.bool_]:
        """Move the active sources by one step; return which are active next."""
        hessian, gradient = self._equations(np.flatnonzero(active))
        error = 1 / np.sqrt(hessian[:, 0, 0].clip(min=_TINY))
        size = np.maximum(np.abs(self.flux + gradient[:, 0] * error**2), error)
        damping = 1 / (_DAMPING_FWHM * self.model.fwhm_px * size) ** 2
        rigid = 1e6 * (hessian[:, 1, 1] + hessian[:, 2, 2])
        damping = np.where(self.fixed, np.maximum(rigid, damping), damping)
        hessian[:, 1, 1] += damping
        hessian[:, 2, 2] += damping
        hessian[~active] = np.eye(3)
        hessian[:, [0, 1, 2], [0, 1, 2]] *= 1 + _RIDGE
        hessian += _TINY * np.eye(3)
        both = active[self.links.first] & active[self.links.second]
        links = Links(self.links.first[both], self.links.second[both], self.links.n)
        step = NormalEquations(hessian, self._blocks[both], links).solve(gradient)
        step[~active] = 0
        step[~self.fixed] *= relaxation
        return self.links.spread(self._move(step, error)) & active.any()

    def _move(self, step: Float64, error: Float64) -> NDArray[np.bool_]:
        """Apply a step and return which sources have not come to rest."""
        old = (self.x.copy(), self.y.copy(), self.flux.copy())
        fwhm = self.model.fwhm_px
        self.flux = self.flux + step[:, 0]
        scale = np.maximum(np.abs(self.flux), error)
        # What is negative has no place: it would run from its neighbours.
        toward = np.where(self.flux > 0, 1 / scale, 0)[:, None]
        shift = (step[:, 1:] * toward).clip(-_MAX_STEP_FWHM * fwhm, _MAX_STEP_FWHM * fwhm)
        shift[self.fixed] = 0
        self.x, self.y = self.x + shift[:, 0], self.y + shift[:, 1]
        astray = np.hypot(self.x - self.start[0], self.y - self.start[1]) > _MAX_SHIFT_FWHM * fwhm
        self.x[astray], self.y[astray] = self.start[0][astray], self.start[1][astray]
        merging = self._merging(old) & ~self.fixed
        self.x[merging], self.y[merging] = old[0][merging], old[1][merging]
        astray |= merging
        self.fixed |= astray
        self._restless = np.abs(step[:, 0]) > _RESTLESS_SIGMA * error
        moving = np.abs(step[:, 0]) > np.maximum(self._still_sigma * error, 1e-6 * np.abs(self.flux))
        still_px = np.maximum(_STILL_PX, self._still_sigma * fwhm * error / scale)
        moving |= (np.abs(shift) > still_px[:, None]).any(axis=1) | astray
        self._draw(old, np.flatnonzero((step != 0).any(axis=1)))
        return moving

    def _merging(self, old: tuple[Float64, Float64, Float64]) -> NDArray[np.bool_]:
        """Return the sources of pairs that have come so near to each other that nothing tells them apart."""
        first, second = self.links.first, self.links.second
        now, before = (
            np.hypot(x[first] - x[second], y[first] - y[second]) for x, y in ((self.x, self.y), old[:2])
        )
        near = (now < _MIN_SEPARATION_FWHM * self.model.fwhm_px) & (now < before)
        out = np.zeros(len(self.x), dtype=bool)
        out[first[near]] = out[second[near]] = True
        return out

    def _draw(self, old: tuple[Float64, Float64, Float64], changed: Index) -> None:
        """Draw the sources anew, or only those that changed where they are few."""
        if 2 * len(changed) >= len(self.x):
            self.canvas.drawn[:] = 0
            self._painter.paint(self.x, self.y, self.flux)
            return
        self._painter.paint(old[0][changed], old[1][changed], old[2][changed], sign=-1.0)
        self._painter.paint(self.x[changed], self.y[changed], self.flux[changed])

    def _equations(self, chosen: Index) -> tuple[Float64, Float64]:
        """Return Hessian (n, 3, 3) and gradient (n, 3) of the chosen sources, zeros for the others."""
        hessian, gradient = np.zeros((len(self.x), 3, 3)), np.zeros((len(self.x), 3))
        for part in chunks(chosen, self.size):
            design = self._design(part, part)
            residual, weight = self._pixels(part)
            weighted = design * weight[:, None]
            hessian[part] = np.matmul(weighted, design.swapaxes(1, 2))
            gradient[part] = np.matmul(weighted, residual[:, :, None])[:, :, 0]
        return hessian, gradient

    def _design(self, source: Index, place: Index) -> Float32:
        """Return the derivatives (n, 3, pixels) of sources in the stamps of (other) sources."""
        corner = (self.corner[0][place], self.corner[1][place])
        parts = self.model.gradients(self.x[source], self.y[source], corner, self.size)
        out = np.empty((len(source), 3, len(self._inside)), np.float32)
        for i, part in enumerate(parts):
            out[:, i] = part.reshape(len(source), -1)[:, self._inside]
        return out

    def _pixels(self, part: Index) -> tuple[Float32, Float32]:
        """Return residuals and weights (n, pixels) around sources."""
        corner = (self.corner[0][part], self.corner[1][part])
        image, variance, drawn = (
            self.canvas.take(pixels, corner, self.size).reshape(len(part), -1)[:, self._inside]
            for pixels in (self.canvas.image, self.canvas.variance, self.canvas.drawn)
        )
        return image - drawn, np.asarray(1 / variance, np.float32)

    def _variance(self, part: Index, weight: Float32) -> Float32:
        """Return the variances (n, pixels) around sources, photon noise included."""
        corner = (self.corner[0][part], self.corner[1][part])
        light = self.canvas.take(self.canvas.drawn, corner, self.size).reshape(len(part), -1)[:, self._inside]
        light = light.clip(min=0)
        total = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), 0)
        if self.canvas.gain is not None:
            total += light / np.float32(self.canvas.gain)
        return np.asarray(total)

    def _summed_variance(self, variance: Float32, weight: Float32) -> Float32:
        """Return the variances that pixels bring into a weighted sum, whose sky noise may be correlated."""
        if self._correlated == 1.0:
            return variance
        sky = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), 0)
        return np.asarray(variance + np.float32(self._correlated - 1.0) * sky)

    def _refresh_pairs(self) -> None:
        """Compute the blocks of the Hessian that couple linked sources, where they moved since."""
        moved = np.hypot(self.x - self._paired[0], self.y - self._paired[1])
        stale = ~(moved <= _STALE_FWHM * self.model.fwhm_px)
        if stale.any():
            pairs = np.flatnonzero(stale[self.links.first] | stale[self.links.second])
            self._blocks[pairs] = self._pair_sums(pairs, False)[0]
            self._paired = (
                np.where(stale, self.x, self._paired[0]),
                np.where(stale, self.y, self._paired[1]),
            )

    def _pair_sums(self, pairs: Index, noise: bool) -> tuple[Float64, Float64]:
        """Return blocks of linked sources of the Hessian and, with noise, of the gradient's variance."""
        out = np.zeros((2, len(pairs), 3, 3))
        for rows in chunks(np.arange(len(pairs)), self.size):
            first, second = self.links.first[pairs[rows]], self.links.second[pairs[rows]]
            weight = self._pixels(first)[1] * self._within(first, second)
            mine, other = self._design(first, first) * weight[:, None], self._design(second, first)
            other = other.swapaxes(1, 2)
            out[0, rows] = np.matmul(mine, other)
            if noise:
                factor = (self._summed_variance(self._variance(first, weight), weight) * weight)[:, None]
                out[1, rows] = np.matmul(mine * factor, other)
        return out[0], out[1]

    def _within(self, place: Index, source: Index) -> NDArray[np.bool_]:
        """Return which pixels (n, pixels) of a stamp lie within the fit radius of another source."""
        row, column = np.divmod(self._inside, self.size)
        dx = self.corner[0][place][:, None] + column - self.corner[0][source][:, None] - self.half
        dy = self.corner[1][place][:, None] + row - self.corner[1][source][:, None] - self.half
        return np.asarray(np.hypot(dx, dy) <= self._radius)

    def result(self) -> PsfFit:
        """Return what was found, with errors and quality."""
        n = len(self.x)
        hessian, variance = np.zeros((n, 3, 3)), np.zeros((n, 3, 3))
        chi2, sharpness, coverage = (np.full(n, np.nan) for _ in range(3))
        for part in chunks(np.arange(n), self.size):
            sums, quality = self._quality(part)
            hessian[part], variance[part] = sums
            chi2[part], sharpness[part], coverage[part] = quality
        covered = coverage >= _MIN_COVERAGE
        error = self._errors(hessian, variance, covered)
        scale = np.where(self.fixed | ~covered, np.nan, np.abs(self.flux))
        flags = where(coverage < _COMPLETE, Flag.PSF_INCOMPLETE)
        flags |= where(self._restless | self.fixed | ~covered, Flag.PSF_NOT_FITTED)
        flux, flux_err = (np.where(covered, values, np.nan) for values in (self.flux, error[:, 0]))
        chi2, sharpness = (np.where(covered, values, np.nan) for values in (chi2, sharpness))
        x_err, y_err = (np.minimum(error[:, i] / scale, self.model.fwhm_px) for i in (1, 2))
        return PsfFit(self.x, self.y, x_err, y_err, flux, flux_err, chi2, sharpness, coverage, flags)

    def _errors(self, hessian: Float64, variance: Float64, covered: NDArray[np.bool_]) -> Float64:
        """Return the errors (n, 3) of the unknowns."""
        # Positions that were kept do not widen the error of the flux.
        kept = self.fixed.astype(np.float64) * 1e6 * (hessian[:, 1, 1] + hessian[:, 2, 2])
        hessian[:, [1, 2], [1, 2]] += kept[:, None]
        hessian[~covered] = np.eye(3)
        both = (covered[self.links.first] & covered[self.links.second])[:, None, None]
        pairs, pair_variance = self._pair_sums(np.arange(len(self.links.first)), True)
        equations = NormalEquations(hessian, pairs * both, self.links)
        covariance = equations.covariance(NormalEquations(variance, pair_variance * both, self.links))
        return np.asarray(np.sqrt(np.einsum("nii->ni", covariance).clip(min=0)))

    def _quality(self, part: Index) -> tuple[tuple[Float32, Float32], tuple[Float32, Float32, Float32]]:
        """Return Hessian and variance of the gradient, and reduced chi2, sharpness and coverage."""
        design = self._design(part, part)
        residual, weight = self._pixels(part)
        variance = self._variance(part, weight)
        weighted, transposed = design * weight[:, None], design.swapaxes(1, 2)
        hessian = np.matmul(weighted, transposed)
        summed = self._summed_variance(variance, weight)
        noise = np.matmul(weighted * (weight * summed)[:, None], transposed)
        used = weight > 0
        light = design[:, 0] * (self.model.error * self.flux[part]).astype(np.float32)[:, None]
        inverse = np.where(used, 1 / np.where(used, variance + light**2, 1), 0)
        chi2 = (inverse * residual**2).sum(axis=1) / np.maximum(used.sum(axis=1) - 3, 1)
        light = design[:, 0].clip(min=0)
        coverage = (light * used).sum(axis=1) / light.sum(axis=1).clip(min=_TINY)
        return (hessian, noise), (
            chi2,
            self._sharpness(part, weighted[:, 0], (design[:, 0], weight, residual)),
            coverage,
        )

    def _sharpness(self, part: Index, weighted: Float32, pixels: tuple[Float32, Float32, Float32]) -> Float32:
        """Return the change of the second moment that explains the residuals best, over the model's."""
        profile, weight, residual = pixels
        corner = (self.corner[0][part], self.corner[1][part])
        wider = self.model.laplacian(self.x[part], self.y[part], corner, self.size)
        wider = wider.reshape(len(part), -1)[:, self._inside] / np.float32(2)
        norm = (weighted * profile).sum(axis=1).clip(min=_TINY)
        wider = wider - profile * ((weighted * wider).sum(axis=1) / norm)[:, None]
        scale = np.maximum(np.abs(self.flux[part]), 1 / np.sqrt(norm)) * self.model.width()
        power = (weight * wider**2).sum(axis=1).clip(min=_TINY)
        return np.asarray((weight * wider * residual).sum(axis=1) / power / scale)


def _correlated_variance(canvas: Canvas, model: PsfModel) -> float:
    """Return the variance of a sum of pixels weighed by the model over that of independent noise."""
    if canvas.correlation is None:
        return 1.0
    sigma = model.fwhm_px / np.sqrt(8 * np.log(2))
    return canvas.correlation.in_profile(4 * np.pi * sigma**2)
