"""Sources of two overlapping images of one visit: each is primary exactly once."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from star_fields import gaussian_stars

from astrolake.photometry.flags import Flag
from astrolake.photometry.image_sources import image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file

SCALE = 0.4
SIZE, OVERLAP = 300, 40
rng = np.random.default_rng(8)


GALAXIES = ((280.0, 60.0, 8.0), (286.0, 150.0, 9.0), (269.0, 240.0, 4.0))


def sky_light():
    """Return the light of the strip that both images see: stars, and large galaxies in the overlap."""
    width = 2 * SIZE - OVERLAP
    x, y = rng.uniform(0, width, 400), rng.uniform(0, SIZE, 400)
    alone = np.min([np.hypot(x - gx, y - gy) for gx, gy, _ in GALAXIES], axis=0) > 35
    light = gaussian_stars((SIZE, width), x[alone], y[alone], 10 ** rng.uniform(3.2, 5, alone.sum()), 1.6)
    yy, xx = np.mgrid[:SIZE, :width]
    for gx, gy, size in GALAXIES:
        light += 400 * np.exp(-np.hypot(xx - gx, yy - gy) / size)
    return light + 50


def write(path, pixels, first_column, seed):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix = [SIZE - first_column, SIZE / 2]
    wcs.wcs.cd = np.array([[-SCALE, 0], [0, SCALE]]) / 3600
    header = wcs.to_header()
    header["FILTER"], header["EXPNUM"], header["DATE-OBS"], header["MAGZERO"] = "r", 7, "2020-01-01", 25.0
    noise = np.random.default_rng(seed).normal(0, 3, pixels.shape)
    fits.writeto(path, (pixels + noise).astype(np.float32), header)
    return scan_file(str(path)).images[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, light = tmp_path_factory.mktemp("overlap"), sky_light()
    step = SIZE - OVERLAP
    return [write(folder / f"{i}.fits", light[:, i * step : i * step + SIZE], i * step, i) for i in (0, 1)]


def rows_of(images):
    options = ExtractionOptions(background_box_px=150)
    return [image_sources(image, images, options, (1.5, 3.0)).rows.to_pandas() for image in images]


def test_every_source_of_the_overlap_is_primary_once(images):
    found = rows_of(images)
    strip_x = [rows["x"] + i * (SIZE - OVERLAP) for i, rows in enumerate(found)]
    bright = [(rows["flux_auto"] > 3_000).to_numpy() for rows in found]
    shared = [
        np.c_[x, rows["y"]][mask & (x > SIZE - OVERLAP).to_numpy() & (x < SIZE - 1).to_numpy()]
        for x, rows, mask in zip(strip_x, found, bright, strict=True)
    ]
    primaries = np.concatenate(
        [
            np.c_[x, rows["y"]][rows["is_primary"] & mask]
            for x, rows, mask in zip(strip_x, found, bright, strict=True)
        ]
    )
    # A centroid of a galaxy that both images cut differs by some pixels between them.
    counts = [np.count_nonzero(np.hypot(*(primaries - place).T) < 8) for place in np.concatenate(shared)]
    assert len(counts) > 10
    assert min(counts) == 1
    for x, y, _ in GALAXIES:
        assert np.count_nonzero(np.hypot(*(primaries - [x, y]).T) < 20) == 1


def test_a_source_that_one_image_cuts_is_primary_on_the_other(images):
    left, right = rows_of(images)
    cut = left[
        (left["flags"] & Flag.TRUNCATED > 0) & (left["x"] > SIZE - OVERLAP) & (left["flux_auto"] > 3_000)
    ]
    assert len(cut)
    for _, row in cut.iterrows():
        distance = np.hypot(right["x"] + SIZE - OVERLAP - row["x"], right["y"] - row["y"])
        whole = right.loc[distance.idxmin()]
        if not whole["flags"] & Flag.TRUNCATED and distance.min() < 5:
            assert not row["is_primary"]
            assert whole["is_primary"]


def test_the_order_of_images_does_not_matter(images):
    forward, backward = rows_of(images), rows_of(images[::-1])[::-1]
    for ours, others in zip(forward, backward, strict=True):
        assert ours.equals(others)
