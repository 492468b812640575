"""The background of a frame on a mesh: clipped modes of its meshes, and splines through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrolake.photometry.mesh_kernels import evaluate_spline, median_filter, mesh_row, subtract_splines

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Float64 = NDArray[np.float64]
#: Rows and columns of a cut: (top, bottom, left, right), half-open.
Box = tuple[int, int, int, int]
#: Node before each pixel of an axis, and the factors of both nodes' values and second derivatives.
Factors = tuple[NDArray[np.intp], Float64]

#: A mesh with fewer good pixels has no background of its own (SExtractor).
_GOOD_FRACTION = 0.5
MIN_GOOD_PIXELS = 25
NO_MASK: Mask = np.zeros((0, 0), dtype=bool)


@dataclass(frozen=True)
class Spline:
    """A bicubic spline through the middles of meshes.

    Parameters
    ----------
    nodes : (4, my, mx) float64
        Values, and second derivatives along x, along y and along both.
    """

    nodes: Float64

    @classmethod
    def through(cls, nodes: Float64) -> Spline:
        """Return the spline through mesh values: its second derivatives, along each axis and both."""
        along_x = _second_derivative(nodes.T).T
        return cls(np.stack([nodes, along_x, _second_derivative(nodes), _second_derivative(along_x)]))

    def evaluate(self, box: Box, mesh_px: int) -> Image:
        """Return the spline at the pixels of a box; the value of a pixel is the same in every box.

        Parameters
        ----------
        box : (top, bottom, left, right)
        mesh_px : int
            Size of a mesh, whose middle is a node.
        """
        out = np.empty((box[1] - box[0], box[3] - box[2]), np.float32)
        evaluate_spline(self.nodes, self._factors(box, mesh_px), out)
        return out

    def at(self, row: NDArray[np.intp], column: NDArray[np.intp], mesh_px: int) -> Image:
        """Return the spline at some pixels, as `evaluate` does."""
        lower, by_row = _factors(row.astype(np.float64), mesh_px, self.nodes.shape[1])
        left, by_column = _factors(column + 0.5, mesh_px, self.nodes.shape[2])
        upper = np.minimum(lower + 1, self.nodes.shape[1] - 1)
        right = np.minimum(left + 1, self.nodes.shape[2] - 1)
        plain, along_x, along_y, along_both = self.nodes
        total = np.zeros(row.shape)
        for k, (value, curved) in enumerate(((plain, along_y),) * 2 + ((along_x, along_both),) * 2):
            at = left if k % 2 == 0 else right
            terms = zip(by_row, (value, value, curved, curved), (lower, upper, lower, upper), strict=True)
            total += by_column[k] * sum(factor * nodes[i, at] for factor, nodes, i in terms)
        return total.astype(np.float32)

    def subtract(
        self, image: Image, bad: Mask | None, noise: Spline | None, floor: float, box: Box, mesh_px: int
    ) -> tuple[Image, Image | None]:
        """Subtract the spline from a part of a frame and evaluate that of the noise.

        Parameters
        ----------
        image : (ny, nx) float32
        bad : (ny, nx) bool, optional
            Where the difference is set to 0.
        noise : Spline, optional
        floor : float
            The least noise.
        box : (top, bottom, left, right)
            Where the part lies in the frame.
        mesh_px : int

        Returns
        -------
        (ny, nx) float32
            The difference, a new array.
        (ny, nx) float32 or None
            The noise, None without its spline.
        """
        residual = np.empty(image.shape, np.float32)
        sigma = np.empty((0, 0) if noise is None else image.shape, np.float32)
        subtract_splines(
            image,
            NO_MASK if bad is None else bad,
            self.nodes,
            self.nodes if noise is None else noise.nodes,
            self._factors(box, mesh_px),
            np.float32(floor),
            residual,
            sigma,
        )
        return residual, None if noise is None else sigma

    def _factors(self, box: Box, mesh_px: int) -> tuple[Factors, Factors]:
        top, bottom, left, right = box
        _, n_rows, n_columns = self.nodes.shape
        # SExtractor takes a row at its lower edge, a column in its middle.
        rows = _factors(np.arange(top, bottom, dtype=np.float64), mesh_px, n_rows)
        return rows, _factors(np.arange(left, right) + 0.5, mesh_px, n_columns)


def measure_meshes(image: Image, bad: Mask | None, mesh_px: int) -> tuple[Float64, Float64]:
    """Return background and noise of the meshes of a row, NaN where too few pixels are good.

    Parameters
    ----------
    image : (height, nx) float32
        All rows of these meshes.
    bad : (height, nx) bool, optional
    mesh_px : int
        Width of a mesh.
    """
    n_meshes = -(-image.shape[1] // mesh_px)
    width = np.minimum(mesh_px, image.shape[1] - mesh_px * np.arange(n_meshes))
    size = width * image.shape[0]
    least = np.maximum(np.ceil(_GOOD_FRACTION * size), np.minimum(MIN_GOOD_PIXELS, size)).astype(np.intp)
    level, noise = np.empty(n_meshes), np.empty(n_meshes)
    mesh_row(
        np.ascontiguousarray(image),
        NO_MASK if bad is None else np.ascontiguousarray(bad),
        mesh_px,
        least,
        level,
        noise,
    )
    return level, noise


def smooth_meshes(nodes: Float64, size: int) -> Float64:
    """Fill meshes without a value and replace each by the median of those around, (my, mx)."""
    out: Float64 = median_filter(_filled(nodes), size)
    return out


def _filled(nodes: Float64) -> Float64:
    """Give meshes without a value the mean of the nearest ones that have one."""
    known = np.argwhere(np.isfinite(nodes))
    out = nodes.copy()
    for row, column in np.argwhere(np.isnan(nodes)):
        distance = ((known - [row, column]) ** 2).sum(axis=1)
        nearest = known[distance == distance.min()]
        out[row, column] = nodes[nearest[:, 0], nearest[:, 1]].mean()
    return out


def _second_derivative(nodes: Float64) -> Float64:
    """Return the second derivatives along the first axis at nodes 1 apart, as SExtractor solves for them.

    Its back substitution takes the next node's solution after dividing it by 6, so that its curves bend a
    little less than natural splines. Ours do alike: a frame in parts has the background of the frame.
    """
    n = len(nodes)
    factor, known, out = np.zeros(n), np.zeros_like(nodes), np.zeros_like(nodes)
    for i in range(1, n - 1):
        factor[i] = -1.0 / (factor[i - 1] + 4.0)
        known[i] = factor[i] * (known[i - 1] - 6.0 * (nodes[i + 1] + nodes[i - 1] - 2.0 * nodes[i]))
    for i in range(n - 2, 0, -1):
        out[i] = factor[i] * out[i + 1] / 6.0 + known[i]
    return out


def _factors(place: NDArray[np.floating], mesh_px: int, n_nodes: int) -> Factors:
    position = place / mesh_px - 0.5
    cell = np.floor(position).astype(np.intp).clip(0, max(n_nodes - 2, 0))
    after = position - cell if n_nodes > 1 else np.zeros(place.shape)
    before = 1.0 - after
    return cell, np.stack([before, after, (before**3 - before) / 6.0, (after**3 - after) / 6.0])
