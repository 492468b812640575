"""The compiled heart of template fitting: chi2 of every template at every redshift, summed to densities.

One pass over a galaxy at a time. Fluxes g = f / sigma and models x = m / sigma give the amplitude
A = max(g.x, 0) / x.x and chi2 = |g - A x|^2, in that form, which keeps single precision exact at any
signal-to-noise; then exp(-chi2 / 2) times the prior is added up over templates. A galaxy's chi2 stay in the
cache; there is no array of galaxies x redshifts x templates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.photoz.compiled import compiled_fast

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

#: Models that are worse than the best one by more than this in chi2 add nothing.
_DEEPEST = 80.0
#: Redshifts that a compiled loop runs over, at most, and what their number is rounded up to: SIMD lanes.
_LONGEST_LOOP, _LANES = 512, 16
_LOG2E = 1.4426950408889634


@dataclass(frozen=True)
class PackedModels:
    """Models as the kernel reads them.

    Parameters
    ----------
    flux : (templates, blocks, bands * width) float32
        Redshifts run fastest; beyond the last one it is repeated.
    error2 : (blocks, bands, width) float32
        Square of the relative template error.
    prior_class : (templates,) int64
        Row of the prior of each template.
    n_z : int
    """

    flux: Float32
    error2: Float32
    prior_class: Int64
    n_z: int

    @property
    def n_bands(self) -> int:
        """Number of bands."""
        return self.error2.shape[1]

    @property
    def width(self) -> int:
        """Redshifts of a block."""
        return self.error2.shape[2]


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
    best_chi2 : (n,) float32
        The least of all.
    """

    density: Float32
    template: Int64
    chi2: Float32
    amplitude: Float32
    best_chi2: Float32


def pack(
    flux: NDArray[np.floating], template_error: NDArray[np.floating], prior_class: Int64
) -> PackedModels:
    """Return models as the kernel reads them.

    Parameters
    ----------
    flux : (templates, redshifts, bands) array
    template_error : (redshifts, bands) array
        Error of any template relative to the flux it is compared with.
    prior_class : (templates,) int64
    """
    n_z = flux.shape[1]
    blocks = -(-n_z // _LONGEST_LOOP)
    width = -(-n_z // (blocks * _LANES)) * _LANES
    at = np.minimum(np.arange(blocks * width), n_z - 1)
    rows = np.asarray(flux, dtype=np.float32)[:, at].transpose(0, 2, 1)
    split = rows.reshape(len(flux), -1, blocks, width).transpose(0, 2, 1, 3)
    errors = np.asarray(template_error, dtype=np.float32)[at].T.reshape(-1, blocks, width).transpose(1, 0, 2)
    return PackedModels(
        np.ascontiguousarray(split.reshape(len(flux), blocks, -1)),
        np.ascontiguousarray(errors**2),
        np.ascontiguousarray(prior_class, dtype=np.int64),
        n_z,
    )


def fit(
    models: PackedModels, flux: NDArray[Any], variance: NDArray[Any], prior: Float32, prior_row: Int64
) -> Fits:
    """Return densities and best templates of galaxies.

    Equivalent to, for each galaxy: chi2[t, z] = min over A >= 0 of
    sum_b (f_b - A m_tzb)^2 / (variance_b + error_zb^2 f_b^2), and
    density[z] ~ sum_t exp(-chi2[t, z] / 2) prior[row, class_t, z].

    Parameters
    ----------
    models : PackedModels
    flux, variance : (n, bands) array
        Fluxes and squares of their errors in one unit; a variance of 0 or NaN is a band not observed.
    prior : (rows, classes, n_z) float32
        Above 0.
    prior_row : (n,) int64
        Row of `prior` for each galaxy.
    """
    n = len(flux)
    usable = np.isfinite(flux) & np.isfinite(variance) & (variance > 0)
    # Fluxes in units of the largest keep squares within single precision.
    largest = np.where(usable, np.sqrt(np.where(usable, flux * flux + variance, 0.0)), 0.0).max(axis=1)
    unit = np.where(largest > 0, largest, 1.0)[:, np.newaxis]
    value = np.where(usable, flux / unit, 0.0).astype(np.float32)
    spread = np.where(usable, variance / unit**2, 0.0).astype(np.float32)
    padded = models.error2.shape[0] * models.width
    weights = np.zeros((*prior.shape[:2], padded), dtype=np.float32)
    weights[..., : models.n_z] = prior
    density = np.empty((n, padded), dtype=np.float32)
    template = np.empty(n, dtype=np.int64)
    numbers = np.empty((n, 3), dtype=np.float32)
    kernel = _kernel(models.n_bands, models.width)
    kernel(
        value, spread, models.flux, models.error2, models.prior_class, weights,
        np.ascontiguousarray(prior_row, dtype=np.int64), density, template, numbers,
    )  # fmt: skip
    numbers[:, 1] *= unit[:, 0]
    blind = ~usable.any(axis=1)
    density[blind], numbers[blind], template[blind] = np.nan, np.nan, -1
    chi2, amplitude, best = numbers.T.copy()
    return Fits(density[:, : models.n_z], template, chi2, amplitude, best)


@lru_cache(maxsize=16)
def _kernel(n_bands: int, width: int) -> Callable[..., None]:
    """Return the kernel for so many bands and redshifts: constants let loops over bands unroll."""
    half_log2e, deepest = np.float32(-0.5 * _LOG2E), np.float32(_DEEPEST)
    one, zero = np.float32(1), np.float32(0)

    def kernel(
        flux: Float32, variance: Float32, models: Float32, error2: Float32, prior_class: Int64,
        prior: Float32, prior_row: Int64, density: Float32, template: Int64, numbers: Float32,
    ) -> None:  # fmt: skip
        n_templates, n_blocks = models.shape[0], models.shape[1]
        chi2 = np.empty((n_templates, n_blocks, width), np.float32)
        row_of = chi2.reshape(n_templates, n_blocks * width)
        least = np.empty(n_templates, np.float32)
        least_bits = least.view(np.int32)
        seen = np.empty((n_blocks, 2 * n_bands * width), np.float32)
        for galaxy in range(flux.shape[0]):
            for k in range(n_blocks):
                for b in range(n_bands):
                    weight = seen[k, b * width : (b + 1) * width]
                    scaled = seen[k, (n_bands + b) * width : (n_bands + b + 1) * width]
                    f, v, e2 = flux[galaxy, b], variance[galaxy, b], error2[k, b]
                    if v > zero:
                        for z in range(width):
                            weight[z] = one / np.sqrt(v + e2[z] * f * f)
                            scaled[z] = f * weight[z]
                    else:
                        weight[:] = zero
                        scaled[:] = zero
            best = np.int32(2147483647)
            for t in range(n_templates):
                lowest = np.int32(2147483647)
                for k in range(n_blocks):
                    m, s, c = models[t, k], seen[k], chi2[t, k]
                    for z in range(width):
                        gx, xx = zero, np.float32(1e-30)
                        for b in range(n_bands):
                            x = m[b * width + z] * s[b * width + z]
                            gx += s[(n_bands + b) * width + z] * x
                            xx += x * x
                        amplitude = max(gx, zero) / xx
                        total = zero
                        for b in range(n_bands):
                            left = s[(n_bands + b) * width + z] - amplitude * (
                                m[b * width + z] * s[b * width + z]
                            )
                            total += left * left
                        c[z] = total
                    # Bits of floats that are not negative order as integers do, and integers have SIMD minima.
                    bits = c.view(np.int32)
                    for z in range(width):
                        lowest = bits[z] if bits[z] < lowest else lowest
                least_bits[t] = lowest
                best = min(best, lowest)
            bottom = least[0]
            for t in range(n_templates):
                bottom = min(bottom, least[t])
            row = density[galaxy]
            row[:] = zero
            for t in range(n_templates):
                if least[t] - bottom > deepest:
                    continue
                q, c = prior[prior_row[galaxy], prior_class[t]], row_of[t]
                for z in range(row.shape[0]):
                    # 2^y = 2^floor(y) times a polynomial of the rest (relative error 2e-7).
                    y = max((c[z] - bottom) * half_log2e, np.float32(-120))
                    whole = np.floor(y)
                    part = y - whole
                    power = np.float32(1.8775767e-3)
                    power = power * part + np.float32(8.9893397e-3)
                    power = power * part + np.float32(5.5826318e-2)
                    power = power * part + np.float32(2.4015361e-1)
                    power = power * part + np.float32(6.9315308e-1)
                    power = power * part + np.float32(9.9999994e-1)
                    scale = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
                    row[z] += power * scale * q[z]
            sum_, mode = zero, 0
            for z in range(row.shape[0]):
                sum_ += row[z]
            for z in range(row.shape[0]):
                mode = z if row[z] > row[mode] else mode
            for z in range(row.shape[0]):
                row[z] *= one / sum_
            likeliest, chosen = np.float32(-1), 0
            for t in range(n_templates):
                share = np.exp((row_of[t, mode] - bottom) * np.float32(-0.5))
                share *= prior[prior_row[galaxy], prior_class[t], mode]
                if share > likeliest:
                    likeliest, chosen = share, t
            template[galaxy] = chosen
            k, z = mode // width, mode % width
            gx, xx = zero, np.float32(1e-30)
            for b in range(n_bands):
                x = models[chosen, k, b * width + z] * seen[k, b * width + z]
                gx += seen[k, (n_bands + b) * width + z] * x
                xx += x * x
            numbers[galaxy, 0] = row_of[chosen, mode]
            numbers[galaxy, 1] = max(gx, zero) / xx
            numbers[galaxy, 2] = bottom

    return compiled_fast(kernel)
