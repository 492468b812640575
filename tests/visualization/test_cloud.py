"""Clouds of points counted in SQL."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from astrolake.visualization.cloud import AS_POINTS, Cloud, Plane, count_cloud, draw_cloud, weighted_quantile

PLANE = Plane("a", "b", (0.0, 10.0), (0.0, 10.0))


def test_few_rows_keep_their_places(make_source):
    cloud = count_cloud(make_source(t=pd.DataFrame({"a": [1.0, 7.0], "b": [2.0, 3.0]})), "t", PLANE)
    np.testing.assert_allclose(cloud.x, [1.0, 7.0], atol=0.0025)
    np.testing.assert_allclose(cloud.y, [2.0, 3.0], atol=0.0025)


def test_rows_of_one_cell_are_counted_together(make_source):
    cloud = count_cloud(make_source(t=pd.DataFrame({"a": [1.0, 1.0, 5.0], "b": [1.0, 1.0, 5.0]})), "t", PLANE)
    assert cloud.n.tolist() == [2.0, 1.0]


def test_rows_outside_or_missing_are_not_counted(make_source):
    rows = pd.DataFrame({"a": [1.0, 11.0, np.nan, 1.0, None], "b": [1.0, 1.0, 1.0, -0.1, 1.0]})
    assert count_cloud(make_source(t=rows), "t", PLANE).total == 1


def test_answer_is_bounded_for_many_rows(make_source):
    xy = np.random.default_rng(1).normal(5.0, 0.01, (2 * AS_POINTS, 2))
    cloud = count_cloud(make_source(t=pd.DataFrame(xy, columns=["a", "b"])), "t", PLANE)
    assert cloud.total == 2 * AS_POINTS
    assert cloud.n.size < 150


def test_few_are_drawn_as_points():
    axes = Figure().add_subplot()
    cloud = Cloud(np.array([1.0]), np.array([2.0]), np.array([1.0]))
    assert draw_cloud(axes, cloud, "blue", (0.0, 10.0, 0.0, 10.0)) is None
    assert len(axes.collections[0].get_offsets()) == 1


def test_many_are_drawn_as_hexagons_that_hold_all():
    xy = np.random.default_rng(2).uniform(0.0, 10.0, (2, 500))
    cloud = Cloud(*xy, np.full(500, 100.0))
    hexagons = draw_cloud(Figure().add_subplot(), cloud, "blue", (0.0, 10.0, 0.0, 10.0))
    assert hexagons is not None
    assert hexagons.get_array().sum() == 50_000


@pytest.mark.parametrize(("q", "expected"), [(0.5, 2.0), (0.75, 2.0), (0.8, 3.0), (1.0, 3.0)])
def test_quantile_by_weight(q, expected):
    assert weighted_quantile(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0]), q) == expected


def test_quantile_of_nothing_is_missing():
    assert np.isnan(weighted_quantile(np.array([]), np.array([]), 0.5))
