"""Objects counted in HEALPix cells."""

import duckdb
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astrolake.sky.healpix import cells_at_order, polygon_cells
from astrolake.visualization.cell_counts import (
    CellCounts,
    Region,
    choose_order,
    choose_region,
    count_cells,
    covered_fraction,
    mean_position,
)
from astrolake.visualization.footprints import Footprints, cell_area_deg2


def counts(order, ra, dec, n=None):
    cells = np.unique(cells_at_order(np.array(ra), np.array(dec), order))
    return CellCounts(order, cells, np.ones(cells.size, dtype=np.int64) if n is None else np.array(n))


def test_counts_of_cells_agree_with_the_positions(make_source, make_objects):
    ra, dec = np.random.default_rng(1).uniform([10.0, -5.0], [14.0, 5.0], (300, 2)).T
    found = count_cells(make_source(objects=make_objects(ra, dec)), 7)
    cells, n = np.unique(cells_at_order(ra, dec, 7), return_counts=True)
    np.testing.assert_array_equal(found.cell, cells)
    np.testing.assert_array_equal(found.n, n)


def test_density_is_per_square_arcminute():
    whole_sky = CellCounts(0, np.arange(12), np.full(12, 12_376_000))
    np.testing.assert_allclose(whole_sky.per_arcmin2, 1.0, rtol=1e-4)


@pytest.mark.parametrize("dec", [-89.9, -40.0, 0.0, 75.0])
def test_region_holds_what_lies_within_its_radius(dec):
    rng = np.random.default_rng(2)
    ra, decs = rng.uniform(0.0, 360.0, 2000), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, 2000)))
    sql = (
        f"SELECT {Region(359.0, dec, 30.0).sql()} AS inside FROM (SELECT unnest($1) AS ra, unnest($2) AS dec)"
    )
    inside = duckdb.execute(sql, [ra.tolist(), decs.tolist()]).df()["inside"]
    centre = SkyCoord(359.0, dec, unit="deg")
    np.testing.assert_array_equal(inside, SkyCoord(ra, decs, unit="deg").separation(centre).deg <= 30.0)


def test_a_small_lake_is_enlarged_as_a_whole():
    region = choose_region(counts(6, [359.5, 0.5, 1.5], [0.0, 0.0, 0.0]))
    assert min(region.ra, 360.0 - region.ra) < 2.0
    assert region.radius < 4.0


def test_of_a_large_lake_the_fullest_part_is_enlarged():
    coarse = counts(6, [10.0, 200.0], [20.0, -40.0])
    fullest = CellCounts(
        6, coarse.cell, np.where(coarse.cell == cells_at_order(np.array([200.0]), np.array([-40.0]), 6), 9, 1)
    )
    region = choose_region(fullest)
    assert region.ra == pytest.approx(200.0, abs=1.0)
    assert region.radius == 2.5


def test_cells_all_over_the_sky_have_no_common_centre():
    whole_sky = CellCounts(1, np.arange(48), np.arange(48))
    assert choose_region(whole_sky).radius == 2.5


def test_order_rises_until_cells_hold_few_objects(make_source, make_objects):
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform([10.0, 0.0], [11.0, 1.0], (20_000, 2)).T
    source = make_source(objects=make_objects(ra, dec))
    order = choose_order(source, Region(10.5, 0.5, 2.0))
    found = count_cells(source, order)
    assert found.n.mean() >= 5.5
    assert count_cells(source, order + 1).n.mean() < 6.0


def test_covered_fractions_add_up_to_the_area_inside_the_outline():
    outline = Footprints(np.array([[10.0, 20.0, 20.0, 10.0]]), np.array([[0.0, 0.0, 10.0, 10.0]]))
    touched = polygon_cells(outline.ra[0], outline.dec[0], 4)
    fraction = covered_fraction(CellCounts(4, touched, np.ones_like(touched)), outline)
    assert fraction.max() == 1.0
    assert fraction.sum() * cell_area_deg2(4) == pytest.approx(outline.area_deg2(), rel=0.02)


def test_cells_outside_the_outline_are_not_covered():
    outline = Footprints(np.array([[10.0, 20.0, 20.0, 10.0]]), np.array([[0.0, 0.0, 10.0, 10.0]]))
    assert covered_fraction(counts(5, [30.0], [5.0]), outline).tolist() == [0.0]


def test_mean_position_across_the_meridian():
    ra, dec = mean_position(counts(12, [359.9, 0.1], [3.0, 3.0]))
    assert min(ra, 360.0 - ra) < 0.02
    assert dec == pytest.approx(3.0, abs=0.02)
