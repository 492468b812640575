"""Detection: the sources of a background-subtracted image, whatever its crowding."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from astrolake.photometry.background import Sky
from astrolake.photometry.flags import Flag
from astrolake.photometry.options import ExtractionOptions

_PIXEL_STACK = 300_000
_SUB_OBJECTS = 1024
_MAX_SUB_OBJECTS = 65_536
_GROWTH = 4
#: SEP deals out the pixels between blended sources by lot, and a lot depends on all blends before it. Where
#: the probabilities, which are as large as pixels, sum up to less than 1e-31 it gives the pixel to the
#: nearest source instead, in units of its ellipse. So the image is detected in units in which its noise is
#: this small, and a blend is divided the same way wherever the image is cut. A threshold below the range of
#: 32-bit numbers would lose digits, and much smaller pixels are slow.
_SCALED_NOISE, _LEAST_EXPONENT = 3e-35, -126
_FLUXES, _VARIANCES = ("flux", "cflux", "peak", "cpeak", "thresh"), ("errx2", "erry2", "errxy")

# SEP's limits belong to the process: whoever extracts holds the lock, so that every image starts from
# the same limits and its flags do not depend on the images before it.
_LIMITS = threading.Lock()


@dataclass(frozen=True)
class Detections:
    """What SEP found on an image.

    Parameters
    ----------
    objects : (n,) structured array
        As `sep.extract` returns it.
    segments : (ny, nx) int32
        Number of the source (from 1) that owns each pixel, 0 for sky.
    flags : int
        Flags that hold for every source of the image.
    attempts : int
        Extractions needed; more than 1 when limits had to be raised.
    """

    objects: NDArray[np.void]
    segments: NDArray[np.int32]
    flags: int
    attempts: int


def detect_sources(sky: Sky, options: ExtractionOptions, gain: float | None = None) -> Detections:
    """Detect and deblend sources with SEP, raising its limits as the image needs.

    An image is never given up for its crowding: the pixel stack grows up to the size of the image, the
    number of sub-objects up to 65536, then the image is extracted without deblending. Each step is
    flagged. The filter is a plain convolution: with a noise map SEP's default, the matched filter, scales
    the threshold by the norm of the kernel and finds more than twice as many sources as SExtractor.

    Parameters
    ----------
    sky : Sky
        Image without background, and its noise.
    options : ExtractionOptions
        Threshold, filter and deblending.
    gain : float, optional
        Electrons per image unit, for the errors of the centroids.
    """
    pixel_stack, sub_objects, deblend, attempts = _PIXEL_STACK, _SUB_OBJECTS, True, 0
    while True:
        attempts += 1
        try:
            objects, segments = _extract(sky, options, gain, (pixel_stack, sub_objects, deblend))
        except Exception as error:  # SEP raises bare exceptions, told apart by their text only
            full = sky.residual.size + 1
            if "pixel buffer full" in str(error) and pixel_stack < full:
                pixel_stack = min(pixel_stack * _GROWTH, full)
            elif "deblending overflow" in str(error) and deblend:
                deblend = sub_objects < _MAX_SUB_OBJECTS
                sub_objects *= _GROWTH
            else:
                raise
        else:
            flags = (Flag.LIMITS_RAISED if attempts > 1 else 0) | (0 if deblend else Flag.NOT_DEBLENDED)
            return Detections(objects, segments, int(flags), attempts)


def _extract(
    sky: Sky, options: ExtractionOptions, gain: float | None, limits: tuple[int, int, bool]
) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    pixel_stack, sub_objects, deblend = limits
    # A power of two, so that numbers keep their digits. The noise keeps its unit: SEP squares it.
    scale = 2.0 ** max(round(math.log2(_SCALED_NOISE / sky.global_rms)), _LEAST_EXPONENT)
    image = sky.residual * np.float32(scale)
    with _LIMITS:
        sep.set_extract_pixstack(pixel_stack)
        sep.set_sub_object_limit(sub_objects)
        objects, segments = sep.extract(
            image,
            options.detect_sigma * scale,
            err=sky.noise,
            mask=sky.bad,
            gain=None if gain is None else gain * scale,
            minarea=options.min_pixels,
            filter_kernel=None if options.kernel is None else np.array(options.kernel),
            filter_type="conv",
            deblend_nthresh=options.deblend_levels if deblend else 1,
            deblend_cont=options.deblend_contrast if deblend else 1.0,
            clean=options.clean,
            segmentation_map=True,
        )
    for names, factor in ((_FLUXES, 1 / scale), (_VARIANCES, scale**2)):
        for name in names:
            objects[name] *= factor
    return objects, segments
