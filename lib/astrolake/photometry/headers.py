"""Values of FITS headers, read with tolerance: a damaged card counts as a missing one."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from astropy.io import fits


class HeaderCards:
    """The cards of an HDU, then those of the header it inherits from.

    Parameters
    ----------
    own : Header
        Header of the HDU; its cards win.
    inherited : Header, optional
        Header to fall back on: that of a primary HDU without pixels.
    """

    def __init__(self, own: fits.Header, inherited: fits.Header | None = None) -> None:
        self.own = own
        self._headers = [own] if inherited is None else [own, inherited]

    def __contains__(self, key: str) -> bool:
        return any(key in header for header in self._headers)

    def text(self, *keys: str) -> str:
        """Return the first of the keys that has a value, as stripped text; empty when none has."""
        for key in keys:
            for header in self._headers:
                value = card_value(header, key)
                if value is not None and (found := str(value).strip()):
                    return found
        return ""

    def number(self, *keys: str) -> float | None:
        """Return the first of the keys that is a finite number (or text that spells one), else None."""
        for key in keys:
            for header in self._headers:
                value = _finite(card_value(header, key))
                if value is not None:
                    return value
        return None

    def comment(self, key: str) -> str:
        """Return the comment of the card that `text` and `number` would read, in lower case."""
        for header in self._headers:
            if key in header:
                return str(header.comments[key]).lower()
        return ""

    def first(self, *keys: str) -> str | None:
        """Return the first of the keys that holds a finite number, or None."""
        return next((key for key in keys if self.number(key) is not None), None)


def card_value(header: fits.Header, key: str) -> object:
    """Return the value of a card; None when it is missing, empty or cannot be parsed."""
    try:
        value = header.get(key)
    except (fits.VerifyError, ValueError):
        return None
    return None if isinstance(value, fits.card.Undefined) else value


@contextmanager
def silence() -> Iterator[None]:
    """Keep astropy from writing to stderr: what is wrong with a file is ours to report."""
    logger = logging.getLogger("astropy")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
