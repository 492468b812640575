"""True sources and their objects."""

import numpy as np
import pandas as pd
import pytest

from astrolake.errors import BadInput, MissingColumns
from astrolake.visualization.truth import match_truth, read_truth

ARCSEC = 1.0 / 3600.0


def true_sources(dec_arcsec, mag, kind="star", **columns):
    dec = 2.0 + np.asarray(dec_arcsec, dtype=np.float64) * ARCSEC
    base = {"ra": 150.0, "dec": dec, "pmra": 0.0, "pmdec": 0.0, "type": kind, "mag": mag}
    return pd.DataFrame(base | columns)


@pytest.fixture
def make_lake(make_source, make_objects, make_image_row):
    """Return a function that makes a lake of one image with objects at offsets from its centre."""

    def make(dec_arcsec, mag, **columns):
        dec = 2.0 + np.asarray(dec_arcsec, dtype=np.float64) * ARCSEC
        objects = make_objects(
            np.full(dec.size, 150.0), dec, mag_auto_r=np.asarray(mag, dtype=float), **columns
        )
        return make_source(objects=objects, images=pd.DataFrame([make_image_row(1, "r")]))

    return make


def test_found_within_an_arcsecond(make_lake):
    matched = match_truth(make_lake([0.9, 21.1], [18.1, 19.1]), true_sources([0.0, 20.0], [18.0, 19.0]), "r")
    np.testing.assert_array_equal(matched.found, [True, False])
    assert matched.measured_mag[0] == 18.1


def test_of_an_unresolved_blend_only_the_brightest_is_found(make_lake):
    matched = match_truth(make_lake([0.1], [17.9]), true_sources([0.3, 0.0], [18.0, 21.0]), "r")
    np.testing.assert_array_equal(matched.found, [True, False])


def test_sources_are_moved_to_the_epoch_of_the_objects(make_lake):
    moved = true_sources([0.0], [18.0], pmdec=500.0)
    mjd = 57388.5 + 10 * 365.25
    lake = make_lake([5.0], [18.0], first_mjd=mjd, last_mjd=mjd)
    assert match_truth(lake, moved, "r").found.all()


def test_sources_near_the_edge_or_outside_are_left_out(make_lake):
    sources = true_sources([0.0, 57.0, 90.0], [18.0, 18.0, 18.0])
    assert match_truth(make_lake([0.0], [18.0]), sources, "r").true_mag.size == 1


def test_objects_without_a_magnitude_in_the_band_do_not_count(make_lake):
    matched = match_truth(make_lake([0.0, 20.0], [np.nan, 18.0]), true_sources([0.0], [18.0]), "r")
    assert not matched.found.any()


def test_kinds_can_be_told_apart(make_lake):
    matched = match_truth(
        make_lake([0.0], [18.0]), true_sources([0.0, 9.0], [18.0, 19.0], ["star", "galaxy"]), "r"
    )
    assert matched.of("galaxy").true_mag.tolist() == [19.0]


def test_truth_of_another_sky_is_refused(make_lake):
    with pytest.raises(BadInput, match="no true source lies on an image in r"):
        match_truth(make_lake([0.0], [18.0]), true_sources([0.0], [18.0], ra=10.0), "r")


def test_truth_far_from_all_objects_is_refused(make_lake):
    with pytest.raises(BadInput, match="no object has a magnitude in r where the truth lies"):
        match_truth(make_lake([0.0], [18.0]), true_sources([40_000.0], [18.0]), "r")


def test_empty_truth_is_refused(make_lake):
    with pytest.raises(BadInput, match="the truth has no star or galaxy"):
        match_truth(make_lake([0.0], [18.0]), true_sources([0.0], [18.0]).head(0), "r")


def test_only_stars_and_galaxies_with_magnitudes_are_read(tmp_path):
    path = tmp_path / "truth.parquet"
    table = true_sources([0.0, 1.0, 2.0], [18.0, np.nan, 19.0], ["star", "galaxy", "moving"])
    table.rename(columns={"mag": "mag_r"}).assign(extra=1).to_parquet(path)
    assert read_truth(path, "r")["mag"].tolist() == [18.0]


def test_truth_without_proper_motions_is_refused(tmp_path):
    path = tmp_path / "truth.parquet"
    true_sources([0.0], [18.0]).drop(columns="pmra").to_parquet(path)
    with pytest.raises(MissingColumns, match=r"truth.parquet lacks the columns \['mag_r', 'pmra'\]"):
        read_truth(path, "r")
