"""What a user says about a training, checked and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from astrolake.errors import BadArguments
from astrolake.photoz.features import LEAST_ROWS, ExtraColumn
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.model_store import checked_name
from astrolake.photoz.photometry import Unit
from astrolake.photoz.train_model import METHODS as OF_ONE
from astrolake.photoz.train_model import TrainingPlan, TreeSettings
from astrolake.photoz.training_set import band_columns, object_bands

__all__ = ["METHODS", "UNITS", "TrainOptions"]

UNITS: tuple[str, ...] = get_args(Unit)
METHODS = (*OF_ONE, "combined")
#: MLlib's own limit.
_DEEPEST = 30
#: Arcseconds beyond which no match is one.
_WIDEST = 60


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The flags of train_photoz that need no table to be checked; see these."""

    method: str
    models: tuple[str, ...]
    name: str
    radius_arcsec: float
    max_training_rows: int
    magnitudes: tuple[str, ...]
    errors: tuple[str, ...]
    bands: tuple[str, ...]
    unit: str
    features: tuple[str, ...]
    z_min: float
    z_max: float
    z_step: float
    n_trees: int
    max_depth: int
    max_bins: int
    min_instances: int
    learning_rate: float
    cross_validate: bool
    epochs: int
    template_set: str
    filters: str
    seed: int

    @classmethod
    def of(cls, args: Any) -> TrainOptions:
        """Return the options among the arguments of a job.

        Raises
        ------
        BadArguments
            When no training could use them; the message names the flag.
        """
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadArguments(f"--method {self.method!r}: give one of {', '.join(METHODS)}")
        bounds = {
            "n_trees": (1, 100_000),
            "max_depth": (1, _DEEPEST),
            "max_bins": (2, 65_535),
            "min_instances": (1, 1 << 30),
            "epochs": (1, 100_000),
            "radius_arcsec": (0, _WIDEST),
            "max_training_rows": (LEAST_ROWS, 1 << 40),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise BadArguments(f"--{name.replace('_', '-')} {getattr(self, name)}: give {low} to {high}")
        checked_name(self.name)
        if not 0 < self.learning_rate <= 1:
            raise BadArguments(f"--learning-rate {self.learning_rate}: give a rate above 0, 1 at most")
        if self.method == "template" and not self.filters:
            raise BadArguments("--filters is needed by --method template: a survey, or a directory of curves")
        self._check_models()
        _ = self.grid
        if self.magnitudes:
            band_columns(self.magnitudes, self.errors, self.unit, self.bands)

    def _check_models(self) -> None:
        """Refuse models that could not be combined; BadArguments."""
        if self.method != "combined":
            if self.models:
                raise BadArguments(f"--models is for --method combined, not for {self.method}")
            return
        if len(set(self.models)) < max(len(self.models), 2):
            raise BadArguments(f"--models {' '.join(self.models)}: name at least two, each once")
        if (called := self.name or self.method) in self.models:
            raise BadArguments(f"--models {called}: the combination itself is called so; give another --name")

    @property
    def grid(self) -> RedshiftGrid:
        """The grid of redshifts."""
        return RedshiftGrid(self.z_min, self.z_max, self.z_step)

    def plan(self, present: Sequence[str]) -> TrainingPlan:
        """Return the plan of the training on a table with these columns."""
        magnitudes, errors = self.magnitudes, self.errors
        if not magnitudes:
            found = object_bands(present)
            magnitudes, errors = tuple(found[0]), tuple(found[1])
        settings = TreeSettings(
            self.method,
            self.n_trees,
            self.max_depth,
            self.max_bins,
            self.min_instances,
            self.learning_rate,
            self.seed,
        )
        bands = band_columns(magnitudes, errors, self.unit, self.bands)
        chosen = self.cross_validate, self.epochs, self.template_set, self.filters
        extra = tuple(_extra(text) for text in self.features)
        return TrainingPlan(self.method, bands, extra, self.grid, settings, *chosen)


def _extra(text: str) -> ExtraColumn:
    """Return the column that ``NAME`` or ``NAME:log`` means."""
    name, colon, how = text.partition(":")
    if not name or (colon and how not in ("log", "linear")):
        raise BadArguments(f"--features {text!r}: give NAME, or NAME:log for sizes")
    return ExtraColumn(name, "log" if how == "log" else "linear")
