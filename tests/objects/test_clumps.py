import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from astrolake.objects.clumps import first_of_runs, friends_of_friends, gather
from astrolake.sky.separation import separation_arcsec


def field(rng, n, width_arcsec, dec0, epochs=1, scatter_arcsec=0.0):
    """Return random positions in a square (a cap at a pole), each seen several times."""
    x, y = rng.uniform(-0.5, 0.5, (2, n)) * width_arcsec / 3600
    x, y = (np.repeat(v, epochs) + rng.normal(0, scatter_arcsec / 3600, n * epochs) for v in (x, y))
    if abs(dec0) == 90:
        return np.degrees(np.arctan2(y, x)) % 360, np.sign(dec0) * (90 - np.hypot(x, y))
    return (x / np.cos(np.radians(dec0))) % 360, dec0 + y


def same_partition(a, b):
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def components(ra, dec, radius_arcsec):
    clumps = gather(ra, dec, np.arange(ra.size), radius_arcsec)
    return friends_of_friends(clumps, radius_arcsec)


@pytest.mark.parametrize("dec0", [0.0, 65.0, 90.0, -90.0])
@pytest.mark.parametrize(
    ("n", "width_arcsec", "epochs", "scatter_arcsec"),
    [(400, 80, 1, 0), (400, 20, 1, 0), (400, 5, 1, 0), (30, 15, 20, 0.15), (30, 15, 20, 0.4)],
)
def test_components_are_those_of_the_graph_of_all_pairs(n, width_arcsec, epochs, scatter_arcsec, dec0):
    for seed in range(5):
        ra, dec = field(np.random.default_rng(seed), n, width_arcsec, dec0, epochs, scatter_arcsec)
        near = separation_arcsec(ra[:, None], dec[:, None], ra, dec) <= 1.0
        assert same_partition(components(ra, dec, 1.0), connected_components(near, directed=False)[1])


def test_a_chain_is_one_component():
    ra = np.array([0.0, 0.9, 1.8, 2.7, 3.8, 4.7]) / 3600
    assert same_partition(components(ra, np.zeros(6), 1.0), [0, 0, 0, 0, 1, 1])


def test_a_clump_starts_with_its_best_detection_and_stays_within_half_the_radius():
    rng = np.random.default_rng(1)
    ra, dec = field(rng, 2000, 20, 40.0)
    rank = rng.permutation(2000)
    clumps = gather(ra, dec, rank, 1.0)
    assert np.sort(clumps.rows).tolist() == list(range(2000))
    members = np.split(clumps.rows, clumps.start[1:])
    assert [rank[rows[0]] for rows in members] == [rank[rows].min() for rows in members]
    span = [separation_arcsec(ra[rows], dec[rows], ra[rows[0]], dec[rows[0]]).max() for rows in members]
    np.testing.assert_allclose(np.degrees(clumps.span) * 3600, span, atol=1e-8)
    assert max(span) <= 0.5


def test_no_detections_make_no_clumps():
    clumps = gather(np.empty(0), np.empty(0), np.empty(0, np.int64), 1.0)
    assert clumps.best.size == 0
    assert friends_of_friends(clumps, 1.0).size == 0


def test_first_of_runs():
    assert first_of_runs(np.array([3, 3, 1, 3])).tolist() == [0, 2, 3]
    assert first_of_runs(np.array([], dtype=np.int64)).tolist() == []
