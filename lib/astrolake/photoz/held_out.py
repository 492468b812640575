"""Galaxies that judge models which exist already: those that none has learned from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photoz.forest import BoostedLearner, ForestLearner
from astrolake.photoz.learner import Learner
from astrolake.photoz.members import Member
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.recalibrate import LEAST_ROWS, Recalibration
from astrolake.photoz.template_fit import TemplateFit
from astrolake.photoz.training_set import SkySplit, TrainingRows

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: What a model's provenance calls the order of its `SkySplit`, and, of a table without positions, its rows.
ORDER, DRAWN = "split_order", "split_rows"


def unseen_by_all(members: Mapping[str, Member], rows: TrainingRows, drawn: str | None = None) -> Bool:
    """Return which rows none of the models was trained on, (n,): those of part 0 of each one's sky.

    A template fit that was not calibrated has seen none.

    Parameters
    ----------
    members : mapping of str to model
    rows : TrainingRows
    drawn : str, optional
        What tells a table without positions from others: its rows were drawn for it alone.

    Raises
    ------
    BadInput
        When a model does not say what it was trained on, or that was drawn from another table.
    """
    unseen = np.ones(len(rows), dtype=bool)
    for name, model in members.items():
        if isinstance(model, TemplateFit) and "n_train" not in model.provenance:
            continue
        if ORDER not in model.provenance:
            raise BadInput(
                f"model {name} does not say which part of the sky was held back from its training: train it "
                "again, or give galaxies that no model was trained on, and say so (unseen=True)"
            )
        if model.provenance.get(DRAWN) != drawn:
            raise BadInput(
                f"model {name} was trained on another table, without positions in one of them: nothing tells "
                "which galaxies it has not seen; give the table that all models were trained on"
            )
        unseen &= SkySplit(int(model.provenance[ORDER])).part(rows.healpix) == 0
    return unseen


def honest_density(model: Member, rows: TrainingRows) -> Float32:
    """Return densities of rows held back from a model's training, (n, grid.n), as of rows that it never saw.

    Trees have learned their densities and calibration from the rows held back: those of each half are learned
    again from the other.
    """
    if isinstance(model, PhotozModel) and isinstance(model.learner, ForestLearner | BoostedLearner):
        return _trees_density(model, model.learner, rows)
    return model.density(rows.columns)


def _trees_density(
    model: PhotozModel, learner: ForestLearner | BoostedLearner, rows: TrainingRows
) -> Float32:
    inputs, grid = model.features.read(rows.columns), model.grid
    features, magnitude = model.features.transform(inputs), model.features.magnitude(inputs)
    result = np.empty((len(rows), grid.n), dtype=np.float32)
    for mine in (0, 1):
        known = np.arange(1 - mine, len(rows), 2)
        z = rows.z[known]
        result[mine::2] = learned_again(learner, features[known], z).density(features[mine::2], grid)
        if model.recalibration is not None and len(known) >= LEAST_ROWS:
            density = np.empty((len(known), grid.n), dtype=np.float32)
            for half in (0, 1):
                other = learned_again(learner, features[known[1 - half :: 2]], z[1 - half :: 2])
                density[half::2] = other.density(features[known[half::2]], grid)
            calibration = Recalibration.learn(density, grid, z, magnitude[known])
            result[mine::2] = calibration.apply(result[mine::2], grid, magnitude[mine::2])
    result[~inputs.photometry.observed.any(axis=1)] = np.nan
    return result


def learned_again(learner: ForestLearner | BoostedLearner, features: Float32, z: Float64) -> Learner:
    """Return the same trees with densities of other rows; a forest's are of its training rows, and stay."""
    return learner if isinstance(learner, ForestLearner) else type(learner).learn(learner.trees, features, z)
