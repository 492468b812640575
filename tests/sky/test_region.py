import json

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.errors import BadArguments, BadInput
from astrolake.sky.healpix import healpix29
from astrolake.sky.ranges import EVERYWHERE, covered, inside, merge_ranges
from astrolake.sky.region import Box, Cone, Moc, Polygon, parse_region


def everywhere(seed, n=4000):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def around(ra, dec, radius_deg, seed, n=2000):
    """Positions in and about a circle, as many inside as outside."""
    rng = np.random.default_rng(seed)
    center = SkyCoord(ra * u.deg, dec * u.deg)
    away = np.minimum(radius_deg * np.sqrt(2 * rng.random(n)), 179.0)
    there = center.directional_offset_by(rng.uniform(0, 360, n) * u.deg, away * u.deg)
    return there.ra.deg % 360.0, there.dec.deg


def assert_pruning_loses_nothing(region, ra, dec):
    within = region.contains(ra, dec)
    assert inside(region.ranges(), healpix29(ra[within], dec[within])).all()
    return within


PLACES = st.sampled_from(
    [(0.0, 0.0), (359.999, 41.8), (45.0, 0.0), (10.0, 90.0), (77.0, -89.99), (200.0, 30.0)]
)


@settings(max_examples=60, deadline=None)
@given(PLACES, st.floats(1e-4, 170.0), st.integers(0, 2**32 - 1))
def test_a_cone_is_all_positions_within_its_radius(place, radius, seed):
    cone = Cone(*place, radius)
    ra, dec = around(*place, radius, seed)
    within = assert_pruning_loses_nothing(cone, ra, dec)
    sep = SkyCoord(ra * u.deg, dec * u.deg).separation(SkyCoord(*place, unit="deg")).deg
    clear = np.abs(sep - radius) > 1e-9
    np.testing.assert_array_equal(within[clear], sep[clear] <= radius)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-10, 370), st.floats(0, 360), st.floats(-90, 89.9), st.floats(0, 180), st.integers(0, 2**32 - 1)
)
def test_a_box_runs_eastward_from_its_first_right_ascension(ra_min, width, dec_min, height, seed):
    box = Box(ra_min, ra_min + width, dec_min, min(dec_min + height, 90.0))
    rng = np.random.default_rng(seed)
    ra, dec = everywhere(seed)
    near = (
        rng.uniform(-1, width + 1, 2000) + ra_min,
        rng.uniform(dec_min - 1, box.dec_max + 1, 2000).clip(-90, 90),
    )
    ra, dec = np.append(ra, near[0] % 360.0), np.append(dec, near[1])
    within = assert_pruning_loses_nothing(box, ra, dec)
    east = (ra - ra_min) % 360.0
    clear = (np.abs(east - width) > 1e-9) & (np.abs(east) > 1e-9) & (np.abs(east - 360) > 1e-9)
    expected = (east <= width) & (dec >= dec_min) & (dec <= box.dec_max)
    np.testing.assert_array_equal(within[clear], expected[clear])


def test_a_box_across_ra_zero_and_one_of_all_right_ascensions():
    ra, dec = np.array([359.5, 0.5, 180.0]), np.zeros(3)
    assert Box(359.0, 1.0, -1.0, 1.0).contains(ra, dec).tolist() == [True, True, False]
    assert Box(0.0, 360.0, -1.0, 1.0).contains(ra, dec).all()
    assert len(Box(0.0, 360.0, -90.0, 90.0).ranges()) < 5


@settings(max_examples=60, deadline=None)
@given(PLACES, st.integers(3, 9), st.floats(0.01, 40.0), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_star_shaped_polygon_is_what_lies_between_its_corners(place, n, radius, clockwise, seed):
    """Corners at alternating distances around a centre; the sides are great circles."""
    angle = np.linspace(0, 360, 2 * n, endpoint=False) * (-1 if clockwise else 1)
    away = np.where(np.arange(2 * n) % 2, 0.5, 1.0) * radius
    corners = SkyCoord(*place, unit="deg").directional_offset_by(angle * u.deg, away * u.deg)
    polygon = Polygon(tuple(corners.ra.deg.tolist()), tuple(corners.dec.deg.tolist()))
    ra, dec = around(*place, radius, seed, 1000)
    within = assert_pruning_loses_nothing(polygon, ra, dec)
    there = SkyCoord(ra * u.deg, dec * u.deg)
    sep = SkyCoord(*place, unit="deg").separation(there).deg
    assert within[sep < 0.3 * radius].all() or radius > 20
    assert not within[sep > radius].any()
    # Just inside and outside a tip.
    for k in range(0, 2 * n, 2):
        tip = SkyCoord(*place, unit="deg").directional_offset_by(
            np.full(2, angle[k]) * u.deg, radius * np.array([0.99, 1.01]) * u.deg
        )
        assert polygon.contains(tip.ra.deg, tip.dec.deg).tolist() == [True, False]


@pytest.mark.parametrize("kind", ["json", "fits", "txt"])
def test_a_moc_is_its_cells(tmp_path, kind):
    from mocpy import MOC

    moc = MOC.from_json({"3": [1, 2], "5": [4000]})
    path = tmp_path / f"map.{kind}"
    moc.save(str(path), format={"json": "json", "fits": "fits", "txt": "ascii"}[kind])
    region = parse_region(f"moc:{path}")
    ra, dec = everywhere(1)
    index = healpix29(ra, dec)
    expected = np.isin(index >> 52, [1, 2]) | (index >> 48 == 4000)
    np.testing.assert_array_equal(assert_pruning_loses_nothing(region, ra, dec), expected)
    assert expected.any()


def test_a_file_that_is_no_moc_is_named(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps(["no"]))
    with pytest.raises(BadInput, match=r"map\.json"):
        Moc.load(str(path))
    with pytest.raises(BadInput, match="nothere"):
        Moc.load(str(tmp_path / "nothere.fits"))


@pytest.mark.parametrize(
    "text",
    [
        "{}", '{"a": [1]}', '{"1": ["a"]}', '{"1": [-1]}', '{"31": [1]}', '{"1": [100]}', '{"1": 3}', '{"1": [true]}',
        "3/10-5", "", "words", "SIMPLE",
    ],
)  # fmt: skip
def test_maps_without_cells_or_with_cells_outside_the_sky_are_refused(tmp_path, text):
    path = tmp_path / "area.moc"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"area\.moc"):
        Moc.load(str(path))


@pytest.mark.parametrize("keep", [5760, 5761, 20_000, -1])
def test_a_map_that_is_cut_off_is_refused(tmp_path, keep):
    from mocpy import MOC

    path = tmp_path / "map.fits"
    MOC.from_json({"9": list(range(0, 9000, 3))}).save(str(path), format="fits")
    whole = path.read_bytes()
    assert len(Moc.load(str(path)).ranges()) == 3000
    end = keep if keep > 0 else (5760 + 3000 * 16) - 1
    path.write_bytes(whole[:end])
    with pytest.raises(BadInput, match=r"map\.fits"):
        Moc.load(str(path))


def test_the_kind_of_a_map_is_told_by_its_content(tmp_path):
    path = tmp_path / "area.moc"
    path.write_text("3/1-2 5/4000")
    assert len(Moc.load(str(path)).ranges()) == 2


@pytest.mark.parametrize("corners", ["0,0,0,0,0,0", "10,10,20,20,10,10", "0,0,10,0,20,0", "5,-10,5,0,5,20"])
def test_a_polygon_without_area_is_refused(corners):
    with pytest.raises(BadArguments, match="great circle"):
        parse_region(f"polygon:{corners}")
    parse_region("polygon:10,10,10.000001,10,10,10.000001")


@pytest.mark.parametrize(
    "text",
    [
        "", "cone", "cone:1,2", "cone:1,2,3,4", "cone:1,95,3", "cone:1,2,-1", "cone:1,2,nan", "box:1,2,3",
        "box:1,2,5,4", "box:1,2,-91,4", "polygon:1,2,3,4", "polygon:1,2,3,4,5", "polygon:0,0,120,0,240,0",
        "circle:1,2,3", "moc:", "cone:a,b,c",
    ],
)  # fmt: skip
def test_what_is_no_region_is_refused(text):
    with pytest.raises((BadArguments, BadInput)):
        parse_region(text)


def test_texts_of_regions():
    assert parse_region("cone:10,-5,0.5") == Cone(10.0, -5.0, 0.5)
    assert parse_region("box:350,10,-5,5") == Box(350.0, 10.0, -5.0, 5.0)
    assert parse_region("polygon:0,0,1,0,0,1") == Polygon((0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=8), st.integers(-5, 80))
def test_covered_counts_the_indices_below(starts, index):
    ranges = merge_ranges(np.array([(a, a + n) for a, n in starts], np.int64).reshape(-1, 2))
    expected = sum(any(a <= i < b for a, b in ranges.tolist()) for i in range(-5, index))
    assert covered(ranges, np.array([index])).tolist() == [expected]


def test_everywhere_is_everywhere():
    assert inside(EVERYWHERE, healpix29(*everywhere(3))).all()
