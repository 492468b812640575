"""From training galaxies to a model that was judged on galaxies it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photoz.features import LEAST_ROWS, ExtraColumn, FeatureSpec, read_inputs
from astrolake.photoz.filters import load_filters
from astrolake.photoz.forest import ForestLearner, GbtLearner, XgboostLearner
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.held_out import ORDER
from astrolake.photoz.learner import Learner
from astrolake.photoz.metrics import evaluate
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.photometry import BandColumns, read_photometry
from astrolake.photoz.template_fit import TemplateFit
from astrolake.photoz.templates import load_templates
from astrolake.photoz.train_network import NetworkSettings
from astrolake.photoz.training import MOST_HELD, calibrated_model, train_neural_network
from astrolake.photoz.training_set import SkySplit, TrainingRows
from astrolake.photoz.trees import TreeEnsemble

METHODS = ("template", "random_forest", "gbt", "xgboost", "neural_network")
#: Features (n, f) and redshifts (n,).
Rows = tuple[NDArray[np.float32], NDArray[np.float64]]
_TREES: dict[str, Any] = {"gbt": GbtLearner, "xgboost": XgboostLearner}
#: Fewer galaxies held back than this cannot judge, not even each half the other.
_LEAST_HELD = 8


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


#: Grows trees on the training rows, or on all that a table has like them, with settings that it may choose.
Grow = Callable[[FeatureSpec, TreeSettings, TrainingRows], tuple[TreeEnsemble, TreeSettings]]


def fit_model(
    plan: TrainingPlan, sample: TrainingRows, split: SkySplit, grow: Grow
) -> tuple[PhotozModel | TemplateFit, dict[str, Any]]:
    """Return a model and the parameters it was trained with; its metrics are of part 0 of the sky.

    Galaxies without any band or with a redshift off the grid are left out. The model's provenance says how
    many were trained on (`n_train`) and how many judge and calibrate (`n_validation`).

    Raises
    ------
    BadInput
        For fewer than 100 galaxies, for galaxies of one redshift, or when the parts of the sky
        leave too few to train or to judge.
    """
    training, held = _divided(plan.bands, plan.grid, sample, split)
    model: PhotozModel | TemplateFit
    if plan.method == "neural_network":
        model, params = _network(plan, training, held, split)
    elif plan.method == "template":
        filters = load_filters(plan.filters, [band.band for band in plan.bands])
        fit = TemplateFit.make(load_templates(plan.template_set), filters, plan.bands, plan.grid)
        model = _calibrated_fit(fit, training, held)
        params = {"template_set": plan.template_set, "filters": plan.filters}
    else:
        spec = FeatureSpec.fit(training.columns, plan.bands, plan.extra)
        trees, settings = grow(spec, plan.settings, training)
        model, params = _calibrated(plan, spec, trees, training, held), asdict(settings)
    seen = _seen(training, held, split)
    return replace(model, provenance={**model.provenance, **seen}), params


def fit_held_back(
    fit: TemplateFit, sample: TrainingRows, split: SkySplit, learn_prior: bool = True
) -> TemplateFit:
    """Return a template fit that was calibrated and judged as `fit_model` does it."""
    training, held = _divided(fit.columns, fit.grid, sample, split)
    found = _calibrated_fit(fit, training, held, learn_prior)
    return replace(found, provenance={**found.provenance, **_seen(training, held, split)})


def _divided(
    bands: Sequence[BandColumns], grid: RedshiftGrid, sample: TrainingRows, split: SkySplit
) -> tuple[TrainingRows, TrainingRows]:
    """Return the galaxies to train on and those to judge by: of part 0 of the sky."""
    usable = _usable(bands, grid, sample)
    if np.ptp(usable.z) < grid.step:
        raise BadInput(
            f"all {len(usable)} redshifts are {usable.z[0]:.4g}: nothing can be learned; check --z-column"
        )
    part = split.part(usable.healpix)
    training, held = usable[part != 0], _thinned(usable[part == 0], MOST_HELD)
    if len(training) < LEAST_ROWS or len(held) < _LEAST_HELD:
        raise BadInput(
            f"{len(training)} galaxies to train on and {len(held)} to judge by lie in different parts of the "
            "sky; give more spectroscopic redshifts"
        )
    return training, held


def _usable(bands: Sequence[BandColumns], grid: RedshiftGrid, sample: TrainingRows) -> TrainingRows:
    """Return the galaxies with a redshift on the grid and at least one band."""
    low, high = grid.edges[[0, -1]]
    observed = read_photometry(sample.columns, bands, "the training table").observed.any(axis=1)
    usable = sample[observed & (sample.z >= low) & (sample.z <= high)]
    if len(usable) < LEAST_ROWS:
        raise BadInput(
            f"{len(usable)} galaxies of {len(sample)} have a band and a redshift from {grid.z_min} to "
            f"{grid.z_max}; at least {LEAST_ROWS} are needed to train on"
        )
    return usable


def _seen(training: TrainingRows, held: TrainingRows, split: SkySplit) -> dict[str, int]:
    """Return what a model's provenance says of the galaxies it has learned from."""
    return {"n_train": len(training), "n_validation": len(held), ORDER: split.order}


def _calibrated(
    plan: TrainingPlan, spec: FeatureSpec, trees: TreeEnsemble, training: TrainingRows, held: TrainingRows
) -> PhotozModel:
    """Return the model of trees, its densities and calibration learned on the rows held back.

    For its metrics, each half of these judges a model that learned from the other.
    """
    inputs, held_inputs = (
        read_inputs(rows.columns, plan.bands, plan.extra, "the training table") for rows in (training, held)
    )
    features, z = spec.transform(held_inputs), held.z
    of = _learner_of(plan, trees, (spec.transform(inputs), training.z), (features, z))

    def model(rows: NDArray[np.intp]) -> PhotozModel:
        # Calibration looks at densities of rows that these were not learned from.
        density = np.empty((len(rows), plan.grid.n), dtype=np.float32)
        for mine in (0, 1):
            others = rows[1 - mine :: 2]
            density[mine::2] = of(features[others], z[others]).density(features[rows[mine::2]], plan.grid)
        known = held_inputs[rows], z[rows], density
        return calibrated_model(plan.method, spec, of(features[rows], z[rows]), plan.grid, inputs, known)

    everything = np.arange(len(held))
    halves = everything[::2], everything[1::2]
    judged = [judge(model(halves[k]), held[halves[1 - k]]) for k in (0, 1)]
    metrics = {name: float(np.mean([half[name] for half in judged])) for name in judged[0]}
    # Counts of the halves are those of all together.
    metrics |= {name: sum(half[name] for half in judged) for name in metrics if name.startswith("n")}
    return replace(model(everything), metrics=metrics)


def _learner_of(
    plan: TrainingPlan, trees: TreeEnsemble, training: Rows, held: Rows
) -> Callable[[NDArray[np.float32], NDArray[np.float64]], Learner]:
    """Return what makes a learner of trees, given rows held back from them."""
    if plan.method != "random_forest":
        return partial(_TREES[plan.method].learn, trees)
    # One width chosen among eight by all rows: no half needs its own.
    forest = ForestLearner.learn(trees, *training).smoothed_for(*held, plan.grid)
    return lambda features, z: forest


def _network(
    plan: TrainingPlan, training: TrainingRows, held: TrainingRows, split: SkySplit
) -> tuple[PhotozModel, dict[str, Any]]:
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


def _calibrated_fit(
    fit: TemplateFit, training: TrainingRows, held: TrainingRows, learn_prior: bool = True
) -> TemplateFit:
    """Return templates with zero points, prior and calibration learned from the training rows."""
    found = fit.calibrated(training.columns, training.z, learn_prior)
    return replace(found, metrics=judge(found, held))


def judge(model: PhotozModel | TemplateFit, rows: TrainingRows) -> dict[str, float]:
    """Return the metrics of a model's estimates of rows with redshifts."""
    found = model.estimate(rows.columns, model.grid.step)
    return evaluate(found["z_phot"], rows.z, found["z_phot_err"], found["pdf"], model.grid)


def _thinned(rows: TrainingRows, most: int) -> TrainingRows:
    """Return at most `most` rows, spread over all."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
