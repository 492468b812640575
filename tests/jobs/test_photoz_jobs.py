"""From two catalogs to photometric redshifts: train, estimate, and again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from killed_job import drive

from astrolake.job import runner
from astrolake.lake.delta import Commit, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.runs import read_runs
from astrolake.lake.sql import run_query
from astrolake.photoz import PhotozEstimator
from astrolake.photoz.model_store import choose

pytestmark = pytest.mark.spark

N, SPECTRA = 1500, 1000
BANDS = "griz"
TREES = ("--method", "random_forest", "--n-trees", 3, "--max-depth", 4, "--max-bins", 32)


def galaxies(rng: np.random.Generator) -> pd.DataFrame:
    """Galaxies whose colours tell redshifts of 0 to 1, over some 100 square degrees."""
    z = rng.uniform(0.02, 1.0, N)
    ra, dec = rng.uniform(148, 158, N), rng.uniform(-2, 8, N)
    rows = pd.DataFrame({"id": np.arange(N), "ra": ra, "dec": dec})
    for k, band in enumerate(BANDS):
        rows[f"mag_{band}"] = 22 - k * 0.4 - np.sin(z * (1.5 + k)) + rng.normal(0, 0.03, N)
        rows[f"mag_{band}_err"] = 0.03
    rows["z_true"] = z
    # one galaxy that no band has seen, and one that one band has not
    rows.loc[0, [f"mag_{b}" for b in BANDS]] = -99.0
    rows.loc[1, "mag_z"] = np.nan
    return rows


@pytest.fixture(scope="module")
def catalogs(run_job, tmp_path_factory) -> Lake:
    """A lake with galaxies, and spectra of the first half of them 0.2 arcsec beside."""
    folder = tmp_path_factory.mktemp("photo z")
    rows = galaxies(np.random.default_rng(3))
    rows.drop(columns="z_true").to_parquet(folder / "galaxies.parquet")
    spectra = rows[["ra", "dec"]].assign(
        dec=rows["dec"] + 0.2 / 3600, z=rows["z_true"], zwarning=rows["id"] % 10
    )
    spectra["zwarning"] = (spectra["zwarning"] == 9).astype(int)
    spectra.loc[spectra["zwarning"] == 1, "z"] = 0.9
    # farther ones, of 10 that agrees, of 11 and 12 that contradict, that of 12 doubtful
    again = spectra.iloc[[10, 11, 12]].assign(
        dec=lambda r: r["dec"] + 0.3 / 3600, z=lambda r: r["z"] + [0.001, 0.3, 0.3], zwarning=[0, 0, 1]
    )
    spectra = pd.concat([spectra.iloc[:SPECTRA], again])
    spectra = spectra.assign(id=np.arange(SPECTRA + 3) + 7000)
    spectra.to_parquet(folder / "spectra.parquet")
    for table in ("galaxies", "spectra"):
        code, _ = run_job(
            "ingest_catalog", "--lake", folder / "lake", "--input", folder / f"{table}.parquet", "--table", table,
            "--id-column", "id", "--max-rows", 500,
        )  # fmt: skip
        assert code == 0
    return Lake.open(str(folder / "lake"))


@pytest.fixture(scope="module")
def train(run_job, catalogs):
    def run(*flags: object) -> tuple[int, dict]:
        return run_job(
            "train_photoz", "--lake", catalogs.uri, "--table", "galaxies", "--spec-table", "spectra",
            "--spec-where", "zwarning = 0", "--magnitudes", *(f"mag_{b}" for b in BANDS),
            "--errors", *(f"mag_{b}_err" for b in BANDS), "--z-max", 1.2, "--z-step", 0.02, *flags,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def forest(train) -> dict:
    code, summary = train(*TREES, "--name", "forest")
    assert code == 0
    return summary


def estimate(run_job, lake: Lake, *flags: object) -> tuple[int, dict]:
    return run_job("estimate_photoz", "--lake", lake.uri, "--table", "galaxies", *flags)


def photoz(lake: Lake, method: str) -> pd.DataFrame:
    found = run_query(lake, f"SELECT * FROM photoz WHERE method = '{method}'").to_pandas()
    found = found.drop(columns=["Norder", "Dir", "Npix"])
    return found.sort_values("object_id").reset_index(drop=True)


def test_the_model_is_on_record_with_what_it_was_trained_on(forest, catalogs):
    assert forest["rows_in"] == forest["rows_out"] == 899
    (row,) = run_query(catalogs, "SELECT * FROM models WHERE name = 'forest'").to_pylist()
    assert (row["method"], row["training_table"], row["training_version"]) == ("random_forest", "galaxies", 0)
    assert (row["spec_table"], row["spec_version"], row["z_max"]) == ("spectra", 0, 1.2)
    # of 900 one has two redshifts, one was seen in no band; a fifth of the sky is held back
    assert row["n_train"] + row["n_validation"] == 898
    assert 0.1 < row["n_validation"] / 898 < 0.3
    assert json.loads(row["params"])["n_contradicting"] == 1
    params = json.loads(row["params"])
    assert (params["spec_where"], params["radius_arcsec"]) == ("zwarning = 0", 1.0)
    assert json.loads(row["metrics"])["n"] == row["n_validation"]
    found = choose(catalogs.storage, [row], "forest").load()
    assert (found.provenance["training_table"], found.provenance["spec_version"]) == ("galaxies", 0)
    assert row["uri"].endswith(f"models/{row['model_id']}/model.npz")
    assert json.loads(row["params"])["n_trees"] == 3
    assert "mag_g" in json.loads(row["features"])["columns"]
    assert 100 < row["n_validation"] < 300
    # colours tell the redshift to about 0.02 (1 + z); four shallow trees somewhat worse
    assert 0 < json.loads(row["metrics"])["scatter"] < 0.08


@pytest.fixture(scope="module")
def estimates(forest, catalogs, run_job) -> pd.DataFrame:
    code, summary = estimate(run_job, catalogs, "--model", "forest", "--pdf-step", 0.05)
    assert (code, summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (0, N, N, 0)
    return photoz(catalogs, "forest")


def test_estimates_are_good_and_the_same_again(estimates, catalogs, run_job):
    first = estimates
    truth = galaxies(np.random.default_rng(3))["z_true"].to_numpy()
    seen = first["object_id"] > 1
    error = (first["z_phot"] - truth)[seen] / (1 + truth[seen])
    assert 1.4826 * np.median(np.abs(error - np.median(error))) < 0.08
    assert np.isnan(first["z_phot"][0])
    assert first["pdf"][0] is None
    assert first["photoz_flags"][0] & 32
    assert first["n_bands"].tolist()[:3] == [0, 3, 4]
    assert first["z_phot"][1] == pytest.approx(truth[1], abs=0.4)
    np.testing.assert_allclose([np.sum(p) * 0.05 for p in first["pdf"][1:50]], 1, atol=1e-4)

    assert estimate(run_job, catalogs, "--model", "forest", "--pdf-step", 0.05)[0] == 0
    again = photoz(catalogs, "forest")
    pd.testing.assert_frame_equal(first.drop(columns="run_id"), again.drop(columns="run_id"))


def test_partitions_do_not_change_estimates_and_methods_stay_apart(estimates, catalogs, run_job):
    flags = ("--model", "forest", "--method-name", "bright", "--where", "mag_i < 21", "--max-rows", 250)
    code, summary = estimate(run_job, catalogs, *flags)
    bright = photoz(catalogs, "bright")
    assert code == 0
    assert summary["rows_in"] == len(bright) < N
    same = estimates.set_index("object_id").loc[bright["object_id"]]
    np.testing.assert_array_equal(same["z_phot"].to_numpy(), bright["z_phot"].to_numpy())
    pd.testing.assert_frame_equal(
        estimates.drop(columns="run_id"), photoz(catalogs, "forest").drop(columns="run_id")
    )
    files = read_snapshot(catalogs.delta_storage("photoz")).files
    assert len(files) > 4


def test_estimates_of_some_objects_leave_those_of_others(estimates, catalogs, run_job, tmp_path):
    copy = Lake.open(str(shutil.copytree(catalogs.uri.removeprefix("file://"), tmp_path / "lake")))
    flags = ("--model", "forest", "--max-rows", 250, "--where")
    code, summary = estimate(run_job, copy, *flags, "mag_i < 20.5 AND id < 1400")
    assert code == 0
    found = photoz(copy, "forest")
    fresh = found["run_id"] == summary["run_id"]
    assert fresh.sum() == summary["rows_in"] == summary["rows_out"] == summary["rows_written"]["photoz"]
    assert 100 < fresh.sum() < 1400
    expected = estimates.assign(
        run_id=found["run_id"],
        pdf=estimates["pdf"].mask(fresh, None),
        pdf_step=estimates["pdf_step"].mask(fresh),
    )
    pd.testing.assert_frame_equal(found, expected)

    # Objects that moved a little are known by their key; those that are gone stay until all are estimated.
    rows = galaxies(np.random.default_rng(3)).iloc[:1000].assign(dec=lambda r: r["dec"] + 0.05 / 3600)
    rows.drop(columns="z_true").to_parquet(tmp_path / "moved.parquet")
    code, _ = run_job("ingest_catalog", "--lake", copy.uri, "--input", tmp_path / "moved.parquet", "--table",
                      "galaxies", "--id-column", "id")  # fmt: skip
    assert code == 0
    assert estimate(run_job, copy, *flags, "source_id >= 500")[0] == 0
    some = photoz(copy, "forest")
    assert some["object_id"].tolist() == list(range(N))
    moved = some["object_id"].between(500, 999)
    np.testing.assert_array_equal(some["dec"] > found["dec"], moved)
    np.testing.assert_array_equal(some["z_phot"], found["z_phot"])
    assert estimate(run_job, copy, *flags[:-1])[0] == 0
    assert photoz(copy, "forest")["object_id"].tolist() == list(range(1000))


@pytest.fixture(scope="module")
def network(train, catalogs, run_job) -> dict:
    flags = ("--left", "galaxies", "--right", "spectra", "--mode", "all")
    assert run_job("crossmatch_catalogs", "--lake", catalogs.uri, *flags)[0] == 0
    code, summary = train("--method", "neural_network", "--epochs", 6)
    assert code == 0
    return summary


def test_a_network_is_trained_on_an_existing_cross_match(network, catalogs, run_job):
    assert network["rows_in"] == 899
    inputs = [
        run["inputs"]
        for run in read_runs(catalogs, ["inputs", "job"]).to_pylist()
        if run["job"] == "train_photoz"
    ]
    assert any("crossmatches/galaxies_x_spectra" in text for text in inputs)
    assert estimate(run_job, catalogs, "--model", "neural_network")[0] == 0
    truth = galaxies(np.random.default_rng(3))["z_true"].to_numpy()
    found = photoz(catalogs, "neural_network")
    error = ((found["z_phot"] - truth) / (1 + truth))[2:]
    assert 1.4826 * np.median(np.abs(error - np.median(error))) < 0.08


def test_models_are_combined_as_python_combines_them(forest, network, train, catalogs, run_job, tmp_path):
    names = ("forest", "neural_network")
    code, summary = train("--method", "combined", "--models", *names, "--name", "both")
    assert (code, summary["rows_in"]) == (0, 899)
    rows = run_query(catalogs, "SELECT * FROM models").to_pylist()
    (row,) = (row for row in rows if row["name"] == "both")
    models = {name: choose(catalogs.storage, rows, name) for name in names}
    params, metrics = json.loads(row["params"]), json.loads(row["metrics"])
    assert params["models"] == {name: one.model_id for name, one in models.items()}
    assert row["n_validation"] == metrics["n"] == metrics["members"]["forest"]["n"]
    assert row["n_train"] + row["n_validation"] == 898
    assert metrics["cde_loss"] < metrics["members"]["forest"]["cde_loss"]
    code, _ = estimate(run_job, catalogs, "--model", "both", "--pdf-step", 0.02)
    assert code == 0
    of_job = photoz(catalogs, "both")

    sky = galaxies(np.random.default_rng(3))
    known = sky[(sky["id"] < SPECTRA) & (sky["id"] % 10 != 9) & (sky["id"] != 11)]
    api = PhotozEstimator()
    data = api.prepare_training_data(known, "z_true", [f"mag_{b}" for b in BANDS])
    model = api.combine({name: one.load() for name, one in models.items()}, data)
    assert model.pool == choose(catalogs.storage, rows, "both").load().pool
    assert model.metrics == metrics
    found = api.predict(model, sky, pdf_step=0.02)
    # products of matrices round by the number of rows
    for name in ("z_phot", "z_lo95", "odds", "n_bands", "support_distance", "photoz_flags"):
        np.testing.assert_allclose(of_job[name], found[name], rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(np.stack(of_job["pdf"][1:]), np.stack(found["pdf"][1:]), atol=1e-4)


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (
            ("--models", "forest", "oracle"),
            2,
            "--models oracle: the lake has no such model; it has [",
        ),
        (("--models", "forest"), 2, "name at least two"),
        (("--models", "forest", "combined"), 2, "the combination itself is called so"),
        (("--models", "forest", "forest"), 2, "each once"),
        (
            ("--models", "forest", "neural_network", "--z-max", 2.0),
            2,
            "leave them out, or give those of the models",
        ),
        (("--models", "forest", "neural_network", "--spec-where", "z < 0.1"), 1, "100 are needed"),
    ],
)
def test_what_cannot_be_combined_is_said(network, forest, train, caplog, flags, code, message):
    assert train("--method", "combined", *flags)[0] == code
    assert message in caplog.text


@pytest.mark.parametrize(("method", "n_trees"), [("gbt", 3), ("xgboost", 20)])
def test_boosted_trees(train, catalogs, run_job, method, n_trees):
    if method == "xgboost":
        pytest.importorskip("xgboost")
    flags = ("--n-trees", n_trees, "--max-depth", 5, "--max-bins", 32, "--learning-rate", 0.3)
    assert train("--method", method, *flags)[0] == 0
    (row,) = run_query(catalogs, f"SELECT * FROM models WHERE name = '{method}'").to_pylist()
    params = json.loads(row["params"])
    assert (params["n_trees"], params["max_depth"]) == (n_trees, 5)
    assert estimate(run_job, catalogs, "--model", method)[0] == 0
    found = photoz(catalogs, method)
    assert len(found) == N
    # those without a spectrum, which no tree has seen
    unseen = found[found["object_id"] >= SPECTRA]
    truth = galaxies(np.random.default_rng(3))["z_true"].to_numpy()[SPECTRA:]
    error = unseen["z_phot"] - truth
    dz = error / (1 + truth)
    assert 1.4826 * np.median(np.abs(dz - np.median(dz))) < 0.05
    # a fifth of the galaxies is too few to calibrate errors: they are somewhat wide, and flagged
    assert (unseen["photoz_flags"] & 256 > 0).all()
    assert 0.62 < np.mean(np.abs(error) < unseen["z_phot_err"]) < 0.95


@pytest.mark.slow
def test_settings_are_chosen_by_cross_validation(train, catalogs):
    flags = ("--n-trees", 1, "--max-depth", 2, "--max-bins", 8, "--min-instances", 200)
    assert train(*flags, "--cross-validate", "--name", "chosen")[0] == 0
    (row,) = run_query(catalogs, "SELECT params FROM models WHERE name = 'chosen'").to_pylist()
    # leaves of 1, 3 and 8 galaxies are tried, in place of what the flag says
    assert json.loads(row["params"])["min_instances"] in (1, 3, 8)


def test_an_empty_table_has_no_estimates_and_trains_nothing(forest, catalogs, run_job, tmp_path):
    galaxies(np.random.default_rng(3)).iloc[:0].to_parquet(tmp_path / "none.parquet")
    code, _ = run_job("ingest_catalog", "--lake", catalogs.uri, "--input", tmp_path / "none.parquet", "--table",
                      "none", "--id-column", "id")  # fmt: skip
    assert code == 0
    flags = ("--lake", catalogs.uri, "--table", "none")
    code, summary = run_job("estimate_photoz", *flags, "--model", "forest", "--method-name", "of_none")
    assert (code, summary["rows_in"], summary["rows_out"]) == (0, 0, 0)
    code, _ = run_job("train_photoz", *flags, "--spec-table", "spectra", "--magnitudes", "mag_g", "mag_r")
    assert code == 1
    assert "no object has a spectroscopic redshift" in last_message(catalogs)


def last_message(lake: Lake) -> str:
    rows = read_runs(lake, ["message", "started_at"]).sort_by("started_at")
    return str(rows.column("message")[-1])


def test_of_two_runs_at_a_time_one_is_refused_and_the_table_is_whole(
    estimates, catalogs, run_job, tmp_path, monkeypatch
):
    copy = Lake.open(str(shutil.copytree(catalogs.uri.removeprefix("file://"), tmp_path / "lake")))
    before, commit, others = photoz(copy, "forest"), runner.apply_commit, []

    def after_another(pending: Commit) -> int:
        monkeypatch.setattr(runner, "apply_commit", commit)
        others.append(estimate(run_job, copy, "--model", "forest", "--method-name", "other"))
        return commit(pending)

    monkeypatch.setattr(runner, "apply_commit", after_another)
    code, _ = estimate(run_job, copy, "--model", "forest", "--where", "mag_i < 21")
    assert (code, others[0][0]) == (1, 0)
    failed = run_query(copy, "SELECT message FROM runs WHERE status = 'failed'").column(0).to_pylist()
    assert any("run the job again" in str(message) for message in failed)
    assert len(photoz(copy, "other")) == N
    pd.testing.assert_frame_equal(photoz(copy, "forest"), before)


@pytest.mark.slow
def test_a_killed_run_leaves_the_table_and_the_next_completes_it(estimates, catalogs, run_job, tmp_path):
    copy = Lake.open(str(shutil.copytree(catalogs.uri.removeprefix("file://"), tmp_path / "lake")))
    version, before = read_snapshot(copy.delta_storage("photoz")).version, photoz(copy, "forest")
    flags = ("--table", "galaxies", "--model", "forest", "--where", "mag_i < 21")
    process = drive("at work", "estimate_photoz", tmp_path / "lake", *flags)
    assert process.wait(timeout=240) == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert read_snapshot(copy.delta_storage("photoz")).version == version
    pd.testing.assert_frame_equal(photoz(copy, "forest"), before)
    code, summary = estimate(run_job, copy, *flags[2:])
    assert code == 0
    found = photoz(copy, "forest")
    assert (found["run_id"] == summary["run_id"]).sum() == summary["rows_out"] < N
    np.testing.assert_array_equal(found["z_phot"], before["z_phot"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--model", "nothing"), "no such model; it has"),
        (("--model", "forest", "--table", "spectra"), "spectra lacks the columns ['mag_g'"),
        (("--model", "forest", "--pdf-step", "0.001"), "finer than the grid's"),
        (("--model", "forest", "--pdf-step", "5"), "beyond its range"),
        (("--model", "forest", "--where", "mag_i > 90"), "selects no row"),
        (("--model", "forest", "--where", "mag_i <"), "--where 'mag_i <': [PARSE_SYNTAX_ERROR]"),
        (("--model", "forest", "--where", "depth < 1"), "--where 'depth < 1': [UNRESOLVED_COLUMN"),
        (("--model", "forest", "--where", "id IN (SELECT 1 FROM x)"), "`x` cannot be found"),
    ],
)
def test_what_cannot_be_estimated_is_said(forest, catalogs, run_job, flags, message):
    code, _ = estimate(run_job, catalogs, *flags)
    assert code in (1, 2)
    assert message in last_message(catalogs)


def test_keys_of_another_type_than_those_of_other_tables_are_refused(estimates, catalogs, run_job, tmp_path):
    named = galaxies(np.random.default_rng(3))[:20].astype({"id": str})
    named.to_parquet(tmp_path / "named.parquet")
    code, _ = run_job("ingest_catalog", "--lake", catalogs.uri, "--input", tmp_path / "named.parquet", "--table",
                      "named", "--id-column", "id")  # fmt: skip
    assert code == 0
    flags = ("--lake", catalogs.uri, "--table", "named", "--model", "forest")
    assert run_job("estimate_photoz", *flags)[0] == 2
    assert "--table named: its key source_id is string, and photoz has int64 of galaxies" in last_message(
        catalogs
    )


def test_a_model_file_that_was_changed_is_refused(forest, catalogs, run_job, tmp_path):
    copy = Lake.open(str(shutil.copytree(catalogs.uri.removeprefix("file://"), tmp_path / "lake")))
    (path,) = (tmp_path / "lake" / "models").glob("forest-*/model.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, _ = estimate(run_job, copy, "--model", "forest")
    assert code == 1
    messages = read_runs(copy, ["message"]).column(0).to_pylist()
    assert any(m and "is not the model that was trained" in m for m in messages)
    path.unlink()
    path.mkdir()
    assert estimate(run_job, copy, "--model", "forest")[0] == 1
    assert "cannot be read" in last_message(copy)


@pytest.mark.parametrize(
    "flags",
    [
        ("--method", "oracle"),
        ("--n-trees", 0),
        ("--max-depth", 31),
        ("--z-step", 0),
        ("--errors", "mag_g_err"),
        ("--bands", "g", "g", "i", "z"),
        ("--name", "a/b"),
        ("--radius-arcsec", -1),
        ("--max-training-rows", 0),
        ("--z-column", "run_id"),
        ("--learning-rate", 0),
        ("--name", "../forest"),
    ],
)
def test_flags_out_of_range_are_refused(train, flags):
    assert train(*TREES[2:], *flags)[0] == 2


def test_too_few_redshifts_are_refused(train, catalogs):
    assert train(*TREES, "--spec-where", "z < 0.05")[0] == 1
    messages = read_runs(catalogs, ["message"]).column(0).to_pylist()
    assert any(m and "at least 100 are needed" in m for m in messages)
