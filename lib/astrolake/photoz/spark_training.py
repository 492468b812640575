"""The Spark side of training: galaxies with spectroscopic redshifts out of lake tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from astrolake.errors import BadArguments, BadInput
from astrolake.lake.cells import Cell, map_cells, plan_cells
from astrolake.lake.conditions import meeting
from astrolake.lake.declared import declared
from astrolake.lake.delta import Snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.parquet_frame import is_bare
from astrolake.lake.reader import RegionReader, frame_of, require_columns, spark_fields
from astrolake.lake.staging import STAGING, make_staging
from astrolake.lake.storage import Storage
from astrolake.photoz.combined import CombinedModel
from astrolake.photoz.features import FeatureSpec
from astrolake.photoz.grid import RedshiftGrid, common_grid
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.model_store import choose, model_row, needed_columns, store
from astrolake.photoz.spark import model_frame, stored_models
from astrolake.photoz.spark_trees import best_settings, featured, grow
from astrolake.photoz.template_fit import TemplateFit
from astrolake.photoz.train_combined import combine_members
from astrolake.photoz.train_model import TrainingPlan, TreeSettings, fit_model
from astrolake.photoz.train_options import TrainOptions
from astrolake.photoz.training_set import PARTS, PHOT, SAME_REDSHIFT, SkySplit, TrainingRows
from astrolake.photoz.trees import TreeEnsemble
from astrolake.schema import HEALPIX_COLUMN
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions

Trained = PhotozModel | TemplateFit | CombinedModel

#: Columns of the photometric side in the frame of matches (see `PHOT`); the other side's keep their names.
_ID, _INDEX, _SEP = "phot_key", "phot_healpix", "sep_arcsec_of_match"
#: Whether the redshifts of an object agree.
AGREE = "redshifts_agree"
_LOG = logging.getLogger("astrolake")


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
    pairs : Snapshot or None
        The cross-match ``crossmatches/<table>_x_<spec_table>`` where the lake has it; else rows within
        `radius_arcsec` are matched.
    radius_arcsec : float
    """

    table: str
    spec_table: str
    photometry: Snapshot
    spectra: Snapshot
    z_column: str
    where: str
    pairs: Snapshot | None
    radius_arcsec: float

    @classmethod
    def of(
        cls, args: Any, snapshot: Callable[[str], Snapshot], has_table: Callable[[str], bool]
    ) -> TrainingTables:
        """Return the tables that the arguments of a job name."""
        tables = snapshot(args.table), snapshot(args.spec_table)
        name = _pairs_of(args.table, args.spec_table)
        pairs = snapshot(name) if has_table(name) else None
        where = args.z_column, args.spec_where
        return cls(args.table, args.spec_table, *tables, *where, pairs, args.radius_arcsec)

    @property
    def matched_by(self) -> dict[str, Any]:
        """What put objects and spectra together."""
        if self.table == self.spec_table:
            return {}
        if self.pairs is None:
            return {"radius_arcsec": self.radius_arcsec}
        name = _pairs_of(self.table, self.spec_table)
        return {"crossmatch": name, "crossmatch_version": self.pairs.version}

    def check(self, columns: Sequence[str]) -> None:
        """Raise MissingColumns or BadArguments for what the tables do not have."""
        require_columns(self.table, self.photometry.stored_names, columns)
        require_columns(self.spec_table, self.spectra.stored_names, (self.z_column,))
        kind = self.spectra.schema.field(self.z_column).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
            raise BadArguments(f"--z-column {self.z_column} of {self.spec_table} holds {kind}, not numbers")
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


def _pairs_of(table: str, spec_table: str) -> str:
    return f"crossmatches/{table}_x_{spec_table}"


class Run(Protocol):
    """What a training needs of the run that it is part of."""

    spark: SparkSession
    lake: Lake
    run_id: str

    def snapshot(self, table: str) -> Snapshot:
        """Return the newest version of a table."""
        ...

    def read(self, table: str) -> DataFrame:
        """Return the newest version of a table as a DataFrame."""
        ...

    def persist(self, rows: DataFrame) -> DataFrame:
        """Keep rows until the run ends."""
        ...


def train_on_tables(run: Run, args: Any, options: TrainOptions) -> tuple[DataFrame, int]:
    """Train a model, store its file, and return its row of `models` and the number of its galaxies.

    Parameters
    ----------
    run : Run
    args
        Arguments of train_photoz: table, spec_table, z_column, spec_where, radius_arcsec,
        max_training_rows, name.
    options : TrainOptions
        The others.
    """
    tables = TrainingTables.of(args, run.snapshot, run.lake.has_table)
    train_on = _combine_on if options.method == "combined" else _train_on
    model, params, count = train_on(run, tables, options)
    row = stored_row(run.lake.storage, run.run_id, args.name, model, params, tables)
    return model_frame(run.spark, row), count


def _train_on(run: Run, tables: TrainingTables, options: TrainOptions) -> tuple[Trained, dict[str, Any], int]:
    """Return a model of one method, its parameters, and the number of galaxies."""
    plan = options.plan(tables.photometry.stored_names)
    rows, contradicting = _agreeing(run, tables, plan.columns, plan.grid)
    sample, count = sampled(rows, plan.columns, options.max_training_rows)
    with scratch_of(run.spark, run.lake.storage, run.run_id) as scratch:
        model, params = train(plan, rows, sample, scratch)
    return model, {**params, **contradicting}, count


def _combine_on(
    run: Run, tables: TrainingTables, options: TrainOptions
) -> tuple[Trained, dict[str, Any], int]:
    """Return a combination of models of the lake, its parameters, and the number of galaxies."""
    known = stored_models(run.read("models"))
    chosen = {name: choose(run.lake.storage, known, name, "--models") for name in options.models}
    members: dict[str, Any] = {name: stored.load() for name, stored in chosen.items()}
    grid = common_grid([member.grid for member in members.values()])
    if options.grid not in (RedshiftGrid(), grid):
        raise BadArguments(f"--z-min, --z-max, --z-step: leave them out, or give those of the models: {grid}")
    columns = tuple(dict.fromkeys(name for model in members.values() for name in needed_columns(model)))
    rows, contradicting = _agreeing(run, tables, columns, grid)
    sample, count = sampled(rows, columns, options.max_training_rows)
    model, params = combine_members(members, sample, seed=options.seed)
    models = {name: one.model_id for name, one in chosen.items()}
    return model, {"models": models, **params, **contradicting}, count


def _agreeing(
    run: Run, tables: TrainingTables, columns: Sequence[str], grid: RedshiftGrid
) -> tuple[DataFrame, dict[str, int]]:
    """Return galaxies whose redshifts agree, and, for the parameters of a model, the number of the others."""
    matched = run.persist(matched_rows(run.spark, tables, columns, grid))
    if contradicting := matched.where(f"NOT {AGREE}").count():
        _LOG.warning("%d objects are left out: their redshifts contradict each other", contradicting)
    return matched.where(AGREE).drop(AGREE), {"n_contradicting": contradicting}


def matched_rows(
    spark: SparkSession, tables: TrainingTables, columns: Sequence[str], grid: RedshiftGrid
) -> DataFrame:
    """Return galaxies with redshifts on the grid.

    Columns are phot_key, phot_healpix, z_spec and the photometry, ``phot_<n>`` for the n-th of `columns`.
    Each object gets the nearest spectrum that meets the condition; `AGREE` is false where another of its
    spectra contradicts that (see `training_set.one_redshift_each`, which does the same).
    """
    tables.check(columns)
    if tables.table == tables.spec_table:
        named = _phot_columns(tables, columns) | {_SEP: F.lit(0.0)}
        rows = frame_of(spark, tables.photometry).withColumns(named)
    elif tables.pairs is not None:
        rows = _joined(spark, tables, columns, tables.pairs)
    else:
        rows = _by_the_sky(spark, tables, columns, tables.radius_arcsec)
    if tables.where:
        rows = meeting(rows, tables.where, "--spec-where")
    z = F.col(tables.z_column).cast("double")
    names = [f"{PHOT}{i}" for i in range(len(columns))]
    usable = rows.select(_ID, _INDEX, _SEP, z.alias("z_spec"), *names).where(
        (F.col("z_spec") >= grid.z_min - grid.step / 2) & (F.col("z_spec") <= grid.z_max + grid.step / 2)
    )
    mine = Window.partitionBy(_ID)
    low, high = F.min("z_spec").over(mine), F.max("z_spec").over(mine)
    place = F.row_number().over(mine.orderBy(_SEP, "z_spec"))
    found = usable.withColumns({AGREE: high - low <= SAME_REDSHIFT * (1 + low), "place": place})
    return found.where("place = 1").drop("place", _SEP)


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
    values = {name: found[f"{PHOT}{i}"].to_numpy() for i, name in enumerate(columns)}
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
    # A spectrum is of the object nearest to it, as without a cross-match.
    nearest = Window.partitionBy("match_right_id").orderBy(_SEP, _ID)
    matches = matches.withColumn("place", F.row_number().over(nearest)).where("place = 1").drop("place")
    on = theirs[tables.spec_key] == F.col("match_right_id")
    return theirs.join(matches, on, how="inner").join(ours, _ID, how="inner")


def _phot_columns(tables: TrainingTables, columns: Sequence[str]) -> dict[str, Any]:
    named = {f"{PHOT}{i}": F.col(f"`{name}`") for i, name in enumerate(columns)}
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
        pa.field(f"{PHOT}{i}", tables.photometry.schema.field(name).type) for i, name in enumerate(columns)
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


def train(
    plan: TrainingPlan, rows: DataFrame, sample: TrainingRows, scratch: Storage
) -> tuple[PhotozModel | TemplateFit, dict[str, Any]]:
    """Return the model that a plan asks for and the parameters it was trained with.

    Trees are grown by Spark on all rows; networks and template fits learn from the sample. The model's
    provenance has the number of the rows that either learned from.
    """
    split = SkySplit.of(sample.healpix)
    grown_on = {}

    def grown(
        spec: FeatureSpec, settings: TreeSettings, training: TrainingRows
    ) -> tuple[TreeEnsemble, TreeSettings]:
        if plan.cross_validate:
            settings = best_settings(rows, spec, split, sample, settings, scratch)
        learn = featured(rows, spec, split, range(1, PARTS))
        grown_on["n_train"] = learn.count()
        return grow(learn, len(spec.names), settings, scratch), settings

    model, params = fit_model(plan, sample, split, grown)
    return replace(model, provenance={**model.provenance, **grown_on}), params


@contextmanager
def scratch_of(spark: SparkSession, lake: Storage, run_id: str) -> Iterator[Storage]:
    """Give a directory that Spark can write to, deleted when the run has ended."""
    if not lake.is_local and is_bare(spark):
        with TemporaryDirectory(prefix="astrolake-") as directory:
            yield Storage.at(directory)
        return
    make_staging(lake, run_id)
    yield Storage(lake.uri(STAGING, run_id, "trees"), lake.options)


def stored_row(
    lake: Storage,
    run_id: str,
    name: str,
    model: Trained,
    params: dict[str, Any],
    tables: TrainingTables,
) -> pa.Table:
    """Store a model in the lake, with what it was trained on, and return its row of `models`."""
    called = name or model.method
    trained_on = {
        "training_table": tables.table,
        "training_version": tables.photometry.version,
        "spec_table": tables.spec_table,
        "spec_version": tables.spectra.version,
    }
    created = datetime.now(UTC)
    chosen = {"z_column": tables.z_column, "spec_where": tables.where, **tables.matched_by}
    details = {**model.provenance, **trained_on, **chosen}
    stored = store(lake, f"{called}-{run_id}", called, replace(model, provenance=details))
    names = model.features.names if isinstance(model, PhotozModel) else ()
    described = {
        "features": {"names": names, "columns": needed_columns(model)},
        "params": {**params, **chosen},
        "metrics": model.metrics,
        **trained_on,
        **{key: model.provenance[key] for key in ("n_train", "n_validation")},
    }
    return model_row(stored, model.method, model.grid, created, described)
