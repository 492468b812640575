"""Options of source extraction, validated once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from astrolake.errors import BadArguments

Kernel = tuple[tuple[float, ...], ...]

PsfKind = Literal["none", "moffat", "gaussian", "empirical"]
PSF_KINDS: tuple[str, ...] = get_args(PsfKind)

Depth = Literal["standard", "deep"]
DEPTHS: tuple[str, ...] = get_args(Depth)

#: SExtractor's default detection filter, a pyramid of 2 px FWHM.
DEFAULT_KERNEL: Kernel = ((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0))
#: The filter of deep detection: pixels to each side of the centre, FWHM (px) where the seeing is unknown, and
#: the greatest: 5 x 5 pixels smoothed by a wider one are so alike that more noise passes for sources.
_DEEP_HALF_PX, _DEEP_FWHM_PX, _DEEP_MOST_FWHM_PX = 2, 2.5, 3.5


@dataclass(frozen=True)
class ExtractionOptions:
    """Parameters of `extract_frame`; the defaults are SExtractor's where it has one.

    Parameters
    ----------
    detect_sigma : float
        Threshold above the background in units of the noise of one pixel.
    min_pixels : int
        Connected pixels above the threshold that make a source.
    deblend_levels, deblend_contrast
        Number of deblending thresholds, and fraction of the flux that a branch needs to become a
        source of its own; contrast 1 turns deblending off.
    clean : bool
        Remove detections that the wings of a brighter neighbour explain.
    background_box_px, background_filter
        Mesh size of the background map, and size of its median filter in meshes.
    kernel : tuple of rows or None
        Detection filter; see `gaussian_kernel`. None detects on the image as it is.
    depth : {'standard', 'deep'}
        'deep' replaces the filter, see `deepened`.
    noise : {'local', 'global'}
        Noise of a pixel where no variance is given: that of the background map at the pixel, or the
        median over the map, as SExtractor does without weight image. In crowded fields 'global'
        turns the whole centre into one source.
    aperture_radii_px : tuple of float
        Radii of the circular apertures, any number.
    kron_factor, kron_min_radius
        The AUTO aperture is the ellipse (a, b) scaled by the larger of kron_factor times the Kron
        radius and kron_min_radius (SExtractor's PHOT_AUTOPARAMS).
    mask_neighbours : bool
        Leave the pixels of other sources out of every aperture.
    subtile_px : int or None
        Size of the parts that a large image is extracted in, 0 for always in one piece. None decides by
        the image: parts of 3072 px from 40 million pixels on.
    subtile_margin_px : int
        How far a part reaches beyond what it owns; it grows where sources reach further.
    psf : {'none', 'moffat', 'gaussian', 'empirical'}
        Kind of point-spread function for PSF photometry; 'empirical' corrects a Moffat profile by the
        residuals of the stars and varies over the field. 'none' leaves it out.
    psf_fit_radius_px : float or None
        Pixels nearer than this to a source enter its fit; None is 1.75 FWHM.
    crowded : {'auto', 'yes', 'no'}
        Whether PSF photometry maps the background again and looks for more sources once the sources are
        taken away; 'auto' decides by how much of the image lies within one FWHM of a source.

    Raises
    ------
    BadArguments
        When a value is out of range.
    """

    detect_sigma: float = 1.5
    min_pixels: int = 5
    deblend_levels: int = 32
    deblend_contrast: float = 0.005
    clean: bool = True
    background_box_px: int = 64
    background_filter: int = 3
    kernel: Kernel | None = DEFAULT_KERNEL
    depth: Depth = "standard"
    noise: Literal["local", "global"] = "local"
    aperture_radii_px: tuple[float, ...] = (3.0, 5.0, 7.5)
    kron_factor: float = 2.5
    kron_min_radius: float = 3.5
    mask_neighbours: bool = True
    subtile_px: int | None = None
    subtile_margin_px: int = 256
    psf: PsfKind = "none"
    psf_fit_radius_px: float | None = None
    crowded: Literal["auto", "yes", "no"] = "auto"

    def __post_init__(self) -> None:
        for name in ("detect_sigma", "kron_factor"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "must be positive")
        for name in ("min_pixels", "deblend_levels", "background_box_px", "background_filter"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        _require(
            0 <= self.deblend_contrast <= 1, "deblend_contrast", self.deblend_contrast, "must be in [0, 1]"
        )
        _require(self.kron_min_radius >= 0, "kron_min_radius", self.kron_min_radius, "must not be negative")
        radii = self.aperture_radii_px
        _require(all(radius > 0 for radius in radii), "aperture_radii_px", radii, "must all be positive")
        _require(
            self.subtile_px is None or self.subtile_px == 0 or self.subtile_px >= self.background_box_px,
            "subtile_px",
            self.subtile_px,
            "must be 0, or at least background_box_px",
        )
        _require(
            self.subtile_margin_px >= 16, "subtile_margin_px", self.subtile_margin_px, "must be at least 16"
        )
        _require(self.noise in ("local", "global"), "noise", self.noise, "must be 'local' or 'global'")
        _require(self.depth in DEPTHS, "depth", self.depth, f"must be one of {', '.join(DEPTHS)}")
        _require(self.psf in PSF_KINDS, "psf", self.psf, f"must be one of {', '.join(PSF_KINDS)}")
        _require(self.crowded in ("auto", "yes", "no"), "crowded", self.crowded, "must be auto, yes or no")
        fit_radius = self.psf_fit_radius_px
        _require(fit_radius is None or fit_radius > 0, "psf_fit_radius_px", fit_radius, "must be positive")
        if self.kernel is not None:
            widths = {len(row) for row in self.kernel}
            _require(
                len(widths) == 1 and widths != {0}, "kernel", self.kernel, "must be rows of equal length"
            )


def deepened(options: ExtractionOptions, fwhm_px: float | None) -> ExtractionOptions:
    """Return options that find fainter sources than the given ones at like purity.

    Smoothing with a Gaussian of the seeing's width over 5 x 5 pixels lowers the noise by more than a
    pyramid of 3 x 3. The threshold, which is in units of the unsmoothed noise, follows it, so that it is as
    many times the noise of the smoothed image as before. Blends are separated less well than with the small
    filter: for fields that are not crowded.

    Parameters
    ----------
    options : ExtractionOptions
    fwhm_px : float or None
        Full width at half maximum of the point-spread function, up to 3.5 px; None is 2.5 px.
    """
    width = _DEEP_FWHM_PX if fwhm_px is None else min(fwhm_px, _DEEP_MOST_FWHM_PX)
    kernel = gaussian_kernel(width, _DEEP_HALF_PX)
    sigma = options.detect_sigma * _noise_after(kernel) / _noise_after(options.kernel)
    return replace(options, detect_sigma=sigma, kernel=kernel, depth="standard")


def deep_options(fwhm_px: float = _DEEP_FWHM_PX, **others: Any) -> ExtractionOptions:
    """Return the default options, deepened for a seeing, and any others as they are given."""
    return replace(deepened(ExtractionOptions(), fwhm_px), **others)


def _noise_after(kernel: Kernel | None) -> float:
    """Return the noise of an image after a filter, in units of that before."""
    weights = [1.0] if kernel is None else [weight for row in kernel for weight in row]
    return math.hypot(*weights) / math.fsum(weights)


def gaussian_kernel(fwhm_px: float, half_px: int | None = None) -> Kernel:
    """Return a Gaussian detection filter: square, odd.

    Parameters
    ----------
    fwhm_px : float
        Full width at half maximum, best that of the point-spread function.
    half_px : int, optional
        Pixels to each side of the centre; by default three standard deviations.

    Raises
    ------
    BadArguments
        When the width is not positive.
    """
    _require(fwhm_px > 0, "fwhm_px", fwhm_px, "must be positive")
    sigma = fwhm_px / math.sqrt(8 * math.log(2))
    half = max(1, math.ceil(3 * sigma)) if half_px is None else half_px
    profile = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-half, half + 1)]
    return tuple(tuple(u * v for v in profile) for u in profile)


def _require(valid: bool, name: str, value: object, rule: str) -> None:
    if not valid:
        raise BadArguments(f"{name}={value!r} {rule}")
