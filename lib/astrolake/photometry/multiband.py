"""Sources of one field in several bands, brought together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from astrolake.errors import BadArguments, MissingColumns
from astrolake.schema.columns import plain_numbers
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions
from astrolake.sky.separation import Float64, Int64
from astrolake.sky.tables import rows_or_missing, table_kind, table_positions

_SUFFIX = "_sources"


class MultibandPhotometry:
    """Brings catalogs of several bands together, object by object."""

    def match_multiband(self, *, match_radius: float = 1.0, **sources: Any) -> Any:
        """Match the sources of several bands one-to-one and return one row an object.

        The first band given is the anchor; each next band is matched to the objects found so far, the
        closest pairs first, and its sources without counterpart become objects of their own.

        Parameters
        ----------
        match_radius : float
            Greatest separation from the object's first source, in arcsec.
        **sources : pandas.DataFrame or astropy.table.Table
            ``g_sources=..., r_sources=...``: tables of one kind with columns ra, dec (degrees where they
            have no unit) and others.

        Returns
        -------
        pandas.DataFrame or astropy.table.Table
            ra, dec (of the first band an object is seen in), n_bands, and of each band its columns
            under the band's name, e.g. ``g_mag``, with ``g_sep_arcsec``; missing where it has no source.

        Raises
        ------
        BadArguments
            When fewer than two bands are given, a name does not end in ``_sources``, tables are of several
            kinds, or two columns would have one name.
        MissingColumns, ValueError
            When a table lacks ra or dec, or a position is none; drop such rows first.
        """
        bands = {name.removesuffix(_SUFFIX): table for name, table in sources.items()}
        if len(bands) < 2 or not all(name.endswith(_SUFFIX) for name in sources):
            raise BadArguments(f"give two bands or more as g_sources=..., r_sources=...; got {list(sources)}")
        kind = table_kind({f"{band}_sources": table for band, table in bands.items()})
        sides = {band: table_positions(f"{band}_sources", table) for band, table in bands.items()}
        found = _associate(sides, match_radius)
        _check_names(bands)
        columns = {"ra": found.ra, "dec": found.dec, "n_bands": found.n_bands}
        parts = {band: rows_or_missing(table, found.rows[band]) for band, table in bands.items()}
        if kind == "pandas":
            for band, part in parts.items():
                columns |= {f"{band}_{name}": part[name] for name in part.columns}
                columns[f"{band}_sep_arcsec"] = found.separations[band]
            return pd.DataFrame(columns)
        return _astropy_table(columns, parts, found)

    def add_colours(self, matched: Any, magnitude: str = "mag", bands: Sequence[str] = ()) -> Any:
        """Return matched sources with the colours of neighbouring bands, and their errors.

        Parameters
        ----------
        matched : pandas.DataFrame or astropy.table.Table
            As `match_multiband` returns it.
        magnitude : str
            Column of the bands' tables: ``mag`` stands for ``g_mag``, ``r_mag``, ...; errors are those of
            ``<magnitude>_err``, where there are such columns.
        bands : sequence of str
            From blue to red; by default as they follow each other in the table.

        Returns
        -------
        pandas.DataFrame or astropy.table.Table
            With columns such as ``g_r`` and ``g_r_err`` (the bands' errors in quadrature); missing where one
            of the two magnitudes is.

        Raises
        ------
        BadArguments
            When fewer than two bands have the magnitude.
        MissingColumns
            When a band that was named has not.
        """
        suffix = f"_{magnitude}"
        present = [str(name) for name in matched.columns]
        chosen = list(bands) or [name.removesuffix(suffix) for name in present if name.endswith(suffix)]
        if missing := [band + suffix for band in chosen if band + suffix not in present]:
            raise MissingColumns("matched", missing, present)
        if len(chosen) < 2:
            raise BadArguments(f"colours need {magnitude} of two bands or more; there is {chosen}")
        coloured = matched.copy()
        for blue, red in pairwise(chosen):
            name = f"{blue}_{red}"
            coloured[name] = plain_numbers(matched[blue + suffix]) - plain_numbers(matched[red + suffix])
            errors = [f"{band}{suffix}_err" for band in (blue, red)]
            if set(errors) <= set(present):
                coloured[f"{name}_err"] = np.hypot(*(plain_numbers(matched[error]) for error in errors))
        return coloured


#: The name as the first documents have it.
MultibanPhotometry = MultibandPhotometry


@dataclass(frozen=True)
class _Objects:
    """Objects, and of each band the rows (-1 where it has none) and separations from the first source."""

    ra: Float64
    dec: Float64
    rows: dict[str, Int64]
    separations: dict[str, Float64]

    @property
    def n_bands(self) -> Any:
        """Number of bands an object is seen in."""
        return sum((rows >= 0).astype(np.int32) for rows in self.rows.values())


def _associate(sides: dict[str, Positions], radius_arcsec: float) -> _Objects:
    ra, dec = np.empty(0), np.empty(0)
    rows: dict[str, Int64] = {}
    separations: dict[str, Float64] = {}
    for band, theirs in sides.items():
        pairs = match(Positions(ra, dec, np.arange(ra.size)), theirs, radius_arcsec, "one-to-one")
        new = np.setdiff1d(np.arange(len(theirs)), pairs.right_index)
        rows[band] = np.append(np.full(ra.size, -1), new)
        separations[band] = np.append(np.full(ra.size, np.nan), np.zeros(new.size))
        rows[band][pairs.left_index] = pairs.right_index
        separations[band][pairs.left_index] = pairs.sep_arcsec
        ra, dec = np.append(ra, theirs.ra[new]), np.append(dec, theirs.dec[new])
    # Objects that came with later bands have no source in the earlier ones.
    whole = {band: np.append(of, np.full(ra.size - of.size, -1)) for band, of in rows.items()}
    away = {band: np.append(of, np.full(ra.size - of.size, np.nan)) for band, of in separations.items()}
    return _Objects(ra, dec, whole, away)


def _check_names(bands: dict[str, Any]) -> None:
    """Raise BadArguments when two columns of the result would have one name."""
    every = ["ra", "dec", "n_bands", *(f"{band}_sep_arcsec" for band in bands)]
    every += [f"{band}_{name}" for band, table in bands.items() for name in table.columns]
    if repeated := sorted({name for name in every if every.count(name) > 1}):
        raise BadArguments(f"the result would have several columns {repeated}; rename them in the tables")


def _astropy_table(columns: dict[str, Any], parts: dict[str, Any], found: _Objects) -> Any:
    from astropy.table import MaskedColumn, hstack

    kind = type(next(iter(parts.values())))
    joined = [kind(columns, units={"ra": "deg", "dec": "deg"})]
    for band, part in parts.items():
        part.rename_columns(part.colnames, [f"{band}_{name}" for name in part.colnames])
        away = MaskedColumn(found.separations[band], mask=found.rows[band] < 0)
        joined += [part, kind({f"{band}_sep_arcsec": away}, units={f"{band}_sep_arcsec": "arcsec"})]
    return hstack(joined, metadata_conflicts="silent")
