"""Regions as boxes for queries: none lost, none twice, and circles that hold them."""

import numpy as np
import pytest

from astrolake.data_access.services.tiling import SMALLEST_DEG, Tile, cover, roots, tile_at
from astrolake.sky.healpix import healpix29
from astrolake.sky.region import Box, Cone, Moc, Polygon
from astrolake.sky.separation import separation_arcsec

REGIONS = {
    "box over ra 0": Box(359.0, 1.0, -1.0, 1.0),
    "box that ends at ra 360": Box(358.0, 360.0, 10.0, 12.0),
    "box with a negative end": Box(-1.0, 1.0, 10.0, 12.0),
    "box around the pole": Box(0.0, 360.0, 88.0, 90.0),
    "one meridian": Box(10.0, 10.0, -1.0, 1.0),
    "cone over ra 0": Cone(0.1, -30.0, 1.5),
    "cone around the pole": Cone(120.0, 89.5, 1.0),
    "cone at the south pole": Cone(10.0, -90.0, 0.5),
    "small cone": Cone(200.0, 5.0, 0.01),
    "polygon": Polygon((350.0, 2.0, 5.0), (60.0, 65.0, 58.0)),
    "moc of two pieces": Moc(np.concatenate([Cone(359.9, 2, 0.4).ranges(), Cone(180, -80, 0.7).ranges()])),
}


def holding(tiles: list[Tile], ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Count the boxes that a query would find each position in."""
    count = np.zeros(len(ra), dtype=int)
    for tile in tiles:
        below_ra = ra <= tile.ra_max if tile.ra_max == 360.0 else ra < tile.ra_max
        below_dec = dec <= tile.dec_max if tile.dec_max == 90.0 else dec < tile.dec_max
        count += (ra >= tile.ra_min) & below_ra & (dec >= tile.dec_min) & below_dec
    return count


def positions(tiles: list[Tile], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random positions around boxes, and all their corners and middles of sides."""
    rng = np.random.default_rng(seed)
    ra, dec = [], []
    for tile in tiles[:400]:
        width, height = tile.ra_max - tile.ra_min, tile.dec_max - tile.dec_min
        ra.append(tile.ra_min + width * rng.uniform(-0.3, 1.3, 40))
        dec.append(tile.dec_min + height * rng.uniform(-0.3, 1.3, 40))
        sides_ra, sides_dec = np.meshgrid(
            [tile.ra_min, (tile.ra_min + tile.ra_max) / 2, tile.ra_max],
            [tile.dec_min, (tile.dec_min + tile.dec_max) / 2, tile.dec_max],
        )
        ra.append(sides_ra.ravel())
        dec.append(sides_dec.ravel())
    ra, dec = np.mod(np.concatenate(ra), 360.0), np.clip(np.concatenate(dec), -90, 90)
    return np.where(ra >= 360.0, 0.0, ra), dec


@pytest.mark.parametrize("name", REGIONS)
def test_every_position_of_a_region_is_in_one_box(name):
    region = REGIONS[name]
    bounds = roots(region)
    area = sum(root.area_deg2 for root in bounds)
    parts = 5000 if isinstance(region, Moc) else 50
    tiles = list(cover(region, 1e9, 1e9 * area / parts, 30.0, bounds))
    ra, dec = positions(tiles, 3)
    if isinstance(region, Box):
        corners = np.array(
            [
                (ra % 360.0, dec)
                for ra in (region.ra_min, region.ra_max)
                for dec in (region.dec_min, region.dec_max)
            ]
        )
        ra, dec = np.append(ra, corners[:, 0]), np.append(dec, corners[:, 1])
    count, wanted = holding(tiles, ra, dec), region.contains(ra, dec)
    assert wanted.any()
    assert count.max() == 1
    assert (count[wanted] == 1).all()
    if name != "one meridian":
        assert (3 if isinstance(region, Moc) else 20) <= len(tiles) <= 400
    assert all(0 <= tile.ra_min < tile.ra_max <= 360 for tile in tiles)


def test_boxes_outside_a_region_are_not_asked_for():
    region = REGIONS["moc of two pieces"]
    bounds = roots(region)
    tiles = list(cover(region, 1000.0, 100.0, 5.0, bounds))
    area = sum(tile.area_deg2 for tile in tiles)
    moc = sum(int(high - low) for low, high in region.ranges()) / (12 * 4**29) * 41252.96
    assert moc < area < 2.5 * moc
    assert list(cover(Moc(np.empty((0, 2), np.int64)), 1.0, 1.0, 1.0, ())) == []


def test_an_empty_moc_has_no_box():
    assert roots(Moc(np.empty((0, 2), np.int64))) == ()


def test_the_whole_sky_is_one_root():
    assert roots(Moc(np.array([[0, 12 << 58]]))) == (Tile("0-", 0.0, 360.0, -90.0, 90.0),)
    assert healpix29(np.array([0.0]), np.array([0.0])).shape == (1,)


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_quarters_fill_their_box_and_paths_lead_to_them(region):
    bounds = roots(region)
    for root in bounds:
        quarters = [part for tile in root.split() for part in tile.split()]
        assert sum(part.area_deg2 for part in quarters) == pytest.approx(root.area_deg2, rel=1e-9, abs=1e-12)
        assert all(tile_at(bounds, part.path) == part for part in quarters)
        assert len({part.path for part in quarters}) == 16


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_the_circle_of_a_box_holds_it(region):
    for root in roots(region):
        for tile in (root, *root.split(), *root.split()[0].split()):
            circle = tile.circle()
            if circle is None:
                assert max(tile.ra_max - tile.ra_min, tile.height_deg) > 60
                continue
            ra, dec = np.meshgrid(
                np.linspace(tile.ra_min, tile.ra_max, 41), np.linspace(tile.dec_min, tile.dec_max, 41)
            )
            assert (separation_arcsec(circle.ra, circle.dec, ra, dec) <= circle.radius * 3600).all()


def test_a_box_too_wide_for_a_circle_has_none():
    assert Tile("0-", 0.0, 360.0, -90.0, 90.0).circle() is None


def test_boxes_end_at_the_smallest_size():
    tile = Tile("0-", 10.0, 10.1, 0.0, 0.1)
    while tile.may_split:
        tile = tile.split()[3]
    assert SMALLEST_DEG <= tile.height_deg < 2 * SMALLEST_DEG
    assert len(tile.path) < 12
