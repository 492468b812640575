"""The compiled heart of template fitting: chi2 of every template at every redshift, summed to densities.

One pass over a galaxy at a time. Fluxes f and models m with weights w give the amplitude
A = max(sum w f m, 0) / sum w m^2 and chi2 = sum w f^2 - A^2 sum w m^2, which is quick; at a high
signal-to-noise single precision loses it there, and redshifts where a template comes near the best one are
done again as sum w (f - A m)^2. Then exp(-chi2 / 2) times the prior is added up over templates. Where the
template error depends on redshift, so does the norm of the likelihood, the product of sqrt(w): -2 times its
logarithm is part of what is called chi2 until the end.
A galaxy's chi2 stay in the cache; there is no array of galaxies x redshifts x templates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.photoz.compiled import compiled_fast
from astrolake.photoz.packed_models import LANES, PackedModels

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

#: Models that are worse than the best one by more than this in chi2 add nothing.
_DEEPEST = np.float32(60.0)
#: Sums of (f / sigma)^2 up to which the difference of two such sums is exact enough (0.001), and the error of
#: the difference at most, relative to the sum.
_QUIET, _ROUNDING = np.float32(3e3), np.float32(2e-6)
#: The greatest ratio of a flux to its error: single precision has no more. And that of two errors of a
#: galaxy: a band beyond says nothing beside the other.
_SHARPEST, _DULLEST = 1e7, 1e15
_HALF_LOG2E, _LN2 = np.float32(-0.5 * 1.4426950408889634), np.float32(0.6931471805599453)

Pair = tuple[Float32, Float32]
PackedArrays = tuple[Float32, Float32, Int64]
Priors = tuple[Float32, Int64]
Outputs = tuple[Float32, Int64, Float32]


@dataclass(frozen=True)
class Fits:
    """What the kernel finds.

    Parameters
    ----------
    density : (n, n_z) float32
        Probabilities of the redshifts, which add up to 1; NaN without any observed band.
    template : (n,) int64
        The template most likely at the mode of the density, -1 without one.
    chi2, amplitude : (n,) float32
        Of that template there.
    """

    density: Float32
    template: Int64
    chi2: Float32
    amplitude: Float32


def fit(
    models: PackedModels, flux: NDArray[Any], variance: NDArray[Any], prior: Float32, prior_row: Int64
) -> Fits:
    """Return densities and best templates of galaxies.

    Equivalent to, for each galaxy: chi2[t, z] = min over A >= 0 of
    sum_b (f_b - A m_tzb)^2 / (variance_b + error_zb^2 f_b^2), and
    density[z] ~ norm[z] sum_t exp(-chi2[t, z] / 2) prior[row, class_t, z], where
    norm[z] = prod_b 1 / sqrt(variance_b + error_zb^2 f_b^2).

    Parameters
    ----------
    models : PackedModels
    flux, variance : (n, bands) array
        Fluxes and squares of their errors in one unit; a variance of 0 or NaN is a band not observed. No
        error counts as less than 1e-7 of the flux.
    prior : (rows, classes, n_z) float32
        Above 0.
    prior_row : (n,) int64
        Row of `prior` for each galaxy.
    """
    n = len(flux)
    usable, unit, error = _scaled(flux, variance)
    value = np.where(usable, flux / unit, 0.0).astype(np.float32)
    spread = np.where(usable, (error / unit) ** 2, 0.0).astype(np.float32)
    padded = models.error2.shape[0] * models.width
    weights = np.zeros((*prior.shape[:2], padded), dtype=np.float32)
    weights[..., : models.n_z] = prior
    density = np.empty((n, padded), dtype=np.float32)
    template = np.empty(n, dtype=np.int64)
    numbers = np.empty((n, 2), dtype=np.float32)
    rows = np.ascontiguousarray(prior_row, dtype=np.int64)
    _kernel(models.n_bands, models.width)(
        (value, spread),
        (models.flux, models.error2, models.prior_class),
        (weights, rows),
        (density, template, numbers),
    )
    chi2, amplitude = numbers.T.copy()
    blind = ~usable.any(axis=1)
    for values in (density, chi2, amplitude):
        values[blind] = np.nan
    template[blind] = -1
    return Fits(density[:, : models.n_z], template, chi2, (amplitude * unit[:, 0]).astype(np.float32))


def _scaled(flux: NDArray[Any], variance: NDArray[Any]) -> tuple[NDArray[np.bool_], Float64, Float64]:
    """Return bands that tell something, a unit of each galaxy's fluxes, (n, 1), and errors.

    In this unit fluxes, errors, weights and their squares are within single precision.
    """
    usable = np.isfinite(flux) & np.isfinite(variance) & (variance > 0)
    value = np.where(usable, np.abs(flux), 0.0)
    error = np.where(usable, np.maximum(np.sqrt(np.where(usable, variance, 0.0)), value / _SHARPEST), np.inf)
    least = error.min(axis=1, keepdims=True)
    usable &= error <= _DULLEST * least
    largest = np.where(usable, np.hypot(value, error), 0.0).max(axis=1, keepdims=True)
    unit = np.minimum(largest, _SHARPEST * least)
    return usable, np.where(unit > 0, unit, 1.0), error


@lru_cache(maxsize=16)
def _kernel(n_bands: int, width: int) -> Callable[..., None]:
    """Return the kernel for so many bands and redshifts: constants let loops over bands unroll.

    It holds nothing but numbers, so that its machine code can be kept on disk.
    """
    zero, tiny = np.float32(0), np.float32(1e-30)

    def kernel(seen_of: Pair, models: PackedArrays, priors: Priors, out: Outputs) -> None:
        flux, variance = seen_of
        fluxes, error2, prior_class = models
        n_templates, n_blocks = fluxes.shape[0], fluxes.shape[1]
        blocks = np.empty((n_templates, n_blocks, width), np.float32)
        chi2 = blocks.reshape(n_templates, n_blocks * width)
        weight = np.empty((n_blocks, n_bands * width), np.float32)
        norm = np.zeros(n_blocks * width, np.float32)
        signal, best = np.empty_like(norm), np.empty_like(norm)
        has_norm = _varies(error2)
        spans = np.empty((n_blocks * width // LANES, 2), np.int64)
        for galaxy in range(flux.shape[0]):
            f = flux[galaxy]
            loudest = _weigh(f, variance[galaxy], error2, has_norm, weight, norm, signal)
            quick(f, fluxes, weight, signal, blocks)
            margin = _DEEPEST + _ROUNDING * loudest
            n_spans, bottom = _near(chi2, margin, best, spans)
            if loudest > _QUIET:
                for span in spans[:n_spans]:
                    exact(f, fluxes, weight, norm, span, bottom + margin, blocks)
                n_spans, bottom = _near(chi2, _DEEPEST, best, spans)
            prior = priors[0][priors[1][galaxy]]
            mode = _density(chi2, bottom, spans[:n_spans], prior, prior_class, out[0][galaxy])
            out[1][galaxy] = _likeliest(chi2[:, mode], bottom, prior[:, mode], prior_class)
            model = fluxes[out[1][galaxy], mode // width]
            _numbers(f, model, weight[mode // width], mode % width, out[2][galaxy])

    @compiled_fast
    def quick(f: Float32, fluxes: Float32, weight: Float32, signal: Float32, chi2: Float32) -> None:
        """Write chi2 as a difference of sums."""
        for t in range(fluxes.shape[0]):
            for k in range(fluxes.shape[1]):
                m, w, c, s = fluxes[t, k], weight[k], chi2[t, k], signal[k * width : (k + 1) * width]
                for z in range(width):
                    gx, xx = zero, tiny
                    for b in range(n_bands):
                        x = m[b * width + z] * w[b * width + z]
                        gx += f[b] * x
                        xx += m[b * width + z] * x
                    gx = max(gx, zero)
                    c[z] = s[z] - gx * (gx / xx)

    @compiled_fast
    def exact(
        f: Float32, fluxes: Float32, weight: Float32, norm: Float32, span: Int64, limit: Any, chi2: Float32
    ) -> None:
        """Write chi2 between two redshifts anew, as the sum of squares; not of templates beyond the limit."""
        for k in range(span[0] // width, (span[1] - 1) // width + 1):
            first, last = max(span[0] - k * width, 0), min(span[1] - k * width, width)
            w, s = weight[k][first:], norm[k * width + first :]
            for t in range(fluxes.shape[0]):
                m, c = fluxes[t, k][first:], chi2[t, k][first:last]
                if _least(c) > limit:
                    continue
                for z in range(c.size):
                    gx, xx, total = zero, tiny, s[z]
                    for b in range(n_bands):
                        x = m[b * width + z] * w[b * width + z]
                        gx += f[b] * x
                        xx += m[b * width + z] * x
                    amplitude = max(gx, zero) / xx
                    for b in range(n_bands):
                        left = f[b] - amplitude * m[b * width + z]
                        total += left * left * w[b * width + z]
                    c[z] = total

    return compiled_fast(kernel)


@compiled_fast
def _least(values: Float32) -> Any:
    """Return the smallest; unlike the method of arrays it is a loop for SIMD."""
    least = values[0]
    for k in range(values.size):
        least = min(least, values[k])
    return least


@compiled_fast
def _near(chi2: Float32, margin: Any, best: Float32, spans: Int64) -> Any:
    """Write where any template comes within a margin of the best one; return how many spans and the best.

    `best` gets the least chi2 of each redshift.
    """
    best[:] = chi2[0]
    for t in range(1, chi2.shape[0]):
        c = chi2[t]
        for z in range(best.size):
            best[z] = min(best[z], c[z])
    bottom = _least(best)
    n, inside = 0, False
    for start in range(0, best.size, LANES):
        near = _least(best[start : start + LANES]) - bottom <= margin
        if near and not inside:
            spans[n, 0] = start
            n += 1
        if near:
            spans[n - 1, 1] = start + LANES
        inside = near
    return n, bottom


@compiled_fast
def _weigh(
    flux: Float32,
    variance: Float32,
    error2: Float32,
    has_norm: Any,
    weight: Float32,
    norm: Float32,
    signal: Float32,
) -> Any:
    """Write 1 / sigma^2 of all bands by blocks of redshifts, 0 if not observed, and two numbers a redshift.

    They are the norm, left alone where there is none, and, added to it, the sum of (f / sigma)^2, whose
    greatest is returned.
    """
    n_blocks, n_bands, width = error2.shape
    signal[:] = 0
    for k in range(n_blocks):
        total = signal[k * width : (k + 1) * width]
        for b in range(n_bands):
            row, e2 = weight[k, b * width : (b + 1) * width], error2[k, b]
            v, f2 = variance[b], flux[b] * flux[b]
            if v > 0:
                for z in range(width):
                    row[z] = np.float32(1) / (v + e2[z] * f2)
                    total[z] += f2 * row[z]
            else:
                row[:] = 0
    loudest = signal.max()
    if has_norm:
        _norms(weight, norm)
        signal += norm
    return loudest


@compiled_fast
def _varies(error2: Float32) -> Any:
    """Return whether the template error of any band depends on redshift."""
    for k in range(error2.shape[0]):
        for b in range(error2.shape[1]):
            for z in range(error2.shape[2]):
                if error2[k, b, z] != error2[0, b, 0]:
                    return True
    return False


@compiled_fast
def _norms(weight: Float32, norm: Float32) -> None:
    """Write -2 ln of the product of 1 / sigma, relative to that of the first redshift."""
    width = norm.size // weight.shape[0]
    norm[:] = 0
    for k in range(weight.shape[0]):
        part = norm[k * width : (k + 1) * width]
        for start in range(0, weight.shape[1], width):
            row, first = weight[k, start : start + width], weight[0, start]
            if first > 0:
                _add_log(first, row, part)


@compiled_fast
def _add_log(first: Any, row: Float32, norm: Float32) -> None:
    """Add ln(first / row)."""
    for z in range(row.size):
        # log2 is the exponent and a polynomial of the mantissa (error 3e-6): a loop for SIMD.
        bits = np.float32(first / row[z]).view(np.int32)
        whole = np.float32((bits >> np.int32(23)) - np.int32(127))
        part = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32) - np.float32(1)
        power = np.float32(-2.5792345e-2)
        power = power * part + np.float32(1.2147295e-1)
        power = power * part + np.float32(-2.7734165e-1)
        power = power * part + np.float32(4.5715812e-1)
        power = power * part + np.float32(-7.1803359e-1)
        power = power * part + np.float32(1.4425348)
        norm[z] += (whole + power * part) * _LN2


@compiled_fast
def _density(
    chi2: Float32,
    bottom: Any,
    spans: Int64,
    prior: Float32,
    prior_class: Int64,
    row: Float32,
) -> Any:
    """Write the sum over templates of exp(-chi2 / 2) times the prior, scaled to 1; return its mode."""
    row[:] = 0
    total, mode = np.float32(0), spans[0, 0]
    for span in spans:
        part = row[span[0] : span[1]]
        for t in range(chi2.shape[0]):
            _add(chi2[t][span[0] : span[1]], bottom, prior[prior_class[t]][span[0] : span[1]], part)
        for z in range(part.size):
            total += part[z]
        for z in range(part.size):
            mode = span[0] + z if part[z] > row[mode] else mode
    for z in range(row.size):
        row[z] /= total
    return mode


@compiled_fast
def _add(chi2: Float32, bottom: Any, prior: Float32, row: Float32) -> None:
    """Add exp(-(chi2 - bottom) / 2) times the prior."""
    for z in range(row.size):
        # 2^y = 2^floor(y) times a polynomial of the rest (relative error 2e-7). Nothing gets smaller than
        # 2^-70: numbers below 1e-38 would cost a hundred cycles each.
        y = max((chi2[z] - bottom) * _HALF_LOG2E, np.float32(-70))
        whole = np.floor(y)
        part = y - whole
        power = np.float32(1.8775767e-3)
        power = power * part + np.float32(8.9893397e-3)
        power = power * part + np.float32(5.5826318e-2)
        power = power * part + np.float32(2.4015361e-1)
        power = power * part + np.float32(6.9315308e-1)
        power = power * part + np.float32(9.9999994e-1)
        scale = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
        row[z] += power * scale * prior[z]


@compiled_fast
def _likeliest(chi2: Float32, bottom: Any, prior: Float32, prior_class: Int64) -> Any:
    """Return the template with the largest exp(-chi2 / 2) times prior at one redshift."""
    largest, chosen = np.float32(-1), 0
    for t in range(chi2.shape[0]):
        share = np.exp((bottom - chi2[t]) * np.float32(0.5)) * prior[prior_class[t]]
        if share > largest:
            largest, chosen = share, t
    return chosen


@compiled_fast
def _numbers(flux: Float32, model: Float32, weight: Float32, place: Any, out: Float32) -> None:
    """Write chi2 and amplitude of one model at one place of its block of redshifts."""
    gx, xx, total = np.float32(0), np.float32(1e-30), np.float32(0)
    m, w = model[place :: model.size // flux.size], weight[place :: model.size // flux.size]
    for b in range(flux.size):
        gx += flux[b] * m[b] * w[b]
        xx += m[b] * m[b] * w[b]
    amplitude = max(gx, np.float32(0)) / xx
    for b in range(flux.size):
        left = flux[b] - amplitude * m[b]
        total += left * left * w[b]
    out[0] = total
    out[1] = amplitude
