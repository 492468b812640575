import io
import pickle
import zipfile

import numpy as np
import pytest

from astrolake.errors import BadInput, MissingColumns
from astrolake.photoz import artifact, pdf
from astrolake.photoz.flags import PhotozFlag, describe, flags_of
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.learner import Learner
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.photometry import BandColumns, Photometry
from astrolake.photoz.train_network import NetworkSettings
from astrolake.photoz.training import train_neural_network

BANDS = tuple(BandColumns(b, f"mag_{b}", f"err_{b}") for b in "ugriz")
GRID = RedshiftGrid(0.0, 1.2, 0.005)
QUICK = NetworkSettings(hidden=(48, 48), components=5, members=1, epochs=24, jitter=0.05, learning_rate=6e-3)
COLUMNS = {
    *(
        "z_phot",
        "z_phot_err",
        "z_mode",
        "z_mean",
        "z_median",
        "z_lo68",
        "z_hi68",
        "z_lo95",
        "z_hi95",
        "odds",
        "chi2",
    ),
    *("n_bands", "template", "support_distance", "photoz_flags"),
}


def take(columns, rows):
    return {name: values[rows] for name, values in columns.items()}


@pytest.fixture(scope="module")
def boss(survey_data):
    """SDSS/BOSS DR10 galaxies: columns and spectroscopic redshifts, 12,317 rows in random order."""
    files = [survey_data / "photoz" / f"boss_dr10_{k}.csv" for k in range(3)]
    rows = np.concatenate([np.loadtxt(file, delimiter=",", skiprows=1) for file in files])
    rows = rows[np.random.default_rng(1).permutation(len(rows))]
    columns = {f"mag_{b}": rows[:, 2 * k] for k, b in enumerate("ugriz")}
    return columns | {f"err_{b}": rows[:, 2 * k + 1] for k, b in enumerate("ugriz")}, rows[:, 10]


@pytest.fixture(scope="module")
def model(boss):
    columns, z = boss
    return train_neural_network(take(columns, slice(0, 4000)), z[:4000], BANDS, grid=GRID, settings=QUICK)


@pytest.fixture(scope="module")
def test_rows(boss):
    columns, z = boss
    return take(columns, slice(8000, None)), z[8000:]


def test_real_galaxies_are_estimated_with_true_errors(model, test_rows):
    columns, z = test_rows
    found = model.estimate(columns)
    assert set(found) == COLUMNS
    error = (found["z_phot"] - z) / (1 + z)
    assert 1.4826 * np.median(np.abs(error - np.median(error))) < 0.024
    assert (np.abs(error) > 0.15).mean() < 0.02
    assert abs(np.median(error)) < 0.004
    inside = (z >= found["z_lo68"]) & (z <= found["z_hi68"])
    assert inside.mean() == pytest.approx(0.68, abs=0.03)
    pit = np.sort(pdf.cdf_at(model.density(columns), GRID, z))
    assert np.abs(pit - (np.arange(len(z)) + 0.5) / len(z)).max() < 0.04


def test_the_flag_holds_most_of_the_outliers(model, test_rows):
    columns, z = test_rows
    found = model.estimate(columns)
    outlier = np.abs(found["z_phot"] - z) / (1 + z) > 0.15
    flagged = (found["photoz_flags"] & PhotozFlag.OUT_OF_SUPPORT) > 0
    assert flagged.mean() < 0.11
    assert flagged[outlier].mean() > 0.5
    stars = columns | {"mag_g": columns["mag_g"] - 3.0}
    odd = model.estimate(stars)
    assert ((odd["photoz_flags"] & PhotozFlag.OUT_OF_SUPPORT) > 0).mean() > 0.9
    assert np.median(odd["support_distance"]) > 2 * np.median(found["support_distance"])


def test_an_estimate_depends_on_its_own_row_alone(model, test_rows):
    columns = take(test_rows[0], slice(0, 600))
    whole = model.estimate(columns, pdf_step=0.02)
    order = np.random.default_rng(0).permutation(600)
    mixed = model.estimate(take(columns, order), pdf_step=0.02)
    for name in ("z_phot", "z_lo95", "odds", "pdf", "support_distance"):
        assert mixed[name] == pytest.approx(whole[name][order], rel=1e-3, abs=1e-3), name
    assert whole["pdf"].shape == (600, 61)
    assert whole["pdf"].sum(axis=1) * 0.02 == pytest.approx(np.ones(600), abs=1e-3)


def test_missing_bands_widen_an_estimate_and_no_band_gives_none(model, test_rows):
    columns = take(test_rows[0], slice(0, 500))
    full = model.estimate(columns)
    less = model.estimate(columns | {"mag_g": np.full(500, -99.0)})
    assert less["n_bands"].tolist() == (full["n_bands"] - 1).tolist()
    assert np.median(less["z_phot_err"]) > np.median(full["z_phot_err"])
    assert np.median(np.abs(less["z_phot"] - full["z_phot"])) < 0.08
    none = model.estimate({name: np.full(500, np.nan) for name in columns})
    assert np.isnan(none["z_phot"]).all()
    assert np.isnan(none["support_distance"]).all()
    assert set(none["photoz_flags"]) == {PhotozFlag.NO_ESTIMATE | PhotozFlag.FEW_BANDS}


def test_values_that_cannot_be_true_are_flagged(model, test_rows):
    columns = take(test_rows[0], slice(0, 30))
    columns["err_r"] = columns["err_r"].copy()
    columns["err_r"][4] = -0.1
    flags = model.estimate(columns)["photoz_flags"]
    assert np.flatnonzero(flags & PhotozFlag.BAD_INPUT).tolist() == [4]


def test_a_catalog_of_fluxes_or_without_columns_is_refused(model, test_rows):
    columns = take(test_rows[0], slice(0, 500))
    with pytest.raises(BadInput, match="does not hold AB magnitudes"):
        model.estimate(columns | {"mag_r": 10 ** (-0.4 * (columns["mag_r"] - 22.5))})
    with pytest.raises(MissingColumns, match=r"the catalog lacks the columns \['err_z', 'mag_z'\]"):
        model.estimate({name: values for name, values in columns.items() if not name.endswith("_z")})


def test_no_rows_give_no_rows(model, test_rows):
    found = model.estimate(take(test_rows[0], slice(0, 0)), pdf_step=0.02)
    assert found["pdf"].shape == (0, 61)
    assert all(len(values) == 0 for values in found.values())


def test_a_file_gives_the_same_model_and_equal_models_equal_files(model, test_rows, tmp_path):
    model.save(tmp_path / "boss.model")
    again = PhotozModel.load(tmp_path / "boss.model")
    columns = take(test_rows[0], slice(0, 300))
    first, second = model.estimate(columns), again.estimate(columns)
    assert all(
        np.array_equal(first[name], second[name], equal_nan=name not in ("template",)) for name in first
    )
    assert again.to_bytes() == model.to_bytes()
    assert again.version == model.version
    assert isinstance(again.learner, Learner)
    assert (tmp_path / "boss.model").stat().st_size < 500_000
    assert [path.name for path in tmp_path.iterdir()] == ["boss.model"]


def test_files_that_are_not_ours_are_refused(model, tmp_path):
    path = tmp_path / "x.model"
    with pytest.raises(BadInput, match="cannot be read"):
        PhotozModel.load(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BadInput, match=r"x\.model is no photo-z model of astrolake"):
        PhotozModel.load(path)
    np.savez(tmp_path / "y.npz", a=np.ones(3))
    with pytest.raises(BadInput, match=r"it has no model\.json"):
        PhotozModel.load(tmp_path / "y.npz")
    path.write_bytes(artifact.to_bytes("template_fit", {}, {}))
    with pytest.raises(BadInput, match="holds a 'template_fit', not a learned"):
        PhotozModel.load(path)
    path.write_bytes(artifact.to_bytes("learned", {"learner": {"kind": "oracle", "params": {}}}, {}))
    with pytest.raises(BadInput, match="learner of kind 'oracle'"):
        PhotozModel.load(path)


def rewritten(content, change):
    """The zip with some of its files changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            blob = change(name, old.read(name))
            if blob is not None:
                new.writestr(name, blob)
    return out.getvalue()


def test_damaged_and_newer_files_are_refused(model):
    content = model.to_bytes()
    with pytest.raises(BadInput, match="no photo-z model"):
        PhotozModel.from_bytes(content[: len(content) // 2])
    changed = rewritten(
        content, lambda name, blob: blob[:-4] + b"\0\0\1\1" if "weights_0_1" in name else blob
    )
    with pytest.raises(BadInput, match="is not the one that was written"):
        PhotozModel.from_bytes(changed)
    lacking = rewritten(content, lambda name, blob: None if "weights_0_1" in name else blob)
    with pytest.raises(BadInput, match="array learner.weights_0_1 cannot be read"):
        PhotozModel.from_bytes(lacking)
    newer = rewritten(
        content, lambda name, blob: blob.replace(b'"version": 1', b'"version": 7') if "json" in name else blob
    )
    with pytest.raises(BadInput, match="version 7 of the model format"):
        PhotozModel.from_bytes(newer)


def test_manifests_that_cannot_be_unpacked_or_never_end_are_refused():
    honest = artifact.to_bytes("learned", {}, {"a": np.ones(2)})
    deep = rewritten(honest, lambda name, blob: b"[" * 100_000 if name == "model.json" else blob)
    with pytest.raises(BadInput, match="x is no photo-z model of astrolake: model.json is not JSON"):
        artifact.from_bytes(deep, "x")
    locked = bytearray(rewritten(honest, lambda _, blob: blob))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + at] |= 1  # says that the first file, the manifest, is encrypted
    with pytest.raises(BadInput, match="x is damaged: model.json cannot be read .*encrypted"):
        artifact.from_bytes(bytes(locked), "x")


def test_arrays_of_objects_are_neither_written_nor_read():
    with pytest.raises(TypeError, match="numbers and strings only"):
        artifact.to_bytes("learned", {}, {"a": np.array([{}, []], dtype=object)})
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}, None], dtype=object), allow_pickle=True)
    honest = artifact.to_bytes("learned", {}, {"a": np.ones(2)})
    blob, digest = buffer.getvalue(), artifact.sha256(buffer.getvalue())
    old = artifact.from_bytes(honest, "x")[2]["a"]
    plain = io.BytesIO()
    np.save(plain, old)
    forged = rewritten(
        honest,
        lambda name, content: (
            blob
            if name == "a.npy"
            else content.replace(artifact.sha256(plain.getvalue()).encode(), digest.encode())
        ),
    )
    with pytest.raises(BadInput, match="array a is refused"):
        artifact.from_bytes(forged, "x")


def test_a_training_table_of_ten_rows_is_refused(boss):
    columns, z = boss
    with pytest.raises(BadInput, match=r"10 rows with a band and a redshift .* at least 100 are needed"):
        train_neural_network(take(columns, slice(0, 10)), z[:10], BANDS, grid=GRID, settings=QUICK)
    with pytest.raises(BadInput, match="redshifts of the shape"):
        train_neural_network(take(columns, slice(0, 500)), z[:10], BANDS, grid=GRID, settings=QUICK)


def test_rows_of_a_cell_are_held_back_together_and_weights_are_taken(boss):
    columns, z = (take(boss[0], slice(0, 600)), boss[1][:600])
    few = NetworkSettings(hidden=(8,), components=2, members=1, epochs=2)
    made = [
        train_neural_network(columns, z, BANDS, grid=GRID, settings=few, cell=np.arange(600) // 20),
        train_neural_network(
            columns, z, BANDS, grid=GRID, settings=few, target=take(boss[0], slice(600, 900))
        ),
        train_neural_network(columns, z, BANDS, grid=GRID, settings=few),
    ]
    assert len({one.version for one in made}) == 3
    assert made[0].provenance["n_train"] == 600


def test_a_file_that_would_fill_the_memory_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", bytes(80 << 20))
    with pytest.raises(BadInput, match="would unpack to 83886080"):
        artifact.from_bytes(file.getvalue(), "bomb.npz")


def test_an_object_without_a_density_has_no_estimate():
    seen = Photometry.from_fluxes(np.ones((2, 3)), np.ones((2, 3)), "gri")
    grid = RedshiftGrid(0.0, 1.0, 0.1)
    density = np.ones((2, grid.n), np.float32)
    density[1] = np.nan
    flags = flags_of(seen, density, grid, calibrated=True)
    assert (flags & PhotozFlag.NO_ESTIMATE > 0).tolist() == [False, True]


def test_flags_are_named():
    assert describe(0) == []
    assert describe(PhotozFlag.FEW_BANDS | PhotozFlag.BAD_INPUT) == ["FEW_BANDS", "BAD_INPUT"]
