"""From a survey and a region to the image files of its archive."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from astrolake.data_access.download import RemoteFile
from astrolake.data_access.imaging.legacy import legacy_bricks
from astrolake.data_access.imaging.panstarrs import panstarrs_images
from astrolake.data_access.imaging.sdss import sdss_frames
from astrolake.data_access.imaging.search import ImageSearch
from astrolake.data_access.imaging.sia import sia_images
from astrolake.data_access.imaging.unwise import unwise_images
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.surveys.model import Survey
from astrolake.errors import BadArguments
from astrolake.lake.storage import Storage
from astrolake.sky.region import Region

_FINDERS: dict[str, Callable[..., Iterable[RemoteFile]]] = {
    "sdss_frames": sdss_frames,
    "panstarrs": panstarrs_images,
    "legacy_bricks": legacy_bricks,
    "unwise": unwise_images,
    "sia2": sia_images,
}


def find_images(
    survey: Survey,
    region: Region,
    bands: Sequence[str],
    client: HttpClient,
    target: Storage,
    *,
    note: Callable[[str], None] | None = None,
    **options: Any,
) -> list[RemoteFile]:
    """Return the image files of a survey whose footprints touch a region, in the order of their places.

    Parameters
    ----------
    survey : Survey
    region : Region
    bands : sequence of str
        Such as "gri", "W1,W2" or ["W1", "W2"]; none means all that the survey has.
    client : HttpClient
        Of the archive.
    target : Storage
        Directory of the files; below it they lie as in the archive, so that no two have the same place and
        weights lie beside their images.
    note : callable, optional
        Is told, in words, of what the archive does not have, such as a brick; it is logged by default.
    options
        Those of the archive, planes as a list or "img,invvar": see `sdss_frames`, `panstarrs_images`,
        `legacy_bricks` and `unwise_images`.

    Raises
    ------
    BadArguments
        When the survey publishes no images, or lacks a band, or an option is unknown.
    ServiceError
        When the archive does not answer.
    """
    finder = _finder(survey)
    check_options(survey, options)
    if isinstance(planes := options.get("planes"), str):
        options["planes"] = tuple(planes.split(","))
    chosen = bands_of(survey, bands)
    search = ImageSearch(survey, region, chosen, client, target, **({"note": note} if note else {}))
    files: dict[str, RemoteFile] = {}
    for file in finder(search, **options):
        if files.setdefault(file.uri, file) != file:
            raise client.failure(f"has two files for {file.uri}: {files[file.uri].url} and", file.url)
    return [files[uri] for uri in sorted(files)]


def _finder(survey: Survey) -> Callable[..., Iterable[RemoteFile]]:
    if survey.imaging is None:
        raise BadArguments(f"{survey.title} publishes no images: leave imaging out, or name another survey")
    protocol = survey.imaging.protocol
    if protocol not in _FINDERS:
        raise BadArguments(
            f"survey {survey.name}: imaging protocol {protocol!r} is none of {', '.join(sorted(_FINDERS))}"
        )
    return _FINDERS[protocol]


def check_options(survey: Survey, options: Mapping[str, Any]) -> None:
    """Check options of images by name and kind.

    Raises
    ------
    BadArguments
        When the survey publishes no images, or an option is unknown or of another kind.
    """
    parameters = inspect.signature(_finder(survey)).parameters.items()
    known = {name: p.default for name, p in parameters if p.kind is p.KEYWORD_ONLY and name != "settings"}
    if unknown := sorted(set(options) - set(known)):
        raise BadArguments(
            f"images of {survey.title} have no options {', '.join(unknown)}; "
            f"they have {', '.join(sorted(known)) or 'none'}"
        )
    for name, value in options.items():
        if isinstance(known[name], tuple):
            right = isinstance(value, str | list | tuple) and all(isinstance(one, str) for one in value)
        else:
            right = isinstance(value, bool if isinstance(known[name], bool) else bool | str)
        if not right:
            raise BadArguments(f"images of {survey.title}: {name}={value!r} should be like {known[name]!r}")


def bands_of(survey: Survey, bands: Sequence[str]) -> tuple[str, ...]:
    """Return bands, such as "gri", "W1,W2" or ["W1", "W2"], in the order of the survey; all for none.

    Raises
    ------
    BadArguments
        When the survey lacks one.
    """
    texts = [bands] if isinstance(bands, str) else bands
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    of_letters = all(len(band) == 1 for band in survey.bands)
    named = {band for word in words for band in (word if of_letters else [word])}
    if unknown := sorted(named - set(survey.bands)):
        raise BadArguments(
            f"images of {survey.title} have no bands {', '.join(unknown)}; "
            f"they have {', '.join(survey.bands)}"
        )
    return tuple(band for band in survey.bands if not named or band in named)
