"""Which of several overlapping images owns a sky position, so that each source counts once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from astrolake.sky.separation import Bool, Float64

SkyToPixel = Callable[[Float64, Float64], tuple[Float64, Float64]]


@dataclass(frozen=True)
class Footprint:
    """The pixel grid of an image on the sky.

    Parameters
    ----------
    image_id : int
        Unique among the images compared.
    naxis1, naxis2 : int
        Number of columns and rows.
    pixel_scale_arcsec : float
        Square root of the pixel area.
    sky_to_pixel : callable
        (ra_deg, dec_deg) -> (x_px, y_px), (N,) float64 each, the first pixel's centre at 0;
        NaN where the projection has no pixel for the position.
    """

    image_id: int
    naxis1: int
    naxis2: int
    pixel_scale_arcsec: float
    sky_to_pixel: SkyToPixel


def depth_arcsec(footprint: Footprint, ra_deg: Float64, dec_deg: Float64) -> Float64:
    """Return how far inside an image each position lies: its distance to the nearest edge.

    Parameters
    ----------
    footprint : Footprint
    ra_deg, dec_deg : (N,) float64

    Returns
    -------
    (N,) float64
        Arcsec, >= 0 inside, -inf outside. The pixel grid is half-open: -0.5 <= x < naxis1 - 0.5.
    """
    # Strided input takes another code path in numpy, which may differ in the last bit.
    x, y = footprint.sky_to_pixel(
        np.ascontiguousarray(ra_deg, dtype=np.float64), np.ascontiguousarray(dec_deg, dtype=np.float64)
    )
    low = np.minimum(x + 0.5, y + 0.5)
    high = np.minimum(footprint.naxis1 - 0.5 - x, footprint.naxis2 - 0.5 - y)
    inside = (low >= 0) & (high > 0)
    return np.where(inside, np.minimum(low, high) * footprint.pixel_scale_arcsec, -np.inf)


def owner_is_self(
    ra_deg: Float64,
    dec_deg: Float64,
    own: Footprint,
    others: Sequence[Footprint],
    cut_arcsec: Float64 | None = None,
) -> Bool:
    """Return whether `own` is the image that owns each position.

    The owner is the image in which the position lies deepest (`depth_arcsec`), the smaller
    image_id where two are equally deep. The rule depends on the position and the images alone,
    never on a measured pixel: every position that any image covers has exactly one owner.

    A source that the edge of `own` cuts has a centroid that is drawn inwards, so that two images
    which both cut it would both find it deeper inside themselves. Such a source belongs to another
    image where it is whole, that is where it lies at least as deep as it reaches. Where no image
    holds it whole, the smallest image_id of those that cover it decides.

    Parameters
    ----------
    ra_deg, dec_deg : (N,) float64
    own : Footprint
    others : sequence of Footprint
        The images of the same visit and band; `own` among them is passed over.
    cut_arcsec : (N,) float64, optional
        How far a source reaches from its centre, for those that the edge of `own` cuts; 0 for others.

    Returns
    -------
    (N,) bool
        False also where `own` does not cover the position, or the position is NaN.
    """
    own_depth = depth_arcsec(own, ra_deg, dec_deg)
    owner: Bool = own_depth > -np.inf
    extent = np.zeros(len(own_depth)) if cut_arcsec is None else np.asarray(cut_arcsec, dtype=np.float64)
    is_cut = extent > 0
    for other in others:
        if other.image_id == own.image_id:
            continue
        depth = depth_arcsec(other, ra_deg, dec_deg)
        wins_tie = own.image_id < other.image_id
        deeper = (own_depth >= depth) if wins_tie else (own_depth > depth)
        keeps = (depth < extent) if wins_tie else (depth == -np.inf)
        owner &= np.where(is_cut, keeps, deeper)
    return owner
