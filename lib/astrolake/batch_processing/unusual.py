"""Which sources are worth an alert: the one place that says what is unusual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from astrolake.photometry.flags import Flag
from astrolake.schema.arrow import float_column

#: What makes a measure so doubtful that nobody should be woken by it.
_SPOILT = (
    Flag.SATURATED
    | Flag.TRUNCATED
    | Flag.APERTURE_INCOMPLETE
    | Flag.SINGULAR
    | Flag.BAD_PIXELS
    | Flag.LIMITS_RAISED
    | Flag.NOT_DEBLENDED
)
_SHOWN = ("source_id", "ra", "dec", "flux", "snr", "mag_auto", "a_arcsec", "b_arcsec")


@dataclass(frozen=True)
class UnusualRule:
    """A source is unusual when it is measured well and is very bright, or a streak.

    Parameters
    ----------
    min_snr : float
        Of the Kron flux.
    bright_mag_ab : float
        Brighter sources are unusual: in survey images stars as bright are saturated, so that what is not is
        new, or moves.
    streak_elongation, streak_arcsec : float
        At least this ratio of axes and this semi-major axis (rms) make a streak: satellites and asteroids,
        but edge-on galaxies rarely.
    """

    min_snr: float = 50.0
    bright_mag_ab: float = 12.0
    streak_elongation: float = 8.0
    streak_arcsec: float = 4.0


@dataclass(frozen=True)
class Unusual:
    """Unusual sources of an image.

    Parameters
    ----------
    count : int
    sources : list of dict
        The brightest of them: identifier, position, measures and `why`.
    """

    count: int
    sources: list[dict[str, Any]]


def find_unusual(rows: pa.Table, rule: UnusualRule | None = None, most: int = 10) -> Unusual:
    """Return the unusual ones among rows of `sources`, in full only so many of best signal to noise."""
    rule = rule or UnusualRule()
    good = (rows.column("flags").to_numpy() & int(_SPOILT)) == 0
    snr = float_column(rows, "snr")
    good &= snr >= rule.min_snr
    bright = good & (float_column(rows, "mag_auto") < rule.bright_mag_ab)
    long, wide = float_column(rows, "a_arcsec"), float_column(rows, "b_arcsec")
    streak = good & (long >= rule.streak_arcsec) & (long >= rule.streak_elongation * wide)
    found = np.flatnonzero(bright | streak)
    best = found[np.argsort(-snr[found], kind="stable")][:most]
    shown = rows.select(_SHOWN).take(best).to_pylist()
    return Unusual(
        len(found),
        [
            source | {"why": "bright" if is_bright else "streak"}
            for source, is_bright in zip(shown, bright[best], strict=True)
        ],
    )
