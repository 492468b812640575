"""E(B-V) at positions, from the dust maps that the package `dustmaps` reads."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from astrolake.errors import BadArguments, MissingDependency
from astrolake.sky.separation import Float64

#: Maps on the scale of Schlegel, Finkbeiner & Davis (1998): their own, and Chiang's (2023) without galaxies.
DUST_MAPS = ("sfd", "csfd")


@dataclass(frozen=True)
class DustMap:
    """A dust map; opened at its first use, so that it travels to executors as its name.

    Parameters
    ----------
    name : str
        One of `DUST_MAPS`.
    directory : str
        Where the map's files lie; empty for the directory that dustmaps is configured with.

    Raises
    ------
    BadArguments
        When there is no map of that name.
    """

    name: str
    directory: str = ""

    def __post_init__(self) -> None:
        if self.name not in DUST_MAPS:
            raise BadArguments(f"dust map {self.name!r} is unknown; use one of {', '.join(DUST_MAPS)}")

    def __getstate__(self) -> dict[str, str]:
        return {"name": self.name, "directory": self.directory}

    def ebv(self, ra_deg: Float64, dec_deg: Float64) -> Float64:
        """Return E(B-V) on the scale of SFD at (N,) positions (ICRS, finite), interpolated linearly.

        Raises
        ------
        MissingDependency
            When the package or the map's files are not installed.
        """
        import astropy.units as u
        from astropy.coordinates import SkyCoord

        if not len(ra_deg):
            return np.empty(0)
        places = SkyCoord(np.asarray(ra_deg) * u.deg, np.asarray(dec_deg) * u.deg, frame="icrs")
        return np.asarray(self._query(places), dtype=np.float64)

    @cached_property
    def _query(self) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of a missing configuration file
                from dustmaps import csfd, sfd
        except ImportError as error:
            raise MissingDependency(
                "E(B-V) from a dust map needs the package dustmaps: pip install 'astrolake[dust]'"
            ) from error
        kind = {"sfd": sfd.SFDQuery, "csfd": csfd.CSFDQuery}[self.name]
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints advice, which belongs in the error
                return kind(**({"map_dir": self.directory} if self.directory else {}))
        except OSError as error:
            raise MissingDependency(
                f"dust map {self.name} is not in {self.directory or 'the data directory of dustmaps'} "
                f"({error}); fetch it with python -c 'import dustmaps.{self.name} as m; m.fetch()'"
            ) from error


def installed_dust_map(name: str, directory: str = "") -> DustMap:
    """Return a dust map that is known to be there, see `DustMap`.

    Raises
    ------
    MissingDependency
        When the package or the map's files are not installed.
    """
    found = DustMap(name, directory)
    found.ebv(np.zeros(1), np.zeros(1))
    return found
