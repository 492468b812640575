from itertools import chain

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord, search_around_sky
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.errors import BadArguments
from astrolake.sky.matching import EXCLUSIVE, MODES, iter_match, match
from astrolake.sky.positions import Positions
from astrolake.sky.separation import separation_arcsec


def positions(ra, dec, ids=None):
    return Positions(ra, dec, np.arange(len(ra)) if ids is None else ids)


def arcsec(*points, ids=None):
    """Positions near (0, 0) from (x, y) pairs in arcsec."""
    xy = np.array(points, dtype=np.float64).reshape(-1, 2) / 3600.0
    return positions(xy[:, 0] % 360.0, xy[:, 1], ids)


def all_sky(rng, n):
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def scattered(rng, ra, dec, sigma_arcsec):
    """Return positions moved by a Gaussian in the tangent plane, also at the poles."""
    coords = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, ra.size) * u.deg, np.abs(rng.normal(0, sigma_arcsec, ra.size)) * u.arcsec
    )
    return coords.ra.deg % 360.0, coords.dec.deg


@pytest.fixture(scope="module")
def two_catalogs():
    """Two all-sky catalogs of 200,000 with true pairs, groups, both poles and the RA wrap."""
    rng = np.random.default_rng(5)
    ra, dec = all_sky(rng, 160_000)
    corners_ra = np.concatenate([rng.uniform(0, 360, 20_000), rng.normal(0, 0.01, 20_000) % 360])
    corners_dec = np.concatenate(
        [rng.choice([-1, 1], 20_000) * (90 - np.abs(rng.normal(0, 0.02, 20_000))), rng.normal(0, 1, 20_000)]
    )
    ra, dec = np.concatenate([ra, corners_ra]), np.concatenate([dec, corners_dec])
    near = rng.integers(0, ra.size, 150_000)
    near_ra, near_dec = scattered(rng, ra[near], dec[near], 0.5)
    far_ra, far_dec = all_sky(rng, 50_000)
    return positions(ra, dec), positions(np.append(near_ra, far_ra), np.append(near_dec, far_dec))


def coordinates(side):
    return SkyCoord(side.ra, side.dec, unit="deg")


def brute_force(left, right, radius_arcsec):
    """Return the (left row, right row, separation) of all pairs, ordered by left, separation and right id."""
    i, j = (axis.ravel() for axis in np.indices((len(left), len(right))))
    sep = separation_arcsec(left.ra[i], left.dec[i], right.ra[j], right.dec[j])
    rows = [(a, s, right.id[b], b) for a, b, s in zip(i, j, sep, strict=True) if s <= radius_arcsec]
    return [(int(a), int(b), float(s)) for a, s, _, b in sorted(rows)]


def test_best_is_astropys_match_pair_for_pair(two_catalogs):
    left, right = two_catalogs
    found = match(left, right, 1.0)
    index, sep, _ = coordinates(left).match_to_catalog_sky(coordinates(right))
    near = np.flatnonzero(sep.arcsec <= 1.0)
    np.testing.assert_array_equal(found.left_index, near)
    np.testing.assert_array_equal(found.right_index, index[near])
    np.testing.assert_allclose(found.sep_arcsec, sep.arcsec[near], atol=1e-8)
    assert near.size > 50_000


def test_all_is_astropys_search_around_pair_for_pair(two_catalogs):
    left, right = two_catalogs
    found = match(left, right, 3.0, "all", chunk_pairs=20_000)
    i, j, _, _ = search_around_sky(coordinates(left), coordinates(right), 3.0 * u.arcsec)
    assert len(found) == i.size > 100_000
    ours, theirs = found.left_index * len(right) + found.right_index, i * len(right) + j
    np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


def test_nearest_n_is_the_head_of_all(two_catalogs):
    left, right = two_catalogs
    everything, head = match(left, right, 4.0, "all"), match(left, right, 4.0, "nearest-n", n=3)
    wanted = everything.rank <= 3
    np.testing.assert_array_equal(head.right_index, everything.right_index[wanted])
    np.testing.assert_array_equal(head.rank, everything.rank[wanted])


def test_anti_is_the_complement_of_best(two_catalogs):
    left, right = two_catalogs
    best, anti = match(left, right, 1.0), match(left, right, 1.0, "anti", chunk_pairs=50_000)
    np.testing.assert_array_equal(np.sort(np.append(best.left_index, anti.left_index)), np.arange(len(left)))
    assert (anti.right_index == -1).all()
    assert np.isnan(anti.sep_arcsec).all()
    assert (anti.rank == 0).all()


def test_the_radius_is_inclusive():
    sep = separation_arcsec(0.0, 0.0, 0.0, 1.0 / 3600)
    left, right = arcsec((0, 0)), arcsec((0, 1))
    assert len(match(left, right, float(sep))) == 1
    assert len(match(left, right, float(np.nextafter(sep, 0)))) == 0


@pytest.mark.parametrize("mode", ["best", "all"])
def test_one_hundredth_of_an_arcsec_is_resolved(mode):
    right = arcsec((0.0099, 0), (0.0101, 0))
    assert match(arcsec((0, 0)), right, 0.01, mode).right_index.tolist() == [0]


@pytest.mark.parametrize("mode", ["best", "all"])
def test_radii_of_many_degrees(mode):
    right = positions(np.array([0.0, 180.0, 90.0]), np.array([79.5, -45.0, 0.0]))
    left = positions(np.array([180.0, 0.0]), np.array([89.5, 45.0]))
    found = match(left, right, 11.5 * 3600, mode)
    assert (found.left_index.tolist(), found.right_index.tolist()) == ([0], [0])
    assert found.sep_arcsec[0] == pytest.approx(11 * 3600)
    whole_sky = match(left, right, 648000.0, mode)
    assert whole_sky.sep_arcsec.max() == pytest.approx(648000.0 if mode == "all" else 34.5 * 3600)


def test_pairs_at_the_poles_and_across_the_ra_wrap():
    left = positions(np.array([10.0, 0.0, 359.9999]), np.array([89.9999, -90.0, 0.0]))
    right = positions(np.array([0.0001, 200.0, 190.0]), np.array([0.0, -89.9999, 89.9999]))
    found = match(left, right, 0.73)
    assert found.right_index.tolist() == [2, 1, 0]
    np.testing.assert_allclose(found.sep_arcsec, [0.72, 0.36, 0.72], atol=1e-9)


def test_hundreds_of_exact_duplicates_give_the_smallest_id():
    rng = np.random.default_rng(3)
    ids = rng.permutation(1000)
    right = arcsec(*([(0.5, 0.5)] * 900), *rng.uniform(-1, 1, (100, 2)) + 5, ids=ids)
    left = arcsec((0, 0), (5, 5))
    best = match(left, right, 1.0)
    assert ids[best.right_index[0]] == ids[:900].min()
    nearest = match(left, right, 1.0, "nearest-n", n=5)
    np.testing.assert_array_equal(ids[nearest.right_index[:5]], np.sort(ids[:900])[:5])
    assert nearest.rank.tolist()[:5] == [1, 2, 3, 4, 5]
    assert (match(left, right, 1.0, "all", chunk_pairs=10).left_index == 0).sum() == 900


@pytest.mark.parametrize("dtype", [object, str])
def test_ids_may_be_strings(dtype):
    right = arcsec((1, 0), (1, 0), (1, 0), ids=np.array(["b", "a", "c"], dtype=dtype))
    assert match(arcsec((0, 0)), right, 2.0).right_index.tolist() == [1]
    assert match(arcsec((0, 0)), right, 2.0, "all").right_index.tolist() == [1, 0, 2]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("n_left", "n_right"), [(0, 0), (0, 3), (3, 0)])
def test_empty_sides(mode, n_left, n_right):
    left, right = arcsec(*[(0, 0)] * n_left), arcsec(*[(0, 0)] * n_right)
    found = match(left, right, 1.0, mode)
    assert len(found) == (n_left if mode in ("anti", "left") else 0)
    assert (found.left_index.dtype, found.sep_arcsec.dtype, found.rank.dtype) == (np.int64, float, np.int32)


@pytest.mark.parametrize(("ra", "dec"), [(np.nan, 0.0), (0.0, np.inf), (0.0, -91.0)])
def test_bad_positions_are_refused(ra, dec):
    with pytest.raises(ValueError, match="row 0"):
        positions(np.array([ra]), np.array([dec]))


def test_ids_of_another_length_are_refused():
    with pytest.raises(ValueError, match="ids of shape"):
        positions(np.zeros(2), np.zeros(2), np.arange(3))


@pytest.mark.parametrize(
    "arguments",
    [
        {"radius_arcsec": -1.0},
        {"radius_arcsec": np.nan},
        {"radius_arcsec": 1e6},
        {"radius_arcsec": 1.0, "mode": "worst"},
        {"radius_arcsec": 1.0, "mode": "nearest-n", "n": 0},
        {"radius_arcsec": 1.0, "chunk_pairs": 0},
    ],
)
def test_arguments_out_of_range_are_refused_at_once(arguments):
    with pytest.raises(BadArguments):
        iter_match(arcsec((0, 0)), arcsec((0, 0)), **arguments)


def test_pieces_hold_a_bounded_number_of_pairs(two_catalogs):
    left, right = two_catalogs
    pieces = list(iter_match(left, right, 2.0, "all", chunk_pairs=5000))
    assert max(len(piece) for piece in pieces) <= 5000
    whole = match(left, right, 2.0, "all")
    names = ("left_index", "right_index", "sep_arcsec", "rank")
    joined = {name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names}
    order = np.argsort(joined["left_index"], kind="stable")
    for name in names:
        np.testing.assert_array_equal(joined[name][order], getattr(whole, name))


GRID = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=14)
PLACE = st.sampled_from([(0.0, 0.0), (359.9997, 60.0), (0.0, 90.0), (0.0, -89.9995)])


def on_grid(points, place, first_id):
    """Positions on a 1 arcsec grid around a place: full of duplicates and equal separations."""
    xy = np.array(points, dtype=np.float64).reshape(-1, 2) / 3600.0
    if abs(place[1]) > 80:
        ra, dec = np.degrees(np.arctan2(xy[:, 1], xy[:, 0])), np.sign(place[1]) * (90 - np.hypot(*xy.T))
    else:
        ra, dec = place[0] + xy[:, 0] / np.cos(np.radians(place[1])), place[1] + xy[:, 1]
    return positions(ra % 360.0, dec, np.arange(first_id, first_id + len(points)))


@settings(max_examples=80, deadline=None)
@given(GRID, GRID, PLACE, st.integers(1, 3), st.integers(1, 20), st.sampled_from([0.0, 1.0, 2.5]))
def test_every_mode_agrees_with_brute_force(left, right, place, n, chunk_pairs, radius):
    left, right = on_grid(left, place, 0), on_grid(right, place, 50)
    expected = brute_force(left, right, radius)
    found = match(left, right, radius, "all", chunk_pairs=chunk_pairs)
    assert list(zip(found.left_index, found.right_index, found.sep_arcsec, strict=True)) == expected
    found = match(left, right, radius, "nearest-n", n, chunk_pairs=chunk_pairs)
    heads = [[row for row in expected if row[0] == i][:n] for i in range(len(left))]
    assert list(zip(found.left_index, found.right_index, found.sep_arcsec, strict=True)) == list(
        chain(*heads)
    )
    assert match(left, right, radius, "anti").left_index.tolist() == [i for i, h in enumerate(heads) if not h]


def pairs_by_id(left, right, mode, n):
    found = match(left, right, 2.0, mode, n)
    right_id = [None if j < 0 else right.id[j] for j in found.right_index]
    rows = zip(left.id[found.left_index], right_id, found.sep_arcsec, found.rank, strict=True)
    return sorted((int(a), b, float(np.nan_to_num(s)), int(k)) for a, b, s, k in rows)


@settings(max_examples=80, deadline=None)
@given(GRID, GRID, PLACE, st.sampled_from(MODES), st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_row_order_or_partitioning(left, right, place, mode, n, random):
    left, right = on_grid(left, place, 0), on_grid(right, place, 50)
    shuffled = []
    for side in (left, right):
        order = np.array(random.sample(range(len(side)), len(side)), dtype=np.int64)
        shuffled.append(side[order])
    whole = pairs_by_id(left, right, mode, n)
    assert pairs_by_id(*shuffled, mode, n) == whole
    if mode in EXCLUSIVE:
        return
    halves = [left[rows] for rows in np.array_split(np.arange(len(left)), 2)]
    assert sorted(pair for half in halves for pair in pairs_by_id(half, right, mode, n)) == whole


@pytest.fixture(scope="module")
def catalogs(survey_data):
    """Pan-STARRS1, SDSS and CMC14 stars of one field."""
    folder = survey_data / "catalogs"
    panstarrs = pd.read_csv(folder / "panstarrs_308.csv")
    sdss = pd.read_csv(folder / "sdss_308.csv", comment="#")
    cmc = pd.read_csv(folder / "CMC14_10068.txt", sep=r"\s+", header=None, usecols=[0, 1])
    return {
        "panstarrs": positions(panstarrs.raMean, panstarrs.decMean, panstarrs.objID),
        "sdss": positions(sdss.ra, sdss.dec, sdss.objid),
        "cmc": positions(cmc[0], cmc[1]),
    }


@pytest.mark.data
@pytest.mark.parametrize(
    ("left", "right", "n_matched", "median_arcsec"),
    [("sdss", "panstarrs", 356, 0.17), ("panstarrs", "cmc", 2091, 0.22)],
)
def test_best_gives_the_known_counts(catalogs, left, right, n_matched, median_arcsec):
    found = match(catalogs[left], catalogs[right], 2.0)
    assert len(found) == n_matched
    assert np.median(found.sep_arcsec) == pytest.approx(median_arcsec, abs=0.005)
    assert len(match(catalogs[left], catalogs[right], 2.0, "anti")) == len(catalogs[left]) - n_matched


@pytest.mark.data
@pytest.mark.parametrize(("left", "right"), [("sdss", "panstarrs"), ("panstarrs", "cmc"), ("sdss", "cmc")])
def test_agrees_with_astropy(catalogs, left, right):
    left, right = catalogs[left], catalogs[right]
    index, sep, _ = coordinates(left).match_to_catalog_sky(coordinates(right))
    best = match(left, right, 2.0)
    near = np.flatnonzero(sep.arcsec <= 2.0)
    np.testing.assert_array_equal(best.left_index, near)
    np.testing.assert_array_equal(best.right_index, index[near])
    i, j, _, _ = search_around_sky(coordinates(left), coordinates(right), 60 * u.arcsec)
    pairs = match(left, right, 60.0, "all")
    assert set(zip(pairs.left_index, pairs.right_index, strict=True)) == set(zip(i, j, strict=True))
