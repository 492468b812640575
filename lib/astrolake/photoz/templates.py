"""Sets of galaxy templates: found in installed packages or directories, thinned, mixed and reddened."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from astrolake.errors import BadArguments, MissingDependency
from astrolake.photoz import dust
from astrolake.photoz.sed_files import Spectrum, read_spectra, read_spectrum

Float64 = NDArray[np.float64]

#: Types that the prior knows: ellipticals, spirals, irregulars and starbursts (Benitez 2000, section 4).
N_TYPES = 3
#: Templates are scaled to a mean flux of 1 here before they are mixed.
_NORMAL = (4000.0, 5500.0)
#: Mean flux in the near-UV over that in the green, which bounds the types of sets that tell none: between
#: those of El and Sbc, and of Scd and Im of Coleman, Wu & Weedman.
_UV, _GREEN, _TYPE_BOUNDS = (2600.0, 3600.0), (5000.0, 6000.0), (0.36, 0.80)
_RAIL_SEDS = "rail/examples_data/estimation_data/data/SED"


@dataclass(frozen=True)
class TemplateSet:
    """Spectra of galaxies, from red to blue where neighbours are mixed.

    Parameters
    ----------
    name : str
    spectra : tuple of Spectrum
    types : (n, 3) float64
        How much of an elliptical, a spiral, an irregular or starburst each is; rows add up to 1.
    """

    name: str
    spectra: tuple[Spectrum, ...]
    types: Float64

    def __post_init__(self) -> None:
        if not self.spectra:
            raise BadArguments(f"template set {self.name} is empty")
        if self.types.shape != (len(self.spectra), N_TYPES):
            raise BadArguments(f"types {self.types.shape} of {len(self.spectra)} templates")
        if len(set(self.names)) != len(self.spectra):
            raise BadArguments(f"template set {self.name} has two templates of one name")

    def __len__(self) -> int:
        return len(self.spectra)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the templates."""
        return tuple(spectrum.name for spectrum in self.spectra)

    def resized(self, n_templates: int) -> TemplateSet:
        """Return about evenly spread templates of the sequence: fewer are picked, more are mixed."""
        if n_templates < 1:
            raise BadArguments(f"n_templates={n_templates}: give 1 or more")
        places = np.linspace(0, len(self) - 1, n_templates)
        if n_templates <= len(self):
            return self._at(np.round(places))
        return self._at(places)

    def interpolated(self, between: int) -> TemplateSet:
        """Return the set with `between` mixtures between neighbours (BPZ's INTERP)."""
        if between < 0:
            raise BadArguments(f"{between} mixtures between templates: give 0 or more")
        return self._at(np.arange((len(self) - 1) * (between + 1) + 1) / (between + 1))

    def reddened(self, ebv: Sequence[float], law: dust.DustLaw = "calzetti", first: int = 0) -> TemplateSet:
        """Return the set with copies of the templates from `first` on behind dust.

        Parameters
        ----------
        ebv : sequence of float
            Colour excesses in magnitudes; 0 is there in any case.
        law : {"calzetti", "smc", "milky_way"}
        first : int
            Index of the first template that gets dust: ellipticals have little.
        """
        if any(value < 0 for value in ebv):
            raise BadArguments(f"colour excesses {list(ebv)}: give values of 0 and more")
        spectra, kinds = list(self.spectra), list(self.types)
        for value in sorted({float(v) for v in ebv} - {0.0}):
            for spectrum, kind in zip(self.spectra[first:], self.types[first:], strict=True):
                through = dust.transmission(law, value, spectrum.wavelength)
                name = f"{spectrum.name}_{law}_{value:g}"
                spectra.append(Spectrum(name, spectrum.wavelength, spectrum.flux * through))
                kinds.append(kind)
        return TemplateSet(self.name, tuple(spectra), np.array(kinds))

    def _at(self, places: Float64) -> TemplateSet:
        left = np.minimum(places.astype(np.int64), max(len(self) - 2, 0))
        parts = places - left
        spectra, kinds = [], []
        for k, part in zip(left, parts, strict=True):
            nearest = k + (part >= 1.0)
            if part in (0.0, 1.0):
                spectra.append(self.spectra[nearest])
                kinds.append(self.types[nearest])
            else:
                spectra.append(_mixed(self.spectra[k], self.spectra[k + 1], part))
                kinds.append((1 - part) * self.types[k] + part * self.types[k + 1])
        return TemplateSet(self.name, tuple(spectra), np.array(kinds))


def load_templates(
    template_set: str | Path = "cosmos",
    n_templates: int | None = None,
    directory: str | Path | None = None,
    type_counts: Sequence[int] | None = None,
) -> TemplateSet:
    """Return a set of templates.

    Parameters
    ----------
    template_set : {"cosmos", "cww", "sdss", "pegase"} or path
        The 31 SEDs of COSMOS (Ilbert et al. 2009; from pz-rail-base); CWW and starbursts of BPZ (Benitez
        2000, Coe et al. 2006; from pz-rail-base or desc-bpz, else the four of CWW from galsim); those
        fitted to SDSS by Blanton & Roweis (2007; from kcorrect); PEGASE, from a directory alone. A
        directory or a list of templates (EAZY's .param, LePhare's and BPZ's .list) is a set too.
    n_templates : int, optional
        As `TemplateSet.resized`; all by default.
    directory : path, optional
        Where the files of the named set are, in place of a package.
    type_counts : sequence of 3 int, optional
        How many ellipticals, spirals, and irregulars or starbursts the set has, in its order; by default
        known, or told by colours.

    Raises
    ------
    MissingDependency
        When no package that has the set is installed; the message says which would do.
    BadArguments
        For a set that is not known.
    """
    name = str(template_set)
    if directory is not None:
        found = (read_spectra(Path(directory)), type_counts)
    elif name in _SETS:
        found = _SETS[name]()
    elif Path(name).exists():
        found = (read_spectra(Path(name)), type_counts)
    else:
        raise BadArguments(
            f"template set {name!r}: give one of {', '.join(_SETS)}, or a directory or list of templates"
        )
    spectra, counts = found[0], type_counts or found[1]
    types = _types_from_counts(counts, len(spectra)) if counts else _types_from_colours(spectra)
    loaded = TemplateSet(Path(name).name, tuple(_normalised(s) for s in spectra), types)
    return loaded if n_templates is None else loaded.resized(n_templates)


Found = tuple[list[Spectrum], Sequence[int] | None]


def _cosmos() -> Found:
    listed = _installed("pz-rail-base", f"{_RAIL_SEDS}/COSMOS_seds.list")
    if listed is None:
        raise MissingDependency(
            "the COSMOS templates come with pz-rail-base: pip install --no-deps pz-rail-base (its files "
            "are read, it is not imported), or give a directory that has them"
        )
    # The counts of the prior that comes with them (COSMOS31_HDFN_prior.pkl, nt_array).
    return read_spectra(listed), (10, 5, 16)


def _cww() -> Found:
    places = (
        ("pz-rail-base", f"{_RAIL_SEDS}/CWWSB4.list"),
        ("desc-bpz", "desc_bpz/data_files/SED/CWWSB4.list"),
    )
    for package, path in places:
        if (listed := _installed(package, path)) is not None:
            return read_spectra(listed), (1, 2, 5)
    if _installed("galsim", "galsim/share/SEDs/CWW_E_ext_more.sed") is not None:
        files = (
            _installed("galsim", f"galsim/share/SEDs/CWW_{t}_ext.sed") for t in ("E", "Sbc", "Scd", "Im")
        )
        return [read_spectrum(file) for file in files if file is not None], (1, 2, 1)
    raise MissingDependency(
        "the CWW templates come with pz-rail-base or desc-bpz (pip install --no-deps pz-rail-base), four of "
        "them with galsim; or give a directory that has them"
    )


def _sdss() -> Found:
    """Read the averages over star-formation histories of kcorrect, oldest first."""
    spectra = []
    for kind in ("lrg1", "default"):
        file = _installed("kcorrect", f"kcorrect/data/templates/kcorrect-{kind}-v4.fits")
        if file is None:
            raise MissingDependency(
                "the templates fitted to SDSS (Blanton & Roweis 2007) come with kcorrect: "
                "pip install --no-deps kcorrect, or give a directory of others"
            )
        with fits.open(file) as hdus:
            row = hdus["FLUX"].data[0]
            wavelength = np.asarray(row["wave"], dtype=np.float64).ravel()
            fluxes = np.asarray(row["flux"], dtype=np.float64).reshape(-1, len(wavelength))
        spectra += [Spectrum(f"{kind}{k + 1}", wavelength, np.maximum(f, 0.0)) for k, f in enumerate(fluxes)]
    return sorted(spectra, key=_blueness), None


def _pegase() -> Found:
    raise MissingDependency(
        "no package ships PEGASE spectra: give load_templates(..., directory=...) the directory or .param "
        "list of one, such as templates/pegase13 of eazy-photoz"
    )


_SETS: dict[str, Callable[[], Found]] = {"cosmos": _cosmos, "cww": _cww, "sdss": _sdss, "pegase": _pegase}


def _installed(package: str, path: str) -> Path | None:
    """Return a file of an installed distribution, which is not imported."""
    try:
        distribution: Any = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    found = Path(distribution.locate_file(path))
    return found if found.is_file() else None


def _mean_flux(spectrum: Spectrum, window: tuple[float, float]) -> float:
    at = np.linspace(*window, 200)
    return float(np.interp(at, spectrum.wavelength, spectrum.flux, left=0.0, right=0.0).mean())


def _normalised(spectrum: Spectrum) -> Spectrum:
    level = _mean_flux(spectrum, _NORMAL)
    scale = level if level > 0 else float(spectrum.flux.max())
    return Spectrum(spectrum.name, spectrum.wavelength, spectrum.flux / scale)


def _mixed(red: Spectrum, blue: Spectrum, part: float) -> Spectrum:
    at = np.union1d(red.wavelength, blue.wavelength)
    values = [np.interp(at, s.wavelength, s.flux, left=0.0, right=0.0) for s in (red, blue)]
    return Spectrum(f"{red.name}+{part:.3g}*{blue.name}", at, (1 - part) * values[0] + part * values[1])


def _blueness(spectrum: Spectrum) -> float:
    return _mean_flux(spectrum, _UV) / max(_mean_flux(spectrum, _GREEN), 1e-30)


def _types_from_counts(counts: Sequence[int], n: int) -> Float64:
    if len(counts) != N_TYPES or sum(counts) != n or min(counts) < 0:
        raise BadArguments(f"type_counts {list(counts)}: give {N_TYPES} counts that add up to {n} templates")
    return np.eye(N_TYPES)[np.repeat(np.arange(N_TYPES), counts)]


def _types_from_colours(spectra: Sequence[Spectrum]) -> Float64:
    blueness = np.array([_blueness(spectrum) for spectrum in spectra])
    return np.eye(N_TYPES)[np.searchsorted(_TYPE_BOUNDS, blueness)]
