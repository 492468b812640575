"""Positional cross-match on arrays: exact, and independent of row order and partitioning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np

from astrolake.errors import BadArguments
from astrolake.sky.exclusive import mutual_nearest, one_to_one
from astrolake.sky.positions import Matches, Positions
from astrolake.sky.search import Search
from astrolake.sky.separation import Int64

Mode = Literal["best", "left", "all", "nearest-n", "anti", "best-symmetric", "one-to-one"]
MODES: tuple[str, ...] = get_args(Mode)
#: Modes whose answer for a left row depends on other left rows.
EXCLUSIVE = ("best-symmetric", "one-to-one")
#: Pairs held at a time unless told otherwise: about 300 MB of work space.
CHUNK_PAIRS = 2_000_000


def match(
    left: Positions,
    right: Positions,
    radius_arcsec: float,
    mode: Mode = "best",
    n: int = 1,
    *,
    chunk_pairs: int = CHUNK_PAIRS,
    skip_self: bool = False,
) -> Matches:
    """Match each left row to the right rows within a radius.

    Exact for any radius and anywhere on the sphere: candidates (from a sweep, or a k-d tree of unit vectors
    where they are many) are kept when their separation by Vincenty's formula is <= radius. Equal separations
    are ordered by the smaller right id, so that neither row order nor partitioning changes the answer.

    Equivalent to astropy's ``match_to_catalog_sky`` cut at the radius (best) and to
    ``search_around_sky`` (all).

    Parameters
    ----------
    left, right : Positions
    radius_arcsec : float
        In [0, 648000], inclusive.
    mode : str
        ``best``: the nearest right row. ``left``: the same, and the left rows that have none. ``all``: every
        right row. ``nearest-n``: the `n` nearest. ``anti``: the left rows that have none. ``best-symmetric``:
        pairs of which each is the other's nearest. ``one-to-one``: no row twice; the closest pair
        first, then the closest of the rows still free, and so on (equal separations by left, then right id).
    n : int
        For nearest-n.
    chunk_pairs : int
        Bound on the candidate pairs held at a time, which bounds the memory beyond the result's
        (one-to-one holds all pairs).
    skip_self : bool
        Leave out pairs of equal id: for a table matched with itself.

    Returns
    -------
    Matches
        In the order of the left rows.

    Raises
    ------
    BadArguments
        When radius, mode, n or chunk_pairs is out of range.
    """
    pieces = iter_match(left, right, radius_arcsec, mode, n, chunk_pairs=chunk_pairs, skip_self=skip_self)
    return Matches.join(list(pieces)).by_left_row()


def iter_match(
    left: Positions,
    right: Positions,
    radius_arcsec: float,
    mode: Mode = "best",
    n: int = 1,
    *,
    chunk_pairs: int = CHUNK_PAIRS,
    skip_self: bool = False,
) -> Iterator[Matches]:
    """Yield the result of `match` in pieces of whole left rows; a left row's stand together, by rank."""
    check_radius(radius_arcsec)
    if mode not in MODES:
        raise BadArguments(f"mode={mode!r} is unknown; use one of {', '.join(MODES)}")
    check_n(n)
    if chunk_pairs < 1:
        raise BadArguments(f"chunk_pairs={chunk_pairs}: must be at least 1")
    search = Search(left, right, radius_arcsec, chunk_pairs, skip_self)
    if mode == "best-symmetric":
        return iter([mutual_nearest(search)])
    if mode == "one-to-one":
        return iter([one_to_one(search)[0]])
    return _by_left_row(search, mode, n if mode == "nearest-n" else 1)


def check_n(n: int) -> None:
    """Raise BadArguments for a number of neighbours that is none."""
    if not (isinstance(n, int | np.integer) and 1 <= n < 1 << 31):
        raise BadArguments(f"n={n}: give a whole number from 1 to {(1 << 31) - 1}")


def check_radius(radius_arcsec: float) -> None:
    """Raise BadArguments for a radius that is none."""
    if not isinstance(radius_arcsec, int | float | np.integer | np.floating):
        raise BadArguments(f"radius_arcsec={radius_arcsec!r}: give a number of arcsec, without a unit")
    if not 0.0 <= radius_arcsec <= 648000.0:
        raise BadArguments(f"radius_arcsec={radius_arcsec}: give a radius within [0, 648000] arcsec")


def _by_left_row(search: Search, mode: Mode, n: int) -> Iterator[Matches]:
    for rows, found in search.pairs() if mode == "all" else search.nearest(n):
        if mode == "anti":
            yield _without_partner(rows, found)
        elif mode == "left":
            yield Matches.join([found, _without_partner(rows, found)])
        else:
            yield found


def _without_partner(rows: Int64, found: Matches) -> Matches:
    return Matches.alone(np.setdiff1d(rows, found.left_index, assume_unique=True))
