"""Trees grown on this machine, for the Python API; the jobs grow theirs by `spark_trees`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import MissingDependency
from astrolake.photoz.train_model import TreeSettings
from astrolake.photoz.tree_formats import from_xgboost
from astrolake.photoz.trees import TreeEnsemble

#: Rows from which xgboost gains by threads, which wait for each other at every level of a tree.
_THREADS_PAY = 50_000


def grow_locally(
    features: NDArray[np.float32], z: NDArray[np.float64], settings: TreeSettings
) -> TreeEnsemble:
    """Return trees grown on this machine, by xgboost in this process or by MLlib in a Spark session.

    Parameters
    ----------
    features : (n, f) float32
    z : (n,) float64
        Spectroscopic redshifts.
    settings : TreeSettings

    Raises
    ------
    MissingDependency
        When Spark or xgboost is wanted and not installed.
    """
    if settings.kind == "xgboost":
        return _grow_xgboost(features, z, settings)
    try:
        from astrolake.photoz.spark_here import grow_here
    except ImportError as error:
        raise MissingDependency(
            f"model_type {settings.kind!r} is grown by Spark: pip install 'astrolake[spark]' ({error})"
        ) from error
    return grow_here(features, z, settings)


def _grow_xgboost(
    features: NDArray[np.float32], z: NDArray[np.float64], settings: TreeSettings
) -> TreeEnsemble:
    try:
        import xgboost
    except ImportError as error:
        raise MissingDependency(f"xgboost: pip install 'astrolake[photoz]' ({error})") from error
    parameters = {
        "max_depth": settings.max_depth,
        "max_bin": settings.max_bins,
        "min_child_weight": settings.min_instances,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
        "tree_method": "hist",
        "nthread": 1 if len(z) < _THREADS_PAY else 0,
    }
    booster = xgboost.train(parameters, xgboost.DMatrix(features, label=z), settings.n_trees)
    return from_xgboost(booster.save_raw("json"))
