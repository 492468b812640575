"""Sections of a survey's file, read strictly: what is missing, misspelt or of another type is named."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from astrolake.errors import BadInput

_REQUIRED: Any = object()
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass
class Section:
    """One table of a TOML file, whose keys are taken one by one.

    Parameters
    ----------
    values : mapping
    file : str
        Name of the file, for messages.
    path : str
        Name of the section, for messages; empty for the top of the file.
    """

    values: Mapping[str, Any]
    file: str
    path: str
    taken: set[str] = field(default_factory=set)

    def error(self, message: str) -> BadInput:
        """Return an error that names file and section."""
        where = f"section [{self.path}]" if self.path else "top of the file"
        return BadInput(f"{self.file}, {where}: {message}", "BadSurvey")

    def text(self, key: str, default: str = _REQUIRED) -> str:
        """Return a text."""
        return str(self._typed(key, str, default))

    def integer(self, key: str, default: int = _REQUIRED) -> int:
        """Return a whole number above zero."""
        value = int(self._typed(key, int, default))
        if value <= 0:
            raise self.error(f"{key} must be above zero, not {value}")
        return value

    def number(self, key: str, default: float = _REQUIRED) -> float:
        """Return a number above zero."""
        value = float(self._typed(key, float, default))
        if not 0 < value < float("inf"):
            raise self.error(f"{key} must be above zero and finite, not {value}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        return bool(self._typed(key, bool, default))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; empty when the key is not there."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise self.error(f"{key} must be a list of texts, not {list(values)}")
        return values

    def items(self, key: str) -> tuple[Any, ...]:
        """Return a list; empty when the key is not there."""
        value = self.get(key, [])
        if not isinstance(value, list):
            raise self.error(f"{key} must be a list, not {value!r}")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """Return a table as it stands; empty when the key is not there."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise self.error(f"{key} must be a table, not {value!r}")
        return value

    def section(self, key: str) -> Section | None:
        """Return a section below this one, None when it is not there."""
        if key not in self.values:
            return None
        return Section(self.mapping(key), self.file, f"{self.path}.{key}".lstrip("."))

    def sections(self, key: str) -> list[Section]:
        """Return the sections below one that names them."""
        below = f"{self.path}.{key}".lstrip(".")
        found = self.mapping(key)
        for name, value in found.items():
            if not isinstance(value, dict):
                raise self.error(f"{key}.{name} must be a table, not {value!r}")
        return [Section(value, self.file, f"{below}.{name}") for name, value in found.items()]

    def get(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a value of any type."""
        self.taken.add(key)
        if key in self.values:
            return self.values[key]
        if default is _REQUIRED:
            raise self.error(f"{key} is missing; add it")
        return default

    def choice(self, key: str, value: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
        """Return a value that must be one of those known."""
        if value not in known:
            raise self.error(
                f"{key} {value!r} is unknown{_nearest(value, known)}; choose one of {sorted(known)}"
            )
        return value

    def finish(self) -> None:
        """Raise when the section has a key that nobody took."""
        for key in self.values:
            if key not in self.taken:
                hint = _nearest(key, self.taken)
                raise self.error(f"key {key!r} is unknown{hint}; it may have {sorted(self.taken)}")

    def _typed(self, key: str, kind: type, default: Any) -> Any:
        value = self.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        right = is_number if kind is float else type(value) is kind
        if not right:
            raise self.error(f"{key} must be {_WORDS[kind]}, not {value!r}")
        return value


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
