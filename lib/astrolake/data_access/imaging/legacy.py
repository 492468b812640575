"""Coadds of the DESI Legacy Imaging Surveys: whole bricks, or cutouts of the viewer.

Files: https://www.legacysurvey.org/dr10/files/ (image stacks); every brick has a file of SHA-256 sums beside
them, which also tells what there is. Cutouts: https://www.legacysurvey.org/viewer/urls.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from astrolake.data_access.download import RemoteFile
from astrolake.data_access.imaging.bricks import bricks_of
from astrolake.data_access.imaging.footprints import cutout_pixels, enclosing_cones
from astrolake.data_access.imaging.search import ImageSearch
from astrolake.errors import BadArguments, BadInput
from astrolake.parallel import run_parallel

_PIXEL_ARCSEC = 0.262
_SUM = re.compile(r"(?m)^([0-9a-f]{64})\s+\*?(\S+)$")
#: What is downloaded of a brick unless told otherwise.
PLANES = ("image", "invvar", "maskbits")
#: One file for all bands.
_BANDLESS = ("maskbits",)

_SUFFIXES = (".fits.fz", ".fits.gz", ".fits")


@dataclass(frozen=True)
class _Brick:
    """A brick, the release that has it, and names and sums of its files."""

    name: str
    root: str
    files: dict[str, str]


def legacy_bricks(
    search: ImageSearch, *, planes: tuple[str, ...] = PLANES, cutout: bool = False
) -> Iterator[RemoteFile]:
    """Yield the coadds of the bricks that a region touches, or cutouts.

    Each brick is looked for in the releases of `options.roots`, one after the other; a brick of none of
    them is told to `search.note`, and so is a band that a brick lacks.

    Parameters
    ----------
    search : ImageSearch
    planes : tuple of str
        Of image, invvar, maskbits and other kinds of stacks.
    cutout : bool
        One file of the region in each band, resampled by the viewer, in place of bricks; without maskbits.

    Raises
    ------
    BadArguments
        When the region is too large for a cutout.
    """
    if cutout:
        yield from _cutouts(search, planes)
        return
    roots = tuple(search.of_release("roots"))
    bricks = bricks_of(search.region)
    outcomes = run_parallel(lambda names: _brick(search, roots, names), bricks, search.client.connections)
    found: list[_Brick] = []
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
        if outcome.value is None:
            search.note(f"{search.survey.title}: brick {outcome.item[0]} is not in {' or '.join(roots)}")
        else:
            found.append(outcome.value)
    for brick in sorted(found, key=lambda brick: brick.name):
        yield from _files(search, brick, planes)


def _brick(search: ImageSearch, roots: tuple[str, ...], names: tuple[str, ...]) -> _Brick | None:
    """Return a brick and the sums of its files; None when it is nowhere."""
    for root, name in itertools.product(roots, names):
        prefix = f"legacysurvey_{root.replace('/', '_')}_coadd"
        url = f"{_folder(search, root, name)}/{prefix}_{name[:3]}_{name}.sha256sum"
        try:
            text = search.client.get(url, what=f"the files of brick {name}").text
        except BadInput as error:
            if error.kind != "NotFound":
                raise
            continue
        files = {path.rsplit("/", 1)[-1]: digest for digest, path in _SUM.findall(text)}
        if not files:
            raise search.client.failure(f"sent no SHA-256 sums but {text[:100]!r}", url)
        return _Brick(name, root, files)
    return None


def _folder(search: ImageSearch, root: str, brick: str) -> str:
    return f"{search.url}/{root}/coadd/{brick[:3]}/{brick}"


def _files(search: ImageSearch, brick: _Brick, planes: tuple[str, ...]) -> Iterator[RemoteFile]:
    kinds = [(plane, band) for plane in planes if plane not in _BANDLESS for band in search.bands]
    kinds += [(plane, "") for plane in planes if plane in _BANDLESS]
    for plane, band in sorted(kinds):
        stem = "-".join(part for part in ("legacysurvey", brick.name, plane, band) if part)
        name = next((stem + suffix for suffix in _SUFFIXES if stem + suffix in brick.files), "")
        if not name:
            what = f"{plane} {band}".rstrip()
            search.note(f"{search.survey.title}: brick {brick.name} of {brick.root} has no {what}")
            continue
        place = f"{brick.root}/coadd/{brick.name[:3]}/{brick.name}/{name}"
        yield search.file(f"{search.url}/{place}", place, band, checksum=f"sha256:{brick.files[name]}")


def _cutouts(search: ImageSearch, planes: tuple[str, ...]) -> Iterator[RemoteFile]:
    """Yield one cutout in each band, which holds the region; its inverse variance is in the next HDU."""
    size = cutout_pixels(search.region, _PIXEL_ARCSEC)
    most = int(search.setting("cutout_pixels", 3000))
    if not 0 < size <= most:
        width = most * _PIXEL_ARCSEC / 3600
        raise BadArguments(
            f"{search.survey.title}: a cutout is at most {width:.2f} deg wide; take bricks (cutout=False)"
        )
    [cone] = enclosing_cones(search.region)
    ra, dec = f"{cone.ra:.6f}", f"{cone.dec:.6f}"
    layer, address = search.of_release("layers"), search.address(search.setting("cutouts"))
    for band in search.bands:
        # One band at a time, else the answer is a cube.
        query = {"ra": ra, "dec": dec, "size": size, "layer": layer, "pixscale": _PIXEL_ARCSEC, "bands": band}
        if "invvar" in planes:
            query["invvar"] = ""
        place = f"cutouts/legacysurvey-{layer}_{ra}_{dec}_{size}px-{band}.fits"
        yield search.file(f"{address}?{urlencode(query)}", place, band)
