"""Overlapping sources: which ones, how their fits depend on each other, and the coupled solution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix, csr_matrix
from scipy.spatial import cKDTree

from astrolake.photometry.psf_model import Float64, Index

#: Unknowns of a source: its flux, and flux times shift along x and y.
N_UNKNOWNS = 3
#: A source's error allows for at most so many neighbours, those that overlap most.
_NEIGHBOURS = 5
_CG_ROUNDS, _CG_TOLERANCE = 40, 1e-3


@dataclass(frozen=True, eq=False)
class Links:
    """Pairs of sources whose pixels overlap.

    Parameters
    ----------
    first, second : (pairs,) int
        Sources, first < second, in order of both.
    n : int
        Number of sources.
    """

    first: Index
    second: Index
    n: int

    @classmethod
    def within(cls, x: Float64, y: Float64, radius_px: float) -> Links:
        """Return all pairs of positions nearer than a radius."""
        if len(x) < 2:
            return cls(np.zeros(0, np.intp), np.zeros(0, np.intp), len(x))
        pairs = cKDTree(np.column_stack([x, y])).query_pairs(radius_px, output_type="ndarray")
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.intp)
        return cls(pairs[:, 0], pairs[:, 1], len(x))

    @property
    def linked(self) -> NDArray[np.bool_]:
        """Whether a source has any neighbour."""
        out = np.zeros(self.n, dtype=bool)
        out[self.first] = out[self.second] = True
        return out

    def spread(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the chosen sources and their neighbours."""
        out = chosen.copy()
        out[self.second[chosen[self.first]]] = True
        out[self.first[chosen[self.second]]] = True
        return out


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """The normal equations of a simultaneous fit of all sources of an image.

    Parameters
    ----------
    diagonal : (n, 3, 3) float64
        Block of each source.
    blocks : (pairs, 3, 3) float64
        Block of each linked pair, rows for the first source.
    links : Links
    """

    diagonal: Float64
    blocks: Float64
    links: Links

    def solve(self, gradient: Float64) -> Float64:
        """Return the step (n, 3) of all sources together, by preconditioned conjugate gradients.

        Sources without neighbours are solved exactly by the preconditioner.
        """
        inverse = inverse_3x3(self.diagonal)
        step: Float64 = np.einsum("nij,nj->ni", inverse, gradient)
        linked = np.flatnonzero(self.links.linked)
        if len(linked):
            step[linked] = self._solve_linked(linked, inverse[linked], gradient[linked])
        return step

    def _solve_linked(self, linked: Index, inverse: Float64, gradient: Float64) -> Float64:
        place = np.zeros(self.links.n, np.intp)
        place[linked] = np.arange(len(linked))
        matrix = self._matrix(place[self.links.first], place[self.links.second], self.diagonal[linked])
        solution = np.zeros(gradient.size)
        residual = gradient.ravel().copy()
        target = _CG_TOLERANCE**2 * np.dot(residual, _precondition(inverse, residual))
        direction = prepared = _precondition(inverse, residual)
        size = float(np.dot(residual, prepared))
        for _ in range(_CG_ROUNDS):
            if size <= target:
                break
            image = matrix @ direction
            curvature = float(np.dot(direction, image))
            if curvature <= 0:  # rounding has made nearly identical sources indefinite
                break
            length = size / curvature
            solution += length * direction
            residual -= length * image
            prepared = _precondition(inverse, residual)
            size, previous = float(np.dot(residual, prepared)), size
            direction = prepared + (size / previous) * direction
        return solution.reshape(gradient.shape)

    def _matrix(self, first: Index, second: Index, diagonal: Float64) -> csr_matrix:
        n = len(diagonal)
        rows = np.concatenate([np.arange(n), first, second])
        columns = np.concatenate([np.arange(n), second, first])
        data = np.concatenate([diagonal, self.blocks, self.blocks.swapaxes(1, 2)])
        order = np.lexsort((columns, rows))
        starts = np.searchsorted(rows[order], np.arange(n + 1))
        return bsr_matrix((data[order], columns[order], starts), shape=(3 * n, 3 * n)).tocsr()

    def covariance(self, noise: NormalEquations) -> Float64:
        """Return the covariance (n, 3, 3) of the solution for each source, its neighbours left free.

        H^-1 N H^-1 with the Hessian H and the covariance N of the gradient. Of the neighbours the five that
        overlap most count, and their overlaps with each other.

        Parameters
        ----------
        noise : NormalEquations
            N, of the same links.
        """
        inverse = inverse_3x3(self.diagonal)
        out = inverse @ noise.diagonal @ inverse
        linked = np.flatnonzero(self.links.linked)
        if len(linked):
            neighbour, pair = self._strongest(linked)
            members = np.concatenate([linked[:, None], neighbour], axis=1)
            inverse = _safe_inverse(self._local(members, pair, 1.0))[:, :3]
            free = inverse @ noise._local(members, pair, 0.0) @ inverse.swapaxes(1, 2)
            # What rounding does to nearly identical sources must not make them better than alone.
            lost = (np.einsum("nii->ni", free) < np.einsum("nii->ni", out[linked])).any(axis=1)
            out[linked] = np.where(lost[:, None, None], np.maximum(free, out[linked]), free)
        return out

    def _local(self, members: Index, pair: Index, missing: float) -> Float64:
        """Return the equations (n, 3 m, 3 m) of groups of m sources; -1 stands for no source."""
        n, m = members.shape
        out = np.zeros((n, m, 3, m, 3))
        for a in range(m):
            present = (members[:, a] >= 0)[:, None, None]
            out[:, a, :, a, :] = np.where(present, self.diagonal[members[:, a]], missing * np.eye(3))
            for b in range(a + 1, m):
                block = self._block(members[:, a], members[:, b], pair[:, b - 1] if a == 0 else None)
                out[:, a, :, b, :] = block
                out[:, b, :, a, :] = block.swapaxes(1, 2)
        return out.reshape(n, 3 * m, 3 * m)

    def _strongest(self, linked: Index) -> tuple[Index, Index]:
        """Return, for each linked source, its strongest neighbours and the pairs they form, -1 for none."""
        links = self.links
        share = self.blocks[:, 0, 0] ** 2 / (
            self.diagonal[links.first, 0, 0] * self.diagonal[links.second, 0, 0]
        )
        source = np.concatenate([links.first, links.second])
        other = np.concatenate([links.second, links.first])
        number = np.tile(np.arange(len(links.first)), 2)
        order = np.lexsort((other, -np.tile(share, 2), source))
        source, other, number = source[order], other[order], number[order]
        starts = np.searchsorted(source, linked)
        rank = np.arange(len(source)) - np.searchsorted(source, source)
        count = min(_NEIGHBOURS, int(rank.max()) + 1)
        index = starts[:, None] + np.arange(count)
        index = np.where(
            (index < len(source)) & (source[index.clip(max=len(source) - 1)] == linked[:, None]), index, -1
        )
        return np.where(index >= 0, other[index], -1), np.where(index >= 0, number[index], -1)

    def _block(self, a: Index, b: Index, pair: Index | None) -> Float64:
        """Return the blocks of pairs of sources, zeros where they are no pair."""
        if pair is None:
            keys = self.links.first * self.links.n + self.links.second
            wanted = np.minimum(a, b) * self.links.n + np.maximum(a, b)
            pair = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
            pair = np.where((keys[pair] == wanted) & (a >= 0) & (b >= 0), pair, -1)
        blocks = np.where((a < b)[:, None, None], self.blocks[pair], self.blocks[pair].swapaxes(1, 2))
        return np.where((pair >= 0)[:, None, None], blocks, 0.0)


def inverse_3x3(matrices: Float64) -> Float64:
    """Return the inverses of symmetric 3 x 3 matrices (n, 3, 3), several times faster than LAPACK."""
    a, b, c = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 0, 2]
    d, e, f = matrices[:, 1, 1], matrices[:, 1, 2], matrices[:, 2, 2]
    out = np.empty_like(matrices)
    out[:, 0, 0] = d * f - e * e
    out[:, 0, 1] = out[:, 1, 0] = c * e - b * f
    out[:, 0, 2] = out[:, 2, 0] = b * e - c * d
    out[:, 1, 1] = a * f - c * c
    out[:, 1, 2] = out[:, 2, 1] = b * c - a * e
    out[:, 2, 2] = a * d - b * b
    determinant = a * out[:, 0, 0] + b * out[:, 0, 1] + c * out[:, 0, 2]
    out /= np.where(determinant == 0, np.finfo(float).tiny, determinant)[:, None, None]
    return out


def _precondition(inverse: Float64, vector: Float64) -> Float64:
    return np.asarray(np.einsum("nij,nj->ni", inverse, vector.reshape(-1, 3)).ravel())


def _safe_inverse(matrices: Float64) -> Float64:
    """Return the inverses of symmetric, positive matrices, scaled; nearly singular ones are bounded."""
    scale = np.sqrt(np.einsum("nii->ni", matrices)).clip(min=np.finfo(float).tiny)
    scaled = matrices / scale[:, :, None] / scale[:, None, :]
    scaled += 1e-9 * np.eye(matrices.shape[1])
    return np.asarray(np.linalg.inv(scaled) / scale[:, :, None] / scale[:, None, :])
