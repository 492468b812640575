"""The Spark side of training: galaxies with spectroscopic redshifts out of lake tables, and trees grown on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from astrolake.errors import BadArguments, BadInput, MissingDependency
from astrolake.lake.cells import Cell, map_cells, plan_cells
from astrolake.lake.declared import declared
from astrolake.lake.delta import Snapshot
from astrolake.lake.reader import RegionReader, frame_of, require_columns, spark_fields
from astrolake.lake.staging import STAGING, make_staging
from astrolake.lake.storage import Storage
from astrolake.photoz.features import FeatureSpec
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.model_store import model_row, store
from astrolake.photoz.train_model import TrainingPlan, TreeSettings, fit_model
from astrolake.photoz.training_set import PARTS, SkySplit, TrainingRows
from astrolake.photoz.tree_formats import from_mllib, from_xgboost
from astrolake.photoz.trees import TreeEnsemble
from astrolake.schema import HEALPIX_COLUMN
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions

#: Columns of the photometric side in the frame of matches; those of the spectroscopic side keep their names.
_PHOT = "phot_"
_ID, _INDEX, _SEP = "phot_key", "phot_healpix", "sep_arcsec_of_match"
_TREES_OF_A_TRIAL = 50


@dataclass(frozen=True)
class TrainingTables:
    """Where training galaxies come from.

    Parameters
    ----------
    table, spec_table : str
        Tables of the photometry and of the redshifts; they may be one.
    photometry, spectra : Snapshot
    z_column : str
        Redshift in the spectroscopic table.
    where : str
        SQL condition on the rows of the spectroscopic table.
    """

    table: str
    spec_table: str
    photometry: Snapshot
    spectra: Snapshot
    z_column: str
    where: str

    @classmethod
    def of(cls, args: Any, snapshot: Callable[[str], Snapshot]) -> TrainingTables:
        """Return the tables that the arguments of a job name."""
        tables = snapshot(args.table), snapshot(args.spec_table)
        return cls(args.table, args.spec_table, *tables, args.z_column, args.spec_where)

    @property
    def pairs(self) -> str:
        """Name of their cross-match, should the lake have it."""
        return f"crossmatches/{self.table}_x_{self.spec_table}"

    def check(self, columns: Sequence[str]) -> None:
        """Raise MissingColumns or BadArguments for what the tables do not have."""
        require_columns(self.table, self.photometry.stored_names, columns)
        require_columns(self.spec_table, self.spectra.stored_names, (self.z_column,))
        for name, snapshot in ((self.table, self.photometry), (self.spec_table, self.spectra)):
            if not snapshot.is_positional:
                raise BadArguments(f"table {name} has no positions; give objects or an ingested catalog")

    @property
    def phot_key(self) -> str:
        """Key of the photometric table."""
        return declared(self.table, self.photometry).key[0]

    @property
    def spec_key(self) -> str:
        """Key of the spectroscopic table."""
        return declared(self.spec_table, self.spectra).key[0]


def matched_rows(
    spark: SparkSession,
    tables: TrainingTables,
    plan: TrainingPlan,
    pairs: Snapshot | None,
    radius_arcsec: float,
) -> DataFrame:
    """Return galaxies with redshifts on the grid: phot_key, phot_healpix, z_spec and the photometry (``phot_<n>``).

    Parameters
    ----------
    pairs : Snapshot or None
        The cross-match ``crossmatches/<table>_x_<spec_table>`` where the lake has it; else rows within
        `radius_arcsec` are matched here. Each object gets the nearest spectrum that meets the condition.
    """
    columns, grid = plan.columns, plan.grid
    tables.check(columns)
    if tables.table == tables.spec_table:
        named = _phot_columns(tables, columns) | {_SEP: F.lit(0.0)}
        rows = frame_of(spark, tables.photometry).withColumns(named)
    elif pairs is not None:
        rows = _joined(spark, tables, columns, pairs)
    else:
        rows = _by_the_sky(spark, tables, columns, radius_arcsec)
    if tables.where:
        rows = rows.where(tables.where)
    z = F.col(tables.z_column).cast("double")
    names = [f"{_PHOT}{i}" for i in range(len(columns))]
    usable = rows.select(_ID, _INDEX, _SEP, z.alias("z_spec"), *names).where(
        (F.col("z_spec") >= grid.z_min - grid.step / 2) & (F.col("z_spec") <= grid.z_max + grid.step / 2)
    )
    nearest = Window.partitionBy(_ID).orderBy(_SEP, "z_spec")
    return usable.withColumn("place", F.row_number().over(nearest)).where("place = 1").drop("place", _SEP)


def sampled(rows: DataFrame, columns: Sequence[str], most: int) -> tuple[TrainingRows, int]:
    """Return at most about `most` rows, chosen by a hash of their key, and the number of all.

    Raises
    ------
    BadInput
        When there is none.
    """
    total = rows.count()
    if not total:
        raise BadInput("no object has a spectroscopic redshift on the grid: check tables, radius and --z-max")
    if total > most:
        rows = rows.where(F.pmod(F.xxhash64(_ID), F.lit(1 << 30)) < int(most / total * (1 << 30)))
    found = rows.orderBy(_INDEX, _ID).toPandas()
    values = {name: found[f"{_PHOT}{i}"].to_numpy() for i, name in enumerate(columns)}
    return TrainingRows(values, found["z_spec"].to_numpy(float), found[_INDEX].to_numpy(np.int64)), total


def _joined(
    spark: SparkSession, tables: TrainingTables, columns: Sequence[str], pairs: Snapshot
) -> DataFrame:
    """Return the rows that a cross-match of the lake has put together."""
    ours = frame_of(spark, tables.photometry).select(
        *(c.alias(n) for n, c in _phot_columns(tables, columns).items())
    )
    theirs = frame_of(spark, tables.spectra)
    matches = frame_of(spark, pairs).select(
        F.col("left_id").alias(_ID),
        F.col("right_id").alias("match_right_id"),
        F.col("sep_arcsec").alias(_SEP),
    )
    on = theirs[tables.spec_key] == F.col("match_right_id")
    return theirs.join(matches, on, how="inner").join(ours, _ID, how="inner")


def _phot_columns(tables: TrainingTables, columns: Sequence[str]) -> dict[str, Any]:
    named = {f"{_PHOT}{i}": F.col(f"`{name}`") for i, name in enumerate(columns)}
    return {_ID: F.col(tables.phot_key), _INDEX: F.col(HEALPIX_COLUMN), **named}


def _by_the_sky(
    spark: SparkSession, tables: TrainingTables, columns: Sequence[str], radius_arcsec: float
) -> DataFrame:
    """Match cell by cell of the spectroscopic table; nothing is shuffled."""
    spec_names = tuple(tables.spectra.stored_names)
    spec = RegionReader(tables.spectra.storage, tables.spectra.files, spec_names)
    wanted = tuple(dict.fromkeys((tables.phot_key, "ra", "dec", *columns)))
    phot = RegionReader(tables.photometry.storage, tables.photometry.files, wanted)
    keys = tables.phot_key, tables.spec_key
    added = [pa.field(_ID, tables.photometry.schema.field(keys[0]).type), pa.field(_INDEX, pa.int64())]
    added += [
        pa.field(f"{_PHOT}{i}", tables.photometry.schema.field(name).type) for i, name in enumerate(columns)
    ]
    schema = pa.schema(
        [*(tables.spectra.schema.field(name) for name in spec_names), *added, (_SEP, pa.float64())]
    )

    def work(cells: Iterator[Cell]) -> Iterator[pa.RecordBatch]:
        for cell in cells:
            left = spec.read(cell.ranges)
            if not left.num_rows:
                continue
            right = phot.read(cell.surroundings(radius_arcsec / 3600 * 1.001 + 1e-9))
            found = match(_positions(left, keys[1]), _positions(right, keys[0]), radius_arcsec)
            ours = right.take(pa.array(found.right_index))
            values = [left.column(name).take(pa.array(found.left_index)) for name in spec_names]
            values += [ours.column(keys[0]), ours.column(HEALPIX_COLUMN)]
            values += [ours.column(name) for name in columns]
            values.append(pa.chunked_array([pa.array(found.sep_arcsec, pa.float64())]))
            rows = pa.table([v.cast(f.type) for v, f in zip(values, schema, strict=True)], schema=schema)
            yield from rows.combine_chunks().to_batches()

    return map_cells(spark, plan_cells(tables.spectra, beside=tables.photometry), work, spark_fields(schema))


def _positions(rows: pa.Table, key: str) -> Positions:
    return Positions(*(rows.column(name).to_numpy() for name in ("ra", "dec", key)))


def featured(rows: DataFrame, spec: FeatureSpec, split: SkySplit, parts: Sequence[int]) -> DataFrame:
    """Return the features and redshifts of the rows in some parts of the sky, computed by the workers."""
    columns, wanted = spec.columns, list(parts)

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            keep = np.isin(split.part(batch.column(_INDEX).to_numpy()), wanted)
            kept = batch.filter(pa.array(keep))
            given = {
                name: kept.column(f"{_PHOT}{i}").to_numpy(zero_copy_only=False)
                for i, name in enumerate(columns)
            }
            inputs = spec.read(given, "the training table")
            seen = inputs.photometry.observed.any(axis=1)
            features = pa.FixedSizeListArray.from_arrays(
                pa.array(spec.transform(inputs)[seen].astype(np.float64).ravel()), len(spec.names)
            ).cast(pa.list_(pa.float64()))
            z = pc.cast(kept.column("z_spec").filter(pa.array(seen)), pa.float64())
            yield pa.RecordBatch.from_arrays([features, z], names=["values", "z_spec"])

    fields = T.StructType(
        [T.StructField("values", T.ArrayType(T.DoubleType())), T.StructField("z_spec", T.DoubleType())]
    )
    from pyspark.ml.functions import array_to_vector

    found = rows.mapInArrow(work, fields)
    return found.select(array_to_vector("values").alias("features"), "z_spec")


def train(
    plan: TrainingPlan, rows: DataFrame, sample: TrainingRows, scratch: Storage
) -> tuple[PhotozModel, dict[str, Any]]:
    """Return the model that a plan asks for and the parameters it was trained with.

    Trees are grown by Spark on all rows; networks and template fits learn from the sample.
    """
    split = SkySplit.of(sample.healpix)

    def grown(spec: FeatureSpec, settings: TreeSettings) -> tuple[TreeEnsemble, TreeSettings]:
        if plan.cross_validate:
            settings = best_settings(rows, spec, split, sample, settings, scratch)
        learn = range(1, PARTS)
        return grow(featured(rows, spec, split, learn), len(spec.names), settings, scratch), settings

    return fit_model(plan, sample, split, grown)


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
    from pyspark.ml.regression import GBTRegressor, RandomForestRegressor

    shared = {
        "labelCol": "z_spec",
        "maxDepth": settings.max_depth,
        "maxBins": settings.max_bins,
        "minInstancesPerNode": settings.min_instances,
        "seed": settings.seed,
        "maxMemoryInMB": 512,
    }
    learner: Any
    if settings.kind == "random_forest":
        learner = RandomForestRegressor(numTrees=settings.n_trees, **shared)
    else:
        learner = GBTRegressor(maxIter=settings.n_trees, stepSize=settings.learning_rate, **shared)
    learner.fit(rows).write().overwrite().save(scratch.spark_uri())
    return saved_trees(scratch, n_features, mean=settings.kind == "random_forest")


def saved_trees(saved: Storage, n_features: int, *, mean: bool) -> TreeEnsemble:
    """Return the trees of a model that MLlib saved."""
    wanted = ("id", "prediction", "leftChild", "rightChild", "split")
    nodes = _read_all(saved, "data", ["treeID", *(f"nodeData.{name}" for name in wanted)])
    weights = _read_all(saved, "treesMetadata", ["treeID", "weights"]).sort_by("treeID")
    return from_mllib(nodes, n_features, weights.column("weights").to_numpy(), mean=mean)


def scratch_of(lake: Storage, run_id: str) -> Storage:
    """Return a directory that is deleted when the run has ended."""
    make_staging(lake, run_id)
    return Storage(lake.uri(STAGING, run_id, "trees"), lake.options)


def stored_row(
    lake: Storage,
    run_id: str,
    name: str,
    model: PhotozModel,
    params: dict[str, Any],
    tables: TrainingTables,
    count: int,
) -> pa.Table:
    """Store a model in the lake and return its row of `models`."""
    model = replace(model, method=name or model.method)
    stored = store(lake, f"{model.method}-{run_id}", model.method, model)
    described = {
        "features": {"names": model.features.names, "columns": model.features.columns},
        "params": params,
        "metrics": model.metrics,
        "training_table": tables.table,
        "training_version": tables.photometry.version,
        "spec_table": tables.spec_table,
        "spec_version": tables.spectra.version,
        "n_train": count,
    }
    return model_row(stored, params.get("kind", "neural_network"), model.grid, datetime.now(UTC), described)


def _read_all(saved: Storage, part: str, columns: list[str]) -> pa.Table:
    """Return all rows of Parquet files that Spark wrote, some columns of them."""
    tables = []
    for path in sorted(saved.fs.glob(f"{saved.path(part)}/*.parquet")):
        with saved.fs.open(path, "rb") as stream:
            tables.append(pq.read_table(stream, columns=columns, use_threads=False))
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
    held: TrainingRows,
    settings: TreeSettings,
    scratch: Storage,
) -> TreeSettings:
    """Return the settings of the least mean |dz| / (1 + z) in a cross-validation of a few candidates.

    Two parts of the sky take turns in being held back (part 0 never takes part); forests are tried with few trees.
    """
    steps = (1, 3, 8) if settings.kind == "random_forest" else (settings.min_instances,)
    depths = (settings.max_depth,) if settings.kind == "random_forest" else (4, 6, 8)
    trials = [replace(settings, min_instances=m, max_depth=d) for m in steps for d in depths]
    part = split.part(held.healpix)
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
            test = held[part == out]
            inputs = spec.read(test.columns, "the training table")
            errors.append(np.abs(trees.predict(spec.transform(inputs)) - test.z) / (1 + test.z))
        scores.append(float(np.concatenate(errors).mean()))
    return trials[int(np.argmin(scores))]
