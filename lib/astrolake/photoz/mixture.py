"""Gaussian mixtures in ln(1 + z): their loss with its gradient, and their densities on a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrolake.photoz.compiled import compiled_fast
from astrolake.photoz.grid import RedshiftGrid

Float32 = NDArray[np.float32]

#: Bounds of ln sigma of a component, sigma in ln(1 + z).
LN_SIGMA_MIN, LN_SIGMA_MAX = np.float32(-5.5), np.float32(0.5)
_LN_ROOT_2PI = np.float32(0.9189385)
#: Components reach so many sigma; lighter ones than this are left out of densities.
_REACH, _LIGHTEST = np.float32(5.5), np.float32(1e-5)


@compiled_fast
def loss_and_gradient(output: Float32, target: Float32, weight: Float32, gradient: Float32) -> float:
    """Return the sum of weighted -ln p(target), and write its gradient by the network's output.

    Parameters
    ----------
    output : (n, 3 k) float32
        For each row k logits of the weights, k means and k ln sigma in ln(1 + z).
    target : (n,) float32
        ln(1 + z) of the truth.
    weight : (n,) float32
        Weights of the rows.
    gradient : (n, 3 k) float32
        Written: Bishop (1994, NCRG/94/004), eq. 32, 37 and 40.
    """
    k = output.shape[1] // 3
    loss = 0.0
    terms = np.empty(k, dtype=np.float32)
    for row in range(output.shape[0]):
        top, best = output[row, 0], np.float32(-3e38)
        for c in range(k):
            top = max(top, output[row, c])
        norm = np.float32(0)
        for c in range(k):
            norm += np.exp(output[row, c] - top)
            ln_sigma = min(max(output[row, 2 * k + c], LN_SIGMA_MIN), LN_SIGMA_MAX)
            u = (target[row] - output[row, k + c]) * np.exp(-ln_sigma)
            terms[c] = output[row, c] - top - ln_sigma - np.float32(0.5) * u * u
            best = max(best, terms[c])
        total = np.float32(0)
        for c in range(k):
            terms[c] = np.exp(terms[c] - best)
            total += terms[c]
        loss += weight[row] * (np.log(norm) - best - np.log(total) + _LN_ROOT_2PI)
        for c in range(k):
            share = terms[c] / total * weight[row]
            raw = output[row, 2 * k + c]
            inverse = np.exp(-min(max(raw, LN_SIGMA_MIN), LN_SIGMA_MAX))
            u = (target[row] - output[row, k + c]) * inverse
            gradient[row, c] = np.exp(output[row, c] - top) / norm * weight[row] - share
            gradient[row, k + c] = -share * u * inverse
            free = LN_SIGMA_MIN < raw < LN_SIGMA_MAX
            gradient[row, 2 * k + c] = share * (1 - u * u) if free else np.float32(0)
    return loss


def add_densities(output: Float32, grid: RedshiftGrid, density: Float32) -> None:
    """Add the densities per unit redshift of mixtures, (n, 3 k) as of `loss_and_gradient`, to (n, grid.n).

    Each is that of the mixture convolved with the width of a bin, and integrates to 1 on the grid.
    """
    ln_grid = np.log1p(grid.z).astype(np.float32)
    per_z = (1 / (1 + grid.z)).astype(np.float32)
    _add_densities(output, ln_grid, per_z, np.float32(grid.z_min), np.float32(grid.step), density)


@compiled_fast
def _add_densities(
    output: Float32, ln_grid: Float32, per_z: Float32, z_min: np.float32, step: np.float32, density: Float32
) -> None:
    k, n = output.shape[1] // 3, ln_grid.size
    line = np.empty(n, dtype=np.float32)
    one, none = np.float32(1), np.float32(0)
    for row in range(output.shape[0]):
        top = output[row, 0]
        for c in range(k):
            top = max(top, output[row, c])
        line[:] = none
        for c in range(k):
            weight = np.exp(output[row, c] - top)
            if weight < _LIGHTEST:
                continue
            mean = min(max(output[row, k + c], np.float32(-9)), np.float32(9))
            sigma = np.exp(min(max(output[row, 2 * k + c], LN_SIGMA_MIN), LN_SIGMA_MAX))
            width = step * np.exp(-max(mean, none))
            sigma = np.sqrt(sigma * sigma + width * width / np.float32(12))
            ratio = np.exp(_REACH * sigma)
            centre = np.exp(mean)
            first = min(max((centre / ratio - one - z_min) / step, none), np.float32(n))
            last = min(max((centre * ratio - one - z_min) / step + one, none), np.float32(n))
            reached = slice(int(first), int(last))
            _add_gaussian(line[reached], ln_grid[reached], mean, one / sigma, weight / sigma)
        total = none
        for g in range(n):
            line[g] *= per_z[g]
            total += line[g]
        if total > none:
            factor = one / (step * total)
            for g in range(n):
                density[row, g] += line[g] * factor
        else:
            # all of the mixture lies beyond an end of the grid
            density[row, 0 if output[row, k] < ln_grid[0] else n - 1] += one / step


@compiled_fast
def _add_gaussian(
    line: Float32, x: Float32, mean: np.float32, inverse: np.float32, scale: np.float32
) -> None:
    """Add scale exp(-u^2 / 2), u = (x - mean) inverse: as the 64th power of a short series, which is SIMD.

    Exact to 2e-5 within 5.5 sigma.
    """
    one, half, c3 = np.float32(1), np.float32(0.5), np.float32(1 / 6)
    c4, c5, part = np.float32(1 / 24), np.float32(1 / 120), np.float32(-0.5 / 64)
    for g in range(line.size):
        u = (x[g] - mean) * inverse
        y = u * u * part
        e = one + y * (one + y * (half + y * (c3 + y * (c4 + y * c5))))
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        line[g] += scale * e
