"""Square stamps of many sources taken from, and added to, the pixels of one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from astrolake.photometry.background import Sky
from astrolake.photometry.noise_correlation import NoiseCorrelation
from astrolake.photometry.psf_model import Float32, Float64, Index, PsfModel

#: Pixels of stamps in memory at a time: bounds the memory, not the result.
_CHUNK_PIXELS = 1 << 17
#: Light below this fraction of the noise of a pixel is not drawn.
_FAINT = 0.05


@dataclass(frozen=True, eq=False)
class Canvas:
    """An image, the variance of its pixels and a picture of its sources, with room for stamps on all sides.

    Pixels are in units of the noise, so that no unit of an image is too small for single precision.

    Parameters
    ----------
    image : (ny + 2 pad, nx + 2 pad) float32
        Without background.
    variance : same shape
        Without photon noise of the sources; infinite where a pixel must not be used, and in the margin.
    drawn : same shape
        Light of the sources drawn so far; `draw` adds to it in place.
    pad : int
        Width of the margin, px.
    unit : float
        The unit of the pixels, in units of the image.
    gain : float or None
        Electrons per unit.
    correlation : NoiseCorrelation or None
        How the noise of neighbouring pixels goes together.
    """

    image: Float32
    variance: Float32
    drawn: Float32
    pad: int
    unit: float
    gain: float | None
    correlation: NoiseCorrelation | None = None

    @classmethod
    def of_sky(cls, sky: Sky, gain: float | None, pad: int, saturation: float | None = None) -> Canvas:
        """Return the canvas of an image: bad pixels and those from the saturation level on are not used."""
        shape = tuple(n + 2 * pad for n in sky.residual.shape)
        inner = (slice(pad, -pad), slice(pad, -pad))
        image = np.zeros(shape, np.float32)
        unit = sky.global_rms
        image[inner] = sky.residual / np.float32(unit)
        variance = np.full(shape, np.inf, np.float32)
        variance[inner] = np.square(sky.noise / np.float32(unit))
        unusable = variance[inner] <= 0
        if sky.bad is not None:
            unusable |= sky.bad
        if saturation is not None:
            unusable |= sky.residual + np.asarray(sky.level) >= saturation
        variance[inner][unusable] = np.inf
        drawn = np.zeros(shape, np.float32)
        electrons = None if gain is None else gain * unit
        return cls(image, variance, drawn, pad, unit, electrons, sky.correlation)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the image without margin."""
        return self.image.shape[0] - 2 * self.pad, self.image.shape[1] - 2 * self.pad

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the image lies within the margin."""
        return (slice(self.pad, -self.pad), slice(self.pad, -self.pad))

    def typical_noise(self) -> float:
        """Return the median noise of the usable pixels; 1 when there are none."""
        values = self.variance[self.inner][::7, ::7]
        values = values[np.isfinite(values)]
        return float(np.sqrt(np.median(values))) if len(values) else 1.0

    def take(self, pixels: Float32, corner: tuple[Index, Index], size: int) -> Float32:
        """Return the stamps (n, size, size) whose first pixels are `corner` (column, row) of the image."""
        windows = sliding_window_view(pixels, (size, size))
        out: Float32 = windows[corner[1] + self.pad, corner[0] + self.pad]
        return out

    def draw(self, stamps: Float32, corner: tuple[Index, Index]) -> None:
        """Add stamps (n, size, size) to `drawn`, in the order of the sources."""
        size, width = stamps.shape[-1], self.drawn.shape[1]
        first = (corner[1] + self.pad) * width + corner[0] + self.pad
        offsets = np.arange(size)[:, None] * width + np.arange(size)
        index = first[:, None, None] + offsets
        np.add.at(self.drawn.reshape(-1), index.ravel(), stamps.ravel())


def corners(x: Float64, y: Float64, half: int) -> tuple[Index, Index]:
    """Return the first (column, row) of stamps of side 2 half + 1 around positions."""
    return np.rint(x).astype(np.intp) - half, np.rint(y).astype(np.intp) - half


def chunks(index: Index, size: int) -> Iterator[Index]:
    """Split indices of sources so that the stamps of a part are few enough."""
    step = max(16, _CHUNK_PIXELS // size**2)
    for i in range(0, len(index), step):
        yield index[i : i + step]


class Painter:
    """Draws sources on a canvas, each as far out as its light matters.

    Parameters
    ----------
    canvas : Canvas
    model : PsfModel
    fit_half : int
        Half the side of the smallest stamp.
    """

    def __init__(self, canvas: Canvas, model: PsfModel, fit_half: int) -> None:
        self.canvas, self.model = canvas, model
        # A star may leave the image by its largest shift, which is less than its FWHM.
        widest = min(int(model.radius_px), canvas.pad - int(np.ceil(model.fwhm_px)))
        middle = min(2 * fit_half, widest)
        self._halves = sorted({min(fit_half, widest), middle, widest})
        noise = canvas.typical_noise()
        self._limits = [_FAINT * noise / max(_edge(model, half), 1e-12) for half in self._halves[:-1]]

    def paint(self, x: Float64, y: Float64, flux: Float64, sign: float = 1.0) -> None:
        """Draw sources of shape (n,); with the sign -1, wipe them out."""
        tier = np.searchsorted(self._limits, np.abs(flux), side="right")
        for level, half in enumerate(self._halves):
            for part in chunks(np.flatnonzero((tier == level) & (flux != 0)), 2 * half + 1):
                corner = corners(x[part], y[part], half)
                stamps = self.model.stamps(x[part], y[part], corner, 2 * half + 1)
                self.canvas.draw(stamps * (sign * flux[part]).astype(np.float32)[:, None, None], corner)


def _edge(model: PsfModel, half: int) -> float:
    """Return the light of a star of unit flux in a pixel at the edge of a stamp."""
    centre = model.tables.shape[-1] // 2
    offset = min(half * model.oversampling, centre)
    table = model.tables[0]
    edges = (table[centre, centre + offset], table[centre, centre - offset])
    return float(np.max([*edges, table[centre + offset, centre], table[centre - offset, centre]]))
