import threading
import tracemalloc

import numpy as np
import pytest
from star_fields import gaussian_stars, grid, nearest, observed

from astrolake.errors import BadArguments, BadInput
from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.flags import FLAGS, Flag
from astrolake.photometry.magnitudes import calibrate
from astrolake.photometry.options import ExtractionOptions, gaussian_kernel
from astrolake.schema import DETECTIONS, PIXEL_DETECTIONS

SIGMA = 1.7
X, Y = grid(300, 50)
# The detector's pixel, and the pixel as a uniform square in the sum, each add the variance 1/12.
SEEN_VARIANCE = SIGMA**2 + 2 / 12
STARS = gaussian_stars((300, 300), X, Y, 20_000.0, SIGMA)
FRAME = observed(STARS)


def columns_of(data, **arguments):
    return extract_frame(data, **arguments).columns


def test_every_star_is_found_where_it_was_put():
    columns = columns_of(FRAME)
    _, distance = nearest(columns, X, Y)
    assert len(columns["x"]) == len(X)
    assert distance.max() < 0.03


def test_circular_fluxes_are_those_of_a_gaussian():
    radii = (2.0, 4.0, 8.0)
    columns = columns_of(FRAME, options=ExtractionOptions(aperture_radii_px=radii))
    expected = 20_000 * (1 - np.exp(-np.square(radii) / (2 * SEEN_VARIANCE)))
    assert columns["flux_aper"].shape == (len(X), 3)
    assert np.abs(np.median(columns["flux_aper"], axis=0) / expected - 1).max() < 0.005


def test_kron_aperture_holds_nearly_all_light():
    ratio = columns_of(FRAME)["flux_auto"] / 20_000
    assert 0.94 < np.median(ratio) < 1.01


def test_shape_of_an_elongated_source():
    yy, xx = np.mgrid[:101, :101] - 50.0
    along, across = (xx + yy) / np.sqrt(2), (yy - xx) / np.sqrt(2)
    columns = columns_of(observed(5000 * np.exp(-0.5 * ((along / 4) ** 2 + (across / 2) ** 2)), noise=1.0))
    main = columns["flux_auto"].argmax()
    assert columns["theta"][main] == pytest.approx(45, abs=1)
    assert columns["a"][main] == pytest.approx(4, rel=0.1)
    assert columns["b"][main] == pytest.approx(2, rel=0.1)
    assert columns["fwhm"][main] == pytest.approx(2.3548 * np.sqrt((16 + 4) / 2), rel=0.1)


def test_half_light_radius_of_a_gaussian():
    radius = columns_of(FRAME)["flux_radius"]
    assert np.median(radius) == pytest.approx(np.sqrt(2 * np.log(2) * SEEN_VARIANCE), rel=0.01)


def test_background_and_noise_at_the_sources():
    columns = columns_of(FRAME)
    assert np.median(columns["background"]) == pytest.approx(100, abs=0.5)
    assert np.median(columns["background_rms"]) == pytest.approx(5, rel=0.05)


def test_edge_distance_counts_from_the_outer_border_of_the_image():
    columns = columns_of(FRAME)
    sides = [columns["x"] + 0.5, columns["y"] + 0.5, 299.5 - columns["x"], 299.5 - columns["y"]]
    np.testing.assert_allclose(columns["edge_distance_px"], np.min(sides, axis=0))


def test_calibrated_columns_are_those_of_the_tables():
    extraction = extract_frame(FRAME, options=ExtractionOptions(psf="gaussian"))
    calibrated = calibrate(extraction, 22.5, 0.4)
    origin = {"detection_id", "image_id", "number", "survey", "band", "visit", "mjd", "run_id", "star_prob"}
    pixel_columns = {column.name for column in PIXEL_DETECTIONS.columns} - origin
    extra = {"x_err", "y_err", "edge_distance_px"}
    assert set(calibrated) == pixel_columns | extra
    assert "edge_distance_px" in {column.name for column in DETECTIONS.columns}


def test_an_image_without_sources_has_all_columns_and_no_rows():
    extraction = extract_frame(observed(np.zeros((128, 128))), options=ExtractionOptions(detect_sigma=30))
    assert len(extraction) == 0
    assert set(extraction.columns) == set(columns_of(FRAME))
    assert extraction.columns["flux_aper"].shape == (0, 3)
    assert calibrate(extraction, 25.0, 0.4)["mag_aper"].shape == (0, 3)


def test_two_runs_agree_to_the_last_bit():
    first, second = columns_of(FRAME, gain=2.0), columns_of(FRAME, gain=2.0)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


COUNTS = np.rint(FRAME)


@pytest.mark.parametrize(
    "data",
    [
        COUNTS.astype(">f4"),
        COUNTS.astype(">f8"),
        COUNTS.astype(np.uint16),
        COUNTS.astype(">i2"),
        COUNTS.astype(np.int64),
        np.asfortranarray(COUNTS),
        np.repeat(COUNTS, 2, axis=1)[:, ::2],
        np.ma.masked_invalid(COUNTS),
        COUNTS.tolist(),
    ],
    ids=[
        "big-endian",
        "big-endian double",
        "uint16",
        "int16",
        "int64",
        "fortran",
        "strided",
        "masked",
        "list",
    ],
)
def test_any_type_of_pixel_gives_the_same_sources(data):
    columns, expected = columns_of(data), columns_of(COUNTS.astype(np.float32))
    for name, values in expected.items():
        np.testing.assert_array_equal(columns[name], values, err_msg=name)


def test_the_image_is_left_as_it_was():
    data = FRAME.copy()
    data[:20, :20] = np.nan
    before = data.copy()
    extract_frame(data, bad=np.zeros(data.shape, bool), gain=2.0)
    np.testing.assert_array_equal(data, before)


def test_bad_pixels_are_not_used_and_flagged():
    data, star = FRAME.copy(), 14
    column, row = round(X[star]), round(Y[star])
    data[row + 3, column] = 1e6
    bad = np.zeros(data.shape, bool)
    bad[row + 3, column] = True
    columns = columns_of(data, bad=bad)
    index, distance = nearest(columns, X, Y)
    flagged = columns["flags"][index] & Flag.BAD_PIXELS > 0
    assert distance.max() < 0.1
    assert np.flatnonzero(flagged).tolist() == [star]
    assert columns["flux_auto"][index[star]] == pytest.approx(20_000, rel=0.05)


def test_not_a_number_counts_as_bad():
    data = FRAME.copy()
    data[100:120, :] = np.nan
    marked = columns_of(FRAME, bad=np.isnan(data))
    for name, values in columns_of(data).items():
        np.testing.assert_array_equal(values, marked[name], err_msg=name)


def pulls(flux, gain):
    x, y = grid(1000, 50)
    data = observed(gaussian_stars((1000, 1000), x, y, flux, SIGMA), gain=2.0, seed=5)
    columns = columns_of(data, gain=gain, options=ExtractionOptions(aperture_radii_px=(8.0,)))
    index, _ = nearest(columns, x, y)
    measured = {name: values[index] for name, values in columns.items()}
    return {
        "flux": (measured["flux_aper"][:, 0] - flux) / measured["flux_aper_err"][:, 0],
        "x": (measured["x"] - x) / measured["x_err"],
        "y": (measured["y"] - y) / measured["y_err"],
        "flags": measured["flags"],
    }


@pytest.mark.parametrize("flux", [3_000.0, 1_000_000.0], ids=["sky-limited", "photon-limited"])
def test_errors_describe_the_scatter(flux):
    pull = pulls(flux, gain=2.0)
    assert np.std(pull["flux"]) == pytest.approx(1, abs=0.15)
    assert 0.6 < np.std(pull["x"]) < 1.3
    assert 0.6 < np.std(pull["y"]) < 1.3


def test_without_gain_the_errors_of_bright_stars_are_too_small_and_flagged():
    pull = pulls(1_000_000.0, gain=None)
    assert np.std(pull["flux"]) > 4
    assert (pull["flags"] & Flag.NO_GAIN > 0).all()


def test_with_gain_nothing_is_flagged_on_an_easy_field():
    assert not columns_of(FRAME, gain=2.0)["flags"].any()


def test_constant_variance_finds_what_the_global_noise_finds():
    glob = extract_frame(FRAME, options=ExtractionOptions(noise="global"))
    variance = np.full(FRAME.shape, glob.info.background_rms**2)
    columns = columns_of(FRAME, variance=variance)
    np.testing.assert_array_equal(columns["x"], glob.columns["x"])
    np.testing.assert_allclose(columns["flux_auto_err"], glob.columns["flux_auto_err"], rtol=1e-4)


def test_variance_sets_the_threshold_of_each_pixel():
    faint = observed(gaussian_stars((120, 240), [60, 180], [60, 60], 600.0, SIGMA), noise=1.0)
    variance = np.ones(faint.shape)
    variance[:, 120:] = 100.0**2
    columns = columns_of(faint, variance=variance, options=ExtractionOptions(detect_sigma=5))
    assert len(columns["x"]) == 1
    assert columns["x"][0] == pytest.approx(60, abs=0.2)
    assert columns["background_rms"][0] == 1.0


def test_pixels_without_positive_variance_are_not_used():
    variance = np.full(FRAME.shape, 25.0)
    variance[:, :150] = [0.0, np.nan, -1.0] * 50
    columns = columns_of(FRAME, variance=variance)
    assert len(columns["x"]) == np.count_nonzero(X > 150)


def test_saturated_sources_are_flagged():
    level = FRAME[round(Y[3]), round(X[3])] - 1
    columns = columns_of(FRAME, saturation=level)
    boxes = [
        FRAME[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] for x, y in zip(X, Y, strict=True)
    ]
    reached = [box.max() >= level for box in boxes]
    index, _ = nearest(columns, X, Y)
    assert (columns["flags"][index] & Flag.SATURATED > 0).tolist() == reached
    assert 0 < sum(reached) < len(reached)


def test_a_star_on_the_border_is_flagged_as_truncated():
    data = observed(gaussian_stars((100, 100), [0.0, 50.0], [50.0, 50.0], 20_000.0, SIGMA))
    columns = columns_of(data)
    index, _ = nearest(columns, np.array([0.0, 50.0]), np.array([50.0, 50.0]))
    edge, middle = columns["flags"][index]
    assert edge & Flag.TRUNCATED
    assert edge & Flag.APERTURE_INCOMPLETE
    assert not middle & (Flag.TRUNCATED | Flag.APERTURE_INCOMPLETE)


PAIR = observed(
    gaussian_stars((120, 120), [55.0, 65.0], [60.0, 60.0], [200_000.0, 10_000.0], SIGMA), noise=2.0
)


def faint_of_pair(**options):
    columns = columns_of(PAIR, options=ExtractionOptions(**options))
    index, distance = nearest(columns, np.array([65.0]), np.array([60.0]))
    return {name: values[index[0]] for name, values in columns.items()} | {"distance": distance[0]}


def test_the_light_of_a_bright_neighbour_is_left_out():
    masked, plain = faint_of_pair(), faint_of_pair(mask_neighbours=False)
    assert plain["flux_auto"] > 2.6 * 10_000
    assert masked["flux_auto"] == pytest.approx(10_000, rel=0.15)
    assert masked["flags"] & Flag.NEIGHBOURS
    assert masked["flags"] & Flag.BLENDED


def test_without_deblending_a_pair_is_one_source():
    assert len(columns_of(PAIR, options=ExtractionOptions(deblend_contrast=1.0))["x"]) == 1


def test_a_wide_filter_keeps_the_stars_and_loses_the_noise():
    x, y = grid(400, 40)
    data = observed(gaussian_stars((400, 400), x, y, 2_000.0, 2.5))

    def found(kernel):
        columns = columns_of(data, options=ExtractionOptions(kernel=kernel))
        return np.count_nonzero(nearest(columns, x, y)[1] < 2), len(columns["x"])

    assert found(gaussian_kernel(5.9)) == (len(x), len(x))
    assert found(None)[1] > len(x)


def test_a_survey_frame_needs_little_memory():
    data = observed(np.zeros((1489, 2048)))
    tracemalloc.start()
    extract_frame(data, gain=2.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * data.nbytes


def test_threads_do_not_disturb_each_other():
    expected, results = columns_of(FRAME), []
    threads = [threading.Thread(target=lambda: results.append(columns_of(FRAME))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for columns in results:
        np.testing.assert_array_equal(columns["flux_auto"], expected["flux_auto"])


@pytest.mark.parametrize("gain", [0.0, -1.0, np.nan])
def test_an_impossible_gain_is_refused(gain):
    with pytest.raises(BadArguments, match="gain"):
        extract_frame(FRAME, gain=gain)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(BadInput, match=r"the mask has the shape \(3, 3\), the image \(300, 300\)"):
        extract_frame(FRAME, bad=np.zeros((3, 3), bool))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("detect_sigma", 0),
        ("min_pixels", 0),
        ("deblend_levels", 0),
        ("deblend_contrast", 1.5),
        ("background_box_px", 0),
        ("background_filter", 0),
        ("kernel", ((1.0,), (1.0, 2.0))),
        ("noise", "poisson"),
        ("aperture_radii_px", (3.0, -1.0)),
        ("kron_factor", 0),
        ("kron_min_radius", -1),
    ],
)
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(BadArguments, match=name):
        ExtractionOptions(**{name: value})


def test_every_flag_has_one_bit_and_a_meaning():
    assert set(FLAGS) == {int(flag) for flag in Flag}
    assert all(bit.bit_count() == 1 and text for bit, text in FLAGS.items())
