"""Coadds of the DESI Legacy Imaging Surveys: whole bricks, or cutouts of the viewer.

Files: https://www.legacysurvey.org/dr10/files/ (image stacks); every brick has a file of SHA-256 sums beside
them, which also tells what there is. Cutouts: https://www.legacysurvey.org/viewer/urls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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

#: Names and sums of the files of a brick.
_Files = dict[str, str]


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
    outcomes = run_parallel(lambda brick: _sums(search, roots, brick), bricks, search.client.connections)
    found: dict[str, tuple[str, _Files]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
        if outcome.value is None:
            search.note(f"{search.survey.title}: brick {outcome.item} is not in {' or '.join(roots)}")
        else:
            found[outcome.item] = outcome.value
    for brick in sorted(found):
        yield from _files(search, brick, *found[brick], planes)


def _sums(search: ImageSearch, roots: tuple[str, ...], brick: str) -> tuple[str, _Files] | None:
    """Return where a brick is and the sums of its files; None when it is nowhere."""
    for root in roots:
        prefix = f"legacysurvey_{root.replace('/', '_')}_coadd"
        url = f"{_folder(search, root, brick)}/{prefix}_{brick[:3]}_{brick}.sha256sum"
        try:
            text = search.client.get(url, what=f"the files of brick {brick}").text
        except BadInput as error:
            if error.kind != "NotFound":
                raise
            continue
        files = {name.rsplit("/", 1)[-1]: digest for digest, name in _SUM.findall(text)}
        if not files:
            raise search.client.failure(f"sent no SHA-256 sums but {text[:100]!r}", url)
        return root, files
    return None


def _folder(search: ImageSearch, root: str, brick: str) -> str:
    return f"{search.url}/{root}/coadd/{brick[:3]}/{brick}"


def _files(
    search: ImageSearch, brick: str, root: str, sums: _Files, planes: tuple[str, ...]
) -> Iterator[RemoteFile]:
    kinds = [(plane, band) for plane in planes if plane not in _BANDLESS for band in search.bands]
    kinds += [(plane, "") for plane in planes if plane in _BANDLESS]
    for plane, band in sorted(kinds):
        stem = "-".join(part for part in ("legacysurvey", brick, plane, band) if part)
        name = next(
            (f"{stem}{suffix}" for suffix in (".fits.fz", ".fits.gz", ".fits") if f"{stem}{suffix}" in sums),
            "",
        )
        if not name:
            search.note(f"{search.survey.title}: brick {brick} of {root} has no {plane} {band}".rstrip())
            continue
        place = f"{root}/coadd/{brick[:3]}/{brick}/{name}"
        yield search.file(f"{search.url}/{place}", place, band, checksum=f"sha256:{sums[name]}")


def _cutouts(search: ImageSearch, planes: tuple[str, ...]) -> Iterator[RemoteFile]:
    """Yield one cutout in each band, which holds the region; its inverse variance is in the next HDU."""
    size = cutout_pixels(search.region, _PIXEL_ARCSEC)
    most = int(search.setting("cutout_pixels"))
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
