"""Marks on images."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from astrolake.visualization.marks import add_compass, add_scale_bar, sky_directions


def test_north_is_up_and_east_left_on_a_usual_image(make_wcs):
    north, east = sky_directions(make_wcs(dec=60.0))
    np.testing.assert_allclose(north, [0.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(east, [-1.0, 0.0], atol=1e-5)


def test_directions_turn_with_the_image(make_wcs):
    north, east = sky_directions(make_wcs(turn_deg=90.0))
    np.testing.assert_allclose(north, [1.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(east, [0.0, 1.0], atol=1e-5)


@pytest.mark.parametrize("turn_deg", [0.0, 90.0, 180.0, 250.0])
def test_compass_stays_inside_the_image(make_wcs, turn_deg):
    axes = Figure().add_subplot()
    add_compass(axes, make_wcs(turn_deg=turn_deg), (300, 400), "white")
    ends = np.array([annotation.xy for annotation in axes.texts if not annotation.get_text()])
    assert len(ends) == 2
    assert (ends > 0).all()
    assert (ends < [400, 300]).all()


@pytest.mark.parametrize(("pixel_arcsec", "label", "length_px"), [(0.75, "1′", 80.0), (0.2, "20″", 100.0)])
def test_scale_bar_has_a_round_length(pixel_arcsec, label, length_px):
    axes = Figure().add_subplot()
    add_scale_bar(axes, pixel_arcsec, (300, 400), "white")
    assert axes.texts[0].get_text() == label
    assert np.ptp(axes.lines[0].get_xdata()) == pytest.approx(length_px)
