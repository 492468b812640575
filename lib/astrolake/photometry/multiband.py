"""Sources of one field in several bands, brought together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pandas as pd

from astrolake.errors import BadArguments, MissingColumns
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions
from astrolake.sky.separation import Int64
from astrolake.sky.tables import nullable_rows

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
            ``g_sources=..., r_sources=...``: tables of one kind with columns ra, dec (degrees) and others.

        Returns
        -------
        pandas.DataFrame or astropy.table.Table
            ra, dec (of the first band an object is seen in), n_bands, and of each band its columns
            under the band's name, e.g. ``g_mag``, with ``g_sep_arcsec``; missing where it has no source.

        Raises
        ------
        BadArguments
            When fewer than two bands are given, or a name does not end in ``_sources``.
        MissingColumns
            When a table lacks ra or dec.
        ValueError
            When a position is none; drop such rows first.
        """
        bands = {name.removesuffix(_SUFFIX): table for name, table in sources.items()}
        if len(bands) < 2 or not all(name.endswith(_SUFFIX) for name in sources):
            raise BadArguments(f"give two bands or more as g_sources=..., r_sources=...; got {list(sources)}")
        frames = {band: _frame(band, table) for band, table in bands.items()}
        found = _associate(frames, match_radius)
        if all(isinstance(table, pd.DataFrame) for table in bands.values()):
            return found
        from astropy.table import Table

        return Table.from_pandas(found)

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
        frame = matched if isinstance(matched, pd.DataFrame) else matched.to_pandas()
        suffix = f"_{magnitude}"
        present = [str(name) for name in frame.columns]
        chosen = list(bands) or [name.removesuffix(suffix) for name in present if name.endswith(suffix)]
        if missing := [band + suffix for band in chosen if band + suffix not in present]:
            raise MissingColumns("matched", missing, present)
        if len(chosen) < 2:
            raise BadArguments(f"colours need {magnitude} of two bands or more; there is {chosen}")
        colours: dict[str, np.ndarray] = {}
        for blue, red in pairwise(chosen):
            name = f"{blue}_{red}"
            colours[name] = _floats(frame, blue + suffix) - _floats(frame, red + suffix)
            errors = [f"{band}{suffix}_err" for band in (blue, red)]
            if set(errors) <= set(present):
                colours[f"{name}_err"] = np.hypot(*(_floats(frame, error) for error in errors))
        coloured = frame.assign(**colours)
        if isinstance(matched, pd.DataFrame):
            return coloured
        from astropy.table import Table

        return Table.from_pandas(coloured)


#: The name as the first documents have it.
MultibanPhotometry = MultibandPhotometry


def _frame(band: str, table: Any) -> pd.DataFrame:
    frame = table if isinstance(table, pd.DataFrame) else table.to_pandas()
    if missing := [name for name in ("ra", "dec") if name not in frame.columns]:
        raise MissingColumns(f"{band}_sources", missing, list(map(str, frame.columns)))
    return cast(pd.DataFrame, frame.reset_index(drop=True))


def _associate(frames: dict[str, pd.DataFrame], radius_arcsec: float) -> pd.DataFrame:
    ra, dec = np.empty(0), np.empty(0)
    rows: dict[str, Int64] = {}
    separations: dict[str, np.ndarray] = {}
    for band, frame in frames.items():
        ours = Positions(ra, dec, np.arange(ra.size))
        theirs = Positions(frame["ra"].to_numpy(float), frame["dec"].to_numpy(float), np.arange(len(frame)))
        pairs = match(ours, theirs, radius_arcsec, "one-to-one")
        new = np.setdiff1d(np.arange(len(frame)), pairs.right_index)
        rows[band] = np.full(ra.size + new.size, -1)
        separations[band] = np.full(ra.size + new.size, np.nan)
        rows[band][pairs.left_index], separations[band][pairs.left_index] = (
            pairs.right_index,
            pairs.sep_arcsec,
        )
        rows[band][ra.size :], separations[band][ra.size :] = new, 0.0
        ra, dec = np.append(ra, theirs.ra[new]), np.append(dec, theirs.dec[new])
    columns: dict[str, Any] = {"ra": ra, "dec": dec}
    columns["n_bands"] = sum((_full(rows[band], ra.size) >= 0).astype(np.int32) for band in frames)
    for band, frame in frames.items():
        values = nullable_rows(frame, _full(rows[band], ra.size))
        columns |= {f"{band}_{name}": values[name] for name in frame.columns}
        columns[f"{band}_sep_arcsec"] = np.append(
            separations[band], np.full(ra.size - len(rows[band]), np.nan)
        )
    return pd.DataFrame(columns)


def _floats(frame: pd.DataFrame, name: str) -> np.ndarray:
    return np.asarray(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))


def _full(rows: Int64, size: int) -> Int64:
    """Return the rows of a band for all objects; those that came later have none."""
    return np.append(rows, np.full(size - rows.size, -1))
