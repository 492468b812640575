import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.errors import BadArguments
from astrolake.objects.associate import associate, incomplete_components
from astrolake.sky.healpix import cells_at_order
from astrolake.sky.separation import separation_arcsec


def greedy(ra, dec, priority, ids, radius_arcsec):
    """Return the seed of each row by the rule as it is told: one detection after the other."""
    seeds, seed_of = [], np.empty(ra.size, dtype=np.int64)
    for row in sorted(range(ra.size), key=lambda i: (-np.nan_to_num(priority[i], nan=-np.inf), ids[i])):
        near = (s for s in seeds if separation_arcsec(ra[row], dec[row], ra[s], dec[s]) <= radius_arcsec)
        seed_of[row] = next(near, row)
        if seed_of[row] == row:
            seeds.append(row)
    return seed_of


def crowd(seed, n=300, width_arcsec=12.0, dec0=0.0, levels=4):
    """Return a crowded field: positions, priorities with many ties, unique ids."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, 0.5, (2, n)) * width_arcsec / 3600
    if dec0 == 90.0:
        ra, dec = np.degrees(np.arctan2(y, x)) % 360, 90 - np.hypot(x, y)
    else:
        ra, dec = (x / np.cos(np.radians(dec0))) % 360, dec0 + y
    return ra, dec, rng.integers(0, levels, n).astype(float), rng.permutation(n)


def along_equator(*x_arcsec):
    return np.array(x_arcsec) / 3600.0 % 360.0, np.zeros(len(x_arcsec))


def test_detections_within_the_radius_join_the_best():
    ra, dec = along_equator(0.0, 0.3, -0.4, 10.0)
    assert associate(ra, dec, [1, 5, 2, 1], [0, 1, 2, 3]).seed_index.tolist() == [1, 1, 1, 3]


def test_a_chain_falls_apart_around_its_seeds():
    ra, dec = along_equator(0.0, 0.9, 1.8, 2.7)
    found = associate(ra, dec, [1.0, 4.0, 2.0, 3.0], [0, 1, 2, 3])
    assert found.seed_index.tolist() == [1, 1, 1, 3]
    assert found.component.tolist() == [1, 1, 1, 1]


def test_a_detection_between_two_seeds_joins_the_better_not_the_nearer():
    ra, dec = along_equator(0.0, 0.9, 1.1)
    assert associate(ra, dec, [9.0, 1.0, 8.0], [0, 1, 2]).seed_index.tolist() == [0, 0, 2]


def test_a_late_seed_of_better_priority_takes_what_an_early_one_reached():
    # Row 2 seeds at once on the right; row 1 is decided later, yet is better than row 2.
    ra, dec = along_equator(0.0, 1.05, 2.8, 1.9)
    found = associate(ra, dec, [9.0, 8.0, 7.0, 1.0], [0, 1, 2, 3])
    assert found.seed_index.tolist() == [0, 1, 2, 1]


def test_a_detection_behind_a_better_one_of_its_clump_is_not_overlooked():
    # Row 1 is taken by row 0; row 2, which shares its clump in some of the places, then seeds row 3.
    for shift in np.arange(40) * 0.05:
        ra, dec = along_equator(0.0 + shift, 0.95 + shift, 1.1 + shift, 2.0 + shift)
        found = associate(ra, dec, [9.0, 8.0, 7.0, 6.0], [0, 1, 2, 3])
        assert found.seed_index.tolist() == [0, 0, 2, 2]


def test_equal_priorities_go_by_the_smaller_id():
    ra, dec = along_equator(0.0, 0.5)
    assert associate(ra, dec, [1, 1], [20, 10]).seed_index.tolist() == [1, 1]
    assert associate(ra, dec, [1, 1], np.array(["a-1", "b-1"], dtype=object)).seed_index.tolist() == [0, 0]


def test_nan_priority_goes_last():
    ra, dec = along_equator(0.0, 0.5)
    assert associate(ra, dec, [np.nan, -5.0], [0, 1]).seed_index.tolist() == [1, 1]


def test_the_radius_is_inclusive_and_adjustable():
    ra, dec = np.zeros(2), np.array([0.0, 2.0 / 3600])
    sep = float(separation_arcsec(ra[1], dec[1], ra[0], dec[0]))
    assert associate(ra, dec, [2, 1], [0, 1], sep).seed_index.tolist() == [0, 0]
    assert associate(ra, dec, [2, 1], [0, 1], 1.99).seed_index.tolist() == [0, 1]


def test_objects_across_the_ra_wrap_and_the_pole():
    ra = np.array([359.9999, 0.0001, 10.0, 190.0])
    dec = np.array([0.0, 0.0, 89.9999, 89.9999])
    assert associate(ra, dec, [4, 3, 2, 1], [0, 1, 2, 3]).seed_index.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("width_arcsec", [40.0, 12.0, 4.0])
@pytest.mark.parametrize("dec0", [0.0, -70.0, 90.0])
def test_the_rounds_agree_with_one_detection_after_the_other(width_arcsec, dec0):
    for seed in range(4):
        ra, dec, priority, ids = crowd(seed, 200, width_arcsec, dec0)
        found = associate(ra, dec, priority, ids)
        np.testing.assert_array_equal(found.seed_index, greedy(ra, dec, priority, ids, 1.0))


def test_priorities_that_fall_along_a_chain_need_many_rounds():
    ra, dec = along_equator(*np.arange(300) * 0.6)
    found = associate(ra, dec, -np.arange(300.0), np.arange(300))
    np.testing.assert_array_equal(found.seed_index, np.arange(300) // 2 * 2)
    assert (found.component == 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([4.0, 12.0, 30.0]), st.sampled_from([0.0, 60.0, 90.0]))
def test_the_result_does_not_depend_on_row_order(seed, width_arcsec, dec0):
    ra, dec, priority, ids = crowd(seed, 150, width_arcsec, dec0)
    found = associate(ra, dec, priority, ids)
    order = np.random.default_rng(seed + 1).permutation(150)
    again = associate(ra[order], dec[order], priority[order], ids[order])
    np.testing.assert_array_equal(order[again.seed_index], found.seed_index[order])
    np.testing.assert_array_equal(order[again.component], found.component[order])


def test_hundreds_of_epochs_are_one_object_each():
    rng = np.random.default_rng(4)
    x = np.arange(50) * 5.0
    ra, dec = along_equator(*np.repeat(x, 400))
    ra, dec = ra + rng.normal(0, 0.08 / 3600, ra.size), dec + rng.normal(0, 0.08 / 3600, ra.size)
    found = associate(ra, dec, rng.uniform(size=ra.size), np.arange(ra.size))
    assert np.unique(found.seed_index).size == 50
    np.testing.assert_array_equal(np.bincount(found.seed_index)[np.unique(found.seed_index)], 400)


def test_no_detections():
    found = associate([], [], [], [])
    assert found.seed_index.shape == found.component.shape == (0,)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="detections: row 1"):
        associate([0.0, np.nan], [0.0, 0.0], [1, 1], [0, 1])
    with pytest.raises(ValueError, match="id 7 repeats"):
        associate([0.0, 1.0], [0.0, 0.0], [1, 1], [7, 7])
    with pytest.raises(ValueError, match="give one each"):
        associate([0.0, 1.0], [0.0, 0.0], [1], [0, 1])


@pytest.mark.parametrize("radius_arcsec", [0.0, -1.0, np.nan, 3601.0])
def test_a_radius_out_of_range_is_refused(radius_arcsec):
    with pytest.raises(BadArguments, match="radius_arcsec"):
        associate([0.0], [0.0], [1], [0], radius_arcsec)


def test_incomplete_components_reach_from_the_cell_to_the_border():
    component = np.array([0, 0, 2, 2, 4, 5])
    in_cell = np.array([True, False, True, True, False, True])
    near_border = np.array([False, True, False, False, True, True])
    assert incomplete_components(component, in_cell, near_border).tolist() == [0, 5]


def objects_of_cell(sky, order, cell, margin_arcsec):
    """Associate a HEALPix cell and its margin alone: (seed id, member id) pairs, incomplete labels."""
    ra, dec, priority, ids = sky
    lon, lat = ra[cells_at_order(ra, dec, order) == cell], dec[cells_at_order(ra, dec, order) == cell]
    edge = np.full(ra.size, np.inf)
    for start in range(0, ra.size, 2000):
        rows = slice(start, start + 2000)
        edge[rows] = separation_arcsec(ra[rows, None], dec[rows, None], lon, lat).min(axis=1)
    seen = np.flatnonzero(edge <= margin_arcsec)
    found = associate(ra[seen], dec[seen], priority[seen], ids[seen])
    in_cell = edge[seen] == 0
    near_border = edge[seen] > margin_arcsec - 1.0
    mine = in_cell[found.seed_index]
    pairs = zip(ids[seen][found.seed_index][mine], ids[seen][mine], strict=True)
    return set(pairs), incomplete_components(found.component, in_cell, near_border)


def test_cells_with_margins_give_the_objects_of_the_whole():
    rng = np.random.default_rng(8)
    n, order = 6000, 12
    ra, dec = 30.0 + rng.uniform(0, 140, n) / 3600, 20.0 + rng.uniform(0, 140, n) / 3600
    sky = (ra, dec, rng.integers(0, 50, n).astype(float), rng.permutation(n))
    whole = associate(*sky)
    cells = np.unique(cells_at_order(ra, dec, order))
    assert cells.size > 4
    merged = set()
    for cell in cells:
        pairs, incomplete = objects_of_cell(sky, order, cell, margin_arcsec=25.0)
        assert incomplete.size == 0
        assert not merged & pairs
        merged |= pairs
    assert merged == set(zip(sky[3][whole.seed_index], sky[3], strict=True))


def test_a_margin_that_is_too_narrow_is_noticed():
    # The chain's best detection lies outside of the margin, and decides what is a seed inside.
    ra, dec = along_equator(*np.arange(10) * 0.9)
    priority, ids = np.arange(10.0), np.arange(10)
    seen = ra * 3600 < 4.0
    found = associate(ra[seen], dec[seen], priority[seen], ids[seen])
    in_cell, near_border = ra[seen] * 3600 < 1.5, ra[seen] * 3600 >= 3.0
    assert incomplete_components(found.component, in_cell, near_border).size == 1
