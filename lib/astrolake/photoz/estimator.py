"""`PhotozEstimator`: photometric redshifts in a notebook or a script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from astrolake.errors import BadArguments, MissingColumns
from astrolake.photoz import artifact, metrics
from astrolake.photoz.combined import CombinedModel
from astrolake.photoz.evaluation_table import evaluation_table
from astrolake.photoz.features import FeatureSpec
from astrolake.photoz.filters import load_filters
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.held_out import DRAWN
from astrolake.photoz.local_trees import grow_locally
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.model_store import estimator_of
from astrolake.photoz.photometry import numbers
from astrolake.photoz.prior import MagnitudePrior
from astrolake.photoz.python_options import check_trees, grid_of
from astrolake.photoz.python_tables import (
    TrainingData,
    as_frame,
    chosen_columns,
    columns_of,
    drawn_for,
    healpix_of,
    placed,
    with_redshifts,
    write_parquet,
)
from astrolake.photoz.template_fit import TemplateFit
from astrolake.photoz.templates import TemplateSet, load_templates
from astrolake.photoz.train_combined import combine_members
from astrolake.photoz.train_model import TrainingPlan, TreeSettings, fit_held_back, fit_model
from astrolake.photoz.training_set import SkySplit, TrainingRows, band_columns
from astrolake.photoz.trees import TreeEnsemble

ModelType = Literal["random_forest", "gbt", "xgboost", "neural_network"]

#: Defaults of trees where they are not given: what each kind needs.
_TREES: dict[str, dict[str, Any]] = {
    "random_forest": {"n_trees": 500, "max_depth": 20},
    "gbt": {"n_trees": 100, "max_depth": 6},
    "xgboost": {"n_trees": 300, "max_depth": 8},
}


class PhotozEstimator:
    """Estimates redshifts from photometry, by templates and by machine learning, and judges them.

    Tables are pandas DataFrames, Arrow or astropy tables, dicts of columns, or paths to Parquet, CSV and FITS
    files, local or on S3. They are held in memory: for a survey use the jobs `train_photoz` and
    `estimate_photoz`, which do the same on tables of a lake.

    Parameters
    ----------
    seed : int
        Of everything random.

    Examples
    --------
    >>> photoz = PhotozEstimator()
    >>> training_data = photoz.prepare_training_data(  # doctest: +SKIP
    ...     photometry="s3://bucket/sdss_photometry.parquet",
    ...     spec_z="s3://bucket/sdss_specz.parquet",
    ...     features=["u_mag", "g_mag", "r_mag", "i_mag", "z_mag", "u_g", "petro_radius"],
    ... )
    >>> model = photoz.train_ml_model(training_data, model_type="neural_network")  # doctest: +SKIP
    >>> photo_z = photoz.predict(model, catalog)  # doctest: +SKIP
    >>> photoz.evaluate(photo_z["z_phot"], photo_z["z_spec"], photo_z["z_phot_err"])  # doctest: +SKIP
    """

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed

    def load_templates(
        self,
        template_set: str | Path = "cosmos",
        n_templates: int | None = None,
        directory: str | Path | None = None,
    ) -> TemplateSet:
        """Return spectra of template galaxies: see `templates.load_templates`.

        Parameters
        ----------
        template_set : {"cosmos", "cww", "sdss", "pegase"} or path
        n_templates : int, optional
            As many are interpolated or left out; all by default.
        directory : path, optional
            Where the files of the set are; by default in an installed package.

        Raises
        ------
        MissingDependency
            When no installed package has the set; the message says which would do.
        """
        return load_templates(template_set, n_templates, directory)

    def template_fitting(
        self,
        catalog: Any,
        magnitudes: Sequence[str],
        mag_errors: Sequence[str],
        templates: TemplateSet | None = None,
        z_range: Sequence[float] = (0.0, 3.0),
        z_resolution: float = 0.01,
        *,
        pdf_step: float = 0.0,
        output: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> pd.DataFrame:
        """Return a catalog with the redshifts of the templates that fit it.

        Parameters
        ----------
        catalog, magnitudes, mag_errors, templates, z_range, z_resolution, **options
            As for `fit_templates`, which gives the fit itself.
        pdf_step, output
            As for `predict`.

        Raises
        ------
        MissingColumns, BadInput, BadArguments
            As `fit_templates`.
        """
        frame = as_frame(catalog, "the catalog")
        fit = self.fit_templates(frame, magnitudes, mag_errors, templates, z_range, z_resolution, **options)
        return self.predict(fit, frame, output, pdf_step)

    def fit_templates(  # noqa: PLR0913
        self,
        catalog: Any,
        magnitudes: Sequence[str],
        mag_errors: Sequence[str],
        templates: TemplateSet | None = None,
        z_range: Sequence[float] = (0.0, 3.0),
        z_resolution: float = 0.01,
        *,
        filters: str | Path = "sdss",
        filter_names: Mapping[str, str] | None = None,
        spec_z: str | None = None,
        prior: MagnitudePrior | None = None,
        held_back: bool = False,
        **options: Any,
    ) -> TemplateFit:
        """Return templates made ready for catalogs like this one, which `predict` takes.

        Parameters
        ----------
        catalog : table or path
        magnitudes, mag_errors : sequence of str
            Columns of AB magnitudes and their errors, from blue to red; 99 is not detected, -99 not observed.
        templates : TemplateSet, optional
            From `load_templates`; those of COSMOS by default.
        z_range, z_resolution
            Grid of redshifts.
        filters : str or path
            Survey ("sdss", "panstarrs", "des", "lsst", ...) or directory of filter curves; see
            `filters.load_filters`.
        filter_names : mapping, optional
            Curve of a band where its name does not tell.
        spec_z : str, optional
            Column of spectroscopic redshifts, of some rows at least, from which zero points, errors and the
            calibration of the densities are learned. Without it densities are as the errors have them.
        prior : MagnitudePrior, optional
            Flat by default; learned where `spec_z` is given.
        held_back : bool
            Whether to learn as the job does, without a fifth of the sky, which then gives the fit's `metrics`
            and lets `combine` weigh it against other models.
        **options
            Of `TemplateFit.make`: igm_model, cache, template_error, floor.

        Raises
        ------
        MissingColumns, BadInput, BadArguments
            As `photometry.read_photometry`: magnitudes that are fluxes, columns that are not there.
        """
        bands = band_columns(magnitudes, mag_errors, "mag")
        curves = load_filters(filters, [band.band for band in bands], filter_names)
        grid = grid_of(z_range, z_resolution)
        fit = TemplateFit.make(templates or self.load_templates(), curves, bands, grid, prior, **options)
        if spec_z is None:
            return fit
        frame = as_frame(catalog, "the catalog")
        columns = columns_of(frame)
        if spec_z not in columns:
            raise MissingColumns("the catalog", [spec_z], list(columns))
        z = numbers(columns, spec_z, "the catalog")
        if not held_back:
            return fit.calibrated(columns, z, learn_prior=prior is None)
        sample, drawn = self._sample(frame.assign(z_spec=z)[np.isfinite(z)])
        fit = fit_held_back(fit, sample, SkySplit.of(sample.healpix), learn_prior=prior is None)
        return replace(fit, provenance={**fit.provenance, DRAWN: drawn})

    def prepare_training_data(self, photometry: Any, spec_z: Any, features: Sequence[str]) -> TrainingData:
        """Return the objects with spectroscopic redshifts, to train on.

        Parameters
        ----------
        photometry : table or path
        spec_z : table, path, column of the photometry, or array
            A table is joined by a key that both have (object_id, objid, source_id, ...), else by ra and dec
            within 1 arcsec; its redshifts are called z_spec, specz, redshift or z. Of several of an object
            the nearest (by key, the first) is taken; where they contradict each other it is left out.
        features : sequence of str
            Magnitudes from blue to red (``u_mag``, ``mag_u`` or ``u``; their errors ``u_err``, ``mag_err_u``,
            ... are found), colours (``u_g``, made where they are no columns), and any other columns.

        Raises
        ------
        MissingColumns, BadArguments, BadInput
            The message says which table, which column, and what to do.
        """
        table = as_frame(photometry, "photometry")
        bands, extra = chosen_columns(table, features)
        joined, out = with_redshifts(table, spec_z, [band.value for band in bands])
        if "z_spec" in features or (isinstance(spec_z, str) and spec_z in features):
            raise BadArguments(
                f"features {list(features)} hold the redshift that is to be told; leave it out"
            )
        known = np.isfinite(joined["z_spec"].to_numpy())
        return TrainingData(joined[known].reset_index(drop=True), bands, extra, out)

    def train_ml_model(
        self,
        training_data: TrainingData,
        model_type: ModelType = "random_forest",
        instance_type: str | None = None,
        n_estimators: int | None = None,
        max_depth: int | None = None,
        *,
        z_range: Sequence[float] = (0.0, 3.0),
        z_resolution: float = 0.01,
        learning_rate: float = 0.1,
    ) -> Any:
        """Return a calibrated model; its `metrics` are those of a fifth of the sky held back from training.

        Parameters
        ----------
        training_data : TrainingData
            From `prepare_training_data`.
        model_type : {"random_forest", "gbt", "xgboost", "neural_network"}
            Forests and gbt are grown by Spark's MLlib in a session on this machine (the running one if there
            is one), the same code as on a cluster; xgboost and the network train in this process.
        instance_type : str, optional
            Accepted and not used: training runs where Python runs. To train on other machines run
            the job `train_photoz` there.
        n_estimators, max_depth : int, optional
            Trees and their depth: 500 x 20 for a forest, 100 x 6 for gbt, 300 x 8 for xgboost.
        z_range, z_resolution
            Grid of redshifts.
        learning_rate : float
            Of gbt and xgboost.

        Raises
        ------
        BadArguments
            For a model type that is not known.
        BadInput
            For fewer than 100 objects with redshifts.
        MissingDependency
            When Spark or xgboost is wanted and not installed.
        """
        if model_type not in get_args(ModelType):
            raise BadArguments(f"model_type {model_type!r}: give one of {', '.join(get_args(ModelType))}")
        del instance_type
        chosen = dict(_TREES.get(model_type, {}))
        chosen |= {} if n_estimators is None else {"n_trees": n_estimators}
        chosen |= {} if max_depth is None else {"max_depth": max_depth}
        check_trees(n_estimators, max_depth, learning_rate)
        settings = TreeSettings(model_type, learning_rate=learning_rate, seed=self.seed, **chosen)
        grid = grid_of(z_range, z_resolution)
        plan = TrainingPlan(model_type, training_data.bands, training_data.extra, grid, settings)
        sample, drawn = self._sample(training_data.table)

        def grow(
            spec: FeatureSpec, settings: TreeSettings, training: TrainingRows
        ) -> tuple[TreeEnsemble, TreeSettings]:
            features = spec.transform(spec.read(training.columns, "the training table"))
            return grow_locally(features, training.z, settings), settings

        model, params = fit_model(plan, sample, SkySplit.of(sample.healpix), grow)
        params["n_contradicting"] = training_data.n_contradicting
        return replace(model, provenance={**model.provenance, DRAWN: drawn, "params": params})

    def predict(
        self,
        model: Any,
        catalog: Any,
        output: str | os.PathLike[str] | None = None,
        pdf_step: float = 0.0,
    ) -> pd.DataFrame:
        """Return a catalog with its photometric redshifts.

        Parameters
        ----------
        model : trained model, template fit, or path to the file of one
        catalog : table or path
        output : path, optional
            Parquet file, local or s3://, that is written too.
        pdf_step : float
            Step in redshift of the column pdf; 0 leaves it out.

        Returns
        -------
        DataFrame
            The catalog with the columns z_phot, z_phot_err, z_mode, ..., photoz_flags of the table `photoz`
            (docs/data-dictionary.md); they replace columns of the same names.

        Raises
        ------
        MissingColumns, BadInput
            When the catalog lacks what the model reads, or a file is no model.
        """
        frame = as_frame(catalog, "the catalog")
        found = _loaded(model).estimate(columns_of(frame), pdf_step=pdf_step)
        return _joined(frame, found, output)

    def evaluate(
        self,
        predicted: ArrayLike,
        true: ArrayLike,
        photo_z_err: ArrayLike | None = None,
        pdf: ArrayLike | None = None,
        grid: RedshiftGrid | None = None,
    ) -> dict[str, float]:
        """Return scatter, outlier_fraction, bias and more: see `metrics.evaluate`."""
        return metrics.evaluate(predicted, true, photo_z_err, pdf, grid)

    def evaluate_by(
        self,
        predicted: ArrayLike,
        true: ArrayLike,
        by: ArrayLike,
        photo_z_err: ArrayLike | None = None,
        bins: int | Sequence[float] = 5,
    ) -> pd.DataFrame:
        """Return the accuracy in bins of a magnitude or redshift, or by type: see `evaluation_table`."""
        return evaluation_table(metrics.compare(predicted, true, photo_z_err), by, bins, seed=self.seed)

    def combine(
        self, models: Mapping[str, Any], training_data: TrainingData, *, unseen: bool = False
    ) -> CombinedModel:
        """Return models combined, as the job does it; `predict` takes the result, `save` makes it one file.

        Parameters
        ----------
        models : mapping of str to model or path
            From `train_ml_model`, and `fit_templates` with ``held_back=True``, of the same training data.
        training_data : TrainingData
            Galaxies with redshifts. Weights and calibration are learned from those that none of the models
            was trained on.
        unseen : bool
            Whether that is true of all of them.

        Raises
        ------
        BadArguments, BadInput, MissingColumns
            As `train_combined.combine_members`; fewer than 100 such galaxies are not enough.
        """
        if not isinstance(models, Mapping) or not isinstance(training_data, TrainingData):
            raise BadArguments("combine: give a dict of models by name, and what prepare_training_data gave")
        members = {str(name): _loaded(model) for name, model in models.items()}
        sample, drawn = self._sample(training_data.table)
        return combine_members(members, sample, drawn, unseen=unseen, seed=self.seed)[0]

    def _sample(self, frame: pd.DataFrame) -> tuple[TrainingRows, str | None]:
        """Return galaxies with redshifts, and what tells a table without positions from others."""
        frame = frame[placed(frame, "the training table")]
        healpix = healpix_of(frame, self.seed)
        rows = TrainingRows(columns_of(frame), frame["z_spec"].to_numpy(np.float64), healpix)
        return rows, drawn_for(frame, self.seed)


def _loaded(model: Any) -> Any:
    if isinstance(model, str | os.PathLike):
        return estimator_of(artifact.read(model), str(model))
    if not isinstance(model, PhotozModel | TemplateFit | CombinedModel):
        raise BadArguments(f"model is {type(model).__name__}; give a trained model, a fit, or a path")
    return model


def _joined(
    frame: pd.DataFrame, found: Mapping[str, Any], output: str | os.PathLike[str] | None
) -> pd.DataFrame:
    columns = {name: list(values) if values.ndim == 2 else values for name, values in found.items()}
    result = frame.drop(columns=[name for name in columns if name in frame.columns])
    result = pd.concat([result, pd.DataFrame(columns, index=frame.index)], axis=1)
    if output is not None:
        write_parquet(result, str(output))
    return result
