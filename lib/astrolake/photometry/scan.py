"""From a FITS file to rows of `images`, and to rejects for what cannot be one."""

from __future__ import annotations

import hashlib
import io
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from astrolake.errors import BadInput
from astrolake.lake.storage import canonical_uri
from astrolake.photometry.companions import Companions, find_companions, may_have_companions
from astrolake.photometry.fits_bytes import Options, read_bytes, sibling_names, unpack
from astrolake.photometry.fits_pixels import decode_pixels, require_complete, unusable_reason
from astrolake.photometry.fits_structure import Hdu, walk_hdus
from astrolake.photometry.headers import HeaderCards, silence
from astrolake.photometry.image_row import FileFacts, image_row, pair_extensions
from astrolake.photometry.survey import is_stamp_weight


@dataclass(frozen=True)
class Reject:
    """A file or HDU that cannot be used.

    Parameters
    ----------
    source : str
        URI of the file, or ``uri#hdu``.
    error_type : str
        Kind of the reason, as `BadInput.kind`.
    message : str
        File, cause and remedy.
    """

    source: str
    error_type: str
    message: str


@dataclass(frozen=True)
class FileScan:
    """What a file holds: at least one image or one reject.

    Parameters
    ----------
    images : list of dict
        Columns of `images` but run_id, one for each 2-D image HDU that can be read.
    rejects : list of Reject
        The file, or HDUs with pixels that cannot be used; HDUs that are no image (tables, vectors,
        headers alone) are passed over in silence unless the file has nothing else.
    """

    images: list[dict[str, object]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def scan_file(
    uri: str,
    *,
    survey: str = "",
    storage_options: Options = None,
    siblings: Sequence[str] | None = None,
) -> FileScan:
    """Read a file once and return the images it holds; all pixels are read, so that damage is found now.

    Parameters
    ----------
    uri : str
        Path, ``file://`` or ``s3://``; gzip, bzip2 and tile compression are undone.
    survey : str
        Name to give the images; by default it is recognised from the header.
    storage_options : dict
        Object-store options.
    siblings : sequence of str, optional
        Names of the files beside it, among which weight and mask images are found; by default the
        directory is listed where the name is one that may have them.

    Returns
    -------
    FileScan
        Whatever is wrong with the file is a reject, never an exception.
    """
    uri = canonical_uri(uri)
    scan = FileScan()
    try:
        raw = read_bytes(uri, storage_options)
        facts = FileFacts(
            uri=uri,
            survey=survey,
            file_bytes=len(raw),
            checksum=hashlib.sha256(raw).hexdigest(),
            companions=_companions(uri, storage_options, siblings),
        )
        stream = io.BytesIO(unpack(raw, uri))
    except BadInput as error:
        scan.rejects.append(Reject(uri, error.kind, error.message))
        return scan
    with silence():
        _scan_stream(stream, facts, scan)
    return scan


def _companions(uri: str, storage_options: Options, siblings: Sequence[str] | None) -> Companions:
    name = posixpath.basename(uri)
    if not may_have_companions(name):
        return Companions()
    return find_companions(name, sibling_names(uri, storage_options) if siblings is None else siblings)


def _scan_stream(stream: BinaryIO, facts: FileFacts, scan: FileScan) -> None:
    """Add the images and rejects of an unpacked file."""
    walk = walk_hdus(stream, facts.uri)
    seen: list[Hdu] = []
    passed_over: dict[str, list[int]] = {}
    while True:
        source = f"{facts.uri}#{len(seen)}" if seen else facts.uri
        try:
            hdu = next(walk, None)
            if hdu is None:
                break
            seen.append(hdu)
            source = f"{facts.uri}#{hdu.index}"
            if reason := _passed_over(hdu, facts.uri):
                passed_over.setdefault(reason, []).append(hdu.index)
            else:
                pixels = decode_pixels(stream, hdu, facts.uri)
                scan.images.append(image_row(hdu, pixels, _cards(seen), facts))
        except BadInput as error:
            scan.rejects.append(Reject(source, error.kind, error.message))
        except Exception as error:  # noqa: BLE001 - a damaged HDU may raise anything; it is recorded
            message = f"{source}: {type(error).__name__}: {error}; the file is damaged: fetch it again"
            scan.rejects.append(Reject(source, "Damaged", message))
    pair_extensions(scan.images)
    if not scan.images and not scan.rejects:
        scan.rejects.append(_no_image(facts.uri, passed_over))


def _no_image(uri: str, passed_over: dict[str, list[int]]) -> Reject:
    held = "; ".join(f"{what} (HDU {', '.join(map(str, hdus))})" for what, hdus in passed_over.items())
    remedy = "ingest its tables with ingest_catalog" if "a table" in passed_over else "leave it out"
    return Reject(uri, "NoImage", f"{uri}: no 2-D image in it but {held}; {remedy}")


def _passed_over(hdu: Hdu, uri: str) -> str:
    """Return what an HDU is that holds no image; empty when it is one.

    Raises
    ------
    BadInput
        When it is no 2-D image and yet must not be passed over: a cube, or anything cut off.
    """
    reason = unusable_reason(hdu)
    if reason is None:
        return ""
    kind, what = reason
    require_complete(hdu, uri)
    if kind == "Cube":
        raise BadInput(f"{uri}: HDU {hdu.index} is {what}; write its planes as 2-D images to use them", kind)
    return what


def _cards(seen: Sequence[Hdu]) -> HeaderCards:
    """Return the cards of the last HDU, with those of the HDU it inherits from."""
    hdu, primary = seen[-1], seen[0]
    if len(seen) > 1 and is_stamp_weight(seen[-2], hdu):
        return HeaderCards(hdu.header, seen[-2].header)
    return HeaderCards(hdu.header, None if hdu is primary or primary.axes else primary.header)
