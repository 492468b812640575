"""Corrected frames of SDSS: fields through the tables of SkyServer, files from the Science Archive Server.

The frames: https://data.sdss.org/datamodel/files/BOSS_PHOTOOBJ/frames/RERUN/RUN/CAMCOL/frame.html. The tables
Field and Run: https://skyserver.sdss.org/dr17/MoreTools/browser. Every place of the survey belongs to one
primary field (https://www.sdss4.org/dr17/algorithms/resolve/): primaryArea is that of a field's own places.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

import numpy as np

from astrolake.data_access.download import RemoteFile
from astrolake.data_access.imaging.footprints import enclosing_cones, touching
from astrolake.data_access.imaging.search import ImageSearch
from astrolake.sky.region import Cone
from astrolake.sky.separation import Float64

_PIXEL_DEG = 0.396 / 3600
#: Rows, along the scan (mu), and columns, across it (nu), of a frame.
_ROWS, _COLUMNS = 1489, 2048
#: By how much the centre of a field that the table gives may lie off the frame's: half the overlap of fields.
_MARGIN_DEG = 64 * _PIXEL_DEG
_REACH_DEG = float(np.hypot(_ROWS, _COLUMNS)) / 2 * _PIXEL_DEG + _MARGIN_DEG
_COLUMNS_ASKED = ("run", "camcol", "field", "ra", "dec", "node", "incl")
#: SkyServer cuts answers off here (https://skyserver.sdss.org/dr17/en/help/docs/limits.aspx).
_MOST_ROWS = 500_000


def sdss_frames(search: ImageSearch, *, all_epochs: bool = False) -> Iterator[RemoteFile]:
    """Yield the frames of a region.

    Parameters
    ----------
    search : ImageSearch
    all_epochs : bool
        Also fields of which no part is primary, such as the repeated scans of Stripe 82.

    Raises
    ------
    ServiceError
        When SkyServer does not answer with a table.
    """
    rerun = str(search.setting("rerun"))
    ranges = search.region.ranges()
    fields: set[tuple[int, int, int]] = set()
    for cone in enclosing_cones(search.region):
        rows = _ask(search, field_query(cone, rerun, all_epochs))
        corners = frame_corners(rows[:, 3], rows[:, 4], rows[:, 5], rows[:, 6])
        kept = rows[touching(ranges, *corners), :3].astype(int)
        fields.update((int(run), int(camcol), int(number)) for run, camcol, number in kept)
    for run, camcol, number in sorted(fields):
        for band in search.bands:
            place = f"{run}/{camcol}/frame-{band}-{run:06d}-{camcol}-{number:04d}.fits.bz2"
            yield search.file(f"{search.url}/{rerun}/{place}", place, band)


def field_query(cone: Cone, rerun: str = "301", all_epochs: bool = False) -> str:
    """Return the SQL that finds the fields whose frames may touch a cone."""
    reach = cone.radius + _REACH_DEG
    low, high = max(cone.dec - reach, -90.0), min(cone.dec + reach, 90.0)
    wanted = [f"f.rerun = {int(rerun)}", f"f.dec BETWEEN {low:.6f} AND {high:.6f}"]
    if abs(cone.dec) + reach < 90:
        span = np.degrees(np.arcsin(min(1.0, np.sin(np.radians(reach)) / np.cos(np.radians(cone.dec)))))
        wanted.append(_between_ra(cone.ra - span, cone.ra + span))
    if not all_epochs:
        wanted.append("f.primaryArea > 0")
    columns = "f.run, f.camcol, f.field, f.ra, f.dec, r.node, r.incl"
    tables = "Field AS f JOIN Run AS r ON r.run = f.run AND r.rerun = f.rerun"
    return f"SELECT {columns} FROM {tables} WHERE {' AND '.join(wanted)}"  # noqa: S608 - numbers alone


def _between_ra(low: float, high: float) -> str:
    if low < 0 or high >= 360:
        return f"(f.ra >= {low % 360:.6f} OR f.ra <= {high % 360:.6f})"
    return f"f.ra BETWEEN {low:.6f} AND {high:.6f}"


def frame_corners(
    ra_deg: Float64, dec_deg: Float64, node_deg: Float64, incl_deg: Float64
) -> tuple[Float64, Float64]:
    """Return the corners of frames, ra and dec, (N, 4) each.

    A frame lies along the great circle of its scan, whose coordinates are mu and nu (Stoughton et al.
    2002, AJ 123, 485, section 3.2.2).

    Parameters
    ----------
    ra_deg, dec_deg : (N,) float64
        Centres.
    node_deg, incl_deg : (N,) float64
        Ascending node and inclination of the great circles.
    """
    mu, nu = _turned(ra_deg - node_deg, dec_deg, -incl_deg)
    half_nu = _COLUMNS / 2 * _PIXEL_DEG + _MARGIN_DEG
    half_mu = (_ROWS / 2 * _PIXEL_DEG + _MARGIN_DEG) / np.cos(np.radians(np.abs(nu) + half_nu))
    mu = mu[:, np.newaxis] + half_mu[:, np.newaxis] * np.array([-1.0, 1.0, 1.0, -1.0])
    nu = nu[:, np.newaxis] + half_nu * np.array([-1.0, -1.0, 1.0, 1.0])
    ra, dec = _turned(mu, nu, np.asarray(incl_deg)[:, np.newaxis])
    return (ra + np.asarray(node_deg)[:, np.newaxis]) % 360.0, dec


def _turned(lon_deg: Float64, lat_deg: Float64, angle_deg: Float64) -> tuple[Float64, Float64]:
    """Return positions turned about the axis of longitude 0 on the equator."""
    lon, lat, angle = np.radians(lon_deg), np.radians(lat_deg), np.radians(angle_deg)
    x, y, z = np.cos(lon) * np.cos(lat), np.sin(lon) * np.cos(lat), np.sin(lat)
    y, z = y * np.cos(angle) - z * np.sin(angle), y * np.sin(angle) + z * np.cos(angle)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(np.clip(z, -1, 1)))


def _ask(search: ImageSearch, sql: str) -> Float64:
    """Return the rows of an answer of SkyServer, columns as `_COLUMNS_ASKED`."""
    client, url, what = search.client, search.address(search.setting("field_index")), f"fields of SDSS: {sql}"
    text = client.get(url, {"cmd": sql, "format": "csv"}, what=what).text
    # The name of the table comes first: #Table1.
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or not set(_COLUMNS_ASKED) <= set(lines[0].split(",")):
        raise client.failure(f"answered with {text[:200]!r}", url, what)
    try:
        rows = [[float(row[column]) for column in _COLUMNS_ASKED] for row in csv.DictReader(lines)]
    except (TypeError, ValueError) as error:
        raise client.failure(f"answered with a table that cannot be read ({error})", url, what) from error
    if len(rows) >= _MOST_ROWS:
        raise client.failure(f"cut the answer off at {len(rows)} rows", url, what, "ask for less sky")
    return np.array(rows, dtype=np.float64).reshape(-1, len(_COLUMNS_ASKED))
