"""Template fitting as a model: fluxes of templates, prior, zero points, calibration; estimates, one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2 as chi2_distribution

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz import artifact, pdf
from astrolake.photoz.filters import FilterCurve
from astrolake.photoz.flags import PhotozFlag, flags_of
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.igm import IgmModel
from astrolake.photoz.model_grid import ModelGrid, model_grid
from astrolake.photoz.packed_models import PackedModels, pack
from astrolake.photoz.photometry import (
    ZERO_POINT_UJY,
    BandColumns,
    Photometry,
    bands_from_json,
    bands_to_json,
    read_photometry,
)
from astrolake.photoz.prior import MagnitudePrior, PriorTable
from astrolake.photoz.recalibrate import LEAST_ROWS, Recalibration
from astrolake.photoz.rest_frame import absolute_magnitudes
from astrolake.photoz.template_error import template_error
from astrolake.photoz.template_kernel import Fits, fit
from astrolake.photoz.templates import N_TYPES, TemplateSet
from astrolake.photoz.zero_points import best_at_redshift, calibrate

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

#: Objects at a time.
BLOCK = 4096
#: Relative error of any template, where nothing is known about it.
TEMPLATE_ERROR = 0.03
#: chi2 less probable than this is a poor fit; templates, redshift and amplitude are what is fitted.
_POOR_FIT, _FITTED = 1e-4, 3
_KIND = "template_fit"


@dataclass(frozen=True)
class TemplateFit(artifact.ModelFile):
    """A template fit that is ready for catalogs; make one by `TemplateFit.make`, then `calibrated`.

    Parameters
    ----------
    columns : tuple of BandColumns
        Where a catalog has the bands, in the order of the models.
    grid : RedshiftGrid
    models : ModelGrid
    names : tuple of str
    types : (templates, 3) float64
        As in `TemplateSet`.
    template_error : (grid.n, bands) float64
        Relative error of all templates.
    prior : MagnitudePrior or None
    prior_band : str
        Band whose magnitude the prior and the calibration go by.
    factor, floor : (bands,) float64
        Zero points as factors of the fluxes, and relative errors added to theirs.
    recalibration : Recalibration or None
    metrics, provenance : dict
    """

    columns: tuple[BandColumns, ...]
    grid: RedshiftGrid
    models: ModelGrid
    names: tuple[str, ...]
    types: Float64
    template_error: Float64
    prior: MagnitudePrior | None
    prior_band: str
    factor: Float64
    floor: Float64
    recalibration: Recalibration | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    #: What the table `photoz` calls it.
    method = "template"

    def __post_init__(self) -> None:
        n_bands = len(self.columns)
        if self.models.flux.shape != (len(self.names), self.grid.n, n_bands):
            raise BadArguments(
                f"models {self.models.flux.shape} of {len(self.names)} templates, {self.grid.n} redshifts "
                f"and {n_bands} bands"
            )
        # The kernel checks no index: what belongs to templates and bands is as many.
        for name, shape in (
            ("types", (len(self.names), N_TYPES)),
            ("template_error", (self.grid.n, n_bands)),
            ("factor", (n_bands,)),
            ("floor", (n_bands,)),
        ):
            if getattr(self, name).shape != shape:
                raise BadArguments(f"{name} of shape {getattr(self, name).shape}, not {shape}")
        if self.prior_band not in self.bands:
            raise BadArguments(f"prior band {self.prior_band!r} is none of {', '.join(self.bands)}")

    @classmethod
    def make(
        cls,
        templates: TemplateSet,
        filters: Sequence[FilterCurve],
        columns: Sequence[BandColumns],
        grid: RedshiftGrid | None = None,
        prior: MagnitudePrior | None = None,
        prior_band: str | None = None,
        **options: Any,
    ) -> TemplateFit:
        """Return the fit of a template set to the bands of a catalog.

        Parameters
        ----------
        templates : TemplateSet
        filters : sequence of FilterCurve
            One for each of `columns`.
        columns : sequence of BandColumns
        grid : RedshiftGrid, optional
            0 to 3 in steps of 0.01 by default.
        prior : MagnitudePrior, optional
            Flat by default.
        prior_band : str, optional
            The band nearest to 7600 A (i) by default.
        **options
            `igm_model`, `cache` as for `model_grid`; `template_error`: a number, or (wavelengths at rest in
            Angstrom, relative errors); `floor`: relative error of all fluxes.
        """
        if [curve.band for curve in filters] != [column.band for column in columns]:
            raise BadArguments(
                f"filters of {[curve.band for curve in filters]} for columns of {[c.band for c in columns]}"
            )
        floor = float(options.get("floor", 0.0))
        if not 0 <= floor < np.inf:
            raise BadArguments(f"floor {floor}: give the relative error of all fluxes, 0 or more")
        if any(column.error is None for column in columns) and not floor:
            raise BadArguments("a band has no errors: give floor, the relative error of all fluxes")
        unknown = set(options) - {"igm_model", "cache", "template_error", "floor"}
        if unknown:
            raise BadArguments(f"options {sorted(unknown)} of a template fit are not known")
        redshifts = grid or RedshiftGrid()
        igm_model: IgmModel = options.get("igm_model", "inoue2014")
        models = model_grid(templates, filters, redshifts, igm_model, options.get("cache"))
        pivots = np.array([curve.pivot for curve in filters])
        nearest = columns[int(np.argmin(np.abs(pivots - 7600.0)))].band
        return cls(
            columns=tuple(columns),
            grid=redshifts,
            models=models,
            names=templates.names,
            types=templates.types,
            template_error=template_error(options.get("template_error", TEMPLATE_ERROR), pivots, redshifts.z),
            prior=prior,
            prior_band=prior_band or nearest,
            factor=np.ones(len(columns)),
            floor=np.full(len(columns), floor),
            provenance={"templates": templates.name, "n_templates": len(templates), "igm": igm_model},
        )

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(column.band for column in self.columns)

    def calibrated(
        self,
        columns: Mapping[str, ArrayLike],
        z_spec: ArrayLike,
        learn_prior: bool = True,
        learn_errors: bool = True,
        provenance: Mapping[str, Any] | None = None,
    ) -> TemplateFit:
        """Return the fit with zero points, prior and calibration learned from spectroscopic redshifts.

        Parameters
        ----------
        columns : mapping of str to (n,) arrays
            A catalog as for `estimate`.
        z_spec : (n,) array
            Redshifts; rows whose redshift is NaN or off the grid say nothing.
        learn_prior : bool
            Whether to replace the prior: only where the galaxies stand for those it will be used on.
        learn_errors : bool
            Whether to add to errors what scatter about the templates they leave unexplained.
        provenance : mapping, optional
            Added to that of the fit: table, version.
        """
        photometry = read_photometry(columns, self.columns).with_known_errors()
        z = np.asarray(z_spec, dtype=np.float64)
        if len(z) != len(photometry):
            raise BadArguments(f"{len(z)} redshifts of {len(photometry)} objects")
        on_grid = (z >= self.grid.z_min) & (z <= self.grid.z_max) & photometry.observed.any(axis=1)
        known, z = photometry[on_grid], z[on_grid]
        place = np.round((z - self.grid.z_min) / self.grid.step).astype(np.int64)
        start = np.maximum(self.floor, self.template_error.mean())
        zero_points = calibrate(self.models, known, place, start)
        floor = np.maximum(zero_points.floor, start) if learn_errors else self.floor
        error = np.zeros_like(self.template_error) if learn_errors else self.template_error
        fitted = replace(self, factor=zero_points.factor, floor=floor, template_error=error)
        if learn_prior:
            value, spread = known.flux * zero_points.factor, known.flux_err * zero_points.factor
            best, _ = best_at_redshift(self.models, place, value, spread, start)
            fitted = replace(
                fitted, prior=MagnitudePrior.learn(z, fitted._magnitude(known), self.types[best])
            )
        calibration, magnitude = None, fitted._magnitude(known)
        if np.isfinite(magnitude).sum() >= LEAST_ROWS:
            density = np.concatenate([fitted._fit(part)[0] for part in _blocks(known)])
            calibration = Recalibration.learn(density, self.grid, z, magnitude)
        details = {"n_train": len(z), "zero_point_offsets_mag": zero_points.offset_mag.round(5).tolist()}
        return replace(
            fitted,
            recalibration=calibration,
            provenance={**self.provenance, **details, **(provenance or {})},
        )

    def density(self, columns: Mapping[str, ArrayLike]) -> Float32:
        """Return calibrated densities of a catalog, (n, grid.n) float32; NaN where no band was observed."""
        photometry = read_photometry(columns, self.columns)
        rows = [self._calibrate(self._fit(part)[0], part) for part in _blocks(photometry)]
        return np.concatenate(rows)

    def estimate(
        self,
        columns: Mapping[str, ArrayLike],
        pdf_step: float = 0.0,
        point: pdf.Point = "median",
        absolute: bool = False,
        *,
        whole: bool = True,
    ) -> Columns:
        """Return the columns of the table `photoz`, but for identifiers and positions.

        Parameters
        ----------
        columns : mapping of str to (n,) arrays
            The catalog, with the columns of the bands; any order of rows gives the same estimates.
        pdf_step : float
            Step of the grid of the column `pdf`, 0 leaves the column out.
        point : {"median", "mode", "mean"}
            What z_phot is.
        absolute : bool
            Whether to add `mag_abs_<band>` and `kcorr_<band>` of each band, in AB magnitudes. They, chi2 and
            template are of the best template at the mode of the density before calibration.
        whole : bool
            As in `read_photometry`.

        Raises
        ------
        MissingColumns, BadInput
            As `read_photometry`.
        """
        photometry = read_photometry(columns, self.columns, whole=whole)
        coarse = self.grid.coarser(pdf_step) if pdf_step else None
        blocks = [self._estimate_block(part, coarse, point, absolute) for part in _blocks(photometry)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def to_bytes(self) -> bytes:
        """Return the fit as the content of a file; equal fits give equal bytes."""
        arrays: Columns = {
            "flux": self.models.flux,
            "rest_flux": self.models.rest_flux,
            "types": self.types,
            "template_error": self.template_error,
            "factor": self.factor,
            "floor": self.floor,
        }
        if self.recalibration is not None:
            arrays |= {f"recalibration.{name}": a for name, a in self.recalibration.arrays().items()}
        manifest = {
            "columns": bands_to_json(self.columns),
            "grid": [self.grid.z_min, self.grid.z_max, self.grid.step],
            "names": list(self.names),
            "prior": self.prior.to_json() if self.prior else None,
            "prior_band": self.prior_band,
            "recalibration": self.recalibration is not None,
            "metrics": self.metrics,
            "provenance": self.provenance,
        }
        return artifact.to_bytes(_KIND, manifest, arrays)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "the model") -> Self:
        """Return the fit of a file's content.

        Raises
        ------
        BadInput
            When it is no such model, damaged, or of a newer version.
        """
        kind, manifest, arrays = artifact.from_bytes(content, name)
        if kind != _KIND:
            raise BadInput(f"{name} holds a {kind!r}, not a template fit")
        prefix = "recalibration."
        maps = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
        try:
            return cls(
                columns=bands_from_json(manifest["columns"]),
                grid=RedshiftGrid(*manifest["grid"]),
                models=ModelGrid(arrays["flux"], arrays["rest_flux"]),
                names=tuple(manifest["names"]),
                prior=MagnitudePrior.from_json(manifest["prior"]) if manifest["prior"] else None,
                prior_band=manifest["prior_band"],
                recalibration=Recalibration.from_arrays(maps) if manifest["recalibration"] else None,
                metrics=manifest["metrics"],
                provenance=manifest["provenance"],
                **{key: arrays[key] for key in ("types", "template_error", "factor", "floor")},
            )
        except (KeyError, ValueError, TypeError, BadArguments) as error:
            raise BadInput(f"{name} is not whole ({type(error).__name__}: {error})") from None

    @cached_property
    def _prior_table(self) -> PriorTable:
        return PriorTable.make(self.prior, self.types, self.grid.z)

    @cached_property
    def _packed(self) -> PackedModels:
        return pack(self.models.flux, self.template_error, self._prior_table.prior_class)

    def _magnitude(self, photometry: Photometry) -> Float64:
        """Return the AB magnitude in the prior's band; of what is not detected, that of its error."""
        b = self.bands.index(self.prior_band)
        flux = np.fmax(photometry.flux[:, b], photometry.flux_err[:, b]) * self.factor[b]
        return np.asarray(ZERO_POINT_UJY - 2.5 * np.log10(np.where(flux > 0, flux, np.nan)))

    def _fit(self, photometry: Photometry) -> tuple[Float32, Fits]:
        """Return densities before calibration, and best templates."""
        flux = photometry.flux * self.factor
        error = photometry.with_known_errors().flux_err * self.factor
        variance = error**2 + (self.floor * flux) ** 2
        table = self._prior_table
        found = fit(self._packed, flux, variance, table.values, table.rows(self._magnitude(photometry)))
        return found.density / np.float32(self.grid.step), found

    def _calibrate(self, density: Float32, photometry: Photometry) -> Float32:
        if self.recalibration is None:
            return density
        return self.recalibration.apply(density, self.grid, self._magnitude(photometry))

    def _estimate_block(
        self, photometry: Photometry, coarse: RedshiftGrid | None, point: pdf.Point, absolute: bool
    ) -> Columns:
        density, found = self._fit(photometry)
        density = self._calibrate(density, photometry)
        n_bands = photometry.observed.sum(axis=1).astype(np.int32)
        names = np.array([*self.names, None], dtype=object)  # -1 is the last: no template
        flags = flags_of(photometry, density, self.grid, calibrated=self.recalibration is not None)
        flags[self._poor(found.chi2, n_bands)] |= PhotozFlag.POOR_FIT
        result: Columns = {
            **pdf.summarise(density, self.grid, point),
            "chi2": found.chi2,
            "n_bands": n_bands,
            "template": names[found.template],
            "support_distance": np.full(len(photometry), np.nan, dtype=np.float32),
            "photoz_flags": flags,
        }
        if coarse is not None:
            result["pdf"] = pdf.rebin(density, self.grid, coarse)
        if absolute:
            result |= absolute_magnitudes(self.models, self.grid, self.bands, found)
        return result

    def _poor(self, chi2: Float32, n_bands: NDArray[np.int32]) -> NDArray[np.bool_]:
        freedom = np.maximum(np.arange(len(self.bands) + 1) - _FITTED, 1)
        limit = chi2_distribution.isf(_POOR_FIT, freedom)
        return np.asarray(chi2 > limit[n_bands])


def _blocks(photometry: Photometry) -> list[Photometry]:
    """Return parts of at most `BLOCK` objects, at least one."""
    starts = range(0, max(len(photometry), 1), BLOCK)
    return [photometry[start : start + BLOCK] for start in starts]
