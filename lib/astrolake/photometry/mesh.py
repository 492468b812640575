"""The background of a frame that is too large for maps of its size: meshes once, pixels where needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photometry.background import Image, Mask, Sky

Float64 = NDArray[np.float64]
#: Rows and columns of a cut: (top, bottom, left, right), half-open.
Box = tuple[int, int, int, int]
#: Pixels, bad pixels and, where it is given, the noise of each pixel.
Piece = tuple[Image, Mask | None, Image | None]
#: Cuts a box out of the frame.
Cut = Callable[[Box], Piece]

#: A mesh with fewer good pixels has no background of its own (SExtractor).
_GOOD_FRACTION = 0.5
_MIN_GOOD_PIXELS = 25
#: A level of the whole frame is taken from about this many pixels.
_MOST_PIXELS = 8_000_000
_NOISE_FLOOR = np.float32(0.01)


@dataclass(frozen=True)
class Spline:
    """A bicubic spline through the middles of meshes: values and second derivatives; (my, mx) each."""

    value: Float64
    along_x: Float64
    along_y: Float64
    along_both: Float64

    @classmethod
    def through(cls, nodes: Float64) -> Spline:
        """Return the spline through mesh values: its second derivatives, along each axis and both."""
        along_x = _second_derivative(nodes.T).T
        return cls(nodes, along_x, _second_derivative(nodes), _second_derivative(along_x))

    def evaluate(self, box: Box, mesh_px: int) -> Image:
        """Return the spline at the pixels of a box; the value of a pixel is the same in every box.

        Parameters
        ----------
        box : (top, bottom, left, right)
        mesh_px : int
            Size of a mesh, whose middle is a node.
        """
        top, bottom, left, right = box
        # SExtractor takes a row at its lower edge, a column in its middle.
        cell, factors = _factors(np.arange(top, bottom, dtype=np.float64), mesh_px, len(self.value))
        upper = np.minimum(cell + 1, len(self.value) - 1)
        value, bend = (
            sum(
                factor[:, None] * nodes[index]
                for factor, nodes, index in zip(
                    factors, (plain, plain, curved, curved), (cell, upper, cell, upper), strict=True
                )
            )
            for plain, curved in ((self.value, self.along_y), (self.along_x, self.along_both))
        )
        columns, weights = _factors(np.arange(left, right) + 0.5, mesh_px, self.value.shape[1])
        out = np.empty((bottom - top, right - left), np.float32)
        last = self.value.shape[1] - 1
        for node in np.unique(columns):
            first, end = np.searchsorted(columns, [node, node + 1])
            part, after = slice(first, end), min(node + 1, last)
            pixels = value[:, node, None] * weights[0][part] + value[:, after, None] * weights[1][part]
            pixels += bend[:, node, None] * weights[2][part]
            pixels += bend[:, after, None] * weights[3][part]
            out[:, part] = pixels
        return out


@dataclass(frozen=True)
class FrameSky:
    """Background and noise of a frame, and how to cut it.

    Parameters
    ----------
    cut : callable
    shape : (ny, nx)
    mesh_px : int
    level, rms : Spline
    global_level, global_rms : float
        Medians over the meshes.
    local_noise : bool
        Whether the noise of a pixel is that of the map at the pixel, where the frame gives no variance.
    """

    cut: Cut
    shape: tuple[int, int]
    mesh_px: int
    level: Spline
    rms: Spline
    global_level: float
    global_rms: float
    local_noise: bool

    def sky(self, box: Box) -> Sky:
        """Return a part of the frame without its background."""
        image, bad, noise = self.cut(box)
        given = noise is not None
        level = self.level.evaluate(box, self.mesh_px)
        if noise is None and self.local_noise:
            noise = self.rms.evaluate(box, self.mesh_px)
            np.maximum(noise, _NOISE_FLOOR * np.float32(self.global_rms), out=noise)
        residual = image - level
        if bad is not None:
            residual[bad] = 0
        whole = self.global_rms if noise is None else noise
        return Sky(residual, level, whole, bad, self.global_level, self.global_rms, given)


def frame_sky(
    cut: Cut, shape: tuple[int, int], mesh_px: int, filter_size: int, local_noise: bool
) -> FrameSky:
    """Map background and noise of a frame, one row of meshes in memory at a time.

    Equivalent to: `sep.Background` of the whole frame, within the rounding of 32-bit numbers.

    Parameters
    ----------
    cut : callable
        Cuts a box out of the frame.
    shape : (ny, nx)
    mesh_px, filter_size : int
        Size of a mesh, and of the median filter in meshes.
    local_noise : bool
        See `FrameSky`.

    Raises
    ------
    BadInput
        When too few pixels are good, or the frame has no noise.
    """
    ny, nx = shape
    n_rows, n_columns = -(-ny // mesh_px), -(-nx // mesh_px)
    level, rms = np.full((n_rows, n_columns), np.nan), np.full((n_rows, n_columns), np.nan)
    for row in range(n_rows):
        image, bad, _ = cut((row * mesh_px, min((row + 1) * mesh_px, ny), 0, nx))
        for column in range(n_columns):
            part = np.s_[:, column * mesh_px : (column + 1) * mesh_px]
            level[row, column], rms[row, column] = _mesh(image[part], None if bad is None else bad[part])
    if np.isnan(level).all():
        # Bad pixels all over: too few are good in any mesh, but together they have a level.
        level, rms = (np.full((1, 1), value) for value in _flat(cut, shape, mesh_px))
        local_noise = False
    if not np.nanmax(rms) > 0:
        raise BadInput(
            "the image has no noise: a constant image holds no sources, and constant fill values must be"
            " marked in the mask",
            "NoNoise",
        )
    level, rms = (_median_filter(_filled(nodes), filter_size) for nodes in (level, rms))
    noisy = rms[rms > 0]
    return FrameSky(
        cut,
        shape,
        mesh_px,
        Spline.through(level),
        Spline.through(rms),
        float(np.median(level)),
        float(np.median(noisy)),
        local_noise,
    )


def _flat(cut: Cut, shape: tuple[int, int], mesh_px: int) -> tuple[float, float]:
    """Return background and noise of all good pixels of a frame, or of every n-th of very many."""
    step = 1 + shape[0] * shape[1] // _MOST_PIXELS
    parts = []
    for top in range(0, shape[0], mesh_px):
        image, bad, _ = cut((top, min(top + mesh_px, shape[0]), 0, shape[1]))
        parts.append((image.ravel() if bad is None else image[~bad])[::step])
    pixels = np.concatenate(parts)
    if len(pixels) < _MIN_GOOD_PIXELS:
        raise BadInput(
            f"only {len(pixels)} pixels can be used: check the mask, or the image is empty", "NoGoodPixels"
        )
    return _mesh(pixels[np.newaxis], None)


def _mesh(image: Image, bad: Mask | None) -> tuple[float, float]:
    """Return background and noise of one mesh; NaN when too few of its pixels are good."""
    good = image.size if bad is None else image.size - int(np.count_nonzero(bad))
    if good < max(_GOOD_FRACTION * image.size, min(_MIN_GOOD_PIXELS, image.size)):
        return np.nan, np.nan
    mask = None if bad is None or good == image.size else np.ascontiguousarray(bad)
    model = sep.Background(
        np.ascontiguousarray(image), mask=mask, bw=image.shape[1], bh=image.shape[0], fw=1, fh=1
    )
    noise = float(model.globalrms)
    # SEP says 1 for a mesh without noise.
    return float(model.globalback), 0.0 if noise == 1.0 and not model.rms().any() else noise


def _filled(nodes: Float64) -> Float64:
    """Give meshes without a value the mean of the nearest ones that have one."""
    known = np.argwhere(np.isfinite(nodes))
    out = nodes.copy()
    for row, column in np.argwhere(np.isnan(nodes)):
        distance = ((known - [row, column]) ** 2).sum(axis=1)
        nearest = known[distance == distance.min()]
        out[row, column] = nodes[nearest[:, 0], nearest[:, 1]].mean()
    return out


def _median_filter(nodes: Float64, size: int) -> Float64:
    """Return the median of the meshes around each; near a border the window shrinks on both sides alike."""
    n_rows, n_columns = nodes.shape
    half_rows = np.minimum(size // 2, np.minimum(np.arange(n_rows), np.arange(n_rows)[::-1]))
    half_columns = np.minimum(size // 2, np.minimum(np.arange(n_columns), np.arange(n_columns)[::-1]))
    out = np.empty_like(nodes)
    for i, up in enumerate(half_rows):
        for j, side in enumerate(half_columns):
            out[i, j] = np.median(nodes[i - up : i + up + 1, j - side : j + side + 1])
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


def _factors(
    place: NDArray[np.floating], mesh_px: int, n_nodes: int
) -> tuple[NDArray[np.intp], list[Float64]]:
    """Return the node before each place, and the factors of both nodes' values and second derivatives."""
    position = place / mesh_px - 0.5
    cell = np.floor(position).astype(np.intp).clip(0, max(n_nodes - 2, 0))
    after = position - cell if n_nodes > 1 else np.zeros(len(place))
    before = 1.0 - after
    return cell, [before, after, (before**3 - before) / 6.0, (after**3 - after) / 6.0]
