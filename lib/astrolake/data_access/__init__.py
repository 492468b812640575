"""Survey data: archives on the web, and catalog files of any kind brought to the lake's columns.

`surveys` says what surveys publish and what their columns mean, `services` asks archives for catalogs,
`imaging` for images, `download` brings files, `bulk` reads whole releases in place. `catalog_files` lists
and reads files of one's own, `normalise` checks positions and identifiers and names the columns of the
table; `formats` has one module for each file format.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: The loaders run jobs, which stand above this package: they are imported when they are asked for.
_LOADERS = (
    "GaiaLoader",
    "LegacySurveyLoader",
    "PanSTARRSLoader",
    "SDSSDataLoader",
    "SurveyLoader",
    "WISELoader",
)


def __getattr__(name: str) -> Any:
    if name not in _LOADERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("astrolake.survey_loaders"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADERS})
