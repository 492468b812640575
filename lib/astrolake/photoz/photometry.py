"""Fluxes in microjansky from the columns of a catalog: magnitudes or fluxes, sentinels, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.schema.columns import plain_numbers

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

#: AB magnitude of a microjansky, and what a nanomaggy is in microjansky.
ZERO_POINT_UJY = 23.9
UJY_PER_NANOMAGGY = 3.6307805477010137

Unit = Literal["mag", "microjansky", "nanomaggy"]

#: Magnitudes that celestial objects have; errors beyond the largest tell nothing.
_BRIGHTEST, _FAINTEST, _LARGEST_ERROR = -5.0, 45.0, 1000.0
#: Fluxes and errors in microjansky whose squares are still numbers.
_LARGEST_FLUX, _SMALLEST_ERROR = 1e35, 1e-35
#: 1-sigma limiting magnitudes that a survey may have: what an error beside a magnitude of 99 may be.
_SHALLOWEST_LIMIT, _DEEPEST_LIMIT = 8.0, 40.0
#: A column is wrong as a whole when so many of at least so many rows are.
_WRONG_FRACTION, _ENOUGH_ROWS = 0.5, 20
#: Medians that columns of AB magnitudes have, and the largest ratio of their 90th to their 10th percentile.
_LIKELY_MEDIANS, _WIDEST_RATIO = (8.0, 38.0), 2.5

#: Fluxes are magnitudes where all of at least so many bands have such medians and 90th to 10th percentiles.
_ENOUGH_BANDS, _MAG_MEDIANS, _NARROWEST_RATIO = 3, (12.0, 30.0), 1.6


@dataclass(frozen=True)
class BandColumns:
    """Where a catalog keeps a band.

    Parameters
    ----------
    band : str
        Name of the band.
    value, error : str
        Columns of the magnitude or flux, and of its error; an error of None means that none is known.
    unit : {"mag", "microjansky", "nanomaggy"}
        AB magnitudes or flux densities.
    not_detected : tuple of float
        Magnitudes (or fluxes) that say "looked, nothing found": flux 0 with an error of the 1-sigma limiting
        magnitude (or flux) that stands in the error column; without a limit the band counts as not observed.
        99 of magnitudes by default, as is infinity; none of fluxes.
    not_observed : tuple of float
        Values that say "not looked".
    """

    band: str
    value: str
    error: str | None
    unit: Unit = "mag"
    not_detected: tuple[float, ...] | None = None
    not_observed: tuple[float, ...] = (-99.0, -999.0, -9999.0)

    def __post_init__(self) -> None:
        if self.not_detected is None:
            object.__setattr__(self, "not_detected", (99.0,) if self.unit == "mag" else ())
        if self.unit not in get_args(Unit):
            raise BadArguments(
                f"band {self.band}: unit {self.unit!r}; give one of {', '.join(get_args(Unit))}"
            )


@dataclass(frozen=True)
class Photometry:
    """Flux densities of n objects in b bands.

    Parameters
    ----------
    bands : tuple of str
        Names of the bands.
    flux, flux_err : (n, b) float64
        Microjansky; both NaN where the band was not observed. A flux may be negative or 0, an error not.
        Where a catalog has no errors, flux_err alone is NaN.
    bad : (n, b) bool
        Bands taken as not observed because their values cannot be true.
    """

    bands: tuple[str, ...]
    flux: Float64
    flux_err: Float64
    bad: Bool = field(repr=False)

    @property
    def observed(self) -> Bool:
        """Where a band was observed, (n, b)."""
        result: Bool = np.isfinite(self.flux)
        return result

    def with_known_errors(self) -> Photometry:
        """Return it with an error of 0 where a band was observed and the catalog has no error."""
        error = np.where(self.observed & np.isnan(self.flux_err), 0.0, self.flux_err)
        return Photometry(self.bands, self.flux, error, self.bad)

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows: Any) -> Photometry:
        """Return some of the objects, by mask, slice or indices."""
        return Photometry(self.bands, self.flux[rows], self.flux_err[rows], self.bad[rows])

    @classmethod
    def from_fluxes(cls, flux: ArrayLike, flux_err: ArrayLike, bands: Sequence[str]) -> Photometry:
        """Return the photometry of (n, b) fluxes in microjansky; what is not finite is not observed."""
        value, error = _table(flux), _table(flux_err)
        if value.shape != error.shape or value.shape[1] != len(bands):
            raise BadArguments(f"fluxes {value.shape} and errors {error.shape} of {len(bands)} bands")
        seen = np.isfinite(value)
        bad = seen & ~((error > 0) & np.isfinite(error))
        usable = seen & ~bad
        return cls(tuple(bands), np.where(usable, value, np.nan), np.where(usable, error, np.nan), bad)

    @classmethod
    def from_magnitudes(
        cls, mags: ArrayLike, mag_errs: ArrayLike, bands: Sequence[str], **sentinels: Any
    ) -> Photometry:
        """Return the photometry of (n, b) AB magnitudes; `sentinels` as in `BandColumns`."""
        values, errors = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (mags, mag_errs))
        if values.shape != errors.shape or values.shape[1] != len(bands):
            raise BadArguments(f"magnitudes {values.shape} and errors {errors.shape} of {len(bands)} bands")
        columns = {f"mag_{band}": values[:, k] for k, band in enumerate(bands)}
        columns |= {f"mag_{band}_err": errors[:, k] for k, band in enumerate(bands)}
        described = [BandColumns(b, f"mag_{b}", f"mag_{b}_err", **sentinels) for b in bands]
        return read_photometry(columns, described)


def read_photometry(
    columns: Mapping[str, ArrayLike],
    bands: Sequence[BandColumns],
    table: str = "the catalog",
    *,
    whole: bool = True,
) -> Photometry:
    """Return the photometry of a catalog.

    Parameters
    ----------
    columns : mapping of str to (n,) arrays
        Columns by name; masked, None and NaN values are not observed.
    bands : sequence of BandColumns
        Where the bands are; their order is that of the result.
    table : str
        What messages call the catalog.
    whole : bool
        Whether these rows tell what the columns of the catalog are. A piece of one does not: values that
        cannot be true are then marked, however many they are.

    Raises
    ------
    MissingColumns
        When a column is not there; the message lists those that are.
    BadInput
        When a column is wrong as a whole: fluxes where magnitudes should be, errors that are negative.
        Single values that cannot be true are taken as not observed, and marked in `bad`.
    """
    if not bands:
        raise BadArguments("photometry without bands: name at least one")
    wanted = [name for band in bands for name in (band.value, band.error) if name is not None]
    if missing := [name for name in wanted if name not in columns]:
        raise MissingColumns(table, missing, list(columns))
    if whole:
        _check_fluxes(columns, bands, table)
    parts = [_read_band(columns, band, table, whole) for band in bands]
    return Photometry(
        tuple(band.band for band in bands),
        np.stack([flux for flux, _, _ in parts], axis=1),
        np.stack([error for _, error, _ in parts], axis=1),
        np.stack([bad for _, _, bad in parts], axis=1),
    )


def bands_to_json(bands: Sequence[BandColumns]) -> list[dict[str, Any]]:
    """Return what `bands_from_json` reads."""
    return [asdict(band) for band in bands]


def bands_from_json(rows: Sequence[Mapping[str, Any]]) -> tuple[BandColumns, ...]:
    """Return the bands that `bands_to_json` wrote."""
    lists = ("not_detected", "not_observed")
    fields: list[dict[str, Any]] = [
        {k: tuple(v) if k in lists else v for k, v in row.items()} for row in rows
    ]
    return tuple(BandColumns(**field) for field in fields)


def _read_band(
    columns: Mapping[str, ArrayLike], band: BandColumns, table: str, whole: bool
) -> tuple[Float64, Float64, Bool]:
    value = numbers(columns, band.value, table)
    error = np.full(len(value), np.nan) if band.error is None else numbers(columns, band.error, table)
    if len(error) != len(value):
        raise BadInput(f"{table}: {band.value} has {len(value)} rows and {band.error} {len(error)}")
    is_mag = band.unit == "mag"
    absent = np.isnan(value) | np.isin(value, band.not_observed) | (is_mag & (value == -np.inf))
    limit = ~absent & (np.isin(value, band.not_detected or ()) | (is_mag & (value == np.inf)))
    measured = ~(absent | limit)
    if whole:
        _check_errors(error[measured], band, table)
    if is_mag:
        if whole:
            _check_magnitudes(value[measured], band, table)
        possible = (value > _BRIGHTEST) & (value < _FAINTEST)
        known = (error > _SHALLOWEST_LIMIT) & (error < _DEEPEST_LIMIT)
        with np.errstate(over="ignore", invalid="ignore"):
            flux = 10.0 ** (-0.4 * (value - ZERO_POINT_UJY))
            flux_err = np.where(
                limit, 10.0 ** (-0.4 * (error - ZERO_POINT_UJY)), flux * (0.4 * np.log(10.0)) * error
            )
        small = error < _LARGEST_ERROR
    else:
        scale = UJY_PER_NANOMAGGY if band.unit == "nanomaggy" else 1.0
        flux, flux_err = value * scale, error * scale
        possible = np.abs(flux) < _LARGEST_FLUX
        known = small = flux_err < _LARGEST_FLUX
    flux = np.where(limit, 0.0, flux)
    good_error = (
        (flux_err > _SMALLEST_ERROR) & small if band.error is not None else np.ones(len(value), dtype=bool)
    )
    bad = measured & ~(possible & good_error)
    usable = (measured & ~bad) | (limit & known & (flux_err > 0))
    return np.where(usable, flux, np.nan), np.where(usable, flux_err, np.nan), bad


def numbers(columns: Mapping[str, ArrayLike], name: str, table: str) -> Float64:
    """Return a column as float64, null and masked as NaN."""
    try:
        values = plain_numbers(columns[name])
    except (TypeError, ValueError) as error:
        raise BadInput(f"{table}: column {name} does not hold numbers ({error})") from None
    if values.ndim != 1:
        raise BadInput(
            f"{table}: column {name} has the shape {values.shape}; give one number for each object"
        )
    return values


def _table(values: ArrayLike) -> Float64:
    """Return a copy of (n, b) numbers."""
    return np.array(np.atleast_2d(np.asarray(values)), dtype=np.float64)


def _check_errors(error: Float64, band: BandColumns, table: str) -> None:
    negative = int((error < 0).sum())
    if len(error) >= _ENOUGH_ROWS and negative > _WRONG_FRACTION * len(error):
        raise BadInput(
            f"{table}: {negative} of {len(error)} errors in {band.error} of band {band.band} are negative; "
            f"give 1-sigma errors of {band.value} above 0"
        )


def _check_fluxes(columns: Mapping[str, ArrayLike], bands: Sequence[BandColumns], table: str) -> None:
    """Refuse fluxes that are magnitudes: about 20 in every band, and none spread by half a magnitude."""
    if len(bands) < _ENOUGH_BANDS or any(band.unit == "mag" for band in bands):
        return
    for band in bands:
        values = numbers(columns, band.value, table)
        values = values[np.isfinite(values) & ~np.isin(values, band.not_observed)]
        if len(values) < _ENOUGH_ROWS:
            return
        low, middle, high = np.percentile(values, [10, 50, 90])
        if not (_MAG_MEDIANS[0] < middle < _MAG_MEDIANS[1] and high < _NARROWEST_RATIO * low):
            return
    names = [band.value for band in bands]
    raise BadInput(f"{table}: {names} look like AB magnitudes, not fluxes in {bands[0].unit}; say unit='mag'")


def _check_magnitudes(mag: Float64, band: BandColumns, table: str) -> None:
    """Refuse columns that no AB magnitudes can be: fluxes spread over decades, and some are below 0."""
    if len(mag) < _ENOUGH_ROWS:
        return
    low, middle, high = np.percentile(mag, [10, 50, 90])
    if _LIKELY_MEDIANS[0] < middle < _LIKELY_MEDIANS[1] and 0 < high < _WIDEST_RATIO * low:
        return
    raise BadInput(
        f"{table}: {band.value} of band {band.band} does not hold AB magnitudes (median {middle:.4g}, "
        f"10 to 90 % {low:.4g} to {high:.4g}); if these are fluxes, say so: unit='nanomaggy' or "
        "'microjansky'; if some stand for missing values, name these in not_observed"
    )
