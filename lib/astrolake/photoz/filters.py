"""Filter curves: those of surveys from `speclite`, or a user's files; photon-counting AB fluxes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadArguments, BadInput, MissingDependency
from astrolake.photoz.sed_files import Spectrum, read_columns

Float64 = NDArray[np.float64]

#: Files of curves that a directory is searched for.
_SUFFIXES = (".res", ".par", ".dat", ".txt", ".pb", ".filt", ".ascii", ".ecsv")
#: Curves of speclite by the surveys of the lake; "{band}" stands for the band.
SURVEYS: dict[str, tuple[str, ...]] = {
    "sdss": ("sdss2010-{band}",),
    "panstarrs": ("panstarrs-{band}",),
    "decam": ("decam2014-{band}",),
    "des": ("decam2014-{band}",),
    "legacy": ("decam2014-{band}", "wise2010-{band}"),
    "legacy_north": ("BASS-{band}", "MzLS-{band}", "wise2010-{band}"),
    "wise": ("wise2010-{band}",),
    "twomass": ("twomass-{band}",),
    "gaia": ("gaiadr3-{band}",),
    "lsst": ("lsst2023-{band}",),
    "hsc": ("hsc2017-{band}",),
    "cfht": ("cfht_megacam-{band}",),
    "euclid": ("Euclid-{band}",),
    "galex": ("galex-{band}",),
    "bessell": ("bessell-{band}",),
}
#: Microjansky of 1 erg/s/cm2/Hz, and the speed of light in Angstrom/s.
_UJY, _C = 1e29, 2.99792458e18


@dataclass(frozen=True)
class FilterCurve:
    """Response of a band per photon, atmosphere included where the source has it.

    Parameters
    ----------
    band : str
    wavelength : (n,) float64
        Angstrom, ascending.
    response : (n,) float64
        In any unit, 0 beyond the ends.
    """

    band: str
    wavelength: Float64
    response: Float64

    def __post_init__(self) -> None:
        if (np.diff(self.wavelength) < 0).any() or not np.isfinite(self.wavelength).all():
            raise BadInput(f"filter {self.band}: wavelengths do not rise")
        if not (self.response > 0).any() or not np.isfinite(self.response).all():
            raise BadInput(f"filter {self.band} lets no light through")

    def sampled(self) -> tuple[Float64, Float64]:
        """Return wavelengths at most 1e-4 of them apart, and the curve there: straight between its points."""
        ends = np.log(np.maximum(self.wavelength[[0, -1]], 1.0))
        at = np.union1d(self.wavelength, np.exp(np.arange(ends[0], ends[1], 1e-4)))
        return at, np.interp(at, self.wavelength, self.response, left=0.0, right=0.0)

    @property
    def pivot(self) -> float:
        """Pivot wavelength in Angstrom: sqrt(integral of R l dl over integral of R / l dl)."""
        at, response = self.sampled()
        return float(np.sqrt(np.trapezoid(response * at, at) / np.trapezoid(response / at, at)))

    @property
    def support(self) -> tuple[float, float]:
        """First and last wavelength where the response is a thousandth of its peak."""
        high = self.wavelength[self.response > 1e-3 * self.response.max()]
        return float(high[0]), float(high[-1])


def synthetic_flux(spectrum: Spectrum, curve: FilterCurve) -> float:
    """Return the AB flux density of a spectrum in erg/s/cm2/A, in microjansky.

    The mean of f_nu weighted by detected photons (Fukugita et al. 1996, AJ 111, 1748, eq. 7):
    integral of f_l R l dl over c times the integral of R / l dl.
    """
    at = np.union1d(curve.sampled()[0], spectrum.wavelength)
    at = at[(at >= curve.wavelength[0]) & (at <= curve.wavelength[-1])]
    response = np.interp(at, curve.wavelength, curve.response)
    flux = np.interp(at, spectrum.wavelength, spectrum.flux, left=0.0, right=0.0)
    return float(_UJY / _C * np.trapezoid(flux * response * at, at) / np.trapezoid(response / at, at))


def load_filters(
    source: str | Path, bands: Sequence[str], names: Mapping[str, str] | None = None
) -> tuple[FilterCurve, ...]:
    """Return the filter curves of bands.

    Parameters
    ----------
    source : str or Path
        A survey of `SURVEYS`, a group of curves of speclite ("sdss2010"), or a directory of files of two
        columns, wavelength in Angstrom and response per photon (.res, .par, .dat, ...).
    bands : sequence of str
    names : mapping of str to str, optional
        The curve or file of a band where it does not follow from the band's name.

    Raises
    ------
    BadInput
        When there is no curve, or more than one, for a band; the message lists what there is.
    MissingDependency
        When speclite is wanted and not installed.
    """
    if not bands:
        raise BadArguments("filters of no bands: name at least one")
    chosen = dict(names or {})
    if Path(source).is_dir():
        return tuple(_from_directory(Path(source), band, chosen.get(band)) for band in bands)
    return tuple(_from_speclite(str(source), band, chosen.get(band)) for band in bands)


def _from_speclite(source: str, band: str, name: str | None) -> FilterCurve:
    try:
        from speclite.filters import load_filter
    except ImportError:
        raise MissingDependency(
            f"filter curves of {source!r} come from speclite: pip install 'astrolake[photoz]', "
            "or give a directory of filter curves"
        ) from None
    patterns = SURVEYS.get(source, (f"{source}-{{band}}",))
    candidates = [name] if name else [pattern.format(band=band) for pattern in patterns]
    for candidate in candidates:
        try:
            found = load_filter(candidate)
        except ValueError:
            continue
        wavelength = np.asarray(found.wavelength, dtype=np.float64)
        return FilterCurve(band, wavelength, np.asarray(found.response, dtype=np.float64))
    raise BadInput(
        f"no filter curve for band {band!r} of {source!r} (tried {', '.join(candidates)}); surveys are "
        f"{', '.join(SURVEYS)}; other groups of speclite and directories may be given too"
    )


def _from_directory(folder: Path, band: str, name: str | None) -> FilterCurve:
    files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    wanted = (name or band).lower()
    exact = [path for path in files if wanted in (path.name.lower(), path.stem.lower())]
    parts = [path for path in files if wanted in re.split(r"[_.\-]", path.stem.lower())]
    # Bands may differ by case alone (y and Y, i and I).
    found = exact or [path for path in parts if band in re.split(r"[_.\-]", path.stem)] or parts
    if len(found) != 1:
        listed = ", ".join(path.name for path in found or files) or "nothing"
        raise BadInput(
            f"{folder} has {'more than one' if found else 'no'} filter curve for band {band!r}: "
            f"{listed}; name the file of the band"
        )
    return read_filter(found[0], band)


def read_filter(path: Path, band: str) -> FilterCurve:
    """Return a curve of two ASCII columns, or of a Yanny .par file (rows of a word and two numbers)."""
    if path.suffix == ".par":
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        pairs = [_numbers(row[1:]) for row in rows if len(row) == 3 and _numbers(row[1:])]
        table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        if not len(table):
            raise BadInput(f"filter {path} has no rows of a structure of wavelength and response")
    elif path.suffix == ".ecsv":
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        table = np.array([line.split()[:2] for line in lines[1:]], dtype=np.float64)
    else:
        table = read_columns(path, "filter")
    order = np.argsort(table[:, 0], kind="stable")
    return FilterCurve(band, table[order, 0], np.maximum(table[order, 1], 0.0))


def _numbers(words: Sequence[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        return []
