import numpy as np
import pytest

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photoz.photometry import (
    UJY_PER_NANOMAGGY,
    BandColumns,
    Photometry,
    bands_from_json,
    bands_to_json,
    read_photometry,
)

G = BandColumns("g", "g", "g_err")


def test_magnitudes_given_as_fluxes_are_refused():
    rng = np.random.default_rng(1)
    mags = {f"f_{b}": rng.normal(21, 1, 100) for b in "gri"}
    bands = [BandColumns(b, f"f_{b}", None, "nanomaggy") for b in "gri"]
    with pytest.raises(BadInput, match="look like AB magnitudes"):
        read_photometry(mags, bands)
    fluxes = {name: 10 ** (-0.4 * (mag - 24)) for name, mag in mags.items()}
    assert read_photometry(fluxes, bands).observed.all()


def test_magnitudes_and_fluxes_of_an_object_agree():
    seen = Photometry.from_magnitudes([[23.9, 21.4]], [[0.1, 0.02]], "gr")
    assert seen.flux[0] == pytest.approx([1.0, 10.0])
    assert seen.flux_err[0] == pytest.approx([0.0921, 0.1842], rel=1e-3)
    nanomaggy = BandColumns("g", "g", "g_err", "nanomaggy")
    flux = read_photometry({"g": [1 / UJY_PER_NANOMAGGY], "g_err": [0.0921 / UJY_PER_NANOMAGGY]}, [nanomaggy])
    assert flux.flux[0, 0] == pytest.approx(1.0)
    assert flux.flux_err[0, 0] == pytest.approx(0.0921)


def test_99_is_a_limit_and_minus_99_is_not_observed():
    mags = [99.0, 99.0, -99.0, np.nan, np.inf, 20.0]
    errors = [26.6208, 99.0, 0.0, 0.1, 25.0, 0.1]
    seen = read_photometry({"g": mags, "g_err": errors}, [G])
    assert seen.observed[:, 0].tolist() == [True, False, False, False, True, True]
    assert seen.flux[[0, 4], 0].tolist() == [0.0, 0.0]
    assert seen.flux_err[0, 0] == pytest.approx(10 ** (-0.4 * (26.6208 - 23.9)))
    assert not seen.bad.any()


def test_sentinels_are_settable():
    band = BandColumns("g", "g", "g_err", not_detected=(0.0,), not_observed=(30.0,))
    seen = read_photometry({"g": [0.0, 30.0, 20.0], "g_err": [25.0, 1.0, 0.1]}, [band])
    assert seen.observed[:, 0].tolist() == [True, False, True]
    assert bands_from_json(bands_to_json([band])) == (band,)


def test_single_values_that_cannot_be_true_are_marked_and_unused():
    seen = read_photometry({"g": [20.0, 20.0, 20.0, 70.0], "g_err": [0.1, -0.1, np.nan, 0.1]}, [G])
    assert seen.bad[:, 0].tolist() == [False, True, True, True]
    assert seen.observed[:, 0].tolist() == [True, False, False, False]
    assert np.isnan(seen.flux_err[1:]).all()


def test_negative_fluxes_are_fluxes():
    band = BandColumns("g", "f", "e", "microjansky")
    seen = read_photometry({"f": [-0.3, 0.0, 5.0], "e": [0.2, 0.2, 0.2]}, [band])
    assert seen.flux[:, 0].tolist() == [-0.3, 0.0, 5.0]


def test_masked_and_null_values_are_not_observed():
    masked = np.ma.MaskedArray([20.0, 21.0], mask=[False, True])
    assert read_photometry({"g": masked, "g_err": [0.1, 0.1]}, [G]).observed[:, 0].tolist() == [True, False]
    nulls = np.array([20.0, None], dtype=object)
    assert read_photometry({"g": nulls, "g_err": [0.1, 0.1]}, [G]).observed[:, 0].tolist() == [True, False]


def test_no_error_column_means_an_unknown_error():
    seen = read_photometry({"g": [20.0]}, [BandColumns("g", "g", None)])
    assert np.isfinite(seen.flux[0, 0])
    assert np.isnan(seen.flux_err[0, 0])


def test_fluxes_in_the_place_of_magnitudes_are_told():
    flux = np.random.default_rng(1).lognormal(1.0, 1.5, 500)
    with pytest.raises(BadInput, match=r"g of band g does not hold AB magnitudes .* unit='nanomaggy'"):
        read_photometry({"g": flux, "g_err": 0.1 * flux}, [G])
    for scale in (6.0, 1000.0):
        with pytest.raises(BadInput, match="does not hold AB magnitudes"):
            read_photometry({"g": scale * flux, "g_err": flux}, [G])


def test_a_few_unknown_sentinels_do_not_make_fluxes_of_magnitudes():
    mags = np.random.default_rng(2).uniform(17, 26, 500)
    mags[:20] = 90.0
    seen = read_photometry({"g": mags, "g_err": np.full(500, 0.1)}, [G])
    assert seen.bad[:, 0].tolist() == [True] * 20 + [False] * 480


def test_a_column_of_negative_errors_is_told():
    with pytest.raises(BadInput, match="errors in g_err of band g are negative"):
        read_photometry({"g": np.full(50, 20.0), "g_err": np.full(50, -0.1)}, [G])


def test_columns_that_are_not_there_or_no_numbers():
    with pytest.raises(MissingColumns, match=r"mine lacks the columns \['g', 'g_err'\]; it has \['r'\]"):
        read_photometry({"r": [1.0]}, [G], "mine")
    with pytest.raises(BadInput, match="column g does not hold numbers"):
        read_photometry({"g": ["a"], "g_err": [0.1]}, [G])
    with pytest.raises(BadInput, match="g has 2 rows and g_err 1"):
        read_photometry({"g": [20.0, 21.0], "g_err": [0.1]}, [G])
    with pytest.raises(BadArguments, match="unit 'jansky'"):
        BandColumns("g", "g", "g_err", "jansky")
    with pytest.raises(BadArguments, match="name at least one"):
        read_photometry({}, [])


def test_fluxes_are_checked_for_their_shape():
    with pytest.raises(BadArguments, match="2 bands"):
        Photometry.from_fluxes([[1.0]], [[1.0]], "gr")
    seen = Photometry.from_fluxes([[1.0, np.nan]], [[0.0, 1.0]], "gr")
    assert seen.bad.tolist() == [[True, False]]
    assert not seen.observed.any()


def test_a_piece_of_impossible_values_is_marked_where_a_catalog_of_them_is_refused():
    columns = {"mag_r": np.full(50, -500.0), "mag_r_err": np.full(50, 0.1)}
    band = BandColumns("r", "mag_r", "mag_r_err")
    with pytest.raises(BadInput, match="mag_r"):
        read_photometry(columns, [band])
    piece = read_photometry(columns, [band], whole=False)
    assert piece.bad.all()
    assert not piece.observed.any()


def test_fluxes_have_no_sentinel_of_magnitudes_and_those_beyond_numbers_are_bad():
    band = BandColumns("r", "flux_r", "err_r", unit="microjansky")
    flux = [99.0, np.inf, -np.inf, 1e300, 1.0, 1.0, 1e30, 1e-30, -1e6]
    error = [1.0, 1.0, 1.0, 1e299, 1e-320, 1e300, 1e29, 1e-31, 1.0]
    seen = read_photometry({"flux_r": flux, "err_r": error}, [band])
    assert seen.bad[:, 0].tolist() == [False] + [True] * 5 + [False] * 3
    np.testing.assert_array_equal(seen.flux[[0, 6, 7, 8], 0], [99.0, 1e30, 1e-30, -1e6])
    assert BandColumns("r", "r", None).not_detected == (99.0,)
