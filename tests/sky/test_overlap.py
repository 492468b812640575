from dataclasses import replace

import numpy as np
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.sky.overlap import Footprint, depth_arcsec, owner_is_self


def flat(image_id, x0=0.0, naxis=(100, 100), scale=1.0):
    """A footprint whose pixel (0, 0) lies at ra = x0 arcsec, dec = 0, rows along dec."""

    def sky_to_pixel(ra, dec):
        return (ra * 3600.0 - x0) / scale, dec * 3600.0 / scale

    return Footprint(image_id, *naxis, scale, sky_to_pixel)


def tangential(image_id, ra, dec, rotation_deg, naxis, scale):
    """A TAN footprint centred at (ra, dec)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(naxis[0] + 1) / 2, (naxis[1] + 1) / 2]
    angle = np.radians(rotation_deg)
    matrix = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = matrix * scale / 3600.0
    return Footprint(image_id, *naxis, scale, lambda r, d: wcs.all_world2pix(r, d, 0))


def owners(ra, dec, images):
    return sum(owner_is_self(ra, dec, own, images).astype(int) for own in images)


def test_depth_is_the_distance_to_the_nearest_edge_in_arcsec():
    image = flat(1, naxis=(100, 50), scale=2.0)
    depth = depth_arcsec(image, np.array([20.0, 190.0, 100.0]) / 3600, np.array([40.0, 40.0, 90.0]) / 3600)
    np.testing.assert_allclose(depth, [21.0, 9.0, 9.0], atol=1e-9)


def test_the_pixel_grid_is_half_open():
    image = Footprint(1, 10, 10, 1.0, lambda ra, dec: (ra, dec))
    x = np.array([-0.5, 9.5, np.nextafter(9.5, 0), -0.5000001])
    np.testing.assert_array_equal(depth_arcsec(image, x, np.full(4, 5.0)) >= 0, [True, False, True, False])


def test_nan_pixels_are_outside():
    image = Footprint(1, 10, 10, 1.0, lambda ra, dec: (np.full_like(ra, np.nan), dec))
    assert not owner_is_self(np.array([5.0]), np.array([5.0]), image, []).any()


def test_the_deeper_image_owns_the_overlap():
    left, right = flat(1), flat(2, x0=80.0)
    ra, dec = np.array([85.0, 95.0, 150.0]) / 3600, np.full(3, 50.0) / 3600
    np.testing.assert_array_equal(owner_is_self(ra, dec, left, [right]), [True, False, False])
    np.testing.assert_array_equal(owner_is_self(ra, dec, right, [left]), [False, True, True])


def test_depth_counts_in_arcsec_not_pixels():
    fine, coarse = flat(1, naxis=(1000, 1000), scale=0.1), flat(2, naxis=(60, 60), scale=2.0)
    ra, dec = np.array([30.0]) / 3600, np.array([30.0]) / 3600
    # 30.05 arcsec (300.5 px) inside the fine image, 31 arcsec (15.5 px) inside the coarse one.
    assert owner_is_self(ra, dec, coarse, [fine])[0]
    assert not owner_is_self(ra, dec, fine, [coarse])[0]


def test_the_smaller_image_id_wins_a_tie():
    images = [flat(7), flat(3), flat(5)]
    ra, dec = np.array([40.0]) / 3600, np.array([60.0]) / 3600
    assert [bool(owner_is_self(ra, dec, own, images)[0]) for own in images] == [False, True, False]


def test_uncovered_positions_have_no_owner():
    images = [flat(1), flat(2, x0=80.0)]
    assert owners(np.array([-5.0, 300.0]) / 3600, np.array([5.0, 5.0]) / 3600, images).tolist() == [0, 0]


@settings(max_examples=25, deadline=None)
@given(
    center=st.sampled_from([(0.0, 0.0), (180.0, 89.95), (359.99, -60.0), (10.0, -90.0)]),
    seed=st.integers(0, 10_000),
    count=st.integers(1, 5),
)
def test_every_covered_position_has_exactly_one_owner(center, seed, count):
    rng = np.random.default_rng(seed)
    images = [
        tangential(
            image_id,
            (center[0] + rng.normal(0, 0.02)) % 360,
            np.clip(center[1] + rng.normal(0, 0.02), -90, 90),
            rng.uniform(0, 360),
            tuple(int(n) for n in rng.integers(100, 400, 2)),
            rng.uniform(0.3, 1.0),
        )
        for image_id in rng.permutation(100)[:count].tolist()
    ]
    # A copy of the first image, so that there are ties all over it.
    images.append(replace(images[0], image_id=200))
    spread = 0.1 / max(np.cos(np.radians(center[1])), 0.1 / 180)
    ra = (center[0] + rng.uniform(-spread, spread, 500)) % 360
    dec = np.clip(center[1] + rng.uniform(-0.1, 0.1, 500), -90, 90)
    covered = np.any([depth_arcsec(image, ra, dec) >= 0 for image in images], axis=0)
    assert covered.any()
    np.testing.assert_array_equal(owners(ra, dec, images), covered.astype(int))


def cut_owners(ra_arcsec, extent, images):
    ra, dec = np.asarray(ra_arcsec, float) / 3600, np.full(len(ra_arcsec), 50.0) / 3600
    return [owner_is_self(ra, dec, own, images, np.asarray(extent, float)).tolist() for own in images]


def test_a_cut_source_belongs_to_the_image_that_holds_it_whole():
    # The overlap reaches from 60 to 99.5: at 90 the left image cuts what reaches 15, the right one does not.
    images = [flat(1), flat(2, x0=60.0)]
    assert cut_owners([90.0], [15.0], images)[0] == [False]
    assert cut_owners([90.0], [0.0], images)[1] == [True]


def test_a_source_that_both_images_cut_is_primary_once_however_its_centroids_are_drawn():
    # It reaches 20, the overlap is 20 wide: either image sees its own part, drawn to its own inside.
    left, right = flat(4), flat(3, x0=80.0)
    for drawn in (0.0, 3.0, 6.0):
        kept = [
            cut_owners([89.5 - drawn], [20.0], [left, right])[0][0],
            cut_owners([89.5 + drawn], [20.0], [left, right])[1][0],
        ]
        assert kept == [False, True]


def test_a_cut_source_that_no_other_image_covers_stays():
    assert cut_owners([2.0], [10.0], [flat(2), flat(1, x0=80.0)])[0] == [True]
