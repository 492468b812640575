"""Sources drawn over their image."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import EllipseCollection

from astrolake.errors import BadInput
from astrolake.visualization.ellipses import detections_picture, source_kinds, telling_window


def detections(image_id=1, **columns):
    base = {"x": [50.0, 200.0], "y": [60.0, 150.0], "a": [2.0, 3.0], "b": [1.5, 2.0], "theta": [0.0, 30.0]}
    rest = {"kron_radius": [3.5, 4.0], "flags": [0, 3], "is_primary": [True, True], "flux_auto": [9.0, 8.0]}
    return pd.DataFrame(base | rest | columns).assign(image_id=image_id)


def test_kinds_go_by_the_worst_that_is_known():
    table = pd.DataFrame(
        {"flags": [0, 1, 2 | 4, 512, 0, 4096], "is_primary": [True, True, True, None, False, True]}
    )
    expected = ["clean", "blended", "damaged", "damaged", "not primary", "clean"]
    np.testing.assert_array_equal(source_kinds(table), expected)


def test_window_lies_on_the_sources():
    x, y = np.full(20, 900.0), np.full(20, 700.0)
    rows, columns = telling_window(x, y, np.full(20, "clean"), (1000, 1200), size=(200, 100))
    assert rows.start <= 700 < rows.stop
    assert columns.start <= 900 < columns.stop
    assert (rows.stop - rows.start, columns.stop - columns.start) == (100, 200)


def test_window_prefers_many_kinds_to_a_few_more_sources():
    x = np.array([50.0] * 4 + [550.0] * 3)
    kinds = np.array(["clean"] * 5 + ["blended", "damaged"])
    columns = telling_window(x, np.full(7, 20.0), kinds, (100, 600), size=(100, 100))[1]
    assert columns.start <= 550 < columns.stop


def test_window_of_a_small_image_is_the_image():
    assert telling_window(np.array([1.0]), np.array([1.0]), np.array(["clean"]), (30, 40)) == (
        slice(0, 30),
        slice(0, 40),
    )


def test_ellipses_are_the_kron_apertures(make_source, make_image_row):
    source = make_source(images=pd.DataFrame([make_image_row(1, "r")]), detections=detections())
    image = np.random.default_rng(1).normal(0.0, 1.0, (300, 400))
    drawing = detections_picture(source, lambda uri, hdu: image)
    clean, blended = (
        part
        for part in drawing.figure.axes[0].collections
        if isinstance(part, EllipseCollection) and len(part.get_offsets())
    )
    np.testing.assert_array_equal(clean.get_widths(), [2.0 * 3.5 * 2.0])
    np.testing.assert_array_equal(clean.get_heights(), [2.0 * 3.5 * 1.5])
    np.testing.assert_array_equal(clean.get_offsets(), [[50.0, 60.0]])
    np.testing.assert_allclose(blended.get_angles(), [30.0])


def test_title_counts_the_clean_ones(make_source, make_image_row):
    source = make_source(images=pd.DataFrame([make_image_row(1, "r")]), detections=detections())
    drawing = detections_picture(source, lambda uri, hdu: np.ones((300, 400)))
    assert drawing.title == "2 sources on one r image, 50 % of them clean"


def test_an_image_without_sources_is_refused(make_source, make_image_row):
    source = make_source(images=pd.DataFrame([make_image_row(1, "r")]), detections=detections(image_id=2))
    with pytest.raises(BadInput, match="no detections on image 1"):
        detections_picture(source, lambda uri, hdu: np.ones((300, 400)))
