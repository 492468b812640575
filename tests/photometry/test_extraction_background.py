import numpy as np
import pytest

from astrolake.errors import BadInput
from astrolake.photometry.background import native_image, native_variance, subtract_background
from astrolake.photometry.options import ExtractionOptions

OPTIONS = ExtractionOptions()


def sky_of(data, bad=None, options=OPTIONS):
    return subtract_background(*native_image(data, bad), options)


def noise(shape, sigma=2.0, level=50.0, seed=7):
    return np.random.default_rng(seed).normal(level, sigma, shape).astype(np.float32)


def test_native_float32_is_not_copied():
    data = noise((64, 64))
    assert native_image(data)[0] is data


def test_a_good_image_has_no_mask():
    assert native_image(noise((64, 64)))[1] is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e31])
def test_values_that_are_no_measurement_are_bad(value):
    data = noise((64, 64)).astype(np.float64)
    data[3, 5] = value
    bad = native_image(data)[1]
    assert np.argwhere(bad).tolist() == [[3, 5]]


def test_masks_add_up():
    data = np.ma.MaskedArray(noise((64, 64)), mask=False)
    data[1, 1] = np.ma.masked
    data[2, 2] = np.nan
    also = np.zeros((64, 64), bool)
    also[3, 3] = True
    assert np.argwhere(native_image(data, also)[1]).tolist() == [[1, 1], [2, 2], [3, 3]]


@pytest.mark.parametrize("data", [np.ones(5), np.ones((2, 2, 2)), np.ones((0, 4))])
def test_an_image_has_two_axes(data):
    with pytest.raises(BadInput, match="two axes") as caught:
        native_image(data)
    assert caught.value.kind == "BadShape"


@pytest.mark.parametrize("dtype", [complex, bool, "U3"])
def test_pixels_are_real_numbers(dtype):
    with pytest.raises(BadInput, match="real numbers") as caught:
        native_image(np.ones((8, 8)).astype(dtype))
    assert caught.value.kind == "BadType"


def test_blank_squares_of_zeros_are_bad():
    data = noise((200, 200), level=0.0)
    data[:, 150:] = 0
    bad = native_image(data)[1]
    assert bad[:, 150:].all()
    assert not bad[:, :150].any()


def test_single_zeros_of_counts_are_good():
    counts = np.random.default_rng(0).poisson(1.0, (300, 300)).astype(np.uint16)
    assert np.mean(counts == 0) > 0.3
    assert native_image(counts)[1] is None


def test_uncovered_sky_does_not_dilute_background_and_noise():
    data = noise((640, 640))
    data[:, 130:] = 0
    sky = sky_of(data)
    assert sky.global_level == pytest.approx(50, abs=0.2)
    assert sky.global_rms == pytest.approx(2, rel=0.05)
    assert not sky.residual[:, 130:].any()


def test_scattered_bad_pixels_still_leave_a_background():
    bad = np.random.default_rng(3).random((300, 300)) < 0.7
    sky = sky_of(noise((300, 300)), bad)
    assert sky.global_level == pytest.approx(50, abs=0.2)
    assert sky.noise == pytest.approx(2, rel=0.05)
    assert np.ptp(sky.level) == 0


def test_a_slope_is_subtracted():
    ramp = np.linspace(0, 100, 512, dtype=np.float32)
    sky = sky_of(noise((512, 512)) + ramp)
    assert abs(sky.residual.mean(axis=0)[64:-64]).max() < 0.5


def test_local_noise_follows_the_image():
    data = noise((512, 512))
    data[:, 256:] = noise((512, 256), sigma=6.0)
    sky = sky_of(data)
    assert np.median(sky.noise[:, :128]) == pytest.approx(2, rel=0.1)
    assert np.median(sky.noise[:, -128:]) == pytest.approx(6, rel=0.1)


def test_global_noise_is_one_number():
    sky = sky_of(noise((256, 256)), options=ExtractionOptions(noise="global"))
    assert isinstance(sky.noise, float)
    assert sky.noise == pytest.approx(2, rel=0.05)


def test_patches_without_noise_do_not_lower_the_threshold_to_zero():
    data = noise((512, 512))
    data[:, 400:] = 50.0
    sky = sky_of(data)
    assert sky.noise.min() >= 0.0099 * sky.global_rms


@pytest.mark.parametrize("shape", [(5, 5), (1, 300), (30, 30), (65, 129), (1000, 7)])
def test_images_smaller_than_a_mesh_have_a_background(shape):
    sky = sky_of(noise(shape))
    assert np.isfinite(sky.residual).all()
    assert sky.global_level == pytest.approx(50, abs=2)


@pytest.mark.parametrize("value", [1.0, -999.0, 65535.0])
def test_a_constant_image_has_no_noise(value):
    with pytest.raises(BadInput, match="no noise") as caught:
        sky_of(np.full((200, 200), value))
    assert caught.value.kind == "NoNoise"


@pytest.mark.parametrize(
    "data", [np.full((50, 50), np.nan), np.zeros((500, 500)), np.ones((1, 1)), noise((3, 3))]
)
def test_too_few_pixels_are_refused(data):
    with pytest.raises(BadInput, match="can be used") as caught:
        sky_of(data)
    assert caught.value.kind == "NoGoodPixels"


def test_variance_becomes_noise_and_its_holes_become_bad():
    image = noise((32, 32))
    variance = np.full((32, 32), 9.0, dtype=">f8")
    variance[0, :4] = [0.0, -1.0, np.nan, np.inf]
    sigma, bad = native_variance(variance, image, None)
    assert np.argwhere(bad).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert sigma.dtype == np.float32
    assert (sigma[1:] == 3).all()


def test_a_good_variance_keeps_the_mask():
    bad = np.eye(32, dtype=bool)
    assert native_variance(np.ones((32, 32)), noise((32, 32)), bad)[1] is bad
