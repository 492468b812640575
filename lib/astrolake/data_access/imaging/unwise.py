"""unWISE coadds: tiles of 1.56 degrees, whose list is a table beside them.

Names, planes and units: https://unwise.me/data; Lang 2014, AJ 147, 108; Meisner et al. 2021,
RNAAS 5, 168.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from astropy.io import fits

from astrolake.data_access.download import RemoteFile
from astrolake.data_access.imaging.footprints import enclosing_cones, rectangles, touching
from astrolake.data_access.imaging.search import ImageSearch, chosen
from astrolake.data_access.imaging.sia import sia_images
from astrolake.sky.separation import separation_arcsec

#: 2048 pixels of 2.75 arcsec.
_HALF_TILE_DEG = 1024 * 2.75 / 3600
#: What is packed by gzip in every release.
_PACKED = ("invvar", "std", "n")
#: Bands of the months with coolant.
_CRYOGENIC = ("W3", "W4")


def unwise_images(
    search: ImageSearch,
    *,
    kind: str = "unwise",
    version: str = "",
    planes: tuple[str, ...] = ("img", "invvar"),
) -> Iterator[RemoteFile]:
    """Yield the coadds of the tiles that a region touches.

    Parameters
    ----------
    search : ImageSearch
    kind : str
        unwise: coadds of all years, as sharp as the exposures. allwise: the Atlas of AllWISE.
    version : str
        Of unWISE: allwise, neo1 to neo9; by default that of `options.versions` for a band.
    planes : tuple of str
        Of unWISE, without outliers: img, invvar, std (scatter of the exposures), n (number of exposures).

    Raises
    ------
    ServiceError
        When the list of tiles is not one.
    """
    if chosen("kind", kind, ("unwise", "allwise")) == "allwise":
        yield from sia_images(search, settings=search.setting("allwise"))
        return
    versions = {band: version or str(search.setting("versions")[band]) for band in search.bands}
    tiles = sorted(_tiles(search))
    for band, chosen_version in versions.items():
        if chosen_version.startswith("neo") and band in _CRYOGENIC:
            search.note(f"{search.survey.title}: unWISE {chosen_version} has no {band}")
            continue
        for tile in tiles:
            for plane in planes:
                suffix = ".gz" if chosen("planes", plane, ("img", *_PACKED)) in _PACKED else ""
                name = f"unwise-{tile}-{band.lower()}-{plane}-m.fits{suffix}"
                place = f"{chosen_version}/unwise-coadds/fulldepth/{tile[:3]}/{tile}/{name}"
                yield search.file(f"{search.url}/{place}", place, band)


def _tiles(search: ImageSearch) -> list[str]:
    """Return the names of the tiles that a region touches."""
    url, what = search.address(search.setting("tiles")), "the list of tiles of unWISE"
    content = search.client.get(url, what=what).content
    try:
        with fits.open(io.BytesIO(content), memmap=False) as hdus:
            table = hdus[1].data
            names = np.char.strip(np.asarray(table["coadd_id"], dtype=str))
            ra, dec = (np.asarray(table[column], dtype=np.float64) for column in ("ra", "dec"))
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise search.client.failure(
            f"sent no table with coadd_id, ra and dec ({error})", url, what
        ) from error
    near = np.zeros(len(names), dtype=bool)
    for cone in enclosing_cones(search.region):
        near |= separation_arcsec(cone.ra, cone.dec, ra, dec) <= (cone.radius + 1.5 * _HALF_TILE_DEG) * 3600
    names, ra, dec = names[near], ra[near], dec[near]
    found = touching(search.region.ranges(), *rectangles(ra, dec, _HALF_TILE_DEG, _HALF_TILE_DEG))
    return [str(name) for name in names[found]]
