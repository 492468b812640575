"""The Python API: the calls of its documentation on generated galaxies and on BOSS."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import Table

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photoz import PhotozEstimator
from astrolake.photoz.flags import PhotozFlag
from astrolake.photoz.python_tables import as_frame, chosen_columns, with_redshifts

FEATURES = [
    "u_mag",
    "g_mag",
    "r_mag",
    "i_mag",
    "z_mag",
    "u_g",
    "g_r",
    "r_i",
    "i_z",
    "petro_radius",
    "concentration",
]
SLOPES = np.array([2.5, 1.6, 0.7, 0.2, 0.0])


def galaxies(n, seed):
    """Galaxies whose colours are straight in redshift, with errors of 0.05 mag; positions, sizes, keys."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 0.9, n)
    mag = 19 + 2.5 * z + rng.normal(0, 0.5, n)
    columns = {"object_id": np.arange(n), "ra": rng.uniform(0, 40, n), "dec": rng.uniform(-20, 20, n)}
    for band, slope in zip("ugriz", SLOPES, strict=True):
        columns[f"{band}_mag"] = mag + slope * z + 0.05 * rng.standard_normal(n)
        columns[f"{band}_err"] = np.full(n, 0.05)
    columns |= {"petro_radius": rng.lognormal(1, 0.3, n), "concentration": rng.uniform(2, 4, n), "z_spec": z}
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def sky():
    return galaxies(1500, 1), galaxies(800, 2)


def test_documented_calls_on_files(tmp_path, sky):
    known, full_catalog = sky
    known.drop(columns="z_spec").to_parquet(tmp_path / "photometry.parquet")
    known[["object_id", "z_spec"]].sample(frac=1, random_state=1).to_parquet(tmp_path / "specz.parquet")
    photoz = PhotozEstimator()
    training_data = photoz.prepare_training_data(
        photometry=str(tmp_path / "photometry.parquet"),
        spec_z=str(tmp_path / "specz.parquet"),
        features=FEATURES,
    )
    model = photoz.train_ml_model(
        training_data=training_data,
        model_type="xgboost",
        instance_type="ml.m5.4xlarge",
        n_estimators=60,
        max_depth=5,
    )
    photo_z = photoz.predict(model=model, catalog=full_catalog, output=tmp_path / "photoz_catalog.parquet")
    metrics = photoz.evaluate(
        predicted=photo_z["z_phot"], true=photo_z["z_spec"], photo_z_err=photo_z["z_phot_err"]
    )
    # 0.05 mag over the slopes, all five bands together, leave about 0.02
    assert metrics["scatter"] < 0.035
    assert metrics["outlier_fraction"] < 0.01
    assert abs(metrics["bias"]) < 0.005
    assert metrics["coverage_68"] == pytest.approx(0.68, abs=0.08)
    written = pd.read_parquet(tmp_path / "photoz_catalog.parquet")
    pd.testing.assert_frame_equal(written, photo_z, check_dtype=False)
    assert model.metrics["scatter"] == pytest.approx(metrics["scatter"], rel=0.5)


def test_template_fitting_by_the_documented_call(sky, tmp_path):
    pytest.importorskip("galsim")
    pytest.importorskip("speclite")
    photoz = PhotozEstimator()
    templates = photoz.load_templates(template_set="cww", n_templates=8)
    assert len(templates) == 8
    bands = list("ugriz")
    catalog = sky[1].rename(columns={f"{band}_mag": band for band in bands})
    redshifts = photoz.template_fitting(
        catalog=catalog,
        magnitudes=bands,
        mag_errors=["u_err", "g_err", "r_err", "i_err", "z_err"],
        templates=templates,
        z_range=[0, 1],
        z_resolution=0.01,
    )
    assert len(redshifts) == len(catalog)
    assert redshifts["z_phot"].between(0, 1).all()
    redshifts.to_parquet(tmp_path / "redshifts.parquet")  # nothing hangs on the table that no file can hold
    errors = ["u_err", "g_err", "r_err", "i_err", "z_err"]
    fit = photoz.fit_templates(catalog, bands, errors, templates, [0, 1])
    np.testing.assert_array_equal(photoz.predict(fit, catalog)["z_phot"], redshifts["z_phot"])
    known = catalog.assign(z_spec=catalog["z_spec"].where(catalog.index % 4 > 0))
    held = photoz.fit_templates(known, bands, errors, templates, [0, 1], spec_z="z_spec", held_back=True)
    told = held.provenance
    assert told["n_train"] + told["n_validation"] == 600
    assert held.metrics["n"] == told["n_validation"] > 60


@pytest.mark.spark
def test_random_forest_is_grown_by_the_running_session(spark, sky):
    photoz = PhotozEstimator()
    training = photoz.prepare_training_data(sky[0], "z_spec", FEATURES[:5])
    model = photoz.train_ml_model(
        training, "random_forest", n_estimators=3, max_depth=4, z_range=(0, 1), z_resolution=0.02
    )
    found = photoz.predict(model, sky[1])
    # 16 leaves for redshifts of 0 to 0.9: no better than 0.02 each, and somewhat worse at their edges
    assert photoz.evaluate(found["z_phot"], found["z_spec"])["scatter"] < 0.06


@pytest.mark.data
def test_boss_with_boosted_trees(survey_data):
    names = [f"{band}_{kind}" for band in "ugriz" for kind in ("mag", "err")]
    files = [survey_data / "photoz" / f"boss_dr10_{k}.csv" for k in (0, 1, 2)]
    rows = pd.concat([pd.read_csv(f, header=None, skiprows=1, names=[*names, "z_spec"]) for f in files])
    rows = rows.astype(float).sample(frac=1, random_state=1).reset_index(drop=True)
    photoz = PhotozEstimator()
    training = photoz.prepare_training_data(
        rows[:8624], "z_spec", ["u_mag", "g_mag", "r_mag", "i_mag", "z_mag"]
    )
    model = photoz.train_ml_model(training, "xgboost", n_estimators=80, max_depth=6, z_range=(0, 1.2))
    found = photoz.predict(model, rows[8624:])
    metrics = photoz.evaluate(found["z_phot"], found["z_spec"], found["z_phot_err"])
    assert metrics["scatter"] < 0.023
    assert metrics["outlier_fraction"] < 0.02
    assert metrics["coverage_68"] == pytest.approx(0.68, abs=0.04)


def test_tables_of_all_kinds(tmp_path, sky):
    frame = sky[1][["object_id", "u_mag"]]
    frame.to_csv(tmp_path / "t.csv", index=False)
    Table.from_pandas(frame).write(tmp_path / "t.fits")
    sources = [frame, pa.Table.from_pandas(frame), Table.from_pandas(frame), frame.to_dict("list"),
               frame.to_records(index=False), str(tmp_path / "t.csv"), tmp_path / "t.fits"]  # fmt: skip
    for source in sources:
        pd.testing.assert_frame_equal(as_frame(source, "t"), frame, check_dtype=False)
    with pytest.raises(BadArguments, match="t is int"):
        as_frame(3, "t")
    with pytest.raises(BadInput, match="nothing.parquet cannot be read"):
        as_frame(tmp_path / "nothing.parquet", "t")


def test_features_become_bands_and_extra_columns(sky):
    bands, extra = chosen_columns(sky[0], FEATURES)
    assert [(b.band, b.value, b.error) for b in bands] == [(b, f"{b}_mag", f"{b}_err") for b in "ugriz"]
    assert [(e.name, e.transform) for e in extra] == [("petro_radius", "log"), ("concentration", "linear")]
    bands, extra = chosen_columns(sky[0], ["g_r", "r_i"])
    assert ([b.band for b in bands], extra) == (["g", "r", "i"], ())
    with pytest.raises(MissingColumns, match=r"\['y_mag', 'z_y'\]"):
        chosen_columns(sky[0], ["y_mag", "z_y", "u_mag"])
    with pytest.raises(BadArguments, match="name no magnitude"):
        chosen_columns(sky[0], ["concentration"])


def test_redshifts_are_joined_by_position_where_no_key_is_common(sky):
    known = sky[0]
    spectra = known[["ra", "dec"]].assign(redshift=known["z_spec"], dec=known["dec"] + 0.2 / 3600)[::3]
    joined, contradicting = with_redshifts(known.drop(columns="z_spec"), spectra, [])
    assert (len(joined), contradicting) == (500, 0)
    expected = known.set_index("object_id")["z_spec"].loc[joined["object_id"]]
    np.testing.assert_array_equal(joined["z_spec"], expected)


@pytest.mark.parametrize("by", ["object_id", "position"])
def test_of_spectra_that_agree_the_nearest_counts_and_of_others_none(sky, by):
    known = sky[0][:200].drop(columns="z_spec")
    # Five spectra beside each other: nearest first, only a good one, agreeing, contradicting, none at all.
    seconds = pd.DataFrame(
        {"object_id": [10, 11, 12, 13, 14], "z_spec": [0.301, -1.0, 0.30259, 0.31, np.nan]}
    )
    firsts = pd.DataFrame({"object_id": np.arange(10, 15), "z_spec": [0.3, 0.3, 0.3, 0.3, -99.0]})
    spectra = pd.concat([seconds.assign(sep=0.4), firsts.assign(sep=0.2)])
    if by == "position":
        at = known.set_index("object_id").loc[spectra["object_id"]]
        spectra = pd.DataFrame(
            {"ra": at["ra"].to_numpy(), "dec": at["dec"].to_numpy() + spectra["sep"].to_numpy() / 3600,
             "z_spec": spectra["z_spec"].to_numpy()}
        )  # fmt: skip
        # A second object within reach of a spectrum that is nearer to the first takes nothing of it.
        beside = known[known["object_id"] == 10].assign(object_id=999, dec=lambda r: r["dec"] - 0.5 / 3600)
        known = pd.concat([known, beside])
    training = PhotozEstimator().prepare_training_data(known, spectra, FEATURES[:5])
    found = training.table.set_index("object_id")["z_spec"].to_dict()
    first = {"object_id": [0.301, 0.3, 0.30259], "position": [0.3, 0.3, 0.3]}[by]
    assert found == dict(zip((10, 11, 12), first, strict=True))
    assert training.n_contradicting == 1


def test_a_band_called_z_is_no_redshift():
    frame = pd.DataFrame({"object_id": [1, 2], "z": [20.0, 21.0], "u": [22.0, 22.0]})
    with pytest.raises(BadArguments, match="no key in common"):
        with_redshifts(frame.drop(columns="object_id"), pd.DataFrame({"z_spec": [0.1]}), ["z"])
    joined, _ = with_redshifts(frame, {"object_id": [2], "z": [0.3]}, ["z", "u"])
    assert joined[["z", "z_spec"]].to_numpy().tolist() == [[21.0, 0.3]]
    with pytest.raises(BadArguments, match="2 rows of photometry"):
        with_redshifts(frame, np.zeros(3), [])


def test_clear_errors(tmp_path, sky):
    photoz = PhotozEstimator()
    training = photoz.prepare_training_data(sky[0], "z_spec", FEATURES[:5])
    with pytest.raises(BadArguments, match="random_forest, gbt, xgboost, neural_network"):
        photoz.train_ml_model(training, "svm")
    few = photoz.prepare_training_data(sky[0][:10], "z_spec", FEATURES[:5])
    with pytest.raises(BadInput, match="at least 100"):
        photoz.train_ml_model(few, "xgboost")
    one = photoz.prepare_training_data(sky[0].assign(z_spec=0.5), "z_spec", FEATURES[:5])
    with pytest.raises(BadInput, match=r"all 1500 redshifts are 0\.5"):
        photoz.train_ml_model(one, "xgboost")
    model = photoz.train_ml_model(training, "xgboost", n_estimators=5, max_depth=3)
    with pytest.raises(MissingColumns, match="u_mag"):
        photoz.predict(model, sky[1].drop(columns="u_mag"))
    fluxes = sky[1].assign(r_mag=10 ** (-0.4 * (sky[1]["r_mag"] - 22.5)))
    with pytest.raises(BadInput, match="r_mag of band r does not hold AB magnitudes"):
        photoz.predict(model, fluxes)
    (tmp_path / "other.pkl").write_bytes(b"\x80\x04not ours")
    with pytest.raises(BadInput, match="no photo-z model"):
        photoz.predict(tmp_path / "other.pkl", sky[1])
    model.save(tmp_path / "model.npz")
    loaded = photoz.predict(str(tmp_path / "model.npz"), sky[1])
    np.testing.assert_array_equal(loaded["z_phot"], photoz.predict(model, sky[1])["z_phot"])


def test_models_are_combined_on_galaxies_that_none_was_trained_on(sky, tmp_path):
    photoz = PhotozEstimator()
    table = sky[0].drop(columns=["ra", "dec"])
    halves = [photoz.prepare_training_data(table, "z_spec", f) for f in (FEATURES[:3], FEATURES[2:5])]
    models = {
        name: photoz.train_ml_model(data, "xgboost", n_estimators=30, max_depth=4, z_range=(0, 1))
        for name, data in zip(("blue", "red"), halves, strict=True)
    }
    model = photoz.combine(models, halves[0])
    assert model.provenance["n_validation"] == models["blue"].provenance["n_validation"]
    found = {k: photoz.predict(m, sky[1]) for k, m in {**models, "both": model}.items()}
    loss = {k: photoz.evaluate(f["z_phot"], f["z_spec"])["rms"] for k, f in found.items()}
    assert loss["both"] < 0.95 * min(loss["blue"], loss["red"])
    # the calibrated halves agree but where a band is wrong
    wrong = sky[1][:50].assign(u_mag=sky[1]["u_mag"] + 1.5)
    apart, few = (
        (frame["photoz_flags"].to_numpy() & PhotozFlag.METHODS_DISAGREE > 0).mean()
        for frame in (photoz.predict(model, wrong), found["both"])
    )
    assert apart > 0.15
    assert few < 0.02
    # files in place of models, and one file of the whole
    for name, one in models.items():
        one.save(tmp_path / name)
    again = photoz.combine({name: tmp_path / name for name in models}, halves[0])
    assert again.to_bytes() == model.to_bytes()
    model.save(tmp_path / "both.npz")
    np.testing.assert_array_equal(
        photoz.predict(tmp_path / "both.npz", sky[1])["z_phot"], found["both"]["z_phot"]
    )
    # without positions the galaxies held back are known by the table they were drawn from
    with pytest.raises(BadInput, match="trained on another table"):
        photoz.combine(models, photoz.prepare_training_data(table[1:], "z_spec", FEATURES[:5]))


def test_redshifts_that_are_none_and_objects_without_bands_are_not_trained_on(sky):
    wrong = sky[0].copy()
    wrong.loc[:299, "z_spec"] = -9999.0
    wrong.loc[300:599, [f"{band}_mag" for band in "ugriz"]] = np.nan
    photoz = PhotozEstimator()
    training = photoz.prepare_training_data(wrong, "z_spec", FEATURES[:5])
    model = photoz.train_ml_model(training, "xgboost", n_estimators=40, max_depth=4)
    found = model.provenance
    assert found["n_train"] + found["n_validation"] == len(wrong) - 600
    photo_z = photoz.predict(model, sky[1])
    assert photoz.evaluate(photo_z["z_phot"], photo_z["z_spec"])["scatter"] < 0.05


def test_metrics_are_of_galaxies_that_densities_were_not_learned_from(sky):
    photoz = PhotozEstimator()
    training = photoz.prepare_training_data(sky[0], "z_spec", FEATURES[:5])
    model = photoz.train_ml_model(training, "xgboost", n_estimators=40, max_depth=4)
    unseen = photoz.predict(model, sky[1], pdf_step=0.01)
    truth = photoz.evaluate(
        unseen["z_phot"], unseen["z_spec"], unseen["z_phot_err"], unseen["pdf"], model.grid
    )
    # 300 rows judge: the loss is known to about a twentieth, and must not be better than it is
    assert model.metrics["cde_loss"] > 1.1 * truth["cde_loss"]
    assert model.metrics["n"] == model.provenance["n_validation"]


def test_columns_that_hold_no_numbers_are_named_and_missing_values_of_any_kind_pass(sky):
    photoz = PhotozEstimator()
    training = photoz.prepare_training_data(sky[0], "z_spec", FEATURES[:5])
    model = photoz.train_ml_model(training, "xgboost", n_estimators=5, max_depth=3)
    some, expected = sky[1][:30], photoz.predict(model, sky[1][:30])["z_phot"]
    for wrong in ("faint", [[20.0]] * 30, some["r_mag"] + 1j, pd.Timestamp("2020-01-01")):
        with pytest.raises(BadInput, match="the catalog: column r_mag does not hold numbers"):
            photoz.predict(model, some.assign(r_mag=wrong))
    with pytest.raises(BadInput, match=r"column r_mag has the shape \(30, 2\)"):
        photoz.predict(model, pd.concat([some, some[["r_mag"]]], axis=1))
    decimals = some.assign(r_mag=[Decimal(repr(float(x))) for x in some["r_mag"]])
    np.testing.assert_array_equal(photoz.predict(model, decimals)["z_phot"], expected)
    none = photoz.predict(model, some.assign(r_mag=None, u_mag=pd.NA))
    assert none["n_bands"].eq(3).all()
    assert none["z_phot"].notna().all()
    for table in ({"u_mag": [1.0, 2.0], "g_mag": [1.0]}, {"u_mag": 20.0}):
        with pytest.raises(BadArguments, match="give columns of the same length"):
            photoz.predict(model, table)
    with pytest.raises(BadArguments, match="model is int"):
        photoz.predict(3, some)
    with pytest.raises(BadArguments, match="step of nan"):
        photoz.predict(model, some, pdf_step=float("nan"))
    with pytest.raises(BadArguments, match="dict of models by name"):
        photoz.combine([model, model], training)


def test_redshifts_that_cannot_be_joined_or_are_no_numbers_are_told(sky):
    known = sky[0].drop(columns="z_spec")
    spectra = sky[0][["object_id", "z_spec"]]
    prepare = PhotozEstimator().prepare_training_data
    for given in (spectra.assign(z_spec="far"), np.full(1500, "far")):
        with pytest.raises(BadInput, match="(z_spec|spec_z) does not hold numbers"):
            prepare(known, given, FEATURES[:5])
    with pytest.raises(BadArguments, match="object_id is int64 in photometry and object in spec_z"):
        prepare(known, spectra.astype({"object_id": str}), FEATURES[:5])
    with pytest.raises(BadInput, match="none of the 1500 object_id"):
        prepare(known, spectra.assign(object_id=spectra["object_id"] + 5000), FEATURES[:5])
    with pytest.raises(BadArguments, match="labels as the photometry in another order"):
        prepare(known, spectra["z_spec"][::-1], FEATURES[:5])
    with pytest.raises(BadArguments, match="the redshift that is to be told"):
        prepare(sky[0], "z_spec", [*FEATURES[:5], "z_spec"])
    for features in ("u_mag", [3]):
        with pytest.raises(BadArguments, match="give a list of names"):
            prepare(sky[0], "z_spec", features)


def test_rows_without_a_position_are_left_out_of_training(sky):
    photoz = PhotozEstimator()
    lost = sky[0].assign(
        ra=sky[0]["ra"].where(sky[0].index % 5 > 0), dec=sky[0]["dec"].where(sky[0].index != 1, 91)
    )
    model = photoz.train_ml_model(
        photoz.prepare_training_data(lost, "z_spec", FEATURES[:5]), "xgboost", n_estimators=3, max_depth=2
    )
    assert model.provenance["n_train"] + model.provenance["n_validation"] == 1199
    joined, _ = with_redshifts(lost.drop(columns="z_spec"), sky[0][["ra", "dec", "z_spec"]], [])
    assert len(joined) == 1199
    with pytest.raises(BadInput, match="ra and dec hold no position"):
        photoz.train_ml_model(photoz.prepare_training_data(lost.assign(ra=np.nan), "z_spec", FEATURES[:5]))
    with pytest.raises(BadInput, match="column ra does not hold numbers"):
        photoz.train_ml_model(photoz.prepare_training_data(lost.assign(ra="10:00"), "z_spec", FEATURES[:5]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_estimators": 0}, "n_estimators 0"),
        ({"n_estimators": 2.5}, "n_estimators 2.5"),
        ({"max_depth": -3}, "max_depth -3"),
        ({"learning_rate": float("nan")}, "learning_rate nan"),
        ({"z_range": (0,)}, "give the first and the last redshift"),
        ({"z_range": (0, 1), "z_resolution": "fine"}, "z_resolution 'fine'"),
        ({"z_range": (0, 1), "z_resolution": 5}, "not a whole number of steps"),
    ],
)
def test_options_out_of_range_are_refused(sky, options, message):
    photoz = PhotozEstimator()
    with pytest.raises(BadArguments, match=message):
        photoz.train_ml_model(
            photoz.prepare_training_data(sky[0], "z_spec", FEATURES[:5]), "xgboost", **options
        )
