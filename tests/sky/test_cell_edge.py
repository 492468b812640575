import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from cdshealpix import nested
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from astrolake.sky.cell_edge import near_cell
from astrolake.sky.healpix import healpix29, parent
from astrolake.sky.separation import lonlat, unit_vectors

#: Base cells of the caps and the equator; cells at the poles, across z = 2/3, and in the middle.
CELLS = [
    (0, 0),
    (0, 5),
    (0, 10),
    (1, 3),
    (1, 17),
    (2, 15),
    (3, 300),
    (6, 4095),
    (6, 20_000),
    (10, 12_000_000),
]


def _edge(order: int, npix: int, steps: int) -> SkyCoord:
    lon, lat = nested.vertices(np.array([npix], np.uint64), order, step=steps)
    return SkyCoord(lon.ravel(), lat.ravel())


def _around(order: int, npix: int, reach_deg: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions on both sides of the edge of a cell."""
    rng = np.random.default_rng(seed)
    edge = _edge(order, npix, 200)
    start = edge[rng.integers(0, len(edge), 3000)]
    moved = start.directional_offset_by(
        rng.uniform(0, 360, 3000) * u.deg, rng.uniform(0, reach_deg, 3000) * u.deg
    )
    return moved.ra.deg, moved.dec.deg


@pytest.mark.parametrize(("order", "npix"), CELLS)
@pytest.mark.parametrize("share", [1e-4, 0.05, 1.0])
def test_the_distance_is_that_to_a_finely_sampled_edge(order, npix, share):
    size_deg = 58.6 / (1 << order)
    limit = share * size_deg
    ra, dec = _around(order, npix, 2 * limit, order + npix)
    steps = 20_000
    vectors = unit_vectors(ra, dec)
    edge = _edge(order, npix, steps)
    chord, _ = cKDTree(unit_vectors(edge.ra.deg, edge.dec.deg)).query(vectors)
    sampled = np.degrees(2 * np.arcsin(chord / 2))
    found = near_cell(vectors, order, npix, limit)
    # A sampled edge is too far, by half a step at most.
    step = 2 * size_deg / steps
    assert found[sampled <= limit * (1 - 1e-12)].all()
    assert not found[sampled > np.hypot(limit, step)].any()
    assert 0.2 < found.mean() < 0.9


def test_positions_at_the_limit_itself():
    """Along the meridian that is an edge of base cell 0, distances are differences of right ascension."""
    limit = 0.01
    ra = np.array([limit * (1 - 1e-9), limit * (1 + 1e-9), -limit * (1 - 1e-9), -limit * (1 + 1e-9)])
    dec = np.full(4, 60.0)
    # The nearest point of a meridian: sin d = cos dec sin dra.
    away = np.degrees(np.arcsin(np.sin(np.radians(ra)) / np.cos(np.radians(60.0))))
    assert near_cell(unit_vectors(away, dec), 0, 0, limit).tolist() == [True, False, True, False]


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 29),
    st.floats(0, 360, exclude_max=True),
    st.floats(-90, 90),
    st.floats(0.01, 3.0),
    st.integers(0, 2**31),
)
def test_moving_from_a_cell_to_its_outside_crosses_its_edge(order, ra, dec, share, seed):
    """A position within a distance of a point inside, but itself outside, is within that distance of the edge."""
    index = healpix29(np.array([ra]), np.array([dec]))
    npix = int(parent(index, order)[0])
    reach = min(share * 58.6 / (1 << order), 60.0)
    rng = np.random.default_rng(seed)
    centre = SkyCoord(ra, dec, unit="deg")
    moved = centre.directional_offset_by(rng.uniform(0, 360, 50) * u.deg, rng.uniform(0, reach, 50) * u.deg)
    vectors = unit_vectors(moved.ra.deg, moved.dec.deg)
    outside = parent(healpix29(*lonlat(vectors)), order) != npix
    # Coordinates in degrees are known to 1e-13.
    near = near_cell(vectors, order, npix, reach + 1e-12)
    assert near[outside].all()
