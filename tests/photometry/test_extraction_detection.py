from dataclasses import replace

import numpy as np
import pytest
import sep
from star_fields import gaussian_stars, grid, observed

from astrolake.photometry import detection
from astrolake.photometry.background import native_image, subtract_background
from astrolake.photometry.detection import detect_sources
from astrolake.photometry.flags import Flag
from astrolake.photometry.options import ExtractionOptions

# 400 touching stars in the middle of an empty sky, and a contrast that makes a source of each.
OPTIONS = ExtractionOptions(noise="global", deblend_contrast=1e-5)
X, Y = grid(160, 8)
CROWD = observed(np.pad(gaussian_stars((160, 160), X, Y, 3_000.0, 2.2), 100), noise=1.0)
SKY = subtract_background(*native_image(CROWD), OPTIONS)


def test_an_easy_image_needs_one_attempt():
    found = detect_sources(SKY, ExtractionOptions(detect_sigma=60, noise="global"))
    assert (found.attempts, found.flags) == (1, 0)
    assert found.segments.max() == len(found.objects)


def test_a_full_pixel_stack_grows_until_the_image_fits(monkeypatch):
    expected = detect_sources(SKY, OPTIONS)
    monkeypatch.setattr(detection, "_PIXEL_STACK", 2_000)
    found = detect_sources(SKY, OPTIONS)
    assert found.attempts > expected.attempts
    assert found.flags == Flag.LIMITS_RAISED
    np.testing.assert_array_equal(found.segments, expected.segments)


def test_the_sub_object_limit_grows_until_the_crowd_fits(monkeypatch):
    expected = detect_sources(SKY, OPTIONS)
    monkeypatch.setattr(detection, "_SUB_OBJECTS", 64)
    found = detect_sources(SKY, OPTIONS)
    assert len(expected.objects) > 300
    assert found.attempts > expected.attempts
    assert found.flags == Flag.LIMITS_RAISED
    np.testing.assert_array_equal(found.segments, expected.segments)


def test_the_last_resort_is_no_deblending(monkeypatch):
    monkeypatch.setattr(detection, "_SUB_OBJECTS", 64)
    monkeypatch.setattr(detection, "_MAX_SUB_OBJECTS", 64)
    found = detect_sources(SKY, OPTIONS)
    assert found.flags == Flag.LIMITS_RAISED | Flag.NOT_DEBLENDED
    assert 0 < len(found.objects) < 10


def test_flags_do_not_depend_on_the_image_before(monkeypatch):
    monkeypatch.setattr(detection, "_SUB_OBJECTS", 64)
    first = detect_sources(SKY, OPTIONS)
    again = detect_sources(SKY, OPTIONS)
    assert (first.attempts, first.flags) == (again.attempts, again.flags)


@pytest.mark.parametrize("unit", [1.0, 1e-17, 3e5])
def test_a_blend_is_divided_the_same_way_wherever_the_image_is_cut(unit):
    options = ExtractionOptions(noise="global", deblend_contrast=1e-3)
    rng = np.random.default_rng(5)
    x, y, flux = rng.uniform(0, 360, 500), rng.uniform(0, 360, 500), rng.uniform(300, 6e3, 500)
    image = np.float32(unit) * observed(gaussian_stars((360, 360), x, y, flux, 2.0), noise=3.0)
    sky = subtract_background(*native_image(image), options)
    below = np.s_[100:, 60:]
    part = replace(sky, residual=sky.residual[below].copy(), level=np.asarray(sky.level)[below])
    whole, cut = detect_sources(sky, options, 2.0 / unit), detect_sources(part, options, 2.0 / unit)
    assert np.count_nonzero(whole.objects["flag"] & sep.OBJ_MERGED) > 100
    # What the cut does not touch, nor a neighbour that it does.
    ours, theirs = (
        {(o["xpeak"] + dx, o["ypeak"] + dy): o for o in found.objects}
        for found, dx, dy in ((whole, 0, 0), (cut, 60, 100))
    )
    inner = [place for place in ours if place[0] > 130 and place[1] > 170]
    assert len(inner) > 100
    for name in ("npix", "flux", "a", "errx2", "cpeak", "thresh"):
        expected = [ours[place][name] for place in inner]
        np.testing.assert_allclose([theirs[p][name] for p in inner], expected, rtol=1e-5, err_msg=name)


def test_alone_a_source_is_that_of_sep():
    x, y = grid(300, 50)
    image = observed(gaussian_stars((300, 300), x, y, 3_000.0, 2.0), noise=3.0)
    sky = subtract_background(*native_image(image), ExtractionOptions())
    found = detect_sources(sky, ExtractionOptions(), 2.0).objects
    plain = sep.extract(
        sky.residual,
        1.5,
        err=sky.noise,
        gain=2.0,
        filter_kernel=np.array(ExtractionOptions().kernel),
        filter_type="conv",
    )
    assert len(found) == len(plain) >= 25
    for name in plain.dtype.names:
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-4, atol=1e-7, err_msg=name)


def test_other_failures_are_not_hidden(monkeypatch):
    def broken(*_args, **_kwargs):
        raise Exception("something else")

    monkeypatch.setattr(sep, "extract", broken)
    with pytest.raises(Exception, match="something else"):
        detect_sources(SKY, OPTIONS)


def test_a_failure_that_no_limit_cures_is_not_retried_for_ever(monkeypatch):
    calls = []

    def full(*_args, **_kwargs):
        calls.append(sep.get_extract_pixstack())
        raise Exception("internal pixel buffer full")

    monkeypatch.setattr(sep, "extract", full)
    with pytest.raises(Exception, match="pixel buffer full"):
        detect_sources(SKY, OPTIONS)
    assert calls[-1] > SKY.residual.size
    assert len(calls) < 5
