"""Weights of models that exist already, learned and judged on galaxies that none of them has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz import pdf
from astrolake.photoz.combine import Pool, held_out, learn_pool
from astrolake.photoz.combined import CombinedModel, apart
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.held_out import honest_density, unseen_by_all
from astrolake.photoz.members import Member, member_bands
from astrolake.photoz.metrics import density_scores, evaluate
from astrolake.photoz.photometry import read_photometry
from astrolake.photoz.recalibrate import LEAST_ROWS, Recalibration
from astrolake.photoz.training_set import TrainingRows

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Each half of the galaxies learns weights for the other, and weights need 50; more than most tell no more.
LEAST_JUDGING, _MOST_JUDGING = 100, 20_000
#: Of galaxies that tell whether a recalibration is needed.
_FOLDS = 3


def combine_members(
    models: Mapping[str, Member | CombinedModel],
    sample: TrainingRows,
    drawn: str | None = None,
    *,
    unseen: bool = False,
    seed: int = 1,
) -> tuple[CombinedModel, dict[str, Any]]:
    """Return the combination of models and the parameters that were learned.

    All galaxies that none of the models has seen teach the weights, and a recalibration where that lowers the
    CDE loss of galaxies it was not learned from. The metrics are of the same galaxies, each half estimated
    with the weights and the recalibration that the other half taught.

    Parameters
    ----------
    models : mapping of str to PhotozModel or TemplateFit
    sample : TrainingRows
        Galaxies with redshifts, in any order.
    drawn : str, optional
        As of `unseen_by_all`.
    unseen : bool
        Whether no model was trained on any galaxy of the sample.
    seed : int
        Of the folds of `learn_pool`.

    Raises
    ------
    BadArguments
        For fewer than two models, or one given twice.
    BadInput
        When fewer than 100 galaxies with a redshift and an estimate of each model are left to judge by.
    """
    members = _members(models)
    model = CombinedModel(
        tuple(members), tuple(members.values()), Pool("linear", (1.0,) * len(members)), calibrated=False
    )
    usable = _usable(model, sample)
    judging = usable if unseen else usable[unseen_by_all(members, usable, drawn)]
    judging = judging[np.linspace(0, len(judging) - 1, min(len(judging), _MOST_JUDGING)).astype(np.int64)]
    _enough(judging, usable, model)
    own = [one.density(judging.columns) if unseen else honest_density(one, judging) for one in model.members]
    found = [
        pdf.rebin(density, one.grid, model.grid) for density, one in zip(own, model.members, strict=True)
    ]
    told = np.all([np.isfinite(density[:, 0]) for density in found], axis=0)
    judging, found = judging[told], [density[told] for density in found]
    _enough(judging, usable, model)
    magnitude = model.magnitude(read_photometry(judging.columns, model.bands, whole=False))
    known = found, judging.z, magnitude
    learned = _learned(model, *known, seed)
    metrics = _metrics(model, *known, seed)
    counts = {"n_train": len(usable) - len(judging), "n_validation": len(judging)}
    params = {
        "pool": learned.pool.kind,
        "weights": dict(zip(members, learned.pool.weights, strict=True)),
        "loss": dict(
            zip([*members, "linear pool", "product pool"], (learned.pool.loss or {}).values(), strict=True)
        ),
        "recalibrated": learned.recalibration is not None,
    }
    return replace(learned, metrics=metrics, provenance={**counts, **params}), params


def _members(models: Mapping[str, Member | CombinedModel]) -> dict[str, Member]:
    """Return the models, none of which is a combination or there twice."""
    members: dict[str, Member] = {}
    for name, model in models.items():
        if isinstance(model, CombinedModel):
            raise BadArguments(f"model {name} is a combination itself: name the models in it, {model.names}")
        members[name] = model
    units: dict[str, tuple[str, str]] = {}
    for name, model in members.items():
        for band in member_bands(model):
            first, unit = units.setdefault(band.value, (name, band.unit))
            if unit != band.unit:
                raise BadArguments(
                    f"{band.value} is {unit} to model {first} and {band.unit} to model {name}: one is wrong"
                )
    versions = {model.version: name for name, model in members.items()}
    if twice := sorted(set(members) - set(versions.values())):
        raise BadArguments(f"models {twice} are among the others under other names; give each once")
    return members


def _usable(model: CombinedModel, sample: TrainingRows) -> TrainingRows:
    """Return the galaxies with a redshift on the grid and at least one band, in an order of their own."""
    low, high = model.grid.edges[[0, -1]]
    observed = read_photometry(sample.columns, model.bands, "the training table").observed.any(axis=1)
    rows = np.flatnonzero(observed & (sample.z >= low) & (sample.z <= high))
    return sample[rows[np.lexsort((sample.z[rows], sample.healpix[rows]))]]


def _enough(judging: TrainingRows, usable: TrainingRows, model: CombinedModel) -> None:
    if len(judging) < LEAST_JUDGING:
        raise BadInput(
            f"{len(judging)} galaxies of {len(usable)} with a redshift from {model.grid.z_min:g} to "
            f"{model.grid.z_max:g} have an estimate by each of {', '.join(model.names)} and lie where none "
            f"was trained; {LEAST_JUDGING} are needed: give more redshifts, and train all models on one table"
        )


def _learned(
    model: CombinedModel, densities: Sequence[Float32], z: Float64, magnitude: Float64, seed: int
) -> CombinedModel:
    """Return the combination with the weights and the recalibration that galaxies teach."""
    pool = learn_pool(densities, z, model.grid, seed=seed)
    if not pool.mixes:
        alone = model.members[int(np.argmax(pool.weights))]
        return replace(model, pool=pool, calibrated=alone.recalibration is not None)
    pooled = held_out(pool, densities, z, model.grid)
    fold = np.arange(len(z)) % _FOLDS
    known = np.isfinite(magnitude)
    if min(int(known[fold != k].sum()) for k in range(_FOLDS)) < LEAST_ROWS:
        return replace(model, pool=pool)
    maps = _recalibration(pooled, z, magnitude, model.grid, fold)
    return replace(model, pool=pool, calibrated=True, recalibration=maps)


def _recalibration(
    pooled: Float32, z: Float64, magnitude: Float64, grid: RedshiftGrid, fold: NDArray[np.intp]
) -> Recalibration | None:
    """Return what makes pooled densities true, None where galaxies it was not learned from are no better."""
    mapped = np.empty_like(pooled)
    for k in range(_FOLDS):
        learn, mine = fold != k, fold == k
        maps = Recalibration.learn(pooled[learn], grid, z[learn], magnitude[learn])
        mapped[mine] = maps.apply(pooled[mine], grid, magnitude[mine])
    before, after = (float(density_scores(density, grid, z).cde.mean()) for density in (pooled, mapped))
    return Recalibration.learn(pooled, grid, z, magnitude) if after < before else None


def _metrics(
    model: CombinedModel, densities: Sequence[Float32], z: Float64, magnitude: Float64, seed: int
) -> dict[str, Any]:
    """Return the metrics of the combination and, under `members`, of each model on the same galaxies."""
    pooled = np.empty_like(densities[0])
    for mine in (0, 1):
        teach = slice(1 - mine, None, 2)
        taught = _learned(model, [density[teach] for density in densities], z[teach], magnitude[teach], seed)
        pooled[mine::2] = taught.pooled([density[mine::2] for density in densities], magnitude[mine::2])
    return {
        **_judged(pooled, z, model.grid),
        "members": {
            name: _judged(one, z, model.grid) for name, one in zip(model.names, densities, strict=True)
        },
        "disagree_fraction": float(apart(densities, model.grid).mean()),
    }


def _judged(density: Float32, z: Float64, grid: RedshiftGrid) -> dict[str, float]:
    found = pdf.summarise(density, grid)
    return evaluate(found["z_phot"], z, found["z_phot_err"], density, grid)
