"""Source extraction: from the pixels of one image to the measures of its sources."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, BadInput
from astrolake.photometry.background import (
    Sky,
    native_image,
    native_variance,
    subtract_background,
    with_correlation,
)
from astrolake.photometry.detection import Detections, detect_sources
from astrolake.photometry.flags import Flag, flags_within, object_flags
from astrolake.photometry.measure import (
    Columns,
    Scene,
    centroids,
    circular_photometry,
    isophotal_photometry,
    kron_photometry,
    reaches,
    shapes,
    surroundings,
)
from astrolake.photometry.mesh import Box
from astrolake.photometry.options import ExtractionOptions, deepened
from astrolake.photometry.petrosian import radial_photometry
from astrolake.photometry.psf_frame import PsfInfo, measure_psf
from astrolake.photometry.stellar_locus import StarLocus, star_locus
from astrolake.photometry.subtiles import Measured, extract_parts, subtile_size

#: The noise of an image is looked at in every so many rows and columns.
_SAMPLE_PX = 16


@dataclass(frozen=True)
class FrameInfo:
    """What extraction found out about the image as a whole.

    Parameters
    ----------
    background, background_rms : float
        Median of the background map and of its noise, units of the image.
    bad_fraction : float
        Fraction of pixels that were not used.
    attempts : int
        Detection runs: 1, and 1 more for every time SEP's limits were raised.
    deblended : bool
        False when the image was too crowded for deblending.
    stars : StarLocus
        How wide its stars are.
    psf : PsfInfo
        The point-spread function, where PSF photometry was asked for.
    noise_range : (float, float)
        Noise of a pixel that a tenth of the area stays below, and that a tenth exceeds.
    """

    background: float
    background_rms: float
    bad_fraction: float
    attempts: int
    deblended: bool
    stars: StarLocus
    psf: PsfInfo = field(default_factory=PsfInfo)
    noise_range: tuple[float, float] = (np.nan, np.nan)


@dataclass(frozen=True)
class Camera:
    """What is known of an image besides its pixels; see `extract_frame`."""

    gain: float | None = None
    saturation: float | None = None
    psf_fwhm_px: float | None = None


@dataclass(frozen=True)
class Extraction:
    """The sources of one image.

    Parameters
    ----------
    columns : dict of (n,) arrays
        Named and with units as in the table `detections`, positions in px from the first pixel centre;
        `flux_aper` and `flux_aper_err` have the shape (n, number of apertures). Positions are finite.
    aperture_radii_px : tuple of float
        Radii of the apertures.
    info : FrameInfo
        The image as a whole.
    """

    columns: Columns
    aperture_radii_px: tuple[float, ...]
    info: FrameInfo

    def __len__(self) -> int:
        return len(self.columns["x"])


def extract_frame(
    data: ArrayLike,
    *,
    bad: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    options: ExtractionOptions | None = None,
    gain: float | None = None,
    saturation: float | None = None,
    flag_image: NDArray[np.int32] | None = None,
    psf_fwhm_px: float | None = None,
) -> Extraction:
    """Detect and measure the sources of an image.

    Parameters
    ----------
    data : (ny, nx) array
        Pixels in any linear unit; any number type and byte order. Native float32 is not copied.
    bad : (ny, nx) bool, optional
        True where a pixel must not be used. NaN, infinite and blank (zero) areas are found without it.
    variance : (ny, nx) array, optional
        Variance of each pixel, sky noise only, in image units squared; not positive where unusable.
        Taken as it is. Without it the noise is that of the background map.
    options : ExtractionOptions, optional
        Thresholds and apertures.
    gain : float, optional
        Electrons per image unit. Without it all errors lack photon noise, and all sources are flagged.
    saturation : float, optional
        Pixel value from which on a source is flagged as saturated.
    flag_image : (ny, nx) int32, optional
        Bits that a source gets whose isophote holds the pixel, SExtractor's FLAG_IMAGE of type OR.
    psf_fwhm_px : float, optional
        Width of the point-spread function to assume where there are too few stars to measure it, and for
        the filter of deep detection.

    Returns
    -------
    Extraction
        In the order in which SEP completes sources, which is the same for every run; may be empty. Large
        images are extracted in parts, see `subtile_px`, and their sources come part by part. Sources that
        PSF photometry finds in a crowded field follow.

    Raises
    ------
    BadInput
        When the image has no good pixels or no noise, or shapes differ.
    BadArguments
        When the gain is not positive.
    """
    options = options or ExtractionOptions()
    if options.depth == "deep":
        options = deepened(options, psf_fwhm_px)
    if gain is not None and not (np.isfinite(gain) and gain > 0):
        raise BadArguments(f"gain={gain!r} must be positive; leave it out when it is unknown")
    if flag_image is not None and flag_image.shape != np.shape(data):
        raise BadInput(
            f"the flag image has the shape {flag_image.shape}, the image {np.shape(data)}", "BadShape"
        )
    camera, shape = Camera(gain, saturation, psf_fwhm_px), np.shape(data)
    if len(shape) == 2 and subtile_size((shape[0], shape[1]), options):
        return _extract_in_parts((data, bad, variance), options, camera, flag_image)
    sky = prepare_sky(data, bad, variance, options)
    measured = _extract(sky, options, camera, flag_image)
    info = FrameInfo(
        background=sky.global_level,
        background_rms=sky.global_rms,
        bad_fraction=0.0 if sky.bad is None else float(sky.bad.mean()),
        attempts=measured.found.attempts,
        deblended=not measured.found.flags & Flag.NOT_DEBLENDED,
        stars=measured.stars,
        psf=measured.psf,
        noise_range=_noise_range(measured.noise),
    )
    return Extraction(measured.columns, options.aperture_radii_px, info)


def _extract_in_parts(
    images: tuple[ArrayLike, ArrayLike | None, ArrayLike | None],
    options: ExtractionOptions,
    camera: Camera,
    flag_image: NDArray[np.int32] | None,
) -> Extraction:
    def measure(sky: Sky, box: Box) -> Measured:
        part = None if flag_image is None else flag_image[box[0] : box[1], box[2] : box[3]]
        return _extract(sky, options, camera, part)

    parts = extract_parts(*images, options, measure)
    info = FrameInfo(
        background=parts.sky.global_level,
        background_rms=parts.sky.global_rms,
        bad_fraction=parts.bad_fraction,
        attempts=parts.attempts,
        deblended=parts.deblended,
        stars=StarLocus.mean(parts.stars),
        psf=PsfInfo.mean(parts.psf),
        noise_range=_noise_range(np.concatenate(parts.noise)),
    )
    return Extraction(parts.columns, options.aperture_radii_px, info)


def _extract(
    sky: Sky, options: ExtractionOptions, camera: Camera, flag_image: NDArray[np.int32] | None
) -> Measured:
    """Detect and measure the sources of an image without background."""
    gain, saturation = camera.gain, camera.saturation
    found = detect_sources(sky, options, gain)
    sky = with_correlation(sky, found.segments)
    columns = measure_detections(sky, found, options, gain)
    columns["flags"] |= _spoilt(sky, found, camera, flag_image)
    stars, extension = star_locus(_scene(sky, found, options, gain), columns)
    columns |= extension
    noise = noise_sample(sky)
    if options.psf == "none":
        return Measured(columns, found, stars, noise)

    def again(image: Sky, sources: Detections) -> Columns:
        """Measure sources on an image from which others are taken away."""
        new = measure_detections(image, sources, options, gain)
        # Too few to have a locus of their own, and not whole: how extended they are is not known.
        new |= {name: np.full(len(sources.objects), np.nan) for name in extension}
        return (
            new
            | surroundings(sky, new["x"], new["y"])
            | {"flags": new["flags"] | _spoilt(sky, sources, camera, flag_image)}
        )

    columns, psf = measure_psf(
        sky,
        found,
        columns,
        options,
        again,
        gain=gain,
        saturation=saturation,
        header_fwhm_px=camera.psf_fwhm_px,
    )
    return Measured(columns, found, stars, noise, psf)


def noise_sample(sky: Sky) -> NDArray[np.float64]:
    """Return the noise of some good pixels all over an image."""
    every = np.s_[::_SAMPLE_PX, ::_SAMPLE_PX]
    noise = np.broadcast_to(sky.noise, sky.residual.shape)[every]
    good = np.isfinite(noise) & (noise > 0)
    if sky.bad is not None:
        good &= ~sky.bad[every]
    return np.asarray(noise[good], dtype=np.float64)


def _noise_range(sample: NDArray[np.float64]) -> tuple[float, float]:
    if not sample.size:
        return np.nan, np.nan
    low, high = np.percentile(sample, (10.0, 90.0))
    return float(low), float(high)


def _spoilt(
    sky: Sky, found: Detections, camera: Camera, flag_image: NDArray[np.int32] | None
) -> NDArray[np.int32]:
    """Return the flags of detections for the pixels they lie on."""
    flags = np.zeros(len(found.objects), np.int32)
    if camera.saturation is not None:
        flags[reaches(sky, found.objects, camera.saturation)] |= np.int32(Flag.SATURATED)
    if flag_image is not None:
        flags |= flags_within(found.segments, flag_image, len(flags))
    return flags


def prepare_sky(
    data: ArrayLike, bad: ArrayLike | None, variance: ArrayLike | None, options: ExtractionOptions
) -> Sky:
    """Convert an image for SEP and subtract its background; arguments as in `extract_frame`."""
    image, unusable = native_image(data, bad)
    noise = None
    if variance is not None:
        noise, unusable = native_variance(variance, image, unusable)
    return subtract_background(image, unusable, options, noise)


def measure_detections(
    sky: Sky, found: Detections, options: ExtractionOptions, gain: float | None
) -> Columns:
    """Return what SEP measures of the detections of an image."""
    scene = _scene(sky, found, options, gain)
    objects, ids = found.objects, np.arange(1, len(found.objects) + 1, dtype=np.int32)
    flags = object_flags(objects["flag"]) | np.int32(found.flags | (Flag.NO_GAIN if gain is None else 0))
    kron = kron_photometry(scene, objects, ids, options)
    radial = radial_photometry(scene, objects, ids, kron["flux_auto"])
    centre = centroids(scene, objects, radial["flux_radius"], kron["flux_auto"])
    aper = circular_photometry(scene, centre["x"], centre["y"], ids, options.aperture_radii_px)
    for part in (kron, radial, centre, aper):
        flags |= part.pop("flags")
    return {
        **centre,
        **kron,
        **isophotal_photometry(scene, objects, found.segments),
        **aper,
        **radial,
        **shapes(objects),
        **surroundings(sky, centre["x"], centre["y"]),
        "flags": flags,
    }


def _scene(sky: Sky, found: Detections, options: ExtractionOptions, gain: float | None) -> Scene:
    return Scene(sky, found.segments if options.mask_neighbours else None, gain)
