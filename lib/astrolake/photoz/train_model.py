"""From training galaxies to a model that was judged on galaxies it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photoz.features import ExtraColumn, FeatureSpec, read_inputs
from astrolake.photoz.filters import load_filters
from astrolake.photoz.forest import ForestLearner, GbtLearner, XgboostLearner
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.learner import Learner
from astrolake.photoz.metrics import evaluate
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.photometry import BandColumns
from astrolake.photoz.template_fit import TemplateFit
from astrolake.photoz.templates import load_templates
from astrolake.photoz.training_set import SkySplit, TrainingRows
from astrolake.photoz.trees import TreeEnsemble

METHODS = ("template", "random_forest", "gbt", "xgboost", "neural_network")
#: Fewer galaxies than this teach nothing.
LEAST_ROWS = 100
_TREES: dict[str, Any] = {"gbt": GbtLearner, "xgboost": XgboostLearner}
#: Rows held back that enter calibration and metrics at most: their densities are held in memory.
_MOST_HELD = 50_000


@dataclass(frozen=True)
class TreeSettings:
    """How trees are grown; see MLlib's and xgboost's parameters of these meanings."""

    kind: str
    n_trees: int = 500
    max_depth: int = 20
    max_bins: int = 128
    min_instances: int = 1
    learning_rate: float = 0.1
    seed: int = 1


@dataclass(frozen=True)
class TrainingPlan:
    """What to train.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    bands, extra
        Columns to learn from.
    grid : RedshiftGrid
    settings : TreeSettings
        Of methods that grow trees.
    cross_validate : bool
        Whether to choose among a few settings first.
    epochs : int
        Of networks.
    template_set, filters : str
        Of template fits: see `load_templates` and `load_filters`.
    """

    method: str
    bands: tuple[BandColumns, ...]
    extra: tuple[ExtraColumn, ...]
    grid: RedshiftGrid
    settings: TreeSettings
    cross_validate: bool = False
    epochs: int = 60
    template_set: str = "cosmos"
    filters: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the photometric table that are needed."""
        photometric = [name for band in self.bands for name in (band.value, band.error) if name is not None]
        return tuple(dict.fromkeys((*photometric, *(column.name for column in self.extra))))


#: Grows trees on all training rows, with settings that it may choose.
Grow = Callable[[FeatureSpec, TreeSettings], tuple[TreeEnsemble, TreeSettings]]


def fit_model(
    plan: TrainingPlan, sample: TrainingRows, split: SkySplit, grow: Grow
) -> tuple[PhotozModel | TemplateFit, dict[str, Any]]:
    """Return a model and the parameters it was trained with; its metrics are of part 0 of the sky.

    Raises
    ------
    BadInput
        For fewer than 100 galaxies, for galaxies of one redshift, or when the parts of the sky
        leave too few to train or to judge.
    """
    if len(sample) < LEAST_ROWS:
        raise BadInput(
            f"{len(sample)} galaxies have a redshift; at least {LEAST_ROWS} are needed to train on"
        )
    if np.ptp(sample.z) < plan.grid.step:
        raise BadInput(
            f"all {len(sample)} redshifts are {sample.z[0]:.4g}: nothing can be learned; check --z-column"
        )
    part = split.part(sample.healpix)
    training, held = sample[part != 0], _first(sample[part == 0], _MOST_HELD)
    if len(training) < LEAST_ROWS or len(held) < 2:
        raise BadInput(
            f"{len(training)} galaxies to train on and {len(held)} to judge by lie in different parts of the "
            "sky; give more spectroscopic redshifts"
        )
    if plan.method == "neural_network":
        return _network(plan, training, held, split)
    if plan.method == "template":
        return _template_fit(plan, training, held)
    spec = FeatureSpec.fit(training.columns, plan.bands, plan.extra)
    trees, settings = grow(spec, plan.settings)
    learner = _tree_learner(plan, spec, trees, training, held)
    return _calibrated(plan, spec, learner, training, held), asdict(settings)


def _tree_learner(
    plan: TrainingPlan, spec: FeatureSpec, trees: TreeEnsemble, training: TrainingRows, held: TrainingRows
) -> Learner:
    features, held_features = (_features(spec, rows) for rows in (training, held))
    if plan.method == "random_forest":
        forest = ForestLearner.learn(trees, features, training.z)
        return forest.smoothed_for(held_features, held.z, plan.grid)
    learned: Learner = _TREES[plan.method].learn(trees, held_features, held.z)
    return learned


def _calibrated(
    plan: TrainingPlan, spec: FeatureSpec, learner: Learner, training: TrainingRows, held: TrainingRows
) -> PhotozModel:
    """Return the model, calibrated on the rows held back; for its metrics, each half judges the other."""
    from astrolake.photoz.training import calibrated_model

    inputs, held_inputs = (
        read_inputs(rows.columns, plan.bands, plan.extra, "the training table") for rows in (training, held)
    )
    density = learner.density(spec.transform(held_inputs), plan.grid)

    def model(rows: NDArray[np.intp]) -> PhotozModel:
        known = held_inputs[rows], held.z[rows], density[rows]
        return calibrated_model(plan.method, spec, learner, plan.grid, inputs, known)

    everything = np.arange(len(held))
    halves = everything[::2], everything[1::2]
    judged = [judge(model(halves[k]), held[halves[1 - k]]) for k in (0, 1)]
    metrics = {name: float(np.mean([half[name] for half in judged])) for name in judged[0]}
    metrics |= {name: sum(half[name] for half in judged) for name in metrics if name.split("_")[0] == "n"}
    return replace(model(everything), metrics=metrics)


def _network(
    plan: TrainingPlan, training: TrainingRows, held: TrainingRows, split: SkySplit
) -> tuple[PhotozModel, dict[str, Any]]:
    from astrolake.photoz.train_network import NetworkSettings
    from astrolake.photoz.training import train_neural_network

    settings = NetworkSettings(seed=plan.settings.seed, epochs=plan.epochs)
    model = train_neural_network(
        training.columns,
        training.z,
        plan.bands,
        plan.extra,
        plan.grid,
        settings=settings,
        cell=split.cell(training.healpix),
    )
    return replace(model, metrics=judge(model, held)), asdict(settings)


def _template_fit(
    plan: TrainingPlan, training: TrainingRows, held: TrainingRows
) -> tuple[TemplateFit, dict[str, Any]]:
    """Return templates with zero points, prior and calibration learned from the training rows."""
    filters = load_filters(plan.filters, [band.band for band in plan.bands])
    templates = load_templates(plan.template_set)
    fit = TemplateFit.make(templates, filters, plan.bands, plan.grid).calibrated(training.columns, training.z)
    return replace(fit, metrics=judge(fit, held)), {
        "template_set": plan.template_set,
        "filters": plan.filters,
    }


def judge(model: PhotozModel | TemplateFit, rows: TrainingRows) -> dict[str, float]:
    """Return the metrics of a model's estimates of rows with redshifts."""
    found = model.estimate(rows.columns, model.grid.step)
    return evaluate(found["z_phot"], rows.z, found["z_phot_err"], found["pdf"], model.grid)


def _features(spec: FeatureSpec, rows: TrainingRows) -> NDArray[np.float32]:
    return spec.transform(spec.read(rows.columns, "the training table"))


def _first(rows: TrainingRows, most: int) -> TrainingRows:
    """Return at most `most` rows, spread over all."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
