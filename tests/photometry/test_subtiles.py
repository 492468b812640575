"""Frames extracted in parts against the same frames in one piece."""

import tracemalloc

import numpy as np
import pytest
import sep
from scipy.spatial import cKDTree
from star_fields import gaussian_stars, observed

from astrolake.errors import BadArguments, BadInput
from astrolake.photometry.background import frame_sky
from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.flags import Flag
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.subtiles import inner_regions, subtile_size

SHAPE = (900, 1100)
rng = np.random.default_rng(11)
X, Y = rng.uniform(0, SHAPE[1], 900), rng.uniform(0, SHAPE[0], 900)
FLUX = 10 ** rng.uniform(2.5, 4.5, 900)
FIELD = observed(gaussian_stars(SHAPE, X, Y, FLUX, 1.6), noise=3.0, seed=4)
FIELD += np.linspace(0, 60, SHAPE[1], dtype=np.float32)
WHOLE = ExtractionOptions(subtile_px=0)
PARTS = ExtractionOptions(subtile_px=256, subtile_margin_px=64)


def places(extraction):
    return np.c_[extraction.columns["x"], extraction.columns["y"]]


def missing(ours, others):
    return np.count_nonzero(cKDTree(places(ours)).query(places(others))[0] > 0.5)


def test_parts_give_the_catalog_of_the_whole():
    whole, parts = (extract_frame(FIELD, gain=2.0, options=options) for options in (WHOLE, PARTS))
    assert len(whole) > 650
    assert missing(parts, whole) + missing(whole, parts) == 0
    assert not cKDTree(places(parts)).query_pairs(0.5)
    index = cKDTree(places(whole)).query(places(parts))[1]
    assert np.count_nonzero(parts.columns["flags"] & Flag.BLENDED) > 100
    for name in ("x", "flux_auto", "flux_petro", "background", "background_rms", "edge_distance_px", "a"):
        ours, others = parts.columns[name], whole.columns[name][index]
        np.testing.assert_allclose(ours, others, rtol=2e-3, atol=2e-3, err_msg=name)
    np.testing.assert_array_equal(parts.columns["flags"], whole.columns["flags"][index])
    assert parts.info.background == pytest.approx(whole.info.background, rel=1e-6)
    assert parts.info.background_rms == pytest.approx(whole.info.background_rms, rel=1e-6)


def test_bad_pixels_and_variance_are_those_of_the_frame():
    bad = np.zeros(SHAPE, bool)
    bad[300:330, :] = True
    variance = np.full(SHAPE, 9.0, np.float32)
    variance[:, 500:510] = 0
    data = FIELD.copy()
    data[:, 1000:] = 0
    whole, parts = (
        extract_frame(data, bad=bad, variance=variance, gain=2.0, options=options)
        for options in (WHOLE, PARTS)
    )
    assert parts.info.bad_fraction == whole.info.bad_fraction > 0.12
    assert missing(parts, whole) + missing(whole, parts) <= 1


def test_a_source_larger_than_the_margin_is_found_once_and_whole():
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    galaxy = 300 * np.exp(-np.hypot((xx - 512) / 30, (yy - 450) / 12)).astype(np.float32)
    data = observed(galaxy, noise=3.0, seed=6)
    # A mesh that is larger than the galaxy, so that it is not taken for background.
    whole, parts = (
        extract_frame(
            data, options=ExtractionOptions(subtile_px=size, subtile_margin_px=40, background_box_px=256)
        )
        for size in (0, 300)
    )
    brightest = [found.columns["flux_auto"].argmax() for found in (whole, parts)]
    for name in ("flux_auto", "a", "n_pixels", "flux_petro"):
        assert parts.columns[name][brightest[1]] == pytest.approx(whole.columns[name][brightest[0]], rel=1e-3)
    assert missing(parts, whole) + missing(whole, parts) <= 1
    assert not parts.columns["flags"][brightest[1]] & (Flag.CUT_BY_SUBTILE | Flag.TRUNCATED)


def test_what_reaches_beyond_the_largest_margin_is_flagged():
    data = observed(np.zeros(SHAPE), noise=3.0, seed=6)
    data[440:446, :] += 400
    data += gaussian_stars(SHAPE, [150.0, 600.0], [150.0, 150.0], 20_000.0, 1.6).astype(np.float32)
    options = ExtractionOptions(subtile_px=300, subtile_margin_px=16, background_box_px=256)
    parts = extract_frame(data, options=options)
    line = np.abs(parts.columns["y"] - 442.5) < 3
    assert (parts.columns["flags"][line & (parts.columns["flux_iso"] > 1e5)] & Flag.CUT_BY_SUBTILE > 0).all()
    stars = parts.columns["y"] < 200
    assert stars.sum() == 2
    assert not (parts.columns["flags"][stars] & Flag.CUT_BY_SUBTILE).any()


def test_inner_regions_cover_the_frame_once():
    seen = np.zeros((700, 530), int)
    for top, bottom, left, right in inner_regions(seen.shape, 256):
        assert max(bottom - top, right - left) <= 256
        seen[top:bottom, left:right] += 1
    assert (seen == 1).all()


def test_large_images_are_cut_unless_told_otherwise():
    assert subtile_size((4096, 4096), ExtractionOptions()) == 0
    assert subtile_size((16384, 16384), ExtractionOptions()) == 3072
    assert subtile_size((16384, 16384), ExtractionOptions(subtile_px=0)) == 0
    assert subtile_size((500, 500), ExtractionOptions(subtile_px=1024)) == 0


def test_only_parts_of_the_image_are_in_memory(tmp_path):
    path = tmp_path / "image.npy"
    tall = np.lib.format.open_memmap(path, mode="w+", dtype=">f4", shape=(4000, 1500))
    noise = observed(np.zeros((1000, 1500)), noise=3.0)
    for top in range(0, 4000, 1000):
        tall[top : top + 1000] = noise
    image = np.load(path, mmap_mode="r")
    tracemalloc.start()
    extract_frame(image, options=ExtractionOptions(subtile_px=500, subtile_margin_px=64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.8 * image.nbytes


def test_bad_pixels_all_over_still_leave_a_background():
    bad = np.random.default_rng(3).random(SHAPE) < 0.6
    whole, parts = (extract_frame(FIELD, bad=bad, options=options) for options in (WHOLE, PARTS))
    assert parts.info.background == pytest.approx(whole.info.background, rel=1e-5)
    assert parts.info.background_rms == pytest.approx(whole.info.background_rms, rel=1e-5)
    assert len(parts) == pytest.approx(len(whole), rel=0.01)


@pytest.mark.parametrize("shape", [(400, 500), (64, 64), (100, 100), (300, 60), (130, 500)])
@pytest.mark.parametrize("masked", [False, True])
def test_the_background_of_a_frame_is_that_of_sep(shape, masked):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = (rng.normal(0, 5, shape) * (1 + x / 2000) + 100 + 0.05 * x + 2e-4 * y**2).astype(np.float32)
    bad = None
    if masked:
        bad = rng.random(shape) < 0.02
        bad[:30] = True
        bad[100:250, 40:200] = True
    model = sep.Background(image, mask=bad, bw=64, bh=64, fw=3, fh=3)

    def cut(box):
        part = np.s_[box[0] : box[1], box[2] : box[3]]
        return image[part], None if bad is None else bad[part], None

    frame = frame_sky(cut, shape, 64, 3, True)
    everything = (0, shape[0], 0, shape[1])
    np.testing.assert_allclose(frame.level.evaluate(everything, 64), model.back(), rtol=2e-6)
    np.testing.assert_allclose(frame.rms.evaluate(everything, 64), model.rms(), rtol=1e-5)
    assert frame.global_level == pytest.approx(model.globalback, rel=1e-6)
    assert frame.global_rms == pytest.approx(model.globalrms, rel=1e-6)
    part = (20, 50, 7, 41)
    np.testing.assert_array_equal(
        frame.level.evaluate(part, 64), frame.level.evaluate(everything, 64)[20:50, 7:41]
    )


@pytest.mark.parametrize(
    ("data", "kind"), [(np.full(SHAPE, np.nan), "NoGoodPixels"), (np.full(SHAPE, 7.0), "NoNoise")]
)
def test_empty_frames_are_refused(data, kind):
    with pytest.raises(BadInput) as raised:
        extract_frame(data, options=PARTS)
    assert raised.value.kind == kind


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(BadInput, match=r"the mask has the shape \(3, 3\), the image \(900, 1100\)"):
        extract_frame(FIELD, bad=np.zeros((3, 3), bool), options=PARTS)
    with pytest.raises(BadInput, match="the variance has the shape"):
        extract_frame(FIELD, variance=np.ones((3, 3)), options=PARTS)


@pytest.mark.parametrize(("name", "value"), [("subtile_px", 10), ("subtile_margin_px", 3)])
def test_impossible_parts_are_refused(name, value):
    with pytest.raises(BadArguments, match=name):
        ExtractionOptions(**{name: value})
