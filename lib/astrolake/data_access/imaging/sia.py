"""Images through Simple Image Access 2 (https://www.ivoa.net/documents/SIA/): of IRSA, and of other archives.

IRSA: https://irsa.ipac.caltech.edu/ibe/sia.html. Its AllWISE files have MD5 sums beside them
(https://irsa.ipac.caltech.edu/ibe/docs/wise/allwise/p3am_cdd/).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

import numpy as np
import pyvo
from astropy.io import votable
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning
from pyvo.dal.sia2 import SIA2Results

from astrolake.data_access.download import RemoteFile
from astrolake.data_access.formats.votable import refuse_references
from astrolake.data_access.imaging.footprints import enclosing_cones, touched_cells, touching
from astrolake.data_access.imaging.search import ImageSearch
from astrolake.errors import BadArguments, BadInput
from astrolake.sky.healpix import cell_center, cone_cells, largest_radius_deg
from astrolake.sky.region import Cone
from astrolake.sky.separation import Int64

_MOST_ROWS = 10_000
#: Parts that an answer which was cut off is asked for in have at least this radius.
_SMALLEST_DEG = 0.05
_FINEST_ORDER = 12
_NEEDED = ("access_url", "s_region", "energy_bandpassname")
_USED = (*_NEEDED, "dataproduct_subtype")
#: What is raised on what is no table.
_NO_TABLE = (
    *(pyvo.DALAccessError, BadInput, AstropyWarning, ExpatError),
    *(ValueError, TypeError, OSError, LookupError, MemoryError),
)

#: What a record has of `_USED`, as text.
_Row = dict[str, str]


def sia_images(search: ImageSearch, *, settings: Mapping[str, Any] | None = None) -> Iterator[RemoteFile]:
    """Yield the images of a collection that a region touches.

    Settings are the service's options, unless given: `collection`, `bands` (names of the service for
    ours), `subtype` (of the product; all when there is none), `place_after` (what of the URL's path goes
    before the place in the lake), `checksum_suffix` (of sums beside the files), and `companions` (endings
    of names to those of files beside them).

    Parameters
    ----------
    search : ImageSearch
    settings : mapping, optional

    Raises
    ------
    BadArguments
        When the survey's file names no collection.
    ServiceError
        When the service does not answer with a table of images.
    """
    options = search.service.options if settings is None else settings
    if "collection" not in options:
        raise BadArguments(f"the imaging section of survey {search.survey.name} lacks options.collection")
    url = search.address(str(options.get("url", search.service.url)))
    theirs = {
        name.lower(): band for band in search.bands for name in options.get("bands", {}).get(band, [band])
    }
    ranges, subtype = search.region.ranges(), str(options.get("subtype", ""))
    files: dict[str, RemoteFile] = {}
    for cone in enclosing_cones(search.region):
        for row in _rows(search, url, str(options["collection"]), cone):
            band = theirs.get(row["energy_bandpassname"].lower())
            other = subtype and row["dataproduct_subtype"].lower() != subtype
            if band and not other and _meets(ranges, row["s_region"]):
                files.update({file.uri: file for file in _files(search, row["access_url"], band, options)})
    yield from (files[uri] for uri in sorted(files))


def _files(search: ImageSearch, url: str, band: str, options: Mapping[str, Any]) -> Iterator[RemoteFile]:
    """Yield an image and its companions."""
    urls = [url]
    for ending, others in options.get("companions", {}).items():
        if url.endswith(ending):
            urls += [url.removesuffix(ending) + other for other in others]
    for one in urls:
        path = urlsplit(one).path
        # Directories tell dates and scans apart: 2MASS has the same names in all of them.
        place = path.partition(str(options.get("place_after", "/")))[2] or path.lstrip("/")
        suffix = str(options.get("checksum_suffix", ""))
        yield search.file(one, place, band, checksum_url=f"{one}{suffix}" if suffix else "")


def _rows(search: ImageSearch, url: str, collection: str, cone: Cone) -> Iterator[_Row]:
    """Yield the records of a cone; where the answer is cut off, those of its parts."""
    position = f"CIRCLE {cone.ra:.6f} {cone.dec:.6f} {cone.radius:.6f}"
    parameters = {"COLLECTION": collection, "POS": position, "MAXREC": _MOST_ROWS}
    what = f"images of {collection} in {position}"
    response = search.client.get(url, parameters, what=what)
    try:
        with warnings.catch_warnings():
            # That an answer is cut off is told by its status below.
            warnings.simplefilter("ignore")
            body = io.BytesIO(response.content)
            refuse_references(body)
            found = SIA2Results(votable.parse(body), url=url)
        table, cut_off = found.to_table(), found.status[0].upper() == "OVERFLOW"
    except _NO_TABLE as error:
        problem = f"did not answer with a table of images ({error})"
        raise search.client.failure(problem, url, what) from error
    if lacking := [name for name in _NEEDED if name not in table.colnames]:
        raise search.client.failure(f"answered without the columns {', '.join(lacking)}", url, what)
    if not cut_off and len(table) < _MOST_ROWS:
        yield from _texts(table)
    elif cone.radius < _SMALLEST_DEG:
        raise search.client.failure(
            f"cut the answer off at {len(table)} images", url, what, "ask for less sky"
        )
    else:
        order = int(np.clip(np.ceil(np.log2(90.0 / cone.radius)), 0, _FINEST_ORDER))
        around = cone_cells(cone.ra, cone.dec, cone.radius, order)
        cells = touched_cells(search.region.ranges(), order, around)
        for ra, dec in zip(*cell_center(order, cells), strict=True):
            yield from _rows(search, url, collection, Cone(float(ra), float(dec), largest_radius_deg(order)))


def _texts(table: Table) -> Iterator[_Row]:
    """Yield the records of a table; what is masked or missing is empty."""
    empty = [""] * len(table)
    columns = [np.ma.filled(table[n].astype(str), "") if n in table.colnames else empty for n in _USED]
    for values in zip(*columns, strict=True):
        yield {name: str(value).strip() for name, value in zip(_USED, values, strict=True)}


def _meets(ranges: Int64, footprint: str) -> bool:
    """Tell whether a footprint in STC-S, such as POLYGON ICRS 10 0 11 0 11 1, touches the region of ranges.

    One without a footprint that can be read does: the service has chosen it.
    """
    words = footprint.replace(",", " ").split()
    try:
        numbers = np.array([float(word) for word in words if word[0] in "+-.0123456789"])
    except ValueError:
        return True
    if not words or words[0].upper() != "POLYGON" or numbers.size < 6 or numbers.size % 2:
        return True
    return bool(touching(ranges, numbers[np.newaxis, ::2], numbers[np.newaxis, 1::2])[0])
