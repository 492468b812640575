"""Image archives on loopback: SkyServer and SAS, ps1filenames and fitscut, bricks, unWISE, SIA2, with real files."""

import csv
import hashlib
import io
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.parser import BytesParser
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import Info
from astropy.table import Table
from astropy.wcs import WCS

from astrolake.data_access.surveys.model import Survey
from tests.data_access.servers.base import LoopbackServer, Recorded, Reply


def on_loopback(survey: Survey, server: LoopbackServer) -> Survey:
    """Return a survey whose images are asked for on loopback: only the host of addresses differs."""

    def moved(value):
        if isinstance(value, str):
            return re.sub(r"^https?://[^/]+", server.url, value)
        if isinstance(value, Mapping):
            return {key: moved(item) for key, item in value.items()}
        return value

    service = survey.imaging
    moved_service = replace(service, url=moved(service.url), options=moved(service.options))
    return replace(survey, imaging=moved_service)


@dataclass(frozen=True)
class Field:
    """A row of SkyServer's Field, with node and inclination of its run."""

    run: int
    camcol: int
    field: int
    ra: float
    dec: float
    node: float
    incl: float
    primary_area: float = 0.02
    rerun: int = 301


def serve_fields(server: LoopbackServer, fields: list[Field], release: str = "dr17") -> None:
    """Run SQL on tables Field and Run and answer as SkyServer's SqlSearch does.

    https://skyserver.sdss.org/dr17/en/help/docs/api.aspx: cmd and format; csv starts with the table's name.
    """
    base = sqlite3.connect(":memory:", check_same_thread=False)
    base.execute("CREATE TABLE Field (run, rerun, camcol, field, ra, dec, primaryArea)")
    base.execute("CREATE TABLE Run (run, rerun, node, incl)")
    base.executemany(
        "INSERT INTO Field VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(f.run, f.rerun, f.camcol, f.field, f.ra, f.dec, f.primary_area) for f in fields],
    )
    runs = {(f.run, f.rerun): (f.run, f.rerun, f.node, f.incl) for f in fields}
    base.executemany("INSERT INTO Run VALUES (?, ?, ?, ?)", list(runs.values()))

    def search(request: Recorded) -> Reply:
        assert request.query["format"] == "csv"
        cursor = base.execute(request.query["cmd"])
        text = io.StringIO()
        text.write("#Table1\n")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column[0] for column in cursor.description])
        writer.writerows(cursor.fetchall())
        return Reply(200, text.getvalue().encode(), "text/csv")

    server.route("GET", f"/{release}/SkyServerWS/SearchTools/SqlSearch", search)


def serve_frames(
    server: LoopbackServer, directory: Path, root: str = "/sas/dr17/eboss/photoObj/frames"
) -> None:
    """Serve the frames of a directory under the paths of the Science Archive Server."""

    def frame(request: Recorded) -> Reply:
        path = directory / request.groups[0]
        return Reply(200, path, ranges=True) if path.is_file() else Reply(404, b"Not Found", "text/plain")

    server.route("GET", rf"{root}/301/\d+/[1-6]/(frame-[ugriz]-\d{{6}}-[1-6]-\d{{4}}\.fits\.bz2)", frame)


@dataclass(frozen=True)
class SkycellImage:
    """An image of a skycell: its WCS as in its header, size, and what is sent of it."""

    projection: int
    cell: int
    wcs: WCS
    shape: tuple[int, int]
    path: str
    band: str
    type: str = "stack"
    body: bytes | Path = b""

    def depth_px(self, ra: float, dec: float) -> float:
        """How far a position is from the nearest edge; negative outside."""
        if SkyCoord(*self.wcs.wcs.crval, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).deg > 45:
            return -np.inf
        x, y = self.wcs.all_world2pix(ra, dec, 0)
        rows, columns = self.shape
        return float(min(x, columns - 1 - x, y, rows - 1 - y))


def serve_skycells(server: LoopbackServer, images: list[SkycellImage]) -> None:
    """Answer as ps1filenames.py and fitscut.cgi do: the files of the skycell that holds each position deepest.

    https://outerspace.stsci.edu/display/PANSTARRS/PS1+Image+Cutout+Service
    """

    cells = {(image.projection, image.cell): image for image in images}

    def names(request: Recorded) -> Reply:
        form = multipart(request)
        lines = ["projcell subcell ra dec filter mjd type filename shortname badflag"]
        for position in form["file"].splitlines():
            ra, dec = map(float, position.split())
            depth = {cell: image.depth_px(ra, dec) for cell, image in cells.items()}
            if not depth or max(depth.values()) < 0:
                continue
            best = max(depth, key=depth.get)
            lines += [
                f"{i.projection} {i.cell} {ra} {dec} {i.band} 0.0 {i.type} {i.path} {i.path.rsplit('/', 1)[-1]} 0"
                for i in images
                if (i.projection, i.cell) == best
                and i.band in form["filters"]
                and i.type in form["type"].split(",")
            ]
        return Reply(200, "\n".join(lines).encode() + b"\n", "text/plain")

    def cut(request: Recorded) -> Reply:
        found = [image for image in images if image.path == request.query["red"]]
        return (
            Reply(200, found[0].body, "image/fits") if found else Reply(404, b"no such image", "text/plain")
        )

    server.route("POST", "/cgi-bin/ps1filenames.py", names)
    server.route("GET", "/cgi-bin/fitscut.cgi", cut)
    for image in images:
        server.serve(image.path, image.body, "image/fits")


def multipart(request: Recorded) -> dict[str, str]:
    """Return the fields of a form that was posted as multipart/form-data."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + request.body).get_payload()
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True).decode()
        for part in parts
    }


def serve_brick(server: LoopbackServer, root: str, brick: str, files: Mapping[str, bytes | Path]) -> None:
    """Serve the files of a brick and their SHA-256 sums under a release such as dr9/north."""
    folder = f"/cfs/cosmo/data/legacysurvey/{root}/coadd/{brick[:3]}/{brick}"
    sums = []
    for name, body in files.items():
        content = body if isinstance(body, bytes) else body.read_bytes()
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        server.serve(f"{folder}/{name}", body)
    prefix = f"legacysurvey_{root.replace('/', '_')}_coadd"
    server.serve(f"{folder}/{prefix}_{brick[:3]}_{brick}.sha256sum", "".join(sums).encode(), "text/plain")


def serve_viewer(server: LoopbackServer) -> None:
    """Cut squares out as the viewer does: one HDU, a cube for several bands, a second HDU for invvar."""

    def cut(request: Recorded) -> Reply:
        size, bands = int(request.query["size"]), request.query["bands"]
        shape = (size, size) if len(bands) == 1 else (len(bands), size, size)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [(size + 1) / 2] * 2
        wcs.wcs.crval = [float(request.query["ra"]), float(request.query["dec"])]
        step = float(request.query["pixscale"]) / 3600
        wcs.wcs.cd = [[-step, 0], [0, step]]
        hdus = fits.HDUList()
        for kind in ("IMAGE", "INVVAR") if "invvar" in request.query else ("IMAGE",):
            header = wcs.to_header()
            header.update(
                SURVEY="LegacySurvey", VERSION="DR10-south", IMAGETYP=kind, BANDS=bands, BAND0=bands[0]
            )
            hdu = (fits.ImageHDU if hdus else fits.PrimaryHDU)(np.ones(shape, np.float32), header)
            hdus.append(hdu)
        stream = io.BytesIO()
        hdus.writeto(stream)
        return Reply(200, stream.getvalue(), "image/fits")

    server.route("GET", "/viewer/fits-cutout", cut)


def serve_tiles(server: LoopbackServer, tiles: Mapping[str, tuple[float, float]]) -> None:
    """Serve allsky-atlas.fits: names and centres of the tiles of unWISE."""
    ra, dec = np.array(list(tiles.values())).T
    table = Table({"coadd_id": list(tiles), "ra": ra, "dec": dec})
    stream = io.BytesIO()
    table.write(stream, format="fits")
    server.serve("/data/allsky-atlas.fits", stream.getvalue())


@dataclass(frozen=True)
class SiaImage:
    """A record of a SIA2 service, whose file lies at a path."""

    collection: str
    band: str
    path: str
    corners: tuple[tuple[float, float], ...]
    subtype: str = "science"


#: Centres and radii in degrees.
Circles = tuple[SkyCoord, np.ndarray]


def serve_sia(server: LoopbackServer, images: list[SiaImage], most: int = 10_000) -> None:
    """Answer SIA2 queries by CIRCLE as IRSA does, in a VOTable of ObsCore; `most` is the service's own limit."""

    circles = _circles(images) if images else None

    def search(request: Recorded) -> Reply:
        shape, ra, dec, radius = request.parameters["POS"].split()
        assert shape == "CIRCLE"
        limit = min(most, int(request.parameters["MAXREC"]))
        centre = SkyCoord(float(ra), float(dec), unit="deg")
        near = _meets(circles, centre, float(radius)) if images else []
        found = [
            image
            for image, meets in zip(images, near, strict=True)
            if meets and image.collection == request.parameters["COLLECTION"]
        ]
        rows = [
            (image.collection, image.band, image.subtype, server.url + image.path, _stc(image.corners))
            for image in found[:limit]
        ]
        names = ("obs_collection", "energy_bandpassname", "dataproduct_subtype", "access_url", "s_region")
        table = Table(rows=rows, names=names) if rows else Table(names=names, dtype=["U1"] * len(names))
        answer = from_table(table)
        answer.resources[0].type = "results"
        answer.resources[0].infos.append(
            Info(name="QUERY_STATUS", value="OVERFLOW" if len(found) > limit else "OK")
        )
        stream = io.BytesIO()
        # Its writer of TABLEDATA runs over the end of its buffer at some lengths (astropy 8).
        answer.to_xml(stream, tabledata_format="binary2")
        return Reply(200, stream.getvalue(), "application/x-votable+xml")

    server.route("GET", "/SIA", search)


def _stc(corners: tuple[tuple[float, float], ...]) -> str:
    return "POLYGON ICRS " + " ".join(f"{ra:.7f} {dec:.7f}" for ra, dec in corners)


def _meets(circles: Circles, centre: SkyCoord, radius: float) -> np.ndarray:
    middles, reach = circles
    return middles.separation(centre).deg <= radius + reach


def _circles(images: list[SiaImage]) -> Circles:
    """Return centres and radii, degrees, of the circles around images."""
    corners = [SkyCoord(*np.array(image.corners).T, unit="deg") for image in images]
    middles = SkyCoord([SkyCoord(one.cartesian.mean()) for one in corners])
    reach = np.array([m.separation(c).deg.max() for m, c in zip(middles, corners, strict=True)])
    return SkyCoord(middles.spherical.lon, middles.spherical.lat), reach
