"""One field of SDSS as a job: its name, its command line, its frames and where its catalog goes."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NoReturn

from astrolake.errors import BadArguments
from astrolake.lake.storage import canonical_uri
from astrolake.photometry.options import DEPTHS, PSF_KINDS
from astrolake.photometry.source_flags import RADII_ARCSEC

BANDS = "ugriz"
#: What a job of a field is called, before its numbers.
PREFIX = "astrolake-field-"
#: What a frame may be packed in; the first that is there is taken.
SUFFIXES = (".fits.bz2", ".fits", ".fits.gz", ".fits.fz")


@dataclass(frozen=True)
class Extraction:
    """How sources are extracted; the defaults are those of the job extract_sources.

    Parameters
    ----------
    detect_sigma : float
        Threshold in units of the noise of a pixel.
    min_pixels : int
        Connected pixels above it that make a source.
    depth, psf : str
        As of extract_sources.
    aperture_radii_arcsec : tuple of float
        Radii of the circular apertures.
    match_radius_arcsec : float
        Farthest that sources of two bands are one object.
    """

    detect_sigma: float = 1.5
    min_pixels: int = 5
    depth: str = "standard"
    psf: str = "moffat"
    aperture_radii_arcsec: tuple[float, ...] = RADII_ARCSEC
    match_radius_arcsec: float = 1.0


@dataclass(frozen=True)
class FieldTask:
    """A field to extract.

    Parameters
    ----------
    run, camcol, field : int
        As SDSS numbers its imaging.
    bands : tuple of str
        Of u, g, r, i, z; put into this order, each once.
    output : str
        Directory or ``s3://`` prefix of the catalogs.
    images : str
        Directory or prefix of the frames, ``<images>/<run>/<camcol>/frame-...``; empty for that of the
        container's environment.
    extraction : Extraction

    Raises
    ------
    BadArguments
        When a number, band or location is none.
    """

    run: int
    camcol: int
    field: int
    bands: tuple[str, ...]
    output: str
    images: str = ""
    extraction: Extraction = Extraction()

    def __post_init__(self) -> None:
        for name, low, high in (("run", 0, 999_999), ("camcol", 1, 6), ("field", 0, 9_999)):
            number = getattr(self, name)
            if int(number) != number or not low <= number <= high:
                raise BadArguments(f"{name} {number!r}: give a whole number from {low} to {high}")
            object.__setattr__(self, name, int(number))
        if not self.bands or set(self.bands) - set(BANDS):
            raise BadArguments(f"bands {list(self.bands)}: give one or more of {', '.join(BANDS)}")
        object.__setattr__(self, "bands", tuple(band for band in BANDS if band in self.bands))
        object.__setattr__(self, "output", canonical_uri(self.output))
        if self.images:
            object.__setattr__(self, "images", canonical_uri(self.images))

    @property
    def label(self) -> str:
        """Run, camcol, field and bands in one word, as SDSS writes them."""
        return f"{self.run:06d}-{self.camcol}-{self.field:04d}-{''.join(self.bands)}"

    @property
    def directory(self) -> str:
        """Where the catalog goes: hive partitions below the output."""
        return f"{self.output}/run={self.run}/camcol={self.camcol}/field={self.field}"

    @property
    def catalog_uri(self) -> str:
        """The Parquet file of the field in these bands."""
        return f"{self.directory}/catalog-{''.join(self.bands)}.parquet"

    @property
    def rejects_uri(self) -> str:
        """What could not be used, one JSON object a line; engines pass over names with an underscore."""
        return f"{self.directory}/_rejects-{''.join(self.bands)}.jsonl"

    def frame_uris(self, band: str) -> list[str]:
        """Return where the frame of a band may lie."""
        name = f"frame-{band}-{self.run:06d}-{self.camcol}-{self.field:04d}"
        return [f"{self.images}/{self.run}/{self.camcol}/{name}{suffix}" for suffix in SUFFIXES]

    def command(self) -> list[str]:
        """Return the arguments of the container's entry point."""
        numbers = [f"--{name}={getattr(self, name)}" for name in ("run", "camcol", "field")]
        words = ["field", *numbers, "--bands", *self.bands, f"--output={self.output}"]
        if self.images:
            words.append(f"--images={self.images}")
        for item in fields(Extraction):
            if (value := getattr(self.extraction, item.name)) != item.default:
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{item.name.replace('_', '-')}", *map(str, values)]
        return words

    def job_name(self, definition: str) -> str:
        """Return the name of its job: the same for the same work, another for any other."""
        work = json.dumps([definition, self.command()])
        return f"{PREFIX}{self.label}-{hashlib.sha256(work.encode()).hexdigest()[:12]}"

    @classmethod
    def from_command(cls, words: Sequence[str]) -> FieldTask | None:
        """Return the task of a container's command, None where it is of no field.

        Raises
        ------
        BadArguments
            When a flag is unknown, missing or malformed.
        """
        if not words or words[0] != "field":
            return None
        return cls.of_flags(add_field_flags(_Parser()).parse_args(list(words[1:])))

    @classmethod
    def of_flags(cls, flags: argparse.Namespace, images: str = "") -> FieldTask:
        """Return the task of parsed flags; `images` is where the frames lie when they do not say."""
        given = {item.name: getattr(flags, item.name) for item in fields(Extraction)}
        given["aperture_radii_arcsec"] = tuple(given["aperture_radii_arcsec"])
        where = flags.images or images
        bands = tuple(flags.bands)
        return cls(flags.run, flags.camcol, flags.field, bands, flags.output, where, Extraction(**given))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadArguments(f"field: {message}")


def add_field_flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the flags of a field to a parser and return it."""
    for name, what in (("run", "SDSS run"), ("camcol", "camera column, 1 to 6"), ("field", "SDSS field")):
        parser.add_argument(f"--{name}", type=int, required=True, help=what)
    parser.add_argument("--bands", nargs="+", required=True, help="of u g r i z")
    parser.add_argument("--output", required=True, help="directory or s3:// prefix of the catalogs")
    parser.add_argument("--images", default="", help="directory or s3:// prefix of the frames ($IMAGES_URI)")
    parser.add_argument("--again", action="store_true", help="also where the catalog is up to date")
    parser.add_argument("--strict", action="store_true", help="exit with 3 when anything was rejected")
    default = Extraction()
    parser.add_argument("--detect-sigma", type=float, default=default.detect_sigma)
    parser.add_argument("--min-pixels", type=int, default=default.min_pixels)
    parser.add_argument("--depth", choices=DEPTHS, default=default.depth)
    parser.add_argument("--psf", choices=PSF_KINDS, default=default.psf)
    parser.add_argument(
        "--aperture-radii-arcsec", nargs="+", type=float, default=default.aperture_radii_arcsec
    )
    parser.add_argument("--match-radius-arcsec", type=float, default=default.match_radius_arcsec)
    return parser
