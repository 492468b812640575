import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.sky.separation import chord, unit_vectors
from astrolake.sky.sweep import Sweep


def brute(left, right, reach):
    near = ((left[:, np.newaxis] - right[np.newaxis]) ** 2).sum(axis=2) <= reach * reach
    return set(zip(*(axis.tolist() for axis in np.nonzero(near)), strict=True))


def swept(left, right, reach, most):
    found, seen = set(), []
    for rows, i, j in Sweep(right, reach).pairs(left, most):
        seen += rows.tolist()
        pairs = list(zip(i.tolist(), j.tolist(), strict=True))
        assert set(i.tolist()) <= set(rows.tolist())
        assert not found & set(pairs), "a pair came twice"
        found |= set(pairs)
        changes = np.count_nonzero(np.diff(i)) + 1 if len(i) else 0
        assert changes == len(set(i.tolist())), "pairs of a row stand together"
    assert sorted(seen) == list(range(len(left)))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 60),
    st.integers(0, 60),
    st.sampled_from([(0.0, 0.0), (359.9, 45.0), (10.0, 89.9), (200.0, -90.0)]),
    st.sampled_from([1e-4, 0.1, 5.0, 60.0, 180.0]),
    st.sampled_from([0.0, 0.1, 1.0, 100.0, 3600.0, 90 * 3600.0, 180 * 3600.0]),
    st.integers(1, 200),
)
def test_every_pair_is_found_once(seed, n_left, n_right, place, spread_deg, radius_arcsec, most):
    rng = np.random.default_rng(seed)

    def side(n):
        ra = place[0] + rng.uniform(-1, 1, n) * spread_deg
        dec = np.clip(place[1] + rng.uniform(-1, 1, n) * spread_deg, -90, 90)
        if n > 3:
            ra[:2], dec[:2] = place  # duplicates, and a position that both sides have
        return unit_vectors(ra, dec)

    left, right = side(n_left), side(n_right)
    reach = chord(radius_arcsec) * (1 + 1e-9) + 1e-14
    assert swept(left, right, reach, most) == brute(left, right, reach)


@pytest.mark.parametrize("n_right", [0, 1, 5000])
def test_a_crowd_of_duplicates_beside_a_wide_field(n_right):
    rng = np.random.default_rng(1)
    right = np.concatenate(
        [
            unit_vectors(rng.uniform(0, 20, 500), rng.uniform(-10, 10, 500)),
            unit_vectors(*np.full((2, n_right), 5.0)),
        ]
    )
    left = unit_vectors(np.array([5.0, 5.0001, 19.0]), np.array([5.0, 5.0, -9.0]))
    reach = chord(1.0)
    assert swept(left, right, reach, 100) == brute(left, right, reach)


def test_candidates_are_held_in_pieces():
    rng = np.random.default_rng(2)
    vectors = unit_vectors(rng.uniform(0, 0.01, 500), rng.uniform(0, 0.01, 500))
    sizes = [len(left) for _, left, _ in Sweep(vectors, chord(5.0)).pairs(vectors, 2000)]
    assert max(sizes) <= 2000
    assert len(sizes) > 3


def test_rows_at_the_very_border_of_a_zone_keep_their_pairs():
    """Rounding may put the ends of a row's reach into zones two apart; the one between must not be missed."""
    reach = chord(20.0)
    rng = np.random.default_rng(7)
    right = unit_vectors(rng.normal(0, 0.004, 4000) % 360.0, rng.normal(0, 0.004, 4000))
    sweep = Sweep(right, reach)
    axis = sweep._frame[1]
    border = np.arange(-40, 40) * sweep._height
    center = np.cross(*sweep._frame)
    nudge = np.concatenate([[0.0], *(sign * 10.0 ** np.arange(-18, -9.0) for sign in (1, -1))])
    across = (border[:, np.newaxis] + sweep._margin + nudge).ravel()
    across = across[np.abs(across) < 1e-4]
    left = across[:, np.newaxis] * axis + np.sqrt(1 - across[:, np.newaxis] ** 2) * center
    left *= np.sign(left @ right.mean(axis=0))[:, np.newaxis]
    assert swept(left, right, reach, 10_000) == brute(left, right, reach)


def test_a_zone_is_higher_than_two_reaches_after_rounding():
    sweep = Sweep(unit_vectors(np.zeros(5000), np.zeros(5000)), chord(20.0))
    across = np.linspace(-1, 1, 200_001)
    low, high = (np.floor((across + shift) / sweep._height) for shift in (-sweep._margin, sweep._margin))
    assert (high - low).max() == 1
