"""Trees grown by MLlib and xgboost on Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.ml.functions import array_to_vector
from pyspark.ml.regression import GBTRegressor, RandomForestRegressor
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from astrolake.errors import MissingDependency
from astrolake.lake.storage import Storage
from astrolake.photoz.features import FeatureSpec
from astrolake.photoz.train_model import TreeSettings
from astrolake.photoz.training_set import PARTS, PHOT, SkySplit, TrainingRows
from astrolake.photoz.tree_formats import from_mllib, from_xgboost
from astrolake.photoz.trees import TreeEnsemble

_TREES_OF_A_TRIAL = 50
#: Bytes of the driver that a node takes while MLlib grows it, and the part of its memory for nodes.
_NODE_BYTES, _NODES_PART = 500, 0.25
#: Statistics of the nodes that a task grows at a time; a task needs some copies of them.
_STATISTICS_MB = 128


def featured(rows: DataFrame, spec: FeatureSpec, split: SkySplit, parts: Sequence[int]) -> DataFrame:
    """Return the features and redshifts of the rows in some parts of the sky, computed by the workers."""
    columns, wanted = spec.columns, list(parts)

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            keep = np.isin(split.part(batch.column("phot_healpix").to_numpy()), wanted)
            kept = batch.filter(pa.array(keep))
            given = {
                name: kept.column(f"{PHOT}{i}").to_numpy(zero_copy_only=False)
                for i, name in enumerate(columns)
            }
            inputs = spec.read(given, "the training table")
            seen = inputs.photometry.observed.any(axis=1)
            features = pa.FixedSizeListArray.from_arrays(
                pa.array(spec.transform(inputs)[seen].astype(np.float64).ravel()), len(spec.names)
            ).cast(pa.list_(pa.float64()))
            z = kept.column("z_spec").filter(pa.array(seen))
            yield pa.RecordBatch.from_arrays([features, z], names=["values", "z_spec"])

    fields = T.StructType(
        [T.StructField("values", T.ArrayType(T.DoubleType())), T.StructField("z_spec", T.DoubleType())]
    )
    found = rows.mapInArrow(work, fields)
    return found.select(array_to_vector(F.col("values")).alias("features"), "z_spec")


def grow(rows: DataFrame, n_features: int, settings: TreeSettings, scratch: Storage) -> TreeEnsemble:
    """Return trees grown by Spark on `featured` rows.

    Parameters
    ----------
    scratch : Storage
        A directory of this run, for MLlib to save its model in: its trees are read from there.

    Raises
    ------
    MissingDependency
        For xgboost when it is not installed.
    """
    if settings.kind == "xgboost":
        return _grow_xgboost(rows, settings)
    shared: dict[str, Any] = {
        "labelCol": "z_spec",
        "maxDepth": settings.max_depth,
        "maxBins": settings.max_bins,
        "minInstancesPerNode": settings.min_instances,
        "seed": settings.seed,
        "maxMemoryInMB": _STATISTICS_MB,
    }
    if settings.kind == "random_forest":
        return _grow_forest(rows, n_features, settings.n_trees, shared, scratch)
    learner = GBTRegressor(maxIter=settings.n_trees, stepSize=settings.learning_rate, **shared)
    learner.fit(rows).write().overwrite().save(scratch.spark_uri())
    return saved_trees([scratch], n_features, mean=False)


def _grow_forest(
    rows: DataFrame, n_features: int, n_trees: int, shared: dict[str, Any], scratch: Storage
) -> TreeEnsemble:
    """Return a forest grown some trees at a time: the driver holds all nodes of those in its memory."""
    rows = rows.persist()
    try:
        nodes = min(2 * rows.count(), 2 << shared["maxDepth"])
        step = max(1, int(_driver_bytes(rows) * _NODES_PART / _NODE_BYTES / max(nodes, 1)))
        parts = []
        for first in range(0, n_trees, step):
            own = {**shared, "numTrees": min(step, n_trees - first), "seed": shared["seed"] + first}
            parts.append(Storage(scratch.uri(f"trees-{first}"), scratch.options))
            RandomForestRegressor(**own).fit(rows).write().overwrite().save(parts[-1].spark_uri())
    finally:
        rows.unpersist()
    return saved_trees(parts, n_features, mean=True)


def _driver_bytes(rows: DataFrame) -> int:
    """Return the memory of the driver's JVM."""
    jvm: Any = rows.sparkSession.sparkContext._jvm
    return int(jvm.java.lang.Runtime.getRuntime().maxMemory())


def saved_trees(saved: Sequence[Storage], n_features: int, *, mean: bool) -> TreeEnsemble:
    """Return the trees of models that MLlib saved, together."""
    wanted = ("id", "prediction", "leftChild", "rightChild", "split")
    tables: list[pa.Table] = []
    weights: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    for part in saved:
        nodes = _read_all(part, "data", ["treeID", *(f"nodeData.{name}" for name in wanted)])
        before = sum(len(known) for known in weights)
        number = pc.add(nodes.column("treeID"), before).cast(nodes.schema.field("treeID").type)
        tables.append(nodes.set_column(nodes.schema.get_field_index("treeID"), "treeID", number))
        metadata = _read_all(part, "treesMetadata", ["treeID", "weights"]).sort_by("treeID")
        weights.append(metadata.column("weights").to_numpy())
    return from_mllib(pa.concat_tables(tables), n_features, np.concatenate(weights), mean=mean)


def _read_all(saved: Storage, part: str, columns: list[str]) -> pa.Table:
    """Return all rows of Parquet files that Spark wrote, some columns of them."""
    tables = []
    for path in sorted(saved.fs.glob(f"{saved.path(part)}/*.parquet")):
        with saved.fs.open(path, "rb") as stream:
            tables.append(pq.ParquetFile(stream).read(columns=columns, use_threads=False))
    return pa.concat_tables(tables)


def _grow_xgboost(rows: DataFrame, settings: TreeSettings) -> TreeEnsemble:
    try:
        from xgboost.spark import SparkXGBRegressor
    except ImportError as error:
        raise MissingDependency(f"--method xgboost: pip install 'astrolake[photoz]' ({error})") from error
    workers = max(1, min(rows.sparkSession.sparkContext.defaultParallelism, 32))
    learner = SparkXGBRegressor(
        features_col="features",
        label_col="z_spec",
        num_workers=workers,
        n_estimators=settings.n_trees,
        max_depth=settings.max_depth,
        max_bin=settings.max_bins,
        min_child_weight=settings.min_instances,
        learning_rate=settings.learning_rate,
        random_state=settings.seed,
    )
    return from_xgboost(learner.fit(rows.repartition(workers)).get_booster().save_raw("json"))


def best_settings(
    rows: DataFrame,
    spec: FeatureSpec,
    split: SkySplit,
    sample: TrainingRows,
    settings: TreeSettings,
    scratch: Storage,
) -> TreeSettings:
    """Return the settings of the least mean |dz| / (1 + z) in a cross-validation of a few candidates.

    Two parts of the sky take turns in being held back, part 0 never takes part; forests are tried with few
    trees.
    """
    steps = (1, 3, 8) if settings.kind == "random_forest" else (settings.min_instances,)
    depths = (settings.max_depth,) if settings.kind == "random_forest" else (4, 6, 8)
    trials = [replace(settings, min_instances=m, max_depth=d) for m in steps for d in depths]
    part = split.part(sample.healpix)
    scores = []
    for number, trial in enumerate(trials):
        fewer = replace(trial, n_trees=min(trial.n_trees, _TREES_OF_A_TRIAL))
        errors = []
        for out in (1, 2):
            kept = [p for p in range(1, PARTS) if p != out]
            trees = grow(
                featured(rows, spec, split, kept),
                len(spec.names),
                fewer,
                Storage(scratch.uri(f"{number}-{out}"), scratch.options),
            )
            test = sample[part == out]
            inputs = spec.read(test.columns, "the training table")
            errors.append(np.abs(trees.predict(spec.transform(inputs)) - test.z) / (1 + test.z))
        scores.append(float(np.concatenate(errors).mean()))
    return trials[int(np.argmin(scores))]
