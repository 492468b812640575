"""Trees that MLlib grew, in compact form: the predictions of MLlib's own transform."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyspark")
from pyspark.ml.functions import array_to_vector
from pyspark.ml.regression import GBTRegressionModel, RandomForestRegressionModel
from pyspark.sql import functions as F

from astrolake.lake.storage import Storage
from astrolake.photoz import spark_trees
from astrolake.photoz.train_model import TreeSettings

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(4).normal(size=(400, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def rows(spark, features):
    z = 0.5 + 0.1 * features[:, 0] + 0.05 * np.abs(features[:, 1])
    given = [(row.tolist(), float(value)) for row, value in zip(features.astype(float), z, strict=True)]
    frame = spark.createDataFrame(given, ["values", "z_spec"])
    return frame.select(array_to_vector(F.col("values")).alias("features"), "z_spec")


def predictions(model, rows) -> np.ndarray:
    return np.array([row.prediction for row in model.transform(rows).select("prediction").collect()])


def test_forests_grown_some_trees_at_a_time_are_mllibs(rows, features, tmp_path, monkeypatch):
    nodes = 2 * len(features)
    memory = int(2.5 * nodes * spark_trees._NODE_BYTES / spark_trees._NODES_PART)
    monkeypatch.setattr(spark_trees, "_driver_bytes", lambda rows: memory)
    settings = TreeSettings("random_forest", n_trees=5, max_depth=12, max_bins=32)
    trees = spark_trees.grow(rows, features.shape[1], settings, Storage.at(str(tmp_path)))
    names = [f"trees-{first}" for first in (0, 2, 4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    models = [RandomForestRegressionModel.load(str(tmp_path / name)) for name in names]
    counts = [model.getNumTrees for model in models]
    assert counts == [2, 2, 1]
    found = [predictions(model, rows) for model in models]
    assert (found[0] != found[1]).any()  # other trees, not the same ones again
    expected = np.average(found, axis=0, weights=counts)
    assert trees.n_trees == 5
    np.testing.assert_allclose(trees.predict(features), expected, atol=1e-6)


def test_boosted_trees_are_mllibs(rows, features, tmp_path):
    settings = TreeSettings("gbt", n_trees=4, max_depth=4, max_bins=32, learning_rate=0.3)
    trees = spark_trees.grow(rows, features.shape[1], settings, Storage.at(str(tmp_path)))
    expected = predictions(GBTRegressionModel.load(str(tmp_path)), rows)
    np.testing.assert_allclose(trees.predict(features), expected, atol=1e-6)
