"""Spectra of template galaxies from files: ASCII spectra, and the template lists of EAZY, LePhare and BPZ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput

Float64 = NDArray[np.float64]

#: Endings of spectra, and of lists of spectra, that a directory is searched for.
SPECTRUM_SUFFIXES = (".sed", ".dat", ".spec", ".ascii", ".txt")
LIST_SUFFIXES = (".list", ".param", ".params")
#: LePhare and EAZY name spectra from the root of their data, some levels above the list.
_LEVELS_UP = 4


@dataclass(frozen=True)
class Spectrum:
    """A spectrum at rest.

    Parameters
    ----------
    name : str
        Stem of its file.
    wavelength : (n,) float64
        Angstrom, ascending; a step may be 0 wide (an edge).
    flux : (n,) float64
        Flux density per wavelength in any unit; not negative.
    """

    name: str
    wavelength: Float64
    flux: Float64


def read_columns(path: Path, what: str, least: int = 2) -> Float64:
    """Return the numbers of an ASCII table, (rows, columns), lines from '#' on left out.

    Raises
    ------
    BadInput
        For a file that cannot be read, holds other things than numbers, or fewer columns than `least`.
    """
    try:
        table = np.loadtxt(path, comments=("#", ";"), ndmin=2)
    except OSError as error:
        raise BadInput(f"{what} {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise BadInput(f"{what} {path} is no table of numbers ({error}); give columns of ASCII") from None
    if len(table) < 2 or table.shape[1] < least:
        raise BadInput(
            f"{what} {path} has {table.shape[1]} columns of {len(table)} rows; at least {least} x 2"
        )
    return table


def read_spectrum(path: Path, wavelength_scale: float = 1.0) -> Spectrum:
    """Return a spectrum of two ASCII columns, wavelength and flux density per wavelength.

    Parameters
    ----------
    path : Path
    wavelength_scale : float
        What its wavelengths are multiplied with to be in Angstrom.

    Raises
    ------
    BadInput
        When it is no such file, wavelengths do not rise, or no flux is above 0.
    """
    table = read_columns(path, "spectrum")
    wavelength, flux = table[:, 0] * wavelength_scale, table[:, 1]
    if not np.isfinite(table[:, :2]).all():
        raise BadInput(f"spectrum {path} holds values that are not finite")
    if (np.diff(wavelength) < 0).any() or wavelength[0] < 0:
        raise BadInput(f"spectrum {path}: wavelengths do not rise from 0 or above")
    if not (flux > 0).any():
        raise BadInput(f"spectrum {path} has no flux above 0")
    return Spectrum(path.stem, wavelength, np.maximum(flux, 0.0))


def read_spectra(source: Path) -> list[Spectrum]:
    """Return the spectra of a directory or of a list of templates, in the list's order.

    Parameters
    ----------
    source : Path
        A directory: the one list in it, else all of its spectra by name. A list: a name in each line (BPZ,
        LePhare), or a number, a name and the scale of wavelengths (EAZY). Names are taken from the list's
        directory or one above.

    Raises
    ------
    BadInput
        When there is nothing, or more than one list, or a spectrum that is named is missing.
    """
    if not source.is_dir():
        return _read_list(source)
    files = sorted(path for path in source.iterdir() if path.is_file())
    lists = [path for path in files if path.suffix in LIST_SUFFIXES]
    if len(lists) > 1:
        names = ", ".join(path.name for path in lists)
        raise BadInput(f"{source} has more than one list of templates: {names}; give the path of one")
    if lists:
        return _read_list(lists[0])
    spectra = [path for path in files if path.suffix in SPECTRUM_SUFFIXES]
    if not spectra:
        raise BadInput(f"{source} has no spectra ({', '.join(SPECTRUM_SUFFIXES)}) and no list of templates")
    return [read_spectrum(path) for path in spectra]


def _read_list(path: Path) -> list[Spectrum]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadInput(f"list of templates {path} cannot be read: {error.strerror}") from None
    entries = [words for line in lines if (words := line.split("#")[0].split())]
    if not entries:
        raise BadInput(f"list of templates {path} names no spectrum")
    return [_read_entry(words, path) for words in entries]


def _read_entry(words: list[str], path: Path) -> Spectrum:
    numbered = words[0].isdigit() and len(words) > 1
    name = words[1] if numbered else words[0]
    try:
        scale = float(words[2]) if numbered and len(words) > 2 else 1.0
    except ValueError:
        raise BadInput(f"{path}: {words[2]!r} of template {name} is no scale of wavelengths") from None
    above = [path.parent, *path.parent.resolve().parents[: _LEVELS_UP - 1]]
    places = [*(folder / name for folder in above), path.parent / Path(name).name]
    for place in places:
        if place.is_file():
            return read_spectrum(place, scale)
    raise BadInput(f"{path} names the template {name}, which is not in {path.parent} or above")
