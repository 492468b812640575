"""The queries of one box, in the dialect of its service.

Options of a service that decide what they look like: ``spatial``, circle (the condition that the service's
spatial index answers) or none (the box alone, for services without geometry); for SkyServer ``near_function``
and ``near_key``, the function that finds objects around a position and the identifier that it returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from astrolake.data_access.services.tiling import Tile
from astrolake.data_access.surveys.model import Service, SurveyTable
from astrolake.data_access.surveys.sql import identifier
from astrolake.errors import BadArguments

#: "All objects within @r arcmins of the point. There is no limit on @r" (the schema browser,
#: https://skyserver.sdss.org/dr18/MoreTools/browser). fGetObjFromRectEq will not do: it knows primary objects
#: only, and leaves out those on its border.
_NEAR_FUNCTION, _NEAR_KEY = "dbo.fGetNearbyObjAllEq", "objID"


#: Values of the option ``spatial``.
SPATIAL = ("circle", "none")


def check_options(service: Service, known: Mapping[str, Sequence[str]]) -> None:
    """Check the options of a service against those known and their values (none: any).

    Raises
    ------
    BadArguments
        When one is unknown, or has no such value.
    """
    for name, value in service.options.items():
        if name not in known:
            raise BadArguments(f"{service.url}: option {name!r} is unknown; it can have {sorted(known)}")
        if known[name] and value not in known[name]:
            raise BadArguments(
                f"{service.url}: option {name} is {value!r}; choose of {', '.join(known[name])}"
            )


@dataclass(frozen=True)
class TileQuery:
    """What is asked of every tile.

    Parameters
    ----------
    table : SurveyTable
    columns : tuple of str
        Native columns.
    predicates : tuple of str
        Conditions in the dialect of the service.
    """

    table: SurveyTable
    columns: tuple[str, ...]
    predicates: tuple[str, ...] = ()

    def rows(self, tile: Tile, max_rows: int) -> str:
        """Return the query for the rows of a tile."""
        names = ", ".join(identifier(name, self.dialect) for name in self.columns)
        # T-SQL has no other way to say it; TAP has the parameter MAXREC, which marks what it cuts off.
        top = f"TOP {max_rows} " if self.dialect == "tsql" else ""
        return f"SELECT {top}{names} {self._from(tile)}"

    def count(self, tile: Tile) -> str:
        """Return the query for the number of rows of a tile, as column ``n_rows``."""
        return f"SELECT COUNT(*) AS n_rows {self._from(tile)}"

    @property
    def dialect(self) -> str:
        """Adql, or tsql of SkyServer."""
        service = self.table.service
        return "tsql" if service is not None and service.protocol == "skyserver" else "adql"

    def _from(self, tile: Tile) -> str:
        ra, dec = (identifier(name, self.dialect) for name in (self.table.ra, self.table.dec))
        box = _box(ra, dec, tile)
        near = self._near(ra, dec, tile)
        return f"FROM {self.table.native} WHERE " + " AND ".join([*near, *box, *self.predicates])

    def _near(self, ra: str, dec: str, tile: Tile) -> Sequence[str]:
        """Return the condition that the service's spatial index answers; it keeps more than the box."""
        options = self.table.service.options if self.table.service else {}
        circle = tile.circle()
        if circle is None or options.get("spatial", "circle") == "none":
            return ()
        if self.dialect == "adql":
            point = f"POINT('ICRS', {ra}, {dec})"
            around = f"CIRCLE('ICRS', {circle.ra!r}, {circle.dec!r}, {circle.radius!r})"
            return (f"CONTAINS({point}, {around}) = 1",)
        function, key = options.get("near_function", _NEAR_FUNCTION), options.get("near_key", _NEAR_KEY)
        found = f"{function}({circle.ra!r}, {circle.dec!r}, {circle.radius * 60!r})"
        # A join would make the names of the function's columns ambiguous.
        objects = f"SELECT near.{key} FROM {found} AS near"  # noqa: S608 - names are of the survey's file
        return (f"{identifier(self.table.id, self.dialect)} IN ({objects})",)


def _box(ra: str, dec: str, tile: Tile) -> tuple[str, ...]:
    # Only there the border above belongs to the box: nothing lies beyond it.
    below_ra = "<=" if tile.ra_max == 360.0 else "<"
    below_dec = "<=" if tile.dec_max == 90.0 else "<"
    return (
        f"{ra} >= {tile.ra_min!r}",
        f"{ra} {below_ra} {tile.ra_max!r}",
        f"{dec} >= {tile.dec_min!r}",
        f"{dec} {below_dec} {tile.dec_max!r}",
    )
