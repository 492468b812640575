"""Marks on images: which way is north, and how long is an arcminute."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from matplotlib import patheffects
from matplotlib.axes import Axes
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
_LENGTHS_ARCSEC = np.array([1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200], dtype=np.float64)


def sky_directions(wcs: WCS) -> tuple[Float64, Float64]:
    """Return unit vectors (x, y) in pixels towards north and east at the reference position of a WCS."""
    ra, dec = (float(value) for value in wcs.wcs.crval[:2])
    step = 1.0 / 3600.0
    here = np.array(wcs.wcs_world2pix(ra, dec, 0), dtype=np.float64)
    north = np.array(wcs.wcs_world2pix(ra, dec + step, 0), dtype=np.float64) - here
    east = np.array(wcs.wcs_world2pix(ra + step / np.cos(np.radians(dec)), dec, 0), dtype=np.float64) - here
    return north / np.linalg.norm(north), east / np.linalg.norm(east)


def add_compass(axes: Axes, wcs: WCS, shape: tuple[int, ...], colour: str) -> None:
    """Draw arrows to north and east in the upper right corner of an image of shape (ny, nx)."""
    ny, nx = shape[:2]
    length = 0.07 * min(ny, nx)
    arrows = dict(zip("NE", sky_directions(wcs), strict=True))
    # The corner where the arrows meet is placed so that both end inside the picture.
    reach = np.array([[0.0, 0.0], *(1.6 * length * arrow for arrow in arrows.values())])
    margin = 0.04 * min(ny, nx)
    corner = np.array([nx, ny]) - margin - reach.max(axis=0)
    for name, arrow in arrows.items():
        tip = corner + length * arrow
        axes.annotate(
            "",
            tip,
            corner,
            arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.3, "shrinkA": 0, "shrinkB": 0},
        )
        _text(axes, corner + 1.35 * length * arrow, name, colour)


def add_scale_bar(axes: Axes, pixel_arcsec: float, shape: tuple[int, ...], colour: str) -> None:
    """Draw a bar of a round length, about a fifth of the width, in the lower left corner."""
    ny, nx = shape[:2]
    length_arcsec = float(
        _LENGTHS_ARCSEC[np.argmin(np.abs(np.log(_LENGTHS_ARCSEC / (0.2 * nx * pixel_arcsec))))]
    )
    width = length_arcsec / pixel_arcsec
    x, y = 0.04 * min(ny, nx), 0.05 * min(ny, nx)
    (line,) = axes.plot([x, x + width], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    line.set_path_effects(_outline(colour))
    label = f"{length_arcsec:.0f}″" if length_arcsec < 60 else f"{length_arcsec / 60:.0f}′"
    _text(axes, np.array([x + 0.5 * width, y + 0.035 * min(ny, nx)]), label, colour)
    axes.set_xlim(-0.5, nx - 0.5)
    axes.set_ylim(-0.5, ny - 0.5)


def _text(axes: Axes, at: Float64, text: str, colour: str) -> None:
    label = axes.text(
        at[0], at[1], text, color=colour, fontsize=10.5, ha="center", va="center", fontweight="bold"
    )
    label.set_path_effects(_outline(colour))


def _outline(colour: str) -> list[patheffects.AbstractPathEffect]:
    return [
        patheffects.withStroke(linewidth=2.5, foreground="black" if colour == "white" else "white", alpha=0.7)
    ]
