"""Stacks and warps of Pan-STARRS1: whole skycells, or cutouts.

https://outerspace.stsci.edu/display/PANSTARRS/PS1+Image+Cutout+Service: ps1filenames.py takes a file of
positions by POST and answers with the files of the best skycell of each; fitscut.cgi cuts squares out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from astrolake.data_access.download import RemoteFile
from astrolake.data_access.imaging.footprints import cutout_pixels, enclosing_cones
from astrolake.data_access.imaging.search import ImageSearch, chosen
from astrolake.data_access.imaging.skycells import PIXEL_ARCSEC, Skycell, holding, skycells_of
from astrolake.errors import BadArguments

#: Positions of one request.
_AT_A_TIME = 500
_COLUMNS = ("projcell", "subcell", "filter", "type", "filename")
#: A cutout up to this width is less than a quarter of a skycell.
_SMALL_PIXELS = 3000


@dataclass(frozen=True)
class _Listed:
    """A file of the archive's list."""

    projection: int
    cell: int
    band: str
    path: str


def panstarrs_images(
    search: ImageSearch,
    *,
    kind: str = "stack",
    planes: tuple[str, ...] = ("", "wt"),
    cutout: bool | str = "auto",
) -> Iterator[RemoteFile]:
    """Yield images of the skycells that a region touches.

    Parameters
    ----------
    search : ImageSearch
    kind : str
        stack: all exposures of a band together; warp: each exposure.
    planes : tuple of str
        What comes with the image, which is "": wt (its variance), mask, and num, exp and expwt of stacks.
    cutout : bool or "auto"
        A square that holds the region in place of whole skycells; auto: where it is 12 arcmin wide at most.
        It is cut out of one skycell where one holds all of it. Of masks, fitscut makes good pixels NaN.

    Raises
    ------
    BadArguments
        When an option is unknown, or the region too large for cutouts.
    ServiceError
        When the archive does not answer with a list of files.
    """
    chosen("kind", kind, ("stack", "warp"))
    known = ("", "wt", "mask", "num", "exp", "expwt")[: 6 if kind == "stack" else 3]
    types = tuple(f"{kind}.{chosen('planes', plane, known)}".rstrip(".") for plane in planes)
    size, most = cutout_pixels(search.region, PIXEL_ARCSEC), int(search.setting("cutout_pixels", 6000))
    chosen("cutout", cutout, (True, False, "auto"))
    cut = 0 < size <= _SMALL_PIXELS if cutout == "auto" else bool(cutout)
    if cut and not 0 < size <= most:
        width = most * PIXEL_ARCSEC / 60
        raise BadArguments(
            f"{search.survey.title}: a cutout is at most {width:.0f} arcmin wide; take all (cutout=False)"
        )
    wanted = skycells_of(search.region)
    if cut:
        wanted = holding(wanted, *enclosing_cones(search.region))
    listed: set[_Listed] = set()
    for first in range(0, len(wanted), _AT_A_TIME):
        listed.update(_list(search, wanted[first : first + _AT_A_TIME], types))
    files = sorted(listed, key=lambda file: (file.projection, file.cell, file.path))
    there = {(file.projection, file.cell) for file in files}
    for cell in wanted:
        if (cell.projection, cell.cell) not in there:
            name = f"{cell.projection:04d}.{cell.cell:03d}"
            search.note(f"{search.survey.title}: skycell {name} has no {', '.join(types)}")
    yield from (_cutout(search, file, size) if cut else _whole(search, file) for file in files)


def _list(search: ImageSearch, cells: list[Skycell], types: tuple[str, ...]) -> Iterator[_Listed]:
    """Yield the files of skycells that the archive has."""
    asked = {(cell.projection, cell.cell) for cell in cells}
    url = f"{search.url}/cgi-bin/ps1filenames.py"
    positions = "".join(f"{cell.ra:.6f} {cell.dec:.6f}\n" for cell in cells)
    form = {"filters": "".join(search.bands), "type": ",".join(types)}
    what = f"{form['type']} in {form['filters']} of {len(cells)} skycells from {positions.splitlines()[0]}"
    response = search.client.post(url, form, what, files={"file": ("positions.txt", positions)})
    header, *lines = response.text.splitlines() or [""]
    names = header.split()
    if not set(_COLUMNS) <= set(names):
        raise search.client.failure(f"answered with {response.text[:200]!r}, no list of files", url, what)
    for line in lines:
        row = dict(zip(names, line.split(), strict=False))
        if not row:
            continue
        try:
            file = _Listed(int(row["projcell"]), int(row["subcell"]), row["filter"], row["filename"])
            kind = row["type"]
            if not file.path.startswith("/"):
                raise ValueError("the path does not begin with a slash")
        except (KeyError, ValueError) as error:
            raise search.client.failure(f"sent the line {line[:200]!r}", url, what) from error
        if (file.projection, file.cell) in asked and kind in types and file.band in search.bands:
            yield file


def _whole(search: ImageSearch, file: _Listed) -> RemoteFile:
    # /rings.v3.skycell/1226/009/rings.v3.skycell.1226.009.stk.i.unconv.fits
    return search.file(f"{search.url}{file.path}", file.path.lstrip("/"), file.band)


def _cutout(search: ImageSearch, file: _Listed, size: int) -> RemoteFile:
    [cone] = enclosing_cones(search.region)
    ra, dec = f"{cone.ra:.6f}", f"{cone.dec:.6f}"
    query = {"ra": ra, "dec": dec, "size": size, "format": "fits", "red": file.path}
    place = f"cutouts/{ra}_{dec}_{size}px/{file.path.rsplit('/', 1)[-1]}"
    return search.file(f"{search.url}/cgi-bin/fitscut.cgi?{urlencode(query)}", place, file.band)
