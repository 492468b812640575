import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.objects import associate, merge_objects, objects_table
from astrolake.schema import DETECTIONS
from astrolake.schema.arrow import arrow_schema
from astrolake.sky.healpix import healpix29
from astrolake.sky.separation import separation_arcsec

ARCSEC = 1 / 3600
DEFAULTS = {
    "ra": 10.0,
    "dec": 0.0,
    "ra_err": 0.1,
    "dec_err": 0.1,
    "image_id": 1,
    "number": 0,
    "survey": "sdss",
    "band": "r",
    "visit": "v1",
    "mjd": 53000.0,
    "is_primary": True,
    "edge_distance_px": 100.0,
    "mag_auto": 20.0,
    "mag_auto_err": 0.1,
    "mag_aper": [21.0, 20.5, 20.2],
    "mag_aper_err": [0.1, 0.1, 0.1],
    "flags": 0,
    "star_prob": None,
}


def detections(*rows):
    """Return a detections table; each row names what differs from `DEFAULTS`."""
    schema = pa.schema(
        [field.with_nullable(True) for field in arrow_schema(DETECTIONS) if field.name in DEFAULTS]
    )
    filled = [{**DEFAULTS, "number": number, **row} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(filled, schema=schema)


def merged(*rows, bands=("r",), **options):
    """Merge all rows into one object, seeded by the first."""
    table = merge_objects(detections(*rows), np.zeros(len(rows), np.int64), bands, **options)
    assert table.num_rows == 1
    return table.to_pylist()[0]


def test_the_columns_are_those_declared_without_run_id():
    table = merge_objects(detections({}), np.zeros(1, np.int64), ["r", "g", "W1"])
    declared = arrow_schema(objects_table(["g", "r", "W1"]))
    assert table.schema.equals(declared.remove(declared.get_field_index("run_id")), check_metadata=True)
    assert table.column_names[-2:] == ["g_r", "r_w1"]


def test_a_single_detection_keeps_its_values():
    found = merged({"ra": 12.345678901234567, "dec": -33.3, "flags": 3})
    assert (found["ra"], found["dec"]) == (12.345678901234567, -33.3)
    assert found["object_id"] == found["_healpix_29"] == healpix29([12.345678901234567], [-33.3])[0]
    assert (found["ra_err"], found["dec_err"]) == pytest.approx((0.1, 0.1))
    assert (found["n_det"], found["n_used"], found["n_r"], found["flags"]) == (1, 1, 1, 3)
    assert (found["mag_auto_r"], found["mag_aper_r"]) == pytest.approx((20.0, 20.5))
    assert found["chi2_r"] is found["scatter_arcsec"] is None


def test_the_position_is_the_inverse_variance_mean_on_each_axis():
    found = merged(
        {"ra": 10.0, "dec": 60.0, "ra_err": 0.1, "dec_err": 0.1},
        {"ra": 10.0 + 2 * ARCSEC, "dec": 60.0 + 0.5 * ARCSEC, "ra_err": 0.2, "dec_err": 0.05, "visit": "v2"},
    )
    # cos(60 deg) = 1/2: one arcsec east, weights 100 and 25; half an arcsec north, weights 100 and 400.
    assert (found["ra"] - 10.0) * 3600 * 0.5 == pytest.approx(0.2, abs=1e-5)
    assert (found["dec"] - 60.0) * 3600 == pytest.approx(0.4, abs=1e-5)
    assert found["ra_err"] == pytest.approx(125**-0.5)
    assert found["dec_err"] == pytest.approx(500**-0.5)
    # Squared distances from the mean: 0.2^2 + 0.4^2 and 0.8^2 + 0.1^2.
    assert found["scatter_arcsec"] == pytest.approx(np.sqrt((0.2 + 0.65) / 2), abs=1e-5)
    assert found["_healpix_29"] == healpix29([found["ra"]], [found["dec"]])[0]
    assert found["object_id"] == healpix29([10.0], [60.0])[0]


def test_the_mean_across_the_ra_wrap():
    found = merged({"ra": 360.0 - 0.2 * ARCSEC}, {"ra": 0.4 * ARCSEC, "visit": "v2"})
    assert found["ra"] * 3600 == pytest.approx(0.1)


def test_the_mean_around_the_pole():
    rows = [{"ra": ra, "dec": 90 - 0.4 * ARCSEC, "visit": f"v{ra}"} for ra in (0.0, 90.0, 180.0, 270.0)]
    found = merged(*rows)
    assert separation_arcsec(found["ra"], found["dec"], 0.0, 90.0) == pytest.approx(0.0, abs=1e-9)
    assert found["scatter_arcsec"] == pytest.approx(0.4)


def test_means_are_taken_in_the_tangent_plane_however_wide_the_object():
    found = merged({"dec": 0.0}, {"dec": 1.0, "visit": "v2"})
    assert found["dec"] == pytest.approx(np.degrees(np.arctan(np.tan(np.radians(1.0)) / 2)), rel=1e-10)


def test_tiny_formal_errors_count_as_the_floor():
    rows = ({"dec_err": 1e-6}, {"dec": 0.3 * ARCSEC, "dec_err": 0.005, "visit": "v2"})
    assert merged(*rows)["dec"] * 3600 == pytest.approx(0.15)
    assert merged(*rows)["dec_err"] == pytest.approx(0.005 / np.sqrt(2))
    assert merged(*rows, position_error_floor_arcsec=0.0)["dec"] * 3600 == pytest.approx(0.0, abs=1e-6)


def test_positions_without_errors_are_averaged_equally():
    unknown = {"ra_err": None, "dec_err": float("nan")}
    found = merged(unknown, {"dec": 0.3 * ARCSEC, "visit": "v2", **unknown, "ra_err": 0.0})
    assert found["dec"] * 3600 == pytest.approx(0.15)
    assert found["ra_err"] is found["dec_err"] is None


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"edge_distance_px": 5.0}, {"is_primary": False}),
        ({"edge_distance_px": 5.0}, {"is_primary": None}),
        ({"edge_distance_px": 101.0}, {"image_id": 0}),
        ({}, {"edge_distance_px": None}),
        ({"number": 9}, {"image_id": 2, "number": 1}),
        ({"number": 1}, {"number": 2}),
    ],
)
def test_one_detection_is_used_for_a_band_and_visit(better, worse):
    better, worse = {"flags": 1, "mjd": 1.0, **better}, {"flags": 2, "mjd": 2.0, "dec": 0.2 * ARCSEC, **worse}
    for rows in ((better, worse), (worse, better)):
        found = merged(*rows)
        assert (found["n_det"], found["n_used"], found["n_r"]) == (2, 1, 1)
        assert (found["flags"], found["dec"], found["last_mjd"]) == (1, 0.0, 1.0)


def test_visits_of_other_surveys_and_images_without_a_visit_are_visits_of_their_own():
    rows = (
        {},
        {"survey": "des"},
        {"visit": None},
        {"visit": None, "image_id": 2},
        {"visit": None, "image_id": 2},
    )
    found = merged(*rows)
    assert (found["n_det"], found["n_used"], found["n_r"]) == (5, 4, 4)


def test_bands_are_averaged_apart_and_give_colours():
    aper = [{"mag_aper": [0.0, mag]} for mag in (21.5, 20.5, 20.25)]
    rows = [{"band": band, **value} for band, value in zip("gri", aper, strict=True)]
    found = merged(*rows, bands=["i", "g", "r", "z"])
    assert (found["g_r"], found["r_i"], found["i_z"]) == pytest.approx((1.0, 0.25, None))
    assert (found["n_g"], found["n_z"], found["mag_auto_z"]) == (1, 0, None)


def test_repeated_visits_give_the_mean_flux_its_error_and_chi_square():
    mag_err = 0.1 * 2.5 / np.log(10)
    aper = [{"mag_aper": [0.0, mag], "mag_aper_err": [0.0, mag_err]} for mag in (17.5, 20.0)]
    found = merged({**aper[0], "visit": "v1"}, {**aper[1], "visit": "v2"})
    assert found["mag_aper_r"] == pytest.approx(17.5 - 2.5 * np.log10(11 / 101))
    assert found["mag_aper_err_r"] == pytest.approx(2.5 / np.log(10) * np.sqrt(101) / 110)
    assert found["chi2_r"] == pytest.approx((900 / 101) ** 2 + (90 / 101) ** 2)
    assert found["n_r"] == 2
    assert found["mag_auto_err_r"] == pytest.approx(0.1 / np.sqrt(2))


@pytest.mark.parametrize("aper", [None, [], [20.0], [20.0, None]])
def test_without_a_second_aperture_the_magnitude_is_null(aper):
    found = merged({"mag_aper": aper})
    assert found["mag_aper_r"] is found["mag_aper_err_r"] is None
    assert (found["mag_auto_r"], found["n_r"]) == (pytest.approx(20.0), 1)


def test_another_aperture_may_be_asked_for():
    assert merged({}, aperture=0)["mag_aper_r"] == pytest.approx(21.0)


def test_detections_without_magnitudes_count_for_the_position_only():
    found = merged({"mag_auto": None, "mag_aper": None}, {"visit": "v2", "dec": 0.2 * ARCSEC})
    assert (found["n_used"], found["n_r"]) == (2, 1)
    assert found["dec"] * 3600 == pytest.approx(0.1)


def test_an_unknown_band_enters_the_position_but_no_magnitude():
    found = merged({}, {"band": "", "dec": 0.2 * ARCSEC})
    assert (found["n_used"], found["n_r"]) == (2, 1)


def test_epochs_and_flags():
    rows = [{"mjd": mjd, "flags": flags, "visit": str(mjd)} for mjd, flags in ((5.0, 1), (3.0, 4), (None, 5))]
    found = merged(*rows, {"mjd": 9.0, "flags": None, "visit": "v4"})
    assert (found["first_mjd"], found["last_mjd"], found["flags"]) == (3.0, 9.0, 5)
    assert merged({"mjd": None})["first_mjd"] is None


def test_the_type_is_that_of_the_weighted_mean_probability():
    sharp, faint = (
        {"star_prob": 0.9, "mag_auto_err": 0.01},
        {"star_prob": 0.1, "mag_auto_err": 0.02, "visit": "v2"},
    )
    found = merged(sharp, faint, {"star_prob": None, "mag_auto_err": 0.001, "visit": "v3"})
    assert found["star_prob"] == pytest.approx((4 * 0.9 + 0.1) / 5)
    assert found["type"] == "STAR"
    assert merged({"star_prob": 0.5})["type"] == "STAR"
    assert merged({"star_prob": 0.49})["type"] == "GALAXY"
    assert (merged({})["star_prob"], merged({})["type"]) == (None, None)


def test_objects_are_sorted_by_position_and_do_not_mix():
    table = detections(
        *({"ra": 50.0 * k, "mjd": float(k), "mag_auto": 20.0 + k, "flags": k} for k in (3, 1, 2)),
        {"ra": 50.0, "visit": "v2", "mjd": 8.0, "mag_auto": 21.0, "flags": 4},
    )
    found = merge_objects(table, np.array([0, 1, 2, 1]), ["r"])
    assert found["_healpix_29"].to_pylist() == sorted(found["_healpix_29"].to_pylist())
    by_ra = {round(row["ra"]): row for row in found.to_pylist()}
    assert {ra: row["n_det"] for ra, row in by_ra.items()} == {50: 2, 100: 1, 150: 1}
    assert {ra: row["mag_auto_r"] for ra, row in by_ra.items()} == pytest.approx({50: 21, 100: 22, 150: 23})
    assert {ra: row["flags"] for ra, row in by_ra.items()} == {50: 5, 100: 2, 150: 3}
    assert (by_ra[50]["first_mjd"], by_ra[50]["last_mjd"]) == (1.0, 8.0)


def test_the_objects_are_the_same_to_the_bit_in_any_order_of_detections():
    rng = np.random.default_rng(2)
    n = 400
    table = detections(
        *(
            {
                "ra": float(ra) % 360,
                "dec": float(dec),
                "band": str(rng.choice(["g", "r"])),
                "visit": str(rng.choice(["v1", "v2"])),
                "mag_auto": float(rng.uniform(18, 22)),
                "image_id": int(rng.integers(1, 4)),
            }
            for ra, dec in rng.uniform(-10, 10, (n, 2)) * ARCSEC
        )
    )
    results = []
    for order in (np.arange(n), rng.permutation(n)):
        rows = table.take(pa.array(order))
        found = associate(*(rows[c].to_numpy() for c in ("ra", "dec", "mag_auto", "number")))
        results.append(merge_objects(rows, found.seed_index, ["g", "r"]).to_pandas())
    assert results[0]["object_id"].is_unique
    pd.testing.assert_frame_equal(*results, check_exact=True)


def test_no_detections_make_no_objects():
    table = merge_objects(detections(), np.empty(0, np.int64), ["r"])
    assert table.num_rows == 0
    assert table.schema.field("n_r").type == pa.int32()


def test_a_missing_column_is_named():
    with pytest.raises(MissingColumns, match=r"detections lacks the columns \['visit'\]"):
        merge_objects(detections({}).drop_columns(["visit"]), np.zeros(1, np.int64), ["r"])


def test_a_band_that_is_not_declared_is_refused():
    with pytest.raises(BadInput, match=r"bands \['g'\] are not among \['r'\]"):
        merge_objects(detections({"band": "g"}), np.zeros(1, np.int64), ["r"])


@pytest.mark.parametrize("seed_index", [[0], [0, 0, 0], [1, 0], [0, 2], [0, -1]])
def test_a_seed_index_that_does_not_fit_is_refused(seed_index):
    with pytest.raises(BadArguments, match="seed_index"):
        merge_objects(detections({}, {}), np.array(seed_index), ["r"])
