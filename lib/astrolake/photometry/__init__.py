"""From pixels to calibrated sources: FITS reading and checking, background, extraction, calibration."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astrolake.photometry.extractor import SourceExtractor
    from astrolake.photometry.multiband import MultibandPhotometry, MultibanPhotometry

__all__ = ["MultibanPhotometry", "MultibandPhotometry", "SourceExtractor"]

#: Where the public names are; their modules need pandas, which those that run in Lambda do without.
_MODULES = {
    "SourceExtractor": "extractor",
    "MultibandPhotometry": "multiband",
    "MultibanPhotometry": "multiband",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
