"""In place of packages that the function never calls, although modules that it imports name them."""

from __future__ import annotations

from typing import Any


class LeftOut:
    """Something that is not part of the function.

    Parameters
    ----------
    name : str
        What it is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse to work."""
        raise ImportError(f"{self._name} is left out of the function; use the job extract_sources")


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return LeftOut(f"{__name__}.{name}")
