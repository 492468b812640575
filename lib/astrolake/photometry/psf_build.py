"""The point-spread function of an image, made from its stars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astrolake.photometry.psf_groups import inverse_3x3
from astrolake.photometry.psf_model import Float32, Float64, Index, PsfModel
from astrolake.photometry.psf_pixels import Canvas, corners
from astrolake.photometry.psf_profiles import Profile, pixel_average, profile_model

#: Pixels within this many FWHM of a star shape the profile. A Gaussian has no wings: they must not widen it.
FIT_FWHM = {"moffat": 3.0, "gaussian": 1.2}
#: Half the side of the tables, in FWHM.
TABLE_FWHM = 5.5
#: What all stars have in common is calibrated away: only so much of a bad profile counts as noise.
MAX_ERROR = 0.03
#: Stars that the profile is fitted to, at most.
_PROFILE_STARS = 40
_ROUNDS, _STILL = 12, 1e-3
#: Largest step of a parameter of the profile in one round.
_MAX_STEP = 0.3
#: Relative error of the profile that is allowed while it is being fitted: the brightest stars must not rule.
_SOFTENING = 0.01
#: Stars whose chi-square is this many times the median are none.
_OUTLIER = 4.0
_FIRST_BETA = 3.5


@dataclass(frozen=True, eq=False)
class StarStamps:
    """The pixels around the stars, within a circle.

    Parameters
    ----------
    data, variance : (n, pixels) float32
        Light of the star alone (without its neighbours), and variance without its photon noise; infinite
        where a pixel must not be used.
    dx, dy : (pixels,) float64
        Offset of each pixel from the middle of the stamp.
    x, y : (n,) float64
        Positions of the stars on the image.
    middle_x, middle_y : (n,) float64
        Middles of the stamps on the image.
    gain : float or None
        Electrons per image unit.
    """

    data: Float32
    variance: Float32
    dx: Float64
    dy: Float64
    x: Float64
    y: Float64
    middle_x: Float64
    middle_y: Float64
    gain: float | None

    def __len__(self) -> int:
        return len(self.x)

    def part(self, chosen: NDArray[np.bool_] | Index) -> StarStamps:
        """Return some of the stars."""
        names = ("data", "variance", "x", "y", "middle_x", "middle_y")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def weights(self, light: Float32, error: float) -> Float32:
        """Return the inverse variances for stars of this light, with a relative error of their profile."""
        total = self.variance + np.square(np.float32(error) * light)
        if self.gain is not None:
            total = total + light.clip(min=0) / np.float32(self.gain)
        return np.asarray(1 / total)


def take_stars(
    canvas: Canvas,
    x: Float64,
    y: Float64,
    half: int,
    others: NDArray[np.bool_] | None = None,
    own: tuple[PsfModel, Float64] | None = None,
) -> StarStamps:
    """Return the stamps of stars, with their neighbours masked or, where all are drawn, taken away.

    Parameters
    ----------
    canvas : Canvas
    x, y : (n,) float64
    half : int
        Radius of the circle, px.
    others : (n, size, size) bool, optional
        Pixels of each stamp that belong to neighbours.
    own : (model, fluxes), optional
        What was drawn for the stars themselves; everything else that was drawn is subtracted.
    """
    size = 2 * half + 1
    corner = corners(x, y, half)
    axis = np.arange(-half, half + 1, dtype=np.float64)
    inside = np.flatnonzero(np.hypot(axis[:, None], axis).ravel() <= half)
    data = canvas.take(canvas.image, corner, size)
    variance = canvas.take(canvas.variance, corner, size)
    if own is not None:
        model, flux = own
        light = model.stamps(x, y, corner, size) * flux[:, None, None].astype(np.float32)
        data = data - canvas.take(canvas.drawn, corner, size) + light
    if others is not None:
        variance = np.where(others, np.float32(np.inf), variance)
    row, column = np.divmod(inside, size)
    return StarStamps(
        data.reshape(len(x), -1)[:, inside],
        variance.reshape(len(x), -1)[:, inside],
        axis[column],
        axis[row],
        x.astype(np.float64),
        y.astype(np.float64),
        (corner[0] + half).astype(np.float64),
        (corner[1] + half).astype(np.float64),
        canvas.gain,
    )


def fit_profile(stamps: StarStamps, kind: str, fwhm_px: float) -> tuple[Profile, NDArray[np.bool_]]:
    """Fit one Moffat or Gaussian profile to all stars, each with its own flux and position.

    Newton's method on the parameters of the profile, with those of the stars projected out. Stars that it
    does not fit are dropped on the way.

    Parameters
    ----------
    stamps : StarStamps
    kind : {'moffat', 'gaussian'}
    fwhm_px : float
        First guess.

    Returns
    -------
    profile : Profile
    kept : (n,) bool
        Stars that the profile describes.
    """
    profile = Profile(fwhm_px, beta=np.inf if kind == "gaussian" else _FIRST_BETA)
    kept = np.ones(len(stamps), dtype=bool)
    used = _brightest(stamps, _PROFILE_STARS)
    state = _StarState.of(stamps.part(used))
    for round_ in range(_ROUNDS):
        step, chi2 = _profile_step(profile, state)
        profile = profile.shifted(step.clip(-_MAX_STEP, _MAX_STEP))
        if round_ in (3, 6):
            good = chi2 < _OUTLIER * np.median(chi2)
            if good.sum() >= min(3, len(chi2)):
                kept[used[~good]] = False
                used, state = used[good], state.part(good)
        elif round_ > 3 and np.abs(step).max() < _STILL:
            break
    return profile, kept


def _brightest(stamps: StarStamps, count: int) -> Index:
    flux = np.where(np.isfinite(stamps.variance), stamps.data, 0).sum(axis=1)
    return np.sort(np.argsort(-flux, kind="stable")[:count]).astype(np.intp)


@dataclass(eq=False)
class _StarState:
    """Stars with the flux and position that they have at the moment."""

    stamps: StarStamps
    flux: Float64
    dx: Float64
    dy: Float64

    @classmethod
    def of(cls, stamps: StarStamps) -> _StarState:
        flux = np.where(np.isfinite(stamps.variance), stamps.data, 0).sum(axis=1, dtype=np.float64)
        return cls(stamps, np.maximum(flux, 1e-6), stamps.x - stamps.middle_x, stamps.y - stamps.middle_y)

    def part(self, chosen: NDArray[np.bool_]) -> _StarState:
        return _StarState(self.stamps.part(chosen), self.flux[chosen], self.dx[chosen], self.dy[chosen])

    def move(self, step: Float64) -> None:
        """Apply a step of (flux, flux x shift, flux y shift)."""
        self.flux = np.maximum(self.flux + step[:, 0], 0.2 * self.flux)
        shift = (step[:, 1:] / self.flux[:, None]).clip(-0.3, 0.3)
        self.dx, self.dy = self.dx + shift[:, 0], self.dy + shift[:, 1]


def _profile_step(profile: Profile, state: _StarState) -> tuple[Float64, Float64]:
    """Return the step of the profile's parameters and the chi-square of each star; moves the stars."""
    stamps = state.stamps
    dx = (stamps.dx - state.dx[:, None]).astype(np.float32)
    dy = (stamps.dy - state.dy[:, None]).astype(np.float32)
    value, by_x, by_y, by_shape = pixel_average(profile, dx, dy)
    light = value * state.flux[:, None].astype(np.float32)
    weight = stamps.weights(light, _SOFTENING)
    residual = np.where(weight > 0, stamps.data - light, 0)
    chi2 = (weight * residual**2).sum(axis=1) / np.maximum((weight > 0).sum(axis=1), 1)
    design = np.stack([value, -by_x, -by_y], axis=1)
    weighted = design * weight[:, None]
    own = np.matmul(weighted, design.swapaxes(1, 2)).astype(np.float64)
    own += 1e-12 * np.einsum("nii->n", own)[:, None, None] * np.eye(3)
    shape = np.stack(by_shape, axis=1) * state.flux[:, None, None].astype(np.float32)
    mixed = np.matmul(weighted, shape.swapaxes(1, 2)).astype(np.float64)
    gradient = np.matmul(weighted, residual[:, :, None])[:, :, 0].astype(np.float64)
    inverse = inverse_3x3(own)
    matrix = np.matmul(shape * weight[:, None], shape.swapaxes(1, 2)).astype(np.float64).sum(axis=0)
    matrix -= np.einsum("nia,nij,njb->ab", mixed, inverse, mixed)
    target = np.matmul(shape * weight[:, None], residual[:, :, None])[:, :, 0].astype(np.float64).sum(axis=0)
    target -= np.einsum("nia,nij,nj->a", mixed, inverse, gradient)
    step = np.linalg.solve(matrix + 1e-6 * np.trace(matrix) * np.eye(len(target)), target)
    step = step.clip(-_MAX_STEP, _MAX_STEP)
    state.move(np.einsum("nij,nj->ni", inverse, gradient - mixed @ step))
    return step, chi2.astype(np.float64)


def fit_star_fluxes(stamps: StarStamps, model: PsfModel, rounds: int = 3) -> tuple[StarStamps, Float64]:
    """Fit flux and position of each star alone with a model; return the stamps moved, and the fluxes."""
    flux = _StarState.of(stamps).flux
    for _ in range(rounds):
        design = _model_design(stamps, model)
        light = design[:, 0] * flux[:, None].astype(np.float32)
        weight = stamps.weights(light, _SOFTENING)
        residual = np.where(weight > 0, stamps.data - light, 0)
        weighted = design * weight[:, None]
        own = np.matmul(weighted, design.swapaxes(1, 2)).astype(np.float64)
        own += 1e-12 * np.einsum("nii->n", own)[:, None, None] * np.eye(3)
        gradient = np.matmul(weighted, residual[:, :, None])[:, :, 0].astype(np.float64)
        step = np.einsum("nij,nj->ni", inverse_3x3(own), gradient)
        flux = np.maximum(flux + step[:, 0], 0.2 * flux)
        shift = (step[:, 1:] / flux[:, None]).clip(-0.3, 0.3)
        stamps = replace(stamps, x=stamps.x + shift[:, 0], y=stamps.y + shift[:, 1])
    return stamps, flux


def _model_design(stamps: StarStamps, model: PsfModel) -> Float32:
    """Return value and derivatives (n, 3, pixels) of a model at the stars."""
    half = int(stamps.dx.max())
    size = 2 * half + 1
    corner = (
        np.rint(stamps.middle_x).astype(np.intp) - half,
        np.rint(stamps.middle_y).astype(np.intp) - half,
    )
    pixel = ((stamps.dy + half) * size + stamps.dx + half).astype(np.intp)
    parts = model.gradients(stamps.x, stamps.y, corner, size)
    return np.stack([part.reshape(len(stamps), -1)[:, pixel] for part in parts], axis=1)


def star_residuals(stamps: StarStamps, flux: Float64, model: PsfModel) -> tuple[Float32, Float32]:
    """Return the light of the stars by the model, and what is left of the data, (n, pixels) each."""
    light = _model_design(stamps, model)[:, 0] * flux[:, None].astype(np.float32)
    return light, stamps.data - light


def profile_error(stamps: StarStamps, flux: Float64, model: PsfModel) -> float:
    """Return the relative error of a model in a pixel of the core: what the noise leaves unexplained."""
    light, residual = star_residuals(stamps, flux, model)
    weight = stamps.weights(light, 0.0)
    core = (np.hypot(stamps.dx, stamps.dy) < model.fwhm_px) & (weight > 0)
    noise = np.where(core, 1 / np.where(weight > 0, weight, 1), 0).sum(axis=1)
    excess = np.where(core, residual**2, 0).sum(axis=1) - noise
    power = np.where(core, light**2, 0).sum(axis=1).clip(min=np.finfo(np.float32).tiny)
    return float(np.sqrt(max(0.0, np.median(excess / power))))


def analytic_model(
    take: Callable[[int], StarStamps], kind: str, fwhm_px: float
) -> tuple[PsfModel, NDArray[np.bool_]]:
    """Return the Moffat or Gaussian model of the stars, and which stars it describes.

    Parameters
    ----------
    take : callable
        Returns the stamps of the stars for a radius in px.
    kind : {'moffat', 'gaussian'}
    fwhm_px : float
        First guess.
    """
    stamps = take(max(3, round(FIT_FWHM[kind] * fwhm_px)))
    profile, kept = fit_profile(stamps, kind, fwhm_px)
    model = profile_model(profile, max(4.0, TABLE_FWHM * profile.fwhm), n_stars=int(kept.sum()))
    stamps = stamps.part(kept)
    stamps, flux = fit_star_fluxes(stamps.part(_brightest(stamps, _PROFILE_STARS)), model, 2)
    return model.with_error(min(profile_error(stamps, flux, model), MAX_ERROR)), kept
