"""Deep options find more than the defaults, and nothing that is not there."""

import numpy as np
from scipy.spatial import cKDTree
from star_fields import gaussian_stars, observed

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.options import ExtractionOptions, deep_options, gaussian_kernel

SHAPE = (1000, 1000)
rng = np.random.default_rng(5)
X, Y = rng.uniform(8, 992, 600), rng.uniform(8, 992, 600)
#: Peaks of 1.2 to 3 times the noise of a pixel, before smoothing.
FLUX = rng.uniform(150, 400, 600)
FIELD = observed(gaussian_stars(SHAPE, X, Y, FLUX, 1.4), noise=10.0, seed=2)


def found(options):
    columns = extract_frame(FIELD, options=options).columns
    places, truth = np.c_[columns["x"], columns["y"]], np.c_[X, Y]
    complete = np.mean(cKDTree(places).query(truth)[0] < 2)
    return complete, np.mean(cKDTree(truth).query(places)[0] < 3)


def test_deep_options_find_half_as_many_again_at_the_same_purity():
    complete, pure = found(ExtractionOptions())
    deeper, still_pure = found(deep_options(1.4 * 2.3548))
    assert deeper > 1.4 * complete
    assert still_pure > 0.98
    assert still_pure > pure - 0.01


def test_deep_options_take_others_along():
    options = deep_options(2.5, min_pixels=7, detect_sigma=2.0)
    assert (options.min_pixels, options.detect_sigma) == (7, 2.0)
    assert options.kernel == gaussian_kernel(2.5, 2)
    assert len(options.kernel) == 5
