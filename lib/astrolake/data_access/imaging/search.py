"""What all archives are asked for images with, and what they answer with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from astrolake.data_access.download import RemoteFile
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.surveys.model import Service, Survey
from astrolake.errors import BadArguments
from astrolake.lake.storage import Storage
from astrolake.sky.region import Region

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSearch:
    """A question to an archive.

    Parameters
    ----------
    survey : Survey
        Its `imaging` is there.
    region : Region
    bands : tuple of str
        Some of the survey's.
    client : HttpClient
    target : Storage
        Where files go.
    note : callable
        Is told, in words, of what the archive does not have.
    """

    survey: Survey
    region: Region
    bands: tuple[str, ...]
    client: HttpClient
    target: Storage
    note: Callable[[str], None] = field(default=_LOG.info)

    @property
    def service(self) -> Service:
        """The service of the survey's images."""
        if self.survey.imaging is None:
            raise BadArguments(f"{self.survey.title} publishes no images")
        return self.survey.imaging

    @property
    def url(self) -> str:
        """Address of the service, for this release."""
        return self.address(self.service.url)

    def address(self, text: str) -> str:
        """Return an address for this release, without slash at its end."""
        return text.replace("{release}", self.survey.release).rstrip("/")

    def setting(self, name: str, default: Any = None) -> Any:
        """Return what the survey's file says of the protocol; required unless there is a default."""
        found = self.service.options.get(name, default)
        if found is None:
            raise BadArguments(
                f"the imaging section of survey {self.survey.name} lacks options.{name}, "
                f"which the protocol {self.service.protocol} needs"
            )
        return found

    def of_release(self, name: str) -> Any:
        """Return the entry for this release of a setting that is a table by release."""
        table = self.setting(name)
        if self.survey.release not in table:
            raise BadArguments(
                f"{self.survey.title}: no images of release {self.survey.release!r} are known; "
                f"give one of {', '.join(sorted(table))}"
            )
        return table[self.survey.release]

    def file(self, url: str, place: str, band: str = "", **facts: Any) -> RemoteFile:
        """Return a file of the archive that goes to a place below the target.

        Raises
        ------
        ServiceError
            When the place, which may come from the archive's answer, is none below it.
        """
        parts = [part for part in place.split("/") if part]
        if not parts or place.endswith("/") or not place.isprintable() or not {".", ".."}.isdisjoint(parts):
            problem = f"names a file whose place would be {place!r}: not one below the lake's directory"
            raise self.client.failure(problem, url, remedy="report it to the archive")
        return RemoteFile(url=url, uri=self.target.uri(*parts), band=band, **facts)


def chosen(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """Return the value of an option when it is among those allowed.

    Raises
    ------
    BadArguments
        When it is not.
    """
    if value not in allowed:
        raise BadArguments(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}")
    return value
