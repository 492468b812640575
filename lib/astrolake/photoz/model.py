"""A trained photo-z model: features, learner, calibration, support; estimates in bounded memory; one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadInput
from astrolake.photoz import artifact, pdf
from astrolake.photoz.features import FeatureSpec, Inputs
from astrolake.photoz.flags import PhotozFlag, flags_of
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.learner import Learner, restore
from astrolake.photoz.recalibrate import Recalibration
from astrolake.photoz.support import Support

Float32 = NDArray[np.float32]
Columns = dict[str, NDArray[Any]]

#: Objects at a time: densities of a block stay in the cache's neighbourhood and memory stays flat.
BLOCK = 4096
_KIND = "learned"


@dataclass(frozen=True)
class PhotozModel(artifact.ModelFile):
    """A model that tells redshifts from photometry.

    Parameters
    ----------
    method : str
        What the table `photoz` calls it: "random_forest", "neural_network", ...
    features : FeatureSpec
    learner : Learner
    grid : RedshiftGrid
    recalibration : Recalibration or None
        Makes probabilities true; None where there were too few rows to learn it.
    support : Support or None
        Tells objects unlike the training set.
    metrics, provenance : dict
        What JSON holds: scores on held-back rows; tables and versions, numbers of rows.
    """

    method: str
    features: FeatureSpec
    learner: Learner
    grid: RedshiftGrid
    recalibration: Recalibration | None = None
    support: Support | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a catalog must have."""
        return self.features.columns

    def density(self, columns: Mapping[str, ArrayLike]) -> Float32:
        """Return calibrated densities of a catalog, (n, grid.n) float32; NaN where no band was observed."""
        inputs = self.features.read(columns)
        blocks = [self._block(inputs[start : start + BLOCK])[0] for start in range(0, len(inputs), BLOCK)]
        return np.concatenate(blocks) if blocks else np.empty((0, self.grid.n), dtype=np.float32)

    def estimate(
        self,
        columns: Mapping[str, ArrayLike],
        pdf_step: float = 0.0,
        point: pdf.Point = "median",
        *,
        whole: bool = True,
    ) -> Columns:
        """Return the columns of the table `photoz`, but for identifiers and positions.

        Parameters
        ----------
        columns : mapping of str to (n,) arrays
            The catalog, with at least `features.columns`; any order of rows gives the same estimates.
        pdf_step : float
            Step of the grid of the column `pdf`, 0 leaves the column out.
        point : {"median", "mode", "mean"}
            What z_phot is.
        whole : bool
            As in `read_photometry`.

        Raises
        ------
        MissingColumns
            When the catalog lacks a column; the message lists those it has.
        BadInput
            When a column as a whole is not what the model expects.
        """
        inputs = self.features.read(columns, whole=whole)
        coarse = self.grid.coarser(pdf_step) if pdf_step else None
        starts = range(0, max(len(inputs), 1), BLOCK)
        blocks = [self._estimate_block(inputs[start : start + BLOCK], coarse, point) for start in starts]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def to_bytes(self) -> bytes:
        """Return the model as the content of a file; equal models give equal bytes."""
        parts = {"recalibration": self.recalibration, "support": self.support}
        arrays = {f"learner.{name}": array for name, array in self.learner.arrays().items()}
        for prefix, part in parts.items():
            if part is not None:
                arrays |= {f"{prefix}.{name}": array for name, array in part.arrays().items()}
        manifest = {
            "method": self.method,
            "learner": {"kind": self.learner.kind, "params": self.learner.params()},
            "features": self.features.to_json(),
            "grid": [self.grid.z_min, self.grid.z_max, self.grid.step],
            "metrics": self.metrics,
            "provenance": self.provenance,
            **{prefix: part is not None for prefix, part in parts.items()},
        }
        return artifact.to_bytes(_KIND, manifest, arrays)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "the model") -> Self:
        """Return the model of a file's content.

        Raises
        ------
        BadInput
            When it is no such model, damaged, or of a newer version.
        """
        kind, manifest, arrays = artifact.from_bytes(content, name)
        if kind != _KIND:
            raise BadInput(f"{name} holds a {kind!r}, not a learned photo-z model")
        try:
            learner = restore(
                manifest["learner"]["kind"], _below("learner.", arrays), manifest["learner"]["params"], name
            )
            calibration, support = (_below(f"{part}.", arrays) for part in ("recalibration", "support"))
            return cls(
                manifest["method"],
                FeatureSpec.from_json(manifest["features"]),
                learner,
                RedshiftGrid(*manifest["grid"]),
                Recalibration.from_arrays(calibration) if manifest["recalibration"] else None,
                Support.from_arrays(support) if manifest["support"] else None,
                manifest["metrics"],
                manifest["provenance"],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise BadInput(f"{name} is not whole ({type(error).__name__}: {error})") from None

    def _block(self, inputs: Inputs) -> tuple[Float32, Float32]:
        """Return calibrated densities and features of one block."""
        features = self.features.transform(inputs)
        density = self.learner.density(features, self.grid)
        if self.recalibration is not None:
            density = self.recalibration.apply(density, self.grid, self.features.magnitude(inputs))
        density[~inputs.photometry.observed.any(axis=1)] = np.nan
        return density, features

    def _estimate_block(self, inputs: Inputs, coarse: RedshiftGrid | None, point: pdf.Point) -> Columns:
        density, features = self._block(inputs)
        found: Columns = dict(pdf.summarise(density, self.grid, point))
        n_bands = inputs.photometry.observed.sum(axis=1).astype(np.int32)
        distance = np.full(len(inputs), np.nan, dtype=np.float32)
        flags = flags_of(inputs.photometry, density, self.grid, calibrated=self.recalibration is not None)
        if self.support is not None:
            distance = self.support.distance(features)
            beyond = self.support.beyond(distance, density, self.grid)
            flags[beyond & (n_bands > 0)] |= PhotozFlag.OUT_OF_SUPPORT
            distance[n_bands == 0] = np.nan
        found |= {
            "chi2": np.full(len(inputs), np.nan, dtype=np.float32),
            "n_bands": n_bands,
            "template": np.full(len(inputs), None, dtype=object),
            "support_distance": distance,
            "photoz_flags": flags,
        }
        if coarse is not None:
            found["pdf"] = pdf.rebin(density, self.grid, coarse)
        return found


def _below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
