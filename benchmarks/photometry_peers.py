"""One extraction by photutils, run in a Python that has it: prints seconds of CPU and the number of sources.

python benchmarks/photometry_peers.py IMAGE.fits GAIN RADIUS...
"""

import json
import sys
import time
import warnings

import numpy as np
from astropy.convolution import convolve
from astropy.io import fits
from photutils.aperture import CircularAperture, aperture_photometry
from photutils.background import Background2D, SExtractorBackground
from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources
from photutils.utils import calc_total_error

COLUMNS = ("x_centroid_win", "y_centroid_win", "kron_flux", "kron_flux_err", "segment_flux", "fwhm")
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16


def extract(name: str, gain: float, radii: list[float]) -> int:
    """Measure what the others measure, with SExtractor's thresholds; return the number of sources."""
    data = fits.getdata(name).astype(float)
    sky = Background2D(data, 64, filter_size=3, bkg_estimator=SExtractorBackground())
    data -= sky.background
    smooth = convolve(data, KERNEL, boundary="extend")
    segments = detect_sources(smooth, 1.5 * sky.background_rms, n_pixels=5)
    segments = deblend_sources(
        smooth, segments, n_pixels=5, n_levels=32, contrast=0.005, progress_bar=False, n_processes=1
    )
    error = calc_total_error(data, sky.background_rms, gain)
    catalog = SourceCatalog(data, segments, convolved_data=smooth, error=error)
    for column in COLUMNS:
        getattr(catalog, column)
    catalog.flux_radius(0.5)
    circles = [CircularAperture(np.c_[catalog.x_centroid, catalog.y_centroid], radius) for radius in radii]
    aperture_photometry(data, circles, error=error)
    return len(catalog.labels)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    clock = time.process_time()
    count = extract(sys.argv[1], float(sys.argv[2]), [float(r) for r in sys.argv[3:]])
    print(json.dumps({"seconds": time.process_time() - clock, "sources": count}))
