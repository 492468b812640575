"""A combination of models as a model: pooled densities, what members say beside, one file that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photoz import artifact, pdf
from astrolake.photoz.combine import Pool, disagree
from astrolake.photoz.flags import PhotozFlag, flags_of
from astrolake.photoz.grid import RedshiftGrid, common_grid
from astrolake.photoz.members import Member, member_bands, member_columns, member_of, reference_band
from astrolake.photoz.model import BLOCK, PhotozModel
from astrolake.photoz.photometry import ZERO_POINT_UJY, BandColumns, Photometry, numbers, read_photometry
from astrolake.photoz.recalibrate import Recalibration
from astrolake.photoz.template_fit import TemplateFit

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

KIND = "combined"
_RECALIBRATION, _MEMBER = "recalibration.", "member."
#: Members are files that are compressed already: no honest ones unpack to so many times the whole.
_UNPACKED_TIMES = 4
#: What is true of the object whatever weight the member has that says so.
_OF_MEMBERS = PhotozFlag.OUT_OF_SUPPORT | PhotozFlag.POOR_FIT


@dataclass(frozen=True)
class CombinedModel(artifact.ModelFile):
    """Models whose densities are pooled; `train_combined.combine_members` makes one.

    Parameters
    ----------
    names : tuple of str
        What the members are called, each once.
    members : tuple of PhotozModel or TemplateFit
    pool : Pool
        Its weights are in the order of the members.
    calibrated : bool
        Whether galaxies enough have told that probabilities are true, with `recalibration` if there is one.
    recalibration : Recalibration or None
        Of the pooled densities.
    metrics, provenance : dict
        As of `PhotozModel`.
    """

    names: tuple[str, ...]
    members: tuple[Member, ...]
    pool: Pool
    calibrated: bool
    recalibration: Recalibration | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    #: What the table `photoz` calls it.
    method = "combined"

    def __post_init__(self) -> None:
        if not len(set(self.names)) == len(self.names) == len(self.members) == len(self.pool.weights):
            raise BadArguments(
                f"{len(self.members)} members and {len(self.pool.weights)} weights for {self.names}"
            )
        if len(self.members) < 2:
            raise BadArguments(f"a combination of {self.names}: give at least two models")

    @cached_property
    def grid(self) -> RedshiftGrid:
        """The finest step of the members, over the range of all."""
        return common_grid([member.grid for member in self.members])

    @cached_property
    def bands(self) -> tuple[BandColumns, ...]:
        """Bands of all members, each column of fluxes or magnitudes once."""
        found = {band.value: band for member in reversed(self.members) for band in member_bands(member)}
        order = dict.fromkeys(band.value for member in self.members for band in member_bands(member))
        return tuple(found[value] for value in order)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a catalog must have: those of all members."""
        return tuple(dict.fromkeys(name for member in self.members for name in member_columns(member)))

    def density(self, columns: Mapping[str, ArrayLike]) -> Float32:
        """Return pooled densities of a catalog, (n, grid.n) float32; NaN where no member tells one."""
        blocks = []
        for block in self._blocks(columns, whole=True):
            found = [pdf.rebin(member.density(block), member.grid, self.grid) for member in self.members]
            blocks.append(self.pooled(found, self.magnitude(read_photometry(block, self.bands, whole=False))))
        return np.concatenate(blocks)

    def pooled(self, densities: Sequence[Float32], magnitude: Float64) -> Float32:
        """Return the pooled and recalibrated densities of members on `grid`."""
        density = self.pool(densities, self.grid)
        if self.recalibration is None:
            return density
        return self.recalibration.apply(density, self.grid, magnitude)

    def magnitude(self, photometry: Photometry) -> Float64:
        """Return the AB magnitudes that the calibration goes by, (n,), in the reference band of a member.

        It is that of the first learned member, else of the first; of what is not detected, that of its error.
        """
        learned = (member for member in self.members if isinstance(member, PhotozModel))
        band = reference_band(next(learned, self.members[0]))
        k = [known.value for known in self.bands].index(band.value)
        flux = np.fmax(photometry.flux[:, k], photometry.flux_err[:, k])
        return np.asarray(ZERO_POINT_UJY - 2.5 * np.log10(np.where(flux > 0, flux, np.nan)))

    def estimate(
        self,
        columns: Mapping[str, ArrayLike],
        pdf_step: float = 0.0,
        point: pdf.Point = "median",
        *,
        whole: bool = True,
    ) -> Columns:
        """Return the columns of the table `photoz`, but for identifiers and positions.

        Redshifts are those of the pooled densities; chi2 and template are of the first template fit,
        support_distance is the largest of the learned members, n_bands counts the bands of all. Flags are
        those of pooled densities and all bands, with OUT_OF_SUPPORT and POOR_FIT of any member and
        METHODS_DISAGREE where the densities of two members exclude each other, whatever their weights.

        Parameters
        ----------
        columns : mapping of str to (n,) arrays
            The catalog, with at least `columns`; any order of rows gives the same estimates.
        pdf_step, point, whole
            As of `PhotozModel.estimate`.

        Raises
        ------
        MissingColumns, BadInput
            As `PhotozModel.estimate`; columns that members lack are named together.
        """
        coarse = self.grid.coarser(pdf_step) if pdf_step else None
        blocks = [self._estimate_block(block, coarse, point) for block in self._blocks(columns, whole)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def to_bytes(self) -> bytes:
        """Return the combination as the content of a file, members in it; equal ones give equal bytes."""
        arrays: Columns = {
            f"{_MEMBER}{k}": np.frombuffer(member.to_bytes(), dtype=np.uint8)
            for k, member in enumerate(self.members)
        }
        if self.recalibration is not None:
            maps = self.recalibration.arrays()
            arrays |= {f"{_RECALIBRATION}{name}": array for name, array in maps.items()}
        manifest = {
            "names": list(self.names),
            "pool": asdict(self.pool),
            "calibrated": self.calibrated,
            "recalibration": self.recalibration is not None,
            "metrics": self.metrics,
            "provenance": self.provenance,
        }
        return artifact.to_bytes(KIND, manifest, arrays)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "the model") -> Self:
        """Return the combination of a file's content.

        Raises
        ------
        BadInput
            When it is none, or it or a member is damaged or of a newer version.
        """
        kind, manifest, arrays = artifact.from_bytes(content, name)
        if kind != KIND:
            raise BadInput(f"{name} holds a {kind!r}, not a combination of models")
        nested = {key: array.tobytes() for key, array in arrays.items() if key.startswith(_MEMBER)}
        if sum(map(len, nested.values())) > _UNPACKED_TIMES * len(content):
            raise BadInput(f"{name} is refused: the models in it are larger than it could hold")
        maps = {key.removeprefix(_RECALIBRATION): array for key, array in arrays.items() if key not in nested}
        try:
            pool = manifest["pool"]
            return cls(
                tuple(manifest["names"]),
                tuple(
                    member_of(nested[f"{_MEMBER}{k}"], f"{name} ({member})")
                    for k, member in enumerate(manifest["names"])
                ),
                Pool(pool["kind"], tuple(pool["weights"]), pool["loss"]),
                bool(manifest["calibrated"]),
                Recalibration.from_arrays(maps) if manifest["recalibration"] else None,
                manifest["metrics"],
                manifest["provenance"],
            )
        except (KeyError, ValueError, TypeError, BadArguments) as error:
            raise BadInput(f"{name} is not whole ({type(error).__name__}: {error})") from None

    def _blocks(self, columns: Mapping[str, ArrayLike], whole: bool) -> list[Mapping[str, Float64]]:
        """Return the columns in parts of at most `BLOCK` objects, at least one."""
        if missing := [name for name in self.columns if name not in columns]:
            raise MissingColumns("the catalog", missing, list(columns))
        table = {name: numbers(columns, name, "the catalog") for name in self.columns}
        if whole:
            read_photometry(table, self.bands)
        starts = range(0, max(*(len(values) for values in table.values()), 1), BLOCK)
        return [{name: values[at : at + BLOCK] for name, values in table.items()} for at in starts]

    def _estimate_block(
        self, block: Mapping[str, Float64], coarse: RedshiftGrid | None, point: pdf.Point
    ) -> Columns:
        found = [member.estimate(block, member.grid.step, whole=False) for member in self.members]
        densities = [
            pdf.rebin(one["pdf"], member.grid, self.grid)
            for one, member in zip(found, self.members, strict=True)
        ]
        photometry = read_photometry(block, self.bands, whole=False)
        density = self.pooled(densities, self.magnitude(photometry))
        flags = flags_of(photometry, density, self.grid, calibrated=self.calibrated)
        for one in found:
            flags |= one["photoz_flags"] & _OF_MEMBERS
        flags[apart(densities, self.grid)] |= PhotozFlag.METHODS_DISAGREE
        flags[np.isnan(density[:, 0])] |= PhotozFlag.NO_ESTIMATE
        result: Columns = {
            **pdf.summarise(density, self.grid, point),
            "chi2": self._of_template(found)["chi2"],
            "n_bands": photometry.observed.sum(axis=1).astype(np.int32),
            "template": self._of_template(found)["template"],
            "support_distance": np.fmax.reduce([one["support_distance"] for one in found]),
            "photoz_flags": flags,
        }
        if coarse is not None:
            result["pdf"] = pdf.rebin(density, self.grid, coarse)
        return result

    def _of_template(self, found: Sequence[Columns]) -> Columns:
        """Return what the first template fit found; where there is none, what has no chi2."""
        fits = [k for k, member in enumerate(self.members) if isinstance(member, TemplateFit)]
        return found[(fits or [0])[0]]


def apart(densities: Sequence[Float32], grid: RedshiftGrid) -> NDArray[np.bool_]:
    """Return where any two of several densities exclude each other, (n,); see `disagree`."""
    found = [disagree(one, other, grid) for one, other in combinations(densities, 2)]
    return np.asarray(np.logical_or.reduce(found))
