"""The stars of an image that its point-spread function is made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Columns, Float64
from astrolake.photometry.zero_point import SIGMA_PER_MAD

Index = NDArray[np.intp]

_UNFIT = (
    Flag.NEIGHBOURS
    | Flag.BLENDED
    | Flag.SATURATED
    | Flag.TRUNCATED
    | Flag.APERTURE_INCOMPLETE
    | Flag.SINGULAR
    | Flag.BAD_PIXELS
    | Flag.ISOPHOTAL_CENTROID
    | Flag.NO_KRON_RADIUS
)
#: Crowded images have few stars without neighbours: there a blend of unequal parts serves too.
_UNFIT_CROWDED = _UNFIT & ~(Flag.NEIGHBOURS | Flag.BLENDED)
#: Signal-to-noise asked of a star, lowered step by step until there are enough.
_SIGNAL_TO_NOISE = (100.0, 50.0, 25.0)
_ENOUGH, MIN_STARS = 20, 3
#: Stars used at most: the brightest of each part of the field.
_MAX_STARS = 150
_CELLS = 4
#: Half-width of the locus in ln(flux_radius): three times its scatter, within these bounds.
_LOCUS_BOUNDS = (0.04, 0.15)
#: A star whose peak is this much lower than the locus has it, for its flux, is saturated.
_FLAT_TOP = 0.80
#: Neighbours this near, in FWHM, with this fraction of the flux disqualify.
_ISOLATION_FWHM, _NEIGHBOUR_FLUX = 3.0, 0.03
#: FWHM in half-light radii of flux_auto, for a Moffat profile of beta 3.
_FWHM_PER_RADIUS = 1.8
_MIN_FWHM_PX, _MAX_FWHM_PX = 0.8, 60.0


@dataclass(frozen=True)
class PsfStars:
    """The stars, or what to do without.

    Parameters
    ----------
    index : (n,) int
        Rows of the extraction, in order; empty when there are too few stars.
    fwhm_px : float or None
        First guess of the FWHM; None when nothing tells it.
    locus : float
        Half-light radius of a star, px; NaN without stars.
    source : str
        Where fwhm_px is from: 'stars', 'header', 'moments' or 'none'.
    """

    index: Index
    fwhm_px: float | None
    locus: float
    source: str


def select_stars(columns: Columns, radius_fwhm: float = 5.0, header_fwhm_px: float | None = None) -> PsfStars:
    """Select bright, isolated, unflagged sources of the half-light radius that stars have.

    Stars all have one half-light radius, whatever their magnitude, and are the most compact sources: the
    locus is the mode of ln(flux_radius) of bright sources (Bertin 2011, ASP 442, 435, section 2.2).

    Parameters
    ----------
    columns : dict of (n,) arrays
        As `extract_frame` returns them: x, y, flux_auto, flux_auto_err, flux_radius, peak, fwhm, flags,
        edge_distance_px.
    radius_fwhm : float
        Distance of a star to the image border, in FWHM.
    header_fwhm_px : float, optional
        FWHM to assume when there are too few stars.

    Returns
    -------
    PsfStars
        With fewer than 3 stars the index is empty, and the width that of the header, else of the most
        compact sources.
    """
    signal = columns["flux_auto"] / np.maximum(columns["flux_auto_err"], np.finfo(float).tiny)
    radius = columns["flux_radius"]
    usable = np.isfinite(radius) & (radius > 0) & (columns["flux_auto"] > 0)
    for unfit in (_UNFIT, _UNFIT_CROWDED):
        clean = usable & (columns["flags"] & unfit == 0)
        stars, locus = _on_locus(columns, clean, signal, radius_fwhm)
        if len(stars) >= (_ENOUGH // 2 if unfit == _UNFIT else MIN_STARS):
            return PsfStars(_balanced(columns, stars, signal), _FWHM_PER_RADIUS * locus, locus, "stars")
    empty = np.zeros(0, np.intp)
    if header_fwhm_px is not None and _MIN_FWHM_PX <= header_fwhm_px <= _MAX_FWHM_PX:
        return PsfStars(empty, header_fwhm_px, np.nan, "header")
    width = _moments_width(columns, usable, signal)
    return PsfStars(empty, width, np.nan, "none" if width is None else "moments")


def _on_locus(
    columns: Columns, clean: NDArray[np.bool_], signal: Float64, radius_fwhm: float
) -> tuple[Index, float]:
    """Return the stars among clean sources and the half-light radius of the locus."""
    chosen, locus = np.zeros(0, np.intp), np.nan
    for limit in _SIGNAL_TO_NOISE:
        bright = np.flatnonzero(clean & (signal > limit))
        if len(bright) < MIN_STARS:
            continue
        size = np.log(columns["flux_radius"][bright])
        centre, width = _mode(size)
        chosen = bright[np.abs(size - centre) <= width]
        locus = float(np.exp(centre))
        fwhm = _FWHM_PER_RADIUS * locus
        chosen = chosen[columns["edge_distance_px"][chosen] > radius_fwhm * fwhm / 2]
        chosen = _isolated(columns, _peaked(columns, chosen), _ISOLATION_FWHM * fwhm)
        if len(chosen) >= _ENOUGH:
            break
    return chosen, locus


def _mode(values: Float64) -> tuple[float, float]:
    """Return the half-sample mode (Robertson & Cryer 1974, JASA 69, 1012) and the half-width of the locus."""
    part = np.sort(values)
    while len(part) > 3:
        half = (len(part) + 1) // 2
        start = int(np.argmin(part[half - 1 :] - part[: len(part) - half + 1]))
        part = part[start : start + half]
    centre = float(np.median(part))
    for _ in range(3):
        near = values[np.abs(values - centre) < _LOCUS_BOUNDS[1]]
        centre = float(np.median(near)) if len(near) else centre
    scatter = SIGMA_PER_MAD * float(np.median(np.abs(near - centre))) if len(near) else 0.0
    return centre, float(np.clip(3 * scatter, *_LOCUS_BOUNDS))


def _peaked(columns: Columns, stars: Index) -> Index:
    """Drop stars with a flat top: saturation that no header tells."""
    if len(stars) < MIN_STARS:
        return stars
    ratio = columns["peak"][stars] / columns["flux_auto"][stars]
    return stars[ratio > _FLAT_TOP * np.median(ratio)]


def _isolated(columns: Columns, stars: Index, reach_px: float) -> Index:
    """Drop stars with a neighbour that matters."""
    if len(stars) == 0:
        return stars
    flux = np.nan_to_num(columns["flux_auto"])
    position = np.column_stack([columns["x"], columns["y"]])
    near = cKDTree(position[stars]).sparse_distance_matrix(
        cKDTree(position), reach_px, output_type="coo_matrix"
    )
    star, other = near.row, near.col
    harmful = (other != stars[star]) & (flux[other] > _NEIGHBOUR_FLUX * flux[stars[star]])
    return np.asarray(stars[np.bincount(star[harmful], minlength=len(stars)) == 0])


def _balanced(columns: Columns, stars: Index, signal: Float64) -> Index:
    """Return at most 150 stars: the brightest of each of 4 x 4 parts of the field in turn."""
    if len(stars) <= _MAX_STARS:
        return stars
    x, y = columns["x"][stars], columns["y"][stars]
    cell = sum(
        scale * np.clip(_CELLS * (v - v.min()) / max(np.ptp(v), 1.0), 0, _CELLS - 1).astype(np.intp)
        for v, scale in ((x, 1), (y, _CELLS))
    )
    order = np.lexsort((stars, -signal[stars], cell))
    rank = np.empty(len(stars), np.intp)
    rank[order] = np.arange(len(stars)) - np.searchsorted(cell[order], cell[order])
    first = np.lexsort((stars, -signal[stars], rank))[:_MAX_STARS]
    return np.sort(stars[first])


def _moments_width(columns: Columns, usable: NDArray[np.bool_], signal: Float64) -> float | None:
    """Return the FWHM of the most compact quarter of the sources, or None."""
    width = _FWHM_PER_RADIUS * columns["flux_radius"][usable & (signal > 5)]
    width = width[(width >= _MIN_FWHM_PX) & (width <= _MAX_FWHM_PX)]
    return float(np.quantile(width, 0.25)) if len(width) else None
