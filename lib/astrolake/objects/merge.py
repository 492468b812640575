"""Objects from associated detections: mean positions, magnitudes, colours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.objects.clumps import first_of_runs
from astrolake.objects.means import mean_magnitudes, order_bands, weighted_means
from astrolake.objects.reddening import EbvSource, band_dereddened, detection_coefficients, mean_coefficients
from astrolake.schema.arrow import arrow_schema, float_column
from astrolake.schema.model import HEALPIX_COLUMN, Table
from astrolake.schema.objects import (
    EBV,
    OBJECTS,
    band_columns,
    band_suffix,
    colour_column,
    dereddened_columns,
)
from astrolake.sky.healpix import healpix29
from astrolake.sky.separation import (
    ARCSEC_PER_RAD,
    Float64,
    Int64,
    lonlat,
    separation_arcsec,
    tangent_basis,
    unit_vectors,
)

Columns = dict[str, NDArray[Any]]

#: Columns of `detections` that `merge_objects` reads.
INPUT_COLUMNS = (
    *("ra", "dec", "ra_err", "dec_err", "image_id", "number", "survey", "band", "visit", "mjd"),
    *("is_primary", "edge_distance_px", "mag_auto", "mag_auto_err", "mag_aper", "mag_aper_err", "flags"),
    "star_prob",
)


def objects_table(bands: Sequence[str], dereddened: bool = False) -> Table:
    """Return the declaration of `objects` for the given bands.

    OBJECTS, band columns, colours, those of dereddened objects, run_id.
    """
    ordered = order_bands(bands)
    per_band = [column for band in ordered for column in band_columns(band)]
    colours = [colour_column(blue, red) for blue, red in pairwise(ordered)]
    corrected = [EBV, *(column for band in ordered for column in dereddened_columns(band))]
    return OBJECTS.with_columns((*per_band, *colours, *(corrected if dereddened else ())))


def merge_objects(
    detections: pa.Table,
    seed_index: Int64,
    bands: Sequence[str],
    position_error_floor_arcsec: float = 0.005,
    aperture: int = 1,
    reddening: EbvSource | None = None,
) -> pa.Table:
    """Return one row for each object, sorted by `_healpix_29`, without run_id.

    Of the detections of an object on the images of one visit and band, one is used: a primary one
    before others, then the one farthest from the image edge, then the first by image_id and number.
    The others count in n_det only. A detection of unknown visit is a visit of its image. Positions are
    means in the tangent plane at the seed, weighted by inverse variance per axis; magnitudes are means
    of fluxes (see `means`). A mean without any known error has a null error; scatter_arcsec and chi2
    are null for a single value.

    Parameters
    ----------
    detections : pa.Table
        With the columns `INPUT_COLUMNS`; nulls and NaN mean unknown, except in ra and dec.
    seed_index : (N,) int64
        Row of each detection's seed, from `associate`.
    bands : sequence of str
        Every band of the lake, so that all partitions have the same columns (`objects_table`).
        Detections of an unknown band (empty) enter positions but no magnitude.
    position_error_floor_arcsec : float
        Smaller position errors count as this: formal errors know nothing of the astrometry's.
    aperture : int
        Which circular aperture gives mag_aper, counted from 0.
    reddening : EbvSource, optional
        Adds `ebv` and dereddened magnitudes.

    Raises
    ------
    MissingColumns
        When `detections` lacks a column.
    BadInput
        When a detection's band is not among `bands`.
    BadArguments
        When `seed_index` does not fit the table.
    """
    _check(detections, seed_index)
    seeds, group = np.unique(seed_index, return_inverse=True)
    band = _band_numbers(detections, order_bands(bands))
    used = _one_per_visit(detections, group, band)
    taken = detections.select(INPUT_COLUMNS).take(pa.array(used))
    seed_ra, seed_dec = float_column(detections, "ra")[seeds], float_column(detections, "dec")[seeds]
    columns: Columns = {"object_id": healpix29(seed_ra, seed_dec)}
    columns["n_det"] = np.bincount(group, minlength=seeds.size)
    columns |= _positions(taken, group[used], seed_ra, seed_dec, position_error_floor_arcsec)
    columns |= _epochs_and_flags(taken, group[used])
    columns |= _types(taken, group[used], seeds.size)
    columns |= _magnitudes(taken, group[used], band[used], seeds.size, order_bands(bands), aperture)
    if reddening is not None:
        columns[EBV.name] = reddening.ebv(columns["ra"], columns["dec"])
        columns |= _dereddened(taken, group[used], band[used], order_bands(bands), columns)
    return _table(columns, objects_table(bands, dereddened=reddening is not None))


def _check(detections: pa.Table, seed_index: Int64) -> None:
    if missing := set(INPUT_COLUMNS) - set(detections.column_names):
        raise MissingColumns("detections", list(missing), detections.column_names)
    n_rows = detections.num_rows
    fits = seed_index.shape == (n_rows,) and bool(((seed_index >= 0) & (seed_index < n_rows)).all())
    if not fits or not np.array_equal(seed_index[seed_index], seed_index):
        raise BadArguments(
            f"seed_index: give each of the {n_rows} detections a row of the table, and every seed its own row"
        )


def _band_numbers(detections: pa.Table, bands: tuple[str, ...]) -> Int64:
    """Return the place of each detection's band in `bands`, -1 when its band is unknown."""
    codes, names = _codes(detections, "band")
    place = {band_suffix(band): number for number, band in enumerate(bands)} | {"": -1}
    if unknown := {name for name in names if band_suffix(name) not in place}:
        message = f"detections: bands {sorted(unknown)} are not among {list(bands)}; add them to bands"
        raise BadInput(message, "UnknownBand")
    return np.array([*(place[band_suffix(name)] for name in names), -1], dtype=np.int64)[codes]


def _one_per_visit(detections: pa.Table, group: Int64, band: Int64) -> Int64:
    """Return the rows used, one for each object, band and visit, sorted by object."""
    image, number = detections["image_id"].to_numpy(), detections["number"].to_numpy()
    survey, _ = _codes(detections, "survey")
    visit, visits = _codes(detections, "visit")
    unknown = visit < 0
    visit[unknown] = len(visits) + np.unique(image[unknown], return_inverse=True)[1]
    parts = (group, band + 1, survey + 1, visit)
    key = np.ravel_multi_index(parts, [int(part.max(initial=0)) + 1 for part in parts])
    secondary = ~detections["is_primary"].fill_null(False).to_numpy()
    edge = -np.nan_to_num(float_column(detections, "edge_distance_px"), nan=-np.inf)
    order = np.lexsort((number, image, edge, secondary, key))
    used: Int64 = order[first_of_runs(key[order])]
    # Means then add up in one order, so that they are the same to the bit however the rows came.
    used = used[np.lexsort((number[used], image[used], group[used]))]
    return used


def _positions(
    taken: pa.Table, group: Int64, seed_ra: Float64, seed_dec: Float64, floor_arcsec: float
) -> Columns:
    """Return mean positions, their errors and the scatter about them; `group` is sorted."""
    ra, dec = float_column(taken, "ra"), float_column(taken, "dec")
    n_groups, n_used = seed_ra.size, np.bincount(group, minlength=seed_ra.size)
    east, north, outward = tangent_basis(seed_ra, seed_dec)
    vectors = unit_vectors(ra, dec)
    depth = np.einsum("ij,ij->i", vectors, outward[group])
    xi, eta = (
        weighted_means(
            group,
            n_groups,
            np.einsum("ij,ij->i", vectors, axis[group]) / depth * ARCSEC_PER_RAD,
            _floored(float_column(taken, error), floor_arcsec),
        )
        for axis, error in ((east, "ra_err"), (north, "dec_err"))
    )
    shift = (east * xi.mean[:, np.newaxis] + north * eta.mean[:, np.newaxis]) / ARCSEC_PER_RAD
    mean_ra, mean_dec = lonlat(outward + shift)
    # A single detection keeps its position to the last bit.
    alone, first = n_used == 1, first_of_runs(group)
    mean_ra, mean_dec = np.where(alone, ra[first], mean_ra), np.where(alone, dec[first], mean_dec)
    square = separation_arcsec(ra, dec, mean_ra[group], mean_dec[group]) ** 2
    scatter = np.sqrt(np.bincount(group, square, n_groups) / n_used)
    return {
        HEALPIX_COLUMN: healpix29(mean_ra, mean_dec),
        **{"ra": mean_ra, "dec": mean_dec, "ra_err": xi.error, "dec_err": eta.error},
        **{"n_used": n_used, "scatter_arcsec": np.where(alone, np.nan, scatter)},
    }


def _floored(error: Float64, floor: float) -> Float64:
    """Return errors of at least `floor`; those that are not positive are unknown."""
    return np.where(error > 0, np.maximum(error, floor), np.nan)


def _epochs_and_flags(taken: pa.Table, group: Int64) -> Columns:
    """Return first and last epoch and the union of the flags; `group` is sorted and has every object."""
    mjd, start = float_column(taken, "mjd"), first_of_runs(group)
    flags = taken["flags"].fill_null(0).to_numpy()
    if not group.size:
        return {"first_mjd": mjd, "last_mjd": mjd, "flags": flags}
    return {
        "first_mjd": np.fmin.reduceat(mjd, start),
        "last_mjd": np.fmax.reduceat(mjd, start),
        "flags": np.bitwise_or.reduceat(flags, start),
    }


def _types(taken: pa.Table, group: Int64, n_groups: int) -> Columns:
    """Return the mean probability of a star, and the type that it makes likely."""
    mean = weighted_means(
        group, n_groups, float_column(taken, "star_prob"), float_column(taken, "mag_auto_err")
    ).mean
    likely = np.where(mean >= 0.5, "STAR", "GALAXY").astype(object)
    likely[~np.isfinite(mean)] = None
    return {"star_prob": mean, "type": likely}


def _magnitudes(
    taken: pa.Table, group: Int64, band: Int64, n_groups: int, bands: tuple[str, ...], aperture: int
) -> Columns:
    """Return the columns of each band, then the colours of neighbouring bands."""
    auto, auto_err = float_column(taken, "mag_auto"), float_column(taken, "mag_auto_err")
    aper, aper_err = _items(taken, "mag_aper", aperture), _items(taken, "mag_aper_err", aperture)
    columns: Columns = {}
    for number, name in enumerate(bands):
        rows = np.flatnonzero((band == number) & (np.isfinite(auto) | np.isfinite(aper)))
        of_auto = mean_magnitudes(group[rows], n_groups, auto[rows], auto_err[rows])
        of_aper = mean_magnitudes(group[rows], n_groups, aper[rows], aper_err[rows])
        count = np.bincount(group[rows], minlength=n_groups)
        values = (of_auto.mean, of_auto.error, of_aper.mean, of_aper.error, of_aper.chi2, count)
        columns |= {column.name: value for column, value in zip(band_columns(name), values, strict=True)}
    for blue, red in pairwise(bands):
        colour = columns[f"mag_aper_{band_suffix(blue)}"] - columns[f"mag_aper_{band_suffix(red)}"]
        columns[colour_column(blue, red).name] = colour
    return columns


def _dereddened(
    taken: pa.Table, group: Int64, band: Int64, bands: tuple[str, ...], columns: Columns
) -> Columns:
    """Return the dereddened magnitudes of each band."""
    coefficient = detection_coefficients(taken["survey"].to_pylist(), taken["band"].to_pylist())
    found: Columns = {}
    for number, name in enumerate(bands):
        rows = band == number
        of_objects = mean_coefficients(group[rows], len(columns[EBV.name]), coefficient[rows])
        found |= band_dereddened(columns, name, of_objects, columns[EBV.name])
    return found


def _table(columns: Columns, table: Table) -> pa.Table:
    """Return the columns as declared, NaN as null, sorted by `_healpix_29`, then object_id."""
    order = np.lexsort((columns["object_id"], columns[HEALPIX_COLUMN]))
    fields = [field for field in arrow_schema(table) if field.name != "run_id"]
    arrays = [pa.array(columns[field.name][order], field.type, from_pandas=True) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _items(table: pa.Table, name: str, item: int) -> Float64:
    """Return one item of each list of a column, NaN where the list is null or too short."""
    lists = table[name].combine_chunks()
    long_enough = pc.fill_null(pc.greater(pc.list_value_length(lists), item), False)
    values = np.full(table.num_rows, np.nan)
    rows = np.flatnonzero(long_enough.to_numpy(zero_copy_only=False))
    items = pc.list_element(lists.take(pa.array(rows)), item) if rows.size else pa.array([], pa.float64())
    values[rows] = pc.fill_null(items.cast(pa.float64()), np.nan).to_numpy()
    return values


def _codes(table: pa.Table, name: str) -> tuple[Int64, list[str]]:
    """Return a string column as numbers, -1 for null, and the names they stand for."""
    encoded = pc.dictionary_encode(table[name].combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = pc.fill_null(encoded.indices, -1).to_numpy()
    return codes.astype(np.int64), encoded.dictionary.to_pylist()
