"""Combined models: weights of galaxies that no member has seen, flags, one file, grids that differ."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photoz import artifact, combined
from astrolake.photoz.combined import CombinedModel
from astrolake.photoz.features import ExtraColumn
from astrolake.photoz.flags import PhotozFlag
from astrolake.photoz.grid import RedshiftGrid, common_grid
from astrolake.photoz.held_out import honest_density, unseen_by_all
from astrolake.photoz.local_trees import grow_locally
from astrolake.photoz.metrics import evaluate
from astrolake.photoz.model_grid import model_grid
from astrolake.photoz.model_store import estimator_of, needed_columns
from astrolake.photoz.template_fit import TemplateFit
from astrolake.photoz.train_combined import combine_members
from astrolake.photoz.train_model import TrainingPlan, TreeSettings, fit_held_back, fit_model
from astrolake.photoz.training_set import SkySplit, TrainingRows
from tests.photoz.templates_world import BANDS, COLUMNS, FILTERS, GRID, catalog, templates

HINTED = COLUMNS[1:3]


def galaxies(n, seed):
    """Galaxies of the templates, with noise of a tenth, and a hint of redshift that knows no photometry."""
    rng = np.random.default_rng(seed)
    flux = model_grid(templates(), FILTERS, GRID).flux.astype(float)
    template, place = rng.integers(0, 4, n), rng.integers(20, 130, n)
    true = flux[template, place] / flux[template, place].mean(axis=1, keepdims=True)
    true *= rng.uniform(5, 50, (n, 1))
    error = np.maximum(0.12 * true, 0.3)
    columns = catalog(true + rng.normal(size=true.shape) * error, error)
    columns["hint"] = GRID.z[place] + 0.06 * rng.standard_normal(n)
    return TrainingRows(columns, GRID.z[place], rng.integers(0, 12 << 58, n))


def hinted(rows, seed=1, grid=GRID):
    """Boosted trees that know two bands and the hint."""
    settings = TreeSettings("xgboost", n_trees=40, max_depth=4, seed=seed)
    plan = TrainingPlan("xgboost", HINTED, (ExtraColumn("hint"),), grid, settings)

    def grow(spec, settings, training):
        features = spec.transform(spec.read(training.columns))
        return grow_locally(features, training.z, settings), settings

    return fit_model(plan, rows, SkySplit.of(rows.healpix), grow)[0]


def fitted(rows, grid=GRID):
    fit = TemplateFit.make(templates(), FILTERS, COLUMNS, grid)
    return fit_held_back(fit, rows, SkySplit.of(rows.healpix))


@pytest.fixture(scope="module")
def rows():
    return galaxies(2500, 1)


@pytest.fixture(scope="module")
def members(rows):
    return {"trees": hinted(rows), "breaks": fitted(rows)}


@pytest.fixture(scope="module")
def model(members, rows):
    return combine_members(members, rows)[0]


@pytest.fixture(scope="module")
def fresh():
    return galaxies(1500, 2)


def judged(model, rows):
    found = model.estimate(rows.columns, model.grid.step)
    return evaluate(found["z_phot"], rows.z, found["z_phot_err"], found["pdf"], model.grid)


def test_a_combination_is_better_than_its_members_and_says_how_good_it_is(model, members, rows, fresh):
    both, trees, fit = (judged(one, fresh) for one in (model, *members.values()))
    assert model.pool.mixes
    assert both["scatter"] < 0.95 * min(trees["scatter"], fit["scatter"])
    assert both["cde_loss"] < min(trees["cde_loss"], fit["cde_loss"])
    assert both["pdf_coverage_68"] == pytest.approx(0.68, abs=0.05)
    assert both["pit_ks"] < 0.07
    assert not set(model.estimate(fresh.columns)["photoz_flags"]) & {PhotozFlag.NOT_CALIBRATED}
    # the metrics are of galaxies that taught neither members nor weights: no better than it is
    assert model.metrics["cde_loss"] == pytest.approx(both["cde_loss"], rel=0.15)
    assert model.metrics["n"] == model.provenance["n_validation"]
    assert model.provenance["n_train"] + model.provenance["n_validation"] == len(rows)
    for name, alone in (("trees", trees), ("breaks", fit)):
        assert model.metrics["members"][name]["cde_loss"] == pytest.approx(alone["cde_loss"], rel=0.15)
        assert model.metrics["members"][name]["n"] == model.metrics["n"]


def test_weights_are_learned_where_no_member_was_trained(members, rows):
    held = SkySplit.of(rows.healpix).part(rows.healpix) == 0
    np.testing.assert_array_equal(unseen_by_all(members, rows), held)
    # a member that knows other parts of the sky takes more away, an uncalibrated fit none
    coarse = replace(members["trees"], provenance=members["trees"].provenance | {"split_order": 2})
    fewer = unseen_by_all({**members, "coarse": coarse}, rows)
    assert 0 < fewer.sum() < held.sum()
    raw = TemplateFit.make(templates(), FILTERS, COLUMNS, GRID)
    assert unseen_by_all({"raw": raw}, rows).all()
    # densities of trees were learned from the rows held back: each half is learned again from the other
    half = rows[held]
    trees, fit = members.values()
    honest, own = honest_density(trees, half), trees.density(half.columns)
    assert np.abs(honest - own).max() > 0.1
    changed = TrainingRows(half.columns, np.where(np.arange(len(half)) % 2, half.z, 0.4), half.healpix)
    np.testing.assert_array_equal(honest_density(trees, changed)[::2], honest[::2])
    np.testing.assert_array_equal(honest_density(fit, half), fit.density(half.columns))
    # galaxies that a member cannot see tell nothing of its weight
    half.columns["flux_g"][:30], half.columns["flux_r"][:30] = np.nan, np.nan
    assert np.isnan(honest_density(trees, half)[:, 0]).tolist() == [True] * 30 + [False] * (len(half) - 30)
    assert combine_members(members, half)[0].provenance["n_validation"] == len(half) - 30


def test_the_order_of_rows_does_not_matter(model, members, rows):
    mixed = rows[np.random.default_rng(0).permutation(len(rows))]
    assert combine_members(members, mixed)[0].to_bytes() == model.to_bytes()


def test_columns_and_flags_are_those_of_the_members_together(model, members, fresh):
    columns = {name: values[:400].copy() for name, values in fresh.columns.items()}
    columns["hint"][:40] = (fresh.z[:40] + 0.7) % 1.4
    columns["flux_y"][50], columns["err_y"][50] = np.nan, np.nan
    columns["err_y"][51] = -1.0
    for name in (f"{kind}_{band}" for band in BANDS for kind in ("flux", "err")):
        columns[name][52] = np.nan
    found = model.estimate(columns, pdf_step=0.05)
    trees, fit = (one.estimate(columns) for one in members.values())
    assert set(found) == {*trees, "pdf"}
    assert needed_columns(model) == model.columns
    assert set(model.columns) == set(columns)
    for name in ("chi2", "template"):
        np.testing.assert_array_equal(found[name], fit[name])
    np.testing.assert_array_equal(found["support_distance"], trees["support_distance"])
    assert found["n_bands"][[49, 50, 51, 52]].tolist() == [6, 5, 5, 0]
    flags = found["photoz_flags"]
    apart = (flags & PhotozFlag.METHODS_DISAGREE) > 0
    assert apart[:40].mean() > 0.6
    assert apart[40:].mean() < 0.05
    assert flags[51] & PhotozFlag.BAD_INPUT
    assert flags[52] & (PhotozFlag.NO_ESTIMATE | PhotozFlag.FEW_BANDS) == 36
    assert np.isnan(found["z_phot"][52])
    for one in (trees, fit):
        of_members = one["photoz_flags"] & (PhotozFlag.OUT_OF_SUPPORT | PhotozFlag.POOR_FIT)
        assert ((flags & of_members) == of_members).all()
    assert found["pdf"].shape == (400, 31)
    np.testing.assert_allclose(np.nansum(found["pdf"], axis=1)[:40] * 0.05, 1, atol=1e-4)


def test_blocks_and_pieces_change_nothing(model, fresh, monkeypatch):
    whole = model.estimate(fresh.columns)
    np.testing.assert_array_equal(
        model.density(fresh.columns)[:300], model.density({k: v[:300] for k, v in fresh.columns.items()})
    )
    monkeypatch.setattr(combined, "BLOCK", 128)
    again = model.estimate(fresh.columns)
    for name in ("z_phot", "odds", "chi2", "photoz_flags", "n_bands"):
        np.testing.assert_allclose(again[name], whole[name], rtol=1e-3, atol=1e-4)
    assert len(model.estimate({name: values[:0] for name, values in fresh.columns.items()})["z_phot"]) == 0
    magnitudes = {name: np.abs(values) * 1e-9 + 21.0 for name, values in fresh.columns.items()}
    with pytest.raises(BadInput, match="look like AB magnitudes"):
        model.estimate(magnitudes)
    assert len(model.estimate(magnitudes, whole=False)["z_phot"]) == len(fresh)
    with pytest.raises(MissingColumns, match=r"\['err_y', 'hint'\]"):
        model.estimate({k: v for k, v in fresh.columns.items() if k not in ("hint", "err_y")})


def test_one_file_holds_the_members(model, fresh, tmp_path):
    model.save(tmp_path / "both.npz")
    again = CombinedModel.load(tmp_path / "both.npz")
    assert again.to_bytes() == model.to_bytes()
    assert (again.pool, again.metrics, again.names) == (model.pool, model.metrics, ("trees", "breaks"))
    columns = {name: values[:200] for name, values in fresh.columns.items()}
    first, second = model.estimate(columns), estimator_of(model.to_bytes(), "it").estimate(columns)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def repacked(content, change):
    """The combination with the file of its second member changed, and hashes that say that this is right."""
    kind, manifest, arrays = artifact.from_bytes(content, "x")
    arrays["member.1"] = np.frombuffer(change(arrays["member.1"].tobytes()), np.uint8)
    return artifact.to_bytes(kind, manifest, arrays)


def test_damaged_members_are_refused(model):
    content = model.to_bytes()

    def broken(nested):
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(nested)) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                blob = old.read(name)
                new.writestr(name, blob[:-4] + b"\0\0\1\1" if name == "types.npy" else blob)
        return out.getvalue()

    with pytest.raises(BadInput, match=r"it \(breaks\) is damaged: array types is not the one"):
        estimator_of(repacked(content, broken), "it")
    with pytest.raises(BadInput, match=r"it \(breaks\) is no photo-z model"):
        estimator_of(repacked(content, lambda nested: nested[:100]), "it")
    with pytest.raises(BadInput, match=r"it \(breaks\) holds a 'combined'"):
        estimator_of(repacked(content, lambda nested: content), "it")
    with pytest.raises(BadInput, match="larger than it could hold"):
        estimator_of(repacked(content, lambda nested: bytes(20 * len(content))), "it")
    kind, manifest, arrays = artifact.from_bytes(content, "x")
    with pytest.raises(BadInput, match="it is not whole"):
        estimator_of(artifact.to_bytes(kind, manifest | {"names": ["trees", "breaks", "more"]}, arrays), "it")
    with pytest.raises(BadInput, match="not a combination"):
        CombinedModel.from_bytes(model.members[0].to_bytes(), "it")


def test_what_cannot_be_combined_is_said(model, members, rows):
    trees, fit = members.values()
    with pytest.raises(BadArguments, match="at least two"):
        combine_members({"trees": trees}, rows)
    with pytest.raises(
        BadArguments, match=r"model both is a combination itself: name the models in it, \('trees'"
    ):
        combine_members({"both": model, "trees": trees}, rows)
    with pytest.raises(BadArguments, match=r"\['trees'\] are among the others"):
        combine_members({"trees": trees, "same": trees, "breaks": fit}, rows)
    unknown = replace(trees, provenance={"n_train": 5})
    with pytest.raises(BadInput, match=r"model trees does not say which part .* train it again"):
        combine_members({"trees": unknown, "breaks": fit}, rows)
    told, _ = combine_members({"trees": unknown, "breaks": fit}, rows[:400], unseen=True)
    assert (told.provenance["n_train"], told.provenance["n_validation"]) == (0, 400)
    found = trees.estimate(rows[:400].columns)
    assert told.metrics["members"]["trees"]["rms"] == pytest.approx(
        evaluate(found["z_phot"], rows.z[:400])["rms"], rel=1e-3
    )
    with pytest.raises(BadInput, match="trained on another table, without positions"):
        combine_members(members, rows, drawn="another")
    with pytest.raises(BadInput, match="galaxies of 300 .* by each of trees, breaks .* 100 are needed"):
        combine_members(members, rows[:300])


def test_a_column_in_two_units_is_refused(members, rows):
    trees = members["trees"]
    bands = tuple(replace(band, unit="nanomaggy") for band in trees.features.bands)
    other = replace(trees, features=replace(trees.features, bands=bands))
    with pytest.raises(
        BadArguments, match="flux_g is microjansky to model breaks and nanomaggy to model trees"
    ):
        combine_members({"breaks": members["breaks"], "trees": other}, rows)


def test_members_on_other_grids_meet_on_the_finest_over_all(members, rows, fresh):
    assert common_grid([RedshiftGrid(0, 1, 0.02), RedshiftGrid(0.1, 1.21, 0.01)]) == RedshiftGrid(
        0, 1.21, 0.01
    )
    assert common_grid([GRID, GRID]) is GRID
    # as many redshifts as all have: one compiled kernel
    short = fitted(rows, RedshiftGrid(0.0, 1.35, 0.009))
    other, _ = combine_members({"trees": members["trees"], "breaks": short}, rows)
    assert other.grid == RedshiftGrid(0.0, 167 * 0.009, 0.009)
    density = other.density(fresh.columns)
    np.testing.assert_allclose(density.sum(axis=1) * 0.009, 1, atol=1e-4)
    assert judged(other, fresh)["scatter"] < 0.95 * judged(members["trees"], fresh)["scatter"]
