"""Trees out of the files of MLlib and the JSON of xgboost."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from astrolake.errors import BadInput
from astrolake.photoz.trees import Nodes, TreeEnsemble, at_most, below


def from_mllib(nodes: pa.Table, n_features: int, weights: np.ndarray, *, mean: bool) -> TreeEnsemble:
    """Return the ensemble that MLlib saved.

    Parameters
    ----------
    nodes : pa.Table
        What lies below ``data`` in a saved model: columns treeID, nodeData.
    n_features : int
    weights : (trees,) float64
        Weight of each tree, from ``treesMetadata``.
    mean : bool
        Whether a prediction is the weighted mean of the trees (forests), or their weighted sum.

    Raises
    ------
    BadInput
        When a split is by categories, which no feature of photo-z is.
    """
    data = pa.Table.from_batches(nodes.to_batches()).combine_chunks().column("nodeData").combine_chunks()
    if isinstance(data, pa.ChunkedArray):
        data = data.chunk(0)
    tree = nodes.column("treeID").to_numpy().astype(np.int64)
    number = data.field("id").to_numpy()
    order = np.lexsort((number, tree))
    split = data.field("split")
    lists = split.field("leftCategoriesOrThreshold")
    starts = lists.offsets.to_numpy()
    inner = data.field("leftChild").to_numpy() >= 0
    if (split.field("numCategories").to_numpy()[inner] != -1).any():
        raise BadInput("the model splits by categories; train it on numbers")
    threshold = np.zeros(len(inner))
    threshold[inner] = lists.values.to_numpy()[starts[:-1][inner]]
    scale = np.asarray(weights, np.float64)
    found = Nodes(
        tree[order],
        split.field("featureIndex").to_numpy()[order].astype(np.int64),
        at_most(threshold)[order],
        data.field("leftChild").to_numpy()[order].astype(np.int64),
        data.field("rightChild").to_numpy()[order].astype(np.int64),
        (data.field("prediction").to_numpy() * scale[tree])[order],
        np.zeros(len(tree), bool),
    )
    return TreeEnsemble.of(found, n_features, 0.0, 1.0 / float(scale.sum()) if mean else 1.0)


def from_xgboost(model: str | bytes | bytearray | Mapping[str, Any]) -> TreeEnsemble:
    """Return the ensemble of a regressor that xgboost saved as JSON.

    Raises
    ------
    BadInput
        When it is no booster of trees for regression.
    """
    found = (
        model
        if isinstance(model, Mapping)
        else json.loads(bytes(model) if not isinstance(model, str) else model)
    )
    try:
        learner = found["learner"]
        trees = learner["gradient_booster"]["model"]["trees"]
        params = learner["learner_model_param"]
        objective = learner["objective"]["name"]
    except (KeyError, TypeError) as error:
        raise BadInput(f"this is no booster of trees (it lacks {error})") from None
    if objective not in ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror"):
        raise BadInput(f"the booster's objective is {objective}; its sums are no redshifts")
    parts = [_xgboost_tree(k, tree) for k, tree in enumerate(trees)]
    if not parts:
        raise BadInput("the model has no trees")
    nodes = Nodes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    base = float(re.sub(r"[\[\]]", "", str(params["base_score"])))
    return TreeEnsemble.of(nodes, int(params["num_feature"]), base)


def _xgboost_tree(number: int, tree: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    left = np.array(tree["left_children"], np.int64)
    condition = np.array(tree["split_conditions"], np.float32)
    if any(tree.get("split_type", ())):
        raise BadInput("the model splits by categories; train it on numbers")
    return (
        np.full(len(left), number, np.int64),
        np.array(tree["split_indices"], np.int64),
        below(condition),
        left,
        np.array(tree["right_children"], np.int64),
        condition.astype(np.float64),
        np.array(tree["default_left"], bool),
    )
