"""Column maps of the surveys against real rows, and against documented layouts where there are none."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astrolake.data_access.surveys.file_vocabulary import FileVocabulary, recognise_table
from astrolake.data_access.surveys.registry import load_survey
from astrolake.data_access.surveys.translate import translate
from astrolake.errors import BadArguments, BadInput, MissingColumns
from tests.data_access.survey_rows import GAIA_DR3, TWOMASS, read_rows, translated

SOFTENING = {"u": 1.4e-10, "g": 0.9e-10, "r": 1.2e-10, "i": 1.8e-10, "z": 7.4e-10}


def pogson(magnitude, b):
    """Invert the published definition of the asinh magnitude (Lupton, Gunn & Szalay 1999)."""
    with np.errstate(invalid="ignore"):
        return -2.5 * np.log10(2 * b * np.sinh(-magnitude * math.log(10) / 2.5 - math.log(b)))


def column(rows, name):
    return rows.column(name).to_numpy(zero_copy_only=False)


# SDSS


@pytest.fixture(scope="module")
def photoobj(survey_data):
    rows = read_rows(survey_data / "catalogs" / "sdss_308.csv")
    table = recognise_table(load_survey("sdss"), rows.column_names)
    assert table.name == "photoobj"
    return rows, translated(table, rows)


def test_skyserver_rows_become_pogson_magnitudes(photoobj):
    native, rows = photoobj
    assert rows.num_rows == 367
    for band, b in SOFTENING.items():
        magnitude = column(native, band)
        np.testing.assert_allclose(column(rows, f"mag_model_{band}"), pogson(magnitude, b), atol=1e-6)
        # sigma_m = 2.5/ln 10 sigma_f / sqrt(f^2 + 4 b^2) there, 2.5/ln 10 sigma_f / f here.
        flux = 10 ** (-0.4 * pogson(magnitude, b))
        expected = column(native, f"Err_{band}") * np.sqrt(flux**2 + 4 * b**2) / flux
        np.testing.assert_allclose(column(rows, f"mag_model_err_{band}"), expected, atol=1e-6)


def test_skyserver_types_and_identifiers(photoobj):
    native, rows = photoobj
    words = {3: "GALAXY", 6: "STAR"}
    assert rows.column("type").to_pylist() == [words[number] for number in native.column("type").to_pylist()]
    assert rows.column("source_id").equals(native.column("objid"))
    # The identifier holds run, camera column, field and number (sdss4.org, "SDSSObjectID").
    numbers = column(rows, "source_id")
    for name, shift, bits in (("run", 32, 16), ("camcol", 29, 3), ("field", 16, 12), ("rerun", 48, 11)):
        np.testing.assert_array_equal((numbers >> shift) & ((1 << bits) - 1), column(native, name))
    assert rows.schema.field("mag_model_r").metadata[b"unit"] == b"mag"
    assert rows.schema.field("mag_model_r").metadata[b"ucd"] == b"phot.mag;em.opt.R"


def test_one_sky_seen_by_two_surveys(photoobj, survey_data):
    rows = read_rows(survey_data / "catalogs" / "panstarrs_308.csv")
    ps1 = translated(recognise_table(load_survey("panstarrs"), rows.column_names), rows)
    _, sdss = photoobj
    sky = [SkyCoord(column(found, "ra"), column(found, "dec"), unit="deg") for found in (sdss, ps1)]
    nearest, distance, _ = sky[0].match_to_catalog_sky(sky[1])
    # SDSS saturates at 14 mag.
    near = (distance.arcsec < 1) & (column(sdss, "mag_model_r") > 14.2)
    difference = column(sdss, "mag_model_r")[near] - column(ps1, "mag_psf_r")[nearest[near]]
    # Saturated ones are a magnitude off in one survey or the other.
    difference = difference[np.abs(difference) < 0.2]
    assert len(difference) > 30
    # The two r bands differ by some 0.01 mag for stars (Tonry et al. 2012, table 6).
    assert abs(np.median(difference)) < 0.03


def test_coadds_of_stripe_82_have_another_softening(survey_data):
    native = read_rows(survey_data / "catalogs" / "coadd_for_3325_5_110.fit")
    survey = load_survey("sdss")
    with pytest.raises(BadInput, match=r"of stripe82, not of the photoobj"):
        translated(recognise_table(survey, native.column_names), native)
    rows = translated(survey.table("stripe82"), native)
    # Objects without flux crowd at -2.5 log10(b): that is how the catalog itself tells its b.
    for band, b in (("g", 0.43e-11), ("i", 1.4e-11)):
        crowd = np.abs(column(native, f"psfmag_{band}") + 2.5 * math.log10(b)) < 0.002
        assert crowd.sum() >= 4
        faint = column(native, f"psfmag_{band}") > -2.5 * math.log10(b)
        np.testing.assert_array_equal(np.isnan(column(rows, f"mag_psf_{band}")), faint)
    bright = column(native, "psfmag_r") < 22
    expected = pogson(column(native, "psfmag_r").astype(float), 0.81e-11)[bright]
    np.testing.assert_allclose(column(rows, "mag_psf_r")[bright], expected, atol=1e-6)


def test_sweeps_become_columns_of_bands(survey_data):
    path = survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz"
    native = read_rows(path)
    table = recognise_table(load_survey("sdss"), native.column_names)
    rows = translated(table, native)
    stored = fits.getdata(path, 1)
    assert (table.name, rows.num_rows) == ("sweep", 5232)
    for number, band in enumerate("ugriz"):
        flux, ivar = stored["PSFFLUX"][:, number], stored["PSFFLUX_IVAR"][:, number]
        np.testing.assert_array_equal(column(rows, f"flux_psf_{band}"), flux)
        with np.errstate(invalid="ignore", divide="ignore"):
            magnitude = 22.5 - 2.5 * np.log10(np.where(flux > 0, flux.astype(float), np.nan))
            error = 2.5 / math.log(10) / (flux.astype(float) * np.sqrt(ivar.astype(float)))
        np.testing.assert_allclose(column(rows, f"mag_psf_{band}"), magnitude, atol=1e-6)
        good = (flux > 0) & (ivar > 0)
        np.testing.assert_allclose(column(rows, f"mag_psf_err_{band}")[good], error[good], rtol=1e-6)
        assert np.isnan(column(rows, f"mag_psf_err_{band}")[~good]).all()
    # What the survey's file does not tell of stays as it is; what it tells of is not there twice.
    assert "NMGYPERCOUNT" in rows.column_names
    assert not {"PSFFLUX", "ID", "RERUN"} & set(rows.column_names)


def test_identifiers_of_sweeps_are_those_of_skyserver(photoobj):
    _, rows = photoobj
    names = {"ID": "obj", "FIELD": "field", "CAMCOL": "camcol", "RUN": "run", "RERUN": "rerun"}
    native = pa.table(
        {name: rows.column(own) for name, own in names.items()} | {"RA": rows["ra"], "DEC": rows["dec"]}
    )
    table = load_survey("sdss").table("sweep")
    found = translate(table, table.select([]), native)
    assert found.column("source_id").equals(rows.column("source_id"))


def test_primary_rows_of_a_sweep(survey_data):
    path = survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz"
    native = read_rows(path)
    rows = translated(load_survey("sdss").table("sweep"), native, ("primary", "star"))
    expected = (column(native, "RESOLVE_STATUS") & 0x100) != 0
    assert 0 < rows.num_rows == expected.sum()
    np.testing.assert_array_equal(column(rows, "thing_id"), column(native, "THING_ID")[expected])


def test_a_redshift_is_no_magnitude(survey_data):
    native = read_rows(survey_data / "star_galaxy" / "sgCatalogue_galaxy_0.txt")
    table = load_survey("sdss").table()
    columns = table.select(["type", "mag_psf_r", "petro_r50_r"])[3:]
    rows = translate(table, columns, native)
    np.testing.assert_allclose(
        column(rows, "mag_psf_r"), pogson(column(native, "psfMag_r"), 1.2e-10), atol=1e-6
    )
    assert (
        pc.sum(pc.equal(rows["type"], "GALAXY")).as_py() == pc.sum(pc.equal(native["type"], 3)).as_py() > 1900
    )
    # Its column z is a redshift; SkyServer's z is a magnitude, beside u, g, r and i.
    with pytest.raises(MissingColumns, match="modelMag_z"):
        translate(table, [c for c in table.columns if c.name == "mag_model_z"], native)


def test_identifiers_that_lost_digits_are_refused(survey_data):
    native = read_rows(survey_data / "photoz" / "skyserver_dr14_10k.csv.gz")
    table = load_survey("sdss").table()
    with pytest.raises(BadInput, match=r"column objID does not become source_id.*lost their last digits"):
        translate(table, table.select(["mag_model_r"]), native)
    rows = translate(table, table.select(["mag_model_z"])[1:], native)
    np.testing.assert_allclose(column(rows, "mag_model_z"), pogson(column(native, "z"), 7.4e-10), atol=1e-6)


# Pan-STARRS


def test_panstarrs_rows(survey_data):
    native = read_rows(survey_data / "catalogs" / "panstarrs_308.csv")
    table = recognise_table(load_survey("panstarrs"), native.column_names)
    rows = translated(table, native)
    assert table.name == "mean"
    errors = column(native, "gMeanPSFMagErr")
    assert (errors == -999).sum() == 224
    assert rows.column("mag_psf_err_g").null_count == 224
    np.testing.assert_array_equal(column(rows, "mag_psf_g"), column(native, "gMeanPSFMag"))
    assert rows.column("source_id").equals(native.column("objID"))
    assert set(rows.column_names) >= {"ra", "dec", "n_det", "mag_psf_r", "mag_psf_i", "mag_psf_z"}


# Gaia


def test_gaia_dr2_rows(survey_data):
    native = read_rows(survey_data / "images_decam" / "case6" / "chunk-03687.fits")
    survey = load_survey("gaia", "dr2")
    rows = translated(recognise_table(survey, native.column_names), native)
    assert set(rows.column("ref_epoch").to_pylist()) == {2015.5}
    np.testing.assert_allclose(column(rows, "ra_err"), column(native, "ra_error") / 1000, rtol=1e-7)
    # Evans et al. 2018: zero points of G 25.7934 AB, 25.6884 Vega.
    np.testing.assert_allclose(
        column(rows, "mag_g_cap"), column(native, "phot_g_mean_mag") + 0.105, atol=1e-6
    )
    snr = column(native, "phot_g_mean_flux_over_error").astype(float)
    np.testing.assert_allclose(column(rows, "mag_err_g_cap"), 2.5 / math.log(10) / snr, rtol=1e-7)
    two_parameters = column(native, "astrometric_params_solved") == 3
    np.testing.assert_array_equal(np.isnan(column(rows, "parallax")), two_parameters)
    found = translated(survey.table(), native, ("astrometry",))
    assert found.num_rows == (~two_parameters).sum() == found.column("pmra").length()


def test_rows_of_another_release_are_refused(survey_data):
    native = read_rows(survey_data / "images_decam" / "case6" / "chunk-03687.fits")
    with pytest.raises(BadInput, match=r"some rows are of dr2.*ref_epoch.*2015\.5"):
        translated(load_survey("gaia").table(), native)


def test_gaia_dr3_rows_of_the_archive():
    rows = translated(load_survey("gaia").table(), pa.table(GAIA_DR3), ("clean",))
    assert rows.column("source_id").to_pylist() == [4583627001381815936, 5348723816842275584]
    # Riello et al. 2021: zero points 25.8010 - 25.6874, 25.3540 - 25.3385 and 25.1040 - 24.7479.
    for name, native, offset in (("g_cap", "g", 0.1136), ("bp", "bp", 0.0155), ("rp", "rp", 0.3561)):
        expected = np.array(GAIA_DR3[f"phot_{native}_mean_mag"]) + offset
        np.testing.assert_allclose(column(rows, f"mag_{name}"), expected, atol=1e-6)
    assert rows.column("variability").to_pylist() == ["VARIABLE", None]
    np.testing.assert_allclose(column(rows, "dec_err"), [2.6818542e-5, 2.9566439e-5], rtol=1e-6)


# 2MASS, WISE and Tractor


def test_a_2mass_row_of_the_archive():
    rows = translated(load_survey("twomass").table(), pa.table(TWOMASS), ("clean",))
    [row] = rows.to_pylist()
    # Blanton & Roweis 2007.
    expected = {"mag_j": 9.453 + 0.91, "mag_h": 8.668 + 1.39, "mag_ks": 8.475 + 1.85}
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert (row["mag_err_ks"], row["extended"], row["source_id"]) == (0.051, 2, "00424433+4116085")
    assert translated(load_survey("twomass").table(), pa.table(TWOMASS), ("point",)).num_rows == 0


def test_the_documented_layout_of_allwise():
    """Of wise2.ipac.caltech.edu/docs/release/allwise/expsup/sec2_1a.html; the values are made up."""
    native = pa.table(
        {
            "cntr": pa.array([1, 2], pa.int64()),
            "designation": ["J000000.00+000000.0", "J000001.00+000000.0"],
            "ra": [0.0, 0.004],
            "dec": [0.0, 0.0],
            "w1mpro": [15.0, 16.0],
            "w1sigmpro": pa.array([0.02, None], pa.float64()),
            "w2mpro": [14.0, None],
            "w3mpro": [11.0, 12.0],
            "w4mpro": [9.0, 8.5],
            "cc_flags": ["0000", "d000"],
            "ext_flg": pa.array([0, 5], pa.int16()),
        }
    )
    table = recognise_table(load_survey("wise"), native.column_names)
    rows = translated(table, native)
    assert [column(rows, f"mag_psf_w{n}")[0] for n in (1, 2, 3, 4)] == pytest.approx(
        [17.699, 17.339, 16.174, 15.620], abs=1e-6
    )
    assert rows.column("mag_psf_w2").to_pylist()[1] is None
    assert rows.column("mag_psf_err_w1").to_pylist() == [0.02, None]
    assert translated(table, native, ("clean", "point")).column("source_id").to_pylist() == [1]


def test_flags_keep_their_leading_zeros(tmp_path):
    path = tmp_path / "wise.csv"
    path.write_text(
        "cntr,designation,ra,dec,w1mpro,w3mpro,ext_flg,cc_flags\n"
        "1,J1,0.0,0.0,15.0,12,0,0000\n2,J2,0.1,0.0,16.0,12,1,0010\n"
    )
    native = read_rows(path)
    assert pa.types.is_integer(native.schema.field("cc_flags").type)
    table = load_survey("wise").table()
    assert translated(table, native).column("cc_flags").to_pylist() == ["0000", "0010"]
    assert translated(table, native, ("clean",)).column("source_id").to_pylist() == [1]


def test_the_documented_layout_of_catwise():
    """Of IRSA's catwise_colDescriptions.html; the values are made up."""
    native = pa.table(
        {
            "source_name": ["J000000.00+000000.0"],
            "source_id": ["0000p000_b0-000001"],
            "ra": [0.0],
            "dec": [0.0],
            "w1mpro": [15.0],
            "w1mpro_pm": [15.1],
            "pmra": [0.25],
            "ab_flags": ["00"],
        }
    )
    table = recognise_table(load_survey("wise"), native.column_names)
    [row] = translated(table, native, ("clean",)).to_pylist()
    assert (table.name, row["source_id"], row["pmra"]) == ("catwise", "0000p000_b0-000001", 250.0)
    assert row["mag_psf_w1"] == pytest.approx(17.699, abs=1e-6)


def _tractor(upper: bool) -> pa.Table:
    """Rows in the documented layout of tractor and sweep files (legacysurvey.org/dr10); the values are made up."""
    values = {
        "release": pa.array([10000] * 3, pa.int16()),
        "brickid": pa.array([330368] * 3, pa.int32()),
        "objid": pa.array([0, 1, 2], pa.int32()),
        "brick_primary": [True, True, False],
        "maskbits": pa.array([0, 2048, 0], pa.int32()),
        "type": ["PSF", "SER", "DUP"],
        "ra": [10.0, 10.1, 10.2],
        "dec": [60.0, 60.0, 60.0],
        "ra_ivar": pa.array([3600.0**2 * 1e4, 0, 1], pa.float32()),
        "dchisq": pa.array([[100.0, 90, 80, 70, 60]] * 3, pa.list_(pa.float32())),
        "flux_r": pa.array([100.0, -1.0, 0.0], pa.float32()),
        "flux_ivar_r": pa.array([4.0, 4.0, 0.0], pa.float32()),
        "flux_w1": pa.array([1.0, 10.0, 0.0], pa.float32()),
    }
    return pa.table({name.upper() if upper else name: value for name, value in values.items()})


@pytest.mark.parametrize("upper", [False, True])
def test_the_documented_layout_of_tractor_files(upper):
    native = _tractor(upper)
    table = recognise_table(load_survey("legacy"), native.column_names)
    rows = translated(table, native)
    assert table.name == "tractor_files"
    assert rows.column("source_id").to_pylist()[1] == (10000 << 40) + (330368 << 16) + 1
    assert rows.column("type").to_pylist() == ["STAR", "GALAXY", None]
    assert rows.column("morphology").to_pylist() == ["PSF", "SER", "DUP"]
    assert rows.column("mag_r").to_pylist() == [17.5, None, None]
    assert rows.column("mag_err_r").to_pylist() == [pytest.approx(1.0857362 / 200), None, None]
    assert rows.column("mag_w1").to_pylist() == [22.5, 20.0, None]
    assert rows.column("ra_err").to_pylist()[0] == pytest.approx(0.005)
    assert rows.column("dchisq_dev").to_pylist() == [80.0] * 3
    assert rows.column("brick_primary").to_pylist() == [True, True, False]
    assert translated(table, native, ("clean",)).column("objid").to_pylist() == [0, 2]


def test_a_release_without_a_band():
    native = _tractor(False).append_column("ls_id", pa.array([7, 8, 9]))
    table = load_survey("legacy").table("tractor")
    with pytest.raises(MissingColumns, match=r"ls_dr10.tractor lacks the columns \['flux_i'\]"):
        translate(table, table.select(["flux_r", "flux_i"]), native)


# What any table does


def test_files_of_no_table_and_of_no_position():
    survey = load_survey("legacy")
    with pytest.raises(BadArguments, match=r"no table fits.*tractor has \['ls_id'.*--survey-table"):
        recognise_table(survey, ["ra", "dec"])
    both = [*_tractor(False).column_names, "ls_id"]
    with pytest.raises(BadArguments, match=r"\['tractor', 'tractor_files'\] all fit"):
        recognise_table(survey, both)
    with pytest.raises(MissingColumns, match=r"lacks the columns \['dec'\]"):
        FileVocabulary.of_schema(survey.table("tractor_files"), _tractor(False).drop(["dec"]).schema)
    with pytest.raises(MissingColumns, match=r"lacks the columns \['maskbits'\]"):
        FileVocabulary.of_schema(
            survey.table("tractor_files"), _tractor(False).drop(["maskbits"]).schema, ("clean",)
        )


@pytest.mark.parametrize(
    ("flux", "message"),
    [
        (["a lot", "1", "2"], "column flux_r does not become flux_r"),
        ([[1.0], [2.0], [3.0]], "it should hold one value in every row"),
    ],
)
def test_values_of_another_type_are_named(flux, message):
    native = _tractor(False).drop(["flux_r"]).append_column("flux_r", pa.array(flux))
    table = load_survey("legacy").table("tractor_files")
    with pytest.raises(BadInput, match=message):
        translate(table, table.select(["flux_r"]), native)


def test_a_short_array_is_named():
    native = (
        _tractor(False).drop(["dchisq"]).append_column("dchisq", pa.array([[1.0] * 5, [1.0] * 3, [1.0] * 5]))
    )
    table = load_survey("legacy").table("tractor_files")
    with pytest.raises(BadInput, match="column dchisq: some arrays have fewer than 4 elements"):
        translate(table, table.select(["dchisq_exp"]), native)


def test_no_rows_have_the_same_columns():
    table = load_survey("legacy").table("tractor_files")
    columns = table.select(["flux_r", "mag_r", "type", "dchisq_dev"])
    native = _tractor(False)
    assert translate(table, columns, native.slice(0, 0)).schema.equals(
        translate(table, columns, native).schema, check_metadata=True
    )
