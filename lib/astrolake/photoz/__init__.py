"""Photometric redshifts: densities of redshift from templates and from learners, with honest errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astrolake.photoz.estimator import PhotozEstimator

__all__ = ["PhotozEstimator"]


def __getattr__(name: str) -> Any:
    # Workers that import a kernel need not import what a notebook does.
    if name == "PhotozEstimator":
        from astrolake.photoz.estimator import PhotozEstimator

        return PhotozEstimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
