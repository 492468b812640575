"""From a training table to a calibrated model: folds held back, calibration and support learned on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadInput
from astrolake.photoz.features import LEAST_ROWS, ExtraColumn, FeatureSpec, Inputs, read_inputs
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.learner import Learner
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.photometry import BandColumns, numbers
from astrolake.photoz.recalibrate import LEAST_ROWS as LEAST_HELD
from astrolake.photoz.recalibrate import Recalibration
from astrolake.photoz.support import MOST_PICTURED, Support, neighbour_weights
from astrolake.photoz.train_network import NetworkSettings, train_network

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

#: Calibration needs no more rows than this: bounds the memory that their densities take.
MOST_HELD = 50_000


def calibrated_model(
    method: str,
    spec: FeatureSpec,
    learner: Learner,
    grid: RedshiftGrid,
    training: Inputs,
    held: tuple[Inputs, Float64, Float32],
    unseen: NDArray[np.bool_] | None = None,
    **described: Any,
) -> PhotozModel:
    """Return a model of any learner, with calibration and support learned on rows held back.

    Parameters
    ----------
    method : str
        Name of the method.
    spec, learner, grid
        Features, what was trained on them, and the grid.
    training : Inputs
        The training set.
    held : (Inputs, (m,) float64, (m, grid.n) float32)
        Rows that the learner was not trained on (or one trained in the same way without them), their
        redshifts and densities. Fewer than 200 give a model that flags its estimates as not calibrated.
    unseen : (m,) bool, optional
        Which rows held back are not in `training`; all by default.
    **described
        `metrics` and `provenance` of the model.
    """
    inputs, z, density = held
    recalibration = None
    if len(inputs) >= LEAST_HELD:
        magnitude = spec.magnitude(inputs)
        recalibration = Recalibration.learn(density, grid, z, magnitude)
        density = recalibration.apply(density, grid, magnitude)
    drawn = training[:: len(training) // MOST_PICTURED + 1]
    support = Support.learn(spec.transform(drawn), spec.transform(inputs), density, grid, unseen)
    return PhotozModel(method, spec, learner, grid, recalibration, support, **described)


def train_neural_network(  # noqa: PLR0913
    columns: Mapping[str, ArrayLike],
    z_spec: ArrayLike,
    bands: Sequence[BandColumns],
    extra: Sequence[ExtraColumn] = (),
    grid: RedshiftGrid | None = None,
    *,
    settings: NetworkSettings | None = None,
    cell: ArrayLike | None = None,
    target: Mapping[str, ArrayLike] | None = None,
    folds: int = 3,
    provenance: Mapping[str, Any] | None = None,
) -> PhotozModel:
    """Return a calibrated mixture density network.

    Small tables are cross-fitted: every row gets a density from a network that has not seen it, calibration
    is learned from all of them, and the model is trained on the whole table for as many epochs as the folds
    found best. Of large ones one part is held back instead.

    Parameters
    ----------
    columns : mapping of str to (n,) arrays
        The training table.
    z_spec : (n,) array
        Spectroscopic redshifts; rows without one are left out, as are rows without any band.
    bands, extra
        Columns to learn from; see `FeatureSpec.fit`.
    grid : RedshiftGrid, optional
        0 to 3 in steps of 0.01; rows beyond it are left out.
    settings : NetworkSettings, optional
    cell : (n,) array of integers, optional
        Cells of the sky: rows of one are held back together, so that neighbours do not tell of each other.
    target : mapping of str to (m,) arrays, optional
        A sample of the objects the model is for: training rows are weighted to be distributed like these.
    folds : int
        Parts of the cross-fit.
    provenance : mapping, optional
        What JSON holds of the training table.

    Raises
    ------
    MissingColumns
        When the table lacks columns.
    BadInput
        For tables of fewer than 100 usable rows, and columns that are not what they should be.
    """
    chosen, z_grid = settings or NetworkSettings(), grid or RedshiftGrid()
    inputs, z, rows = _usable(columns, z_spec, bands, extra, z_grid)
    spec = FeatureSpec.fit_inputs(inputs, bands, extra)
    weight = None
    if target is not None:
        weight = neighbour_weights(
            spec.transform(inputs), spec.transform(spec.read(target, "the target sample"))
        )
    fold = _folds(len(inputs), folds, None if cell is None else np.asarray(cell)[rows], chosen.seed)

    def train(part: NDArray[np.bool_], out: NDArray[np.bool_] | None, how: NetworkSettings) -> Any:
        held = None if out is None else (inputs[out], z[out])
        return train_network(spec, inputs[part], z[part], how, None if weight is None else weight[part], held)

    if len(inputs) * (folds - 1) > folds * MOST_HELD:
        out = _first(fold == 0, MOST_HELD)
        learner = train(~out, out, chosen)
        held = inputs[out], z[out], learner.density(spec.transform(inputs[out]), z_grid)
        seen, unseen = inputs[~out], None
    else:
        density = np.empty((len(inputs), z_grid.n), dtype=np.float32)
        epochs = []
        for k in np.unique(fold):
            out = fold == k
            part = train(~out, out, chosen)
            density[out] = part.density(spec.transform(inputs[out]), z_grid)
            epochs.append(part.epochs)
        learner = train(
            np.ones(len(inputs), dtype=bool), None, replace(chosen, epochs=int(np.median(epochs)))
        )
        held = inputs, z, density
        seen, unseen = inputs[fold != 0], fold == 0
    described = {"n_train": len(inputs), **(provenance or {})}
    return calibrated_model("neural_network", spec, learner, z_grid, seen, held, unseen, provenance=described)


def _usable(
    columns: Mapping[str, ArrayLike],
    z_spec: ArrayLike,
    bands: Sequence[BandColumns],
    extra: Sequence[ExtraColumn],
    grid: RedshiftGrid,
) -> tuple[Inputs, Float64, Int64]:
    """Return the rows to train on, their redshifts and their places in the table."""
    inputs = read_inputs(columns, bands, extra, "the training table")
    z = numbers({"z_spec": z_spec}, "z_spec", "the training table")
    if z.shape != (len(inputs),):
        raise BadInput(f"the training table has {len(inputs)} rows and redshifts of the shape {z.shape}")
    on_grid = (z >= grid.z_min - grid.step / 2) & (z <= grid.z_max + grid.step / 2)
    rows = np.flatnonzero(on_grid & inputs.photometry.observed.any(axis=1))
    if len(rows) < LEAST_ROWS:
        raise BadInput(
            f"the training table has {len(rows)} rows with a band and a redshift from {grid.z_min} to "
            f"{grid.z_max} (of {len(inputs)}); at least {LEAST_ROWS} are needed"
        )
    return inputs[rows], z[rows], rows


def _folds(n: int, folds: int, cell: NDArray[Any] | None, seed: int) -> Int64:
    """Return the fold of each row; rows of a cell are in one."""
    rng = np.random.default_rng(seed)
    if cell is None:
        return rng.permutation(n) % folds
    cells, index = np.unique(cell, return_inverse=True)
    if len(cells) < folds:
        return rng.permutation(n) % folds
    # the largest cells first, each to the fold with the fewest rows
    size, of_cell, filled = np.bincount(index), np.empty(len(cells), dtype=np.int64), np.zeros(folds)
    for k in np.lexsort((rng.permutation(len(cells)), -size)):
        of_cell[k] = filled.argmin()
        filled[of_cell[k]] += size[k]
    return of_cell[index]


def _first(mask: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Return the mask without what comes after `most` rows."""
    result: NDArray[np.bool_] = mask & (np.cumsum(mask) <= most)
    return result
