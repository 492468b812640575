"""Tables of a notebook or script, in memory or in files, as DataFrames, and what their columns are."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.lake.storage import canonical_uri, filesystem
from astrolake.photoz.features import ExtraColumn
from astrolake.photoz.photometry import BandColumns, numbers
from astrolake.photoz.training_set import one_redshift_each
from astrolake.sky import crossmatch_arrays

#: Names of spectroscopic redshifts, the surest first: `z` alone may be a magnitude.
_REDSHIFTS = ("z_spec", "specz", "spec_z", "zspec", "z_true", "redshift", "z")
#: Names of keys by which photometry and redshifts of the same objects are joined.
_KEYS = ("object_id", "objid", "source_id", "specobjid", "id")
#: Spellings of a band's magnitude, and of its error.
_MAGS = ("{}_mag", "mag_{}", "{}mag", "{}")
_ERRORS = ("{}_mag_err", "{}_err", "mag_{}_err", "mag_err_{}", "magerr_{}", "{}_magerr", "{}err", "err_{}")
_COLOUR = re.compile(r"([A-Za-z]\w*?)_([A-Za-z]\w*)")
#: Columns that span decades: learners see their logarithm.
_LOGARITHMIC = ("radius", "size", "flux", "_r50", "_r90", "area")
_MATCH_RADIUS_ARCSEC = 1.0
_LOG = logging.getLogger("astrolake")


@dataclass(frozen=True)
class TrainingData:
    """Objects with spectroscopic redshifts, and what is learned from.

    Parameters
    ----------
    table : DataFrame
        Photometry and z_spec.
    bands, extra
        Columns to learn from.
    n_contradicting : int
        Objects left out because their spectra contradict each other.
    """

    table: pd.DataFrame
    bands: tuple[BandColumns, ...]
    extra: tuple[ExtraColumn, ...]
    n_contradicting: int = 0

    def __len__(self) -> int:
        return len(self.table)


def as_frame(source: Any, what: str) -> pd.DataFrame:
    """Return a table as a DataFrame.

    Parameters
    ----------
    source : DataFrame, Arrow table, astropy table, mapping of columns, or path
        Paths, local or s3://, end in .parquet, .csv, .fits or .fits.gz; a directory of Parquet files will do.
    what : str
        What messages call it.

    Raises
    ------
    BadInput
        When a file cannot be read.
    BadArguments
        For anything else.
    """
    if isinstance(source, str | os.PathLike):
        return _read(str(source), what)
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, pa.Table | pa.RecordBatch) or type(source).__module__.startswith("astropy.table"):
        return pd.DataFrame(source.to_pandas())
    if isinstance(source, np.ndarray) and source.dtype.names:
        source = {name: source[name] for name in source.dtype.names}
    if isinstance(source, dict) or (hasattr(source, "keys") and hasattr(source, "__getitem__")):
        try:
            return pd.DataFrame({name: _native(source[name]) for name in source.keys()})  # noqa: SIM118
        except ValueError as error:
            raise BadArguments(f"{what} is no table ({error}); give columns of the same length") from None
    raise BadArguments(
        f"{what} is {type(source).__name__}; give a DataFrame, an Arrow or astropy table, a dict or a path"
    )


def write_parquet(frame: pd.DataFrame, path: str) -> None:
    """Write a table to a Parquet file, local or s3://."""
    uri = canonical_uri(str(path))
    fs, place = filesystem(uri), uri.removeprefix("file://")
    if uri.startswith("file://"):
        fs.makedirs(str(PurePosixPath(place).parent), exist_ok=True)
    with fs.open(place, "wb") as stream:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), stream)


def redshift_column(frame: pd.DataFrame, bands: Sequence[str] = ()) -> str:
    """Return the name of the spectroscopic redshift; `z` only where it is no band.

    Raises
    ------
    MissingColumns
    """
    lower = {str(name).lower(): str(name) for name in frame.columns}
    for name in _REDSHIFTS:
        if name in lower and lower[name] not in bands:
            return lower[name]
    raise MissingColumns("the table of redshifts", ["z_spec"], [str(name) for name in frame.columns])


def with_redshifts(photometry: pd.DataFrame, spec_z: Any, bands: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Return the photometry of objects with a spectroscopic redshift, as the column z_spec.

    Of several spectra of an object the nearest (by key, the first) is taken where they agree. Objects whose
    spectra contradict each other are left out; the second value is their number.

    Parameters
    ----------
    photometry : DataFrame
    spec_z : str, array, table or path
        A column of the photometry; one redshift for each of its rows; or a table, joined by a key both have
        (object_id, objid, source_id, ...), else by position within 1 arcsec.
    bands : sequence of str
        Columns of the photometry that are no redshift.

    Raises
    ------
    BadArguments
        When the two tables have nothing to be joined by, or the array another length.
    """
    if isinstance(spec_z, str) and spec_z in photometry.columns:
        return photometry.assign(z_spec=numbers(columns_of(photometry), spec_z, "photometry")), 0
    if isinstance(spec_z, np.ndarray | pd.Series | list) and not _holds_objects(spec_z):
        values = np.asarray(spec_z)
        if isinstance(spec_z, pd.Series) and _in_another_order(spec_z.index, photometry.index):
            raise BadArguments(
                "spec_z is a Series of the same labels as the photometry in another order; "
                "give spec_z.reindex(photometry.index), or spec_z.to_numpy() if rows are in one order"
            )
        if values.dtype.names is None:
            if values.shape != (len(photometry),):
                raise BadArguments(
                    f"{values.shape} redshifts for {len(photometry)} rows of photometry; give a table with a "
                    "key or positions to join them by"
                )
            return photometry.assign(z_spec=numbers({"spec_z": values}, "spec_z", "the redshifts")), 0
    spectra = as_frame(spec_z, "spec_z")
    of_z = redshift_column(spectra)
    found = spectra.rename(columns={of_z: "z_spec"})
    rest = photometry.drop(columns="z_spec", errors="ignore")
    z = numbers(columns_of(spectra), of_z, "spec_z")
    for key in _KEYS:
        if key in rest.columns and key in found.columns:
            objects, keys = pd.factorize(found[key])
            first = np.arange(len(found), dtype=np.float64)
            rows, contradicting = one_redshift_each(objects, np.where(objects < 0, np.nan, z), first)
            known = pd.DataFrame({key: keys[objects[rows]], "z_spec": z[rows]})
            try:
                joined = rest.merge(known, on=key, validate="many_to_one")
            except ValueError:
                raise BadArguments(
                    f"{key} is {rest[key].dtype} in photometry and {found[key].dtype} in spec_z: "
                    "make them one type"
                ) from None
            if len(known) and not len(joined):
                raise BadInput(f"photometry has none of the {len(known)} {key} that spec_z has redshifts of")
            return joined, contradicting
    if {"ra", "dec"} <= set(rest.columns) & set(found.columns):
        # Each spectrum is of the object nearest to it.
        there = placed(found, "spec_z")
        found, z, rest = found[there], z[there], rest[placed(rest, "photometry")]
        left, right = (_positions(side) for side in (found, rest))
        pairs = crossmatch_arrays(left, right, _MATCH_RADIUS_ARCSEC)
        matched = z[pairs.left_index]
        rows, contradicting = one_redshift_each(pairs.right_index, matched, pairs.sep_arcsec)
        return rest.iloc[pairs.right_index[rows]].assign(z_spec=matched[rows]), contradicting
    raise BadArguments(
        f"photometry and spec_z have no key in common ({', '.join(_KEYS)}) nor ra and dec; photometry has "
        f"{list(map(str, photometry.columns))}, spec_z {list(map(str, spectra.columns))}"
    )


def chosen_columns(
    frame: pd.DataFrame, features: Sequence[str]
) -> tuple[tuple[BandColumns, ...], tuple[ExtraColumn, ...]]:
    """Return the bands and the further columns that a list of features names.

    Magnitudes (``u_mag``, ``mag_u``, ``u``) become bands, with the errors that the table has for them
    (``u_err``, ``mag_err_u``, ...). Colours (``u_g``) are made of their bands, so they need not be columns.
    The rest are columns to learn from, sizes and fluxes by their logarithm.

    Raises
    ------
    MissingColumns
        When features are neither columns nor colours of bands of the table.
    BadArguments
        When no feature names a band.
    """
    if isinstance(features, str) or not all(isinstance(name, str) for name in features):
        raise BadArguments(f"features {features!r}: give a list of names of columns")
    present = {str(name) for name in frame.columns}
    bands: dict[str, str] = {}
    extra: list[str] = []
    missing: list[str] = []
    colours: list[tuple[str, str, str]] = []
    for name in features:
        band = _band_of(name)
        if band and name in present:
            bands[band] = name
        elif (colour := _COLOUR.fullmatch(name)) and not band:
            colours.append((name, colour.group(1), colour.group(2)))
        else:
            (extra if name in present else missing).append(name)
    for name, blue, red in colours:
        of_table = [_mag_column(side, present) for side in (blue, red)]
        if all(of_table):
            for side, column in zip((blue, red), of_table, strict=True):
                bands.setdefault(side, str(column))
        else:
            (extra if name in present else missing).append(name)
    if missing:
        raise MissingColumns("photometry", missing, sorted(present))
    if not bands:
        raise BadArguments(
            f"features {list(features)} name no magnitude; give columns such as u_mag or mag_u"
        )
    found = tuple(BandColumns(band, column, _error_column(band, present)) for band, column in bands.items())
    kinds = tuple(
        ExtraColumn(name, "log" if any(part in name.lower() for part in _LOGARITHMIC) else "linear")
        for name in sorted(extra, key=list(features).index)
    )
    return found, kinds


class FrameColumns(Mapping[str, Any]):
    """The columns of a table: numbers, missing ones NaN, without copying where possible.

    Others are arrays of objects: `numbers` finds out whether these are numbers.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._names = {str(name): name for name in frame.columns}
        self._frame = frame

    def __getitem__(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        column = self._frame[self._names[name]]
        if isinstance(column, pd.Series) and pd.api.types.is_any_real_numeric_dtype(column.dtype):
            return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(column.astype(object).where(column.notna(), None).to_numpy())

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def columns_of(frame: pd.DataFrame) -> FrameColumns:
    """Return the columns of a table by name."""
    return FrameColumns(frame)


def placed(frame: pd.DataFrame, what: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which rows have a position; all, where the table has none.

    Raises
    ------
    BadInput
        When ra or dec does not hold numbers, or none that can be one.
    """
    if not {"ra", "dec"} <= set(frame.columns):
        return np.ones(len(frame), dtype=bool)
    ra, dec = (numbers(columns_of(frame), name, what) for name in ("ra", "dec"))
    there = np.isfinite(ra) & (np.abs(dec) <= 90)
    if len(frame) and not there.any():
        raise BadInput(f"{what}: ra and dec hold no position in degrees; correct them, or leave them out")
    if lost := int((~there).sum()):
        _LOG.warning("%s: %d of %d rows have no position and are left out", what, lost, len(frame))
    return there


def healpix_of(frame: pd.DataFrame, seed: int = 1) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return order-29 cells of the rows by ra and dec, or, without positions, cells drawn at random."""
    from astrolake.sky.healpix import KEY_ORDER, healpix29

    if {"ra", "dec"} <= set(frame.columns):
        return healpix29(*_positions(frame))
    return np.random.default_rng(seed).integers(0, 12 << (2 * KEY_ORDER), len(frame))


def drawn_for(frame: pd.DataFrame, seed: int = 1) -> str | None:
    """Return what tells the table whose rows `healpix_of` drew cells for; None for tables with positions."""
    if {"ra", "dec"} <= set(frame.columns):
        return None
    redshifts = frame["z_spec"].to_numpy(np.float64).tobytes()
    return hashlib.sha256(redshifts + str(seed).encode()).hexdigest()[:16]


def _read(path: str, what: str) -> pd.DataFrame:
    uri = canonical_uri(path)
    fs, place = filesystem(uri), uri.removeprefix("file://").removeprefix("s3://")
    name = place.lower()
    try:
        if name.endswith((".fits", ".fit", ".fits.gz")):
            from astropy.table import Table

            with fs.open(place, "rb") as stream:
                return pd.DataFrame(Table.read(stream, format="fits").to_pandas())
        if name.endswith((".csv", ".csv.gz")):
            with fs.open(place, "rb", compression="infer") as stream:
                return pd.DataFrame(pyarrow.csv.read_csv(stream).to_pandas())
        return pd.DataFrame(pq.read_table(place, filesystem=fs).to_pandas())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadInput(
            f"{what} {path} cannot be read ({error}); give a .parquet, .csv or .fits file, or a directory of "
            "Parquet files"
        ) from error


def _positions(frame: pd.DataFrame) -> tuple[Any, Any]:
    columns = columns_of(frame)
    return numbers(columns, "ra", "the table"), numbers(columns, "dec", "the table")


def _in_another_order(one: pd.Index, other: pd.Index) -> bool:
    """Return whether two indices have the same labels, but not row by row."""
    return len(one) == len(other) and not one.equals(other) and bool(one.isin(other).all())


def _holds_objects(values: Any) -> bool:
    return np.dtype(object) == getattr(values, "dtype", None)


def _native(values: Any) -> Any:
    """Return an array in the byte order of this machine, as pandas needs it (FITS has the other)."""
    if isinstance(values, np.ndarray) and not values.dtype.isnative:
        return values.astype(values.dtype.newbyteorder("="))
    return values


def _band_of(name: str) -> str | None:
    """Return the band that a column is the magnitude of, by its name; None for others."""
    for pattern in (r"(\w+?)_mag", r"mag_(\w+)", r"([ugrizyUGRIZYJHK]|[A-Z]s?)"):
        if (found := re.fullmatch(pattern, name)) and "err" not in name.lower():
            return found.group(1)
    return None


def _mag_column(band: str, present: set[str]) -> str | None:
    return next((p.format(band) for p in _MAGS if p.format(band) in present), None)


def _error_column(band: str, present: set[str]) -> str | None:
    return next((p.format(band) for p in _ERRORS if p.format(band) in present), None)
