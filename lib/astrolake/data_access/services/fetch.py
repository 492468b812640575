"""Rows of a survey's table within a region, from its service, every source once.

The service is taken to keep right ascension in [0, 360). Rows that say 360, or less than 0, are brought there
where they come; but no query asks for less than 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from astrolake.data_access.services.catalog_answers import Answer, CatalogService
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.plan import Done, Plan
from astrolake.data_access.services.request import FetchRequest
from astrolake.data_access.services.skyserver import SkyServer
from astrolake.data_access.services.tap import TapService
from astrolake.data_access.services.tiling import Tile, cover, roots
from astrolake.data_access.surveys.model import Service, SurveyTable
from astrolake.errors import AstrolakeError, BadArguments, ServiceError
from astrolake.lake.storage import Storage
from astrolake.parallel import run_parallel
from astrolake.sky.region import Region

_LOG = logging.getLogger(__name__)
#: Rows that one answer may have, for the sake of memory, whatever the service would send.
_MOST_ROWS = 100_000
#: Share of them that a box should hold at the usual density.
_FILL = 0.4
_LONGEST_SIDE_DEG = 5.0
#: SkyServer works on a query for up to 600 s before it says anything.
_LONGEST_SILENCE_S = 660.0
_MOST_BOXES = 200_000
#: With more boxes than these filters are worth counts beforehand, in so many of the boxes.
_MANY, _SAMPLE = 32, 8
#: After so many boxes that failed the service is left alone.
_MOST_FAILURES = 3


@dataclass(frozen=True)
class Progress:
    """How far a fetch is: boxes done and known (splitting makes more known), and rows."""

    done: int
    known: int
    n_rows: int


@dataclass(frozen=True)
class CatalogFetch:
    """What was fetched.

    Parameters
    ----------
    uris : tuple of str
        Parquet files in columns of the lake; at least one, which has no rows where none were found.
    n_rows : int
    n_queries : int
        Queries of this run; boxes that an earlier run had finished are not asked for again.
    n_duplicates : int
        Rows of this run that were dropped because another had the same identifier.
    """

    uris: tuple[str, ...]
    n_rows: int
    n_queries: int
    n_duplicates: int


@dataclass(frozen=True)
class _Asked:
    """What asking for a box gave: its rows in a file, or its quarters."""

    n_queries: int
    n_duplicates: int = 0
    done: Done | None = None
    quarters: tuple[Tile, ...] = ()


def catalog_client(table: SurveyTable) -> HttpClient:
    """Return a client that keeps to the rate of a table's service, and has the patience that queries need.

    Raises
    ------
    BadArguments
        When the table has no service.
    """
    service = _service_of(table)
    name = f"the service of {table.native}"
    return HttpClient(name, service.requests_per_s, service.connections, timeout_s=_LONGEST_SILENCE_S)


def open_service(table: SurveyTable, client: HttpClient) -> CatalogService:
    """Return the service of a table.

    Raises
    ------
    BadArguments
        When it has none, or one of an unknown protocol.
    """
    service = _service_of(table)
    if service.protocol == "tap":
        return TapService(service, client)
    if service.protocol == "skyserver":
        return SkyServer(service, client)
    raise BadArguments(f"{service.url}: protocol {service.protocol!r} is unknown; choose tap or skyserver")


def fetch_catalog(  # noqa: PLR0913 - what is wanted, and how
    table: SurveyTable,
    region: Region,
    storage: Storage,
    *,
    columns: Sequence[str] | None = None,
    filters: Mapping[str, Any] | None = None,
    cuts: Sequence[str] = (),
    client: HttpClient | None = None,
    workers: int = 4,
    verify_counts: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> CatalogFetch:
    """Fetch the rows of a region into Parquet files; killed and run again, it goes on where it was.

    Parameters
    ----------
    table : SurveyTable
    region : Region
        Its borders are those of `Region.contains` on the positions in the lake.
    storage : Storage
        Where the directories of fetches lie; every fetch has one of its own.
    columns : sequence of str, optional
        Names in the lake; identifier and position always come too.
    filters : mapping, optional
        See `astrolake.data_access.surveys.conditions.parse_filters`.
    cuts : sequence of str
        Names of cuts of the table.
    client : HttpClient, optional
        By default that of `catalog_client`.
    workers : int
        Boxes at a time.
    verify_counts : bool
        Ask for the number of rows of each box too, and split a box of which fewer came.
    progress : callable, optional
        Called after each box.

    Raises
    ------
    BadArguments
        When a column, filter or cut is unknown, or the table has no service.
    ServiceError
        When a box could not be fetched; those that could are kept.
    """
    client = client or catalog_client(table)
    request = FetchRequest.of(table, region, columns, filters, cuts)
    plan = Plan(storage, {**request.described(), "verify_counts": verify_counts})
    fetcher = _Fetcher(request, open_service(table, client), plan, verify_counts)
    return fetcher.run(workers, progress or (lambda progress: None))


def _service_of(table: SurveyTable) -> Service:
    if table.service is None:
        raise BadArguments(f"table {table.name} has no service to be queried; read its files instead")
    return table.service


class _Fetcher:
    def __init__(
        self, request: FetchRequest, service: CatalogService, plan: Plan, verify_counts: bool
    ) -> None:
        self._request, self._service, self._plan = request, service, plan
        self._verify_counts = verify_counts
        self._max_rows = min(request.table.row_limit, _MOST_ROWS)

    def run(self, workers: int, progress: Callable[[Progress], None]) -> CatalogFetch:
        n_queries = 0 if self._plan.load() else self._begin()
        done, waiting = self._plan.state()
        n_duplicates = 0
        n_rows = sum(each.n_rows for each in done)
        while waiting:
            quarters: list[Tile] = []
            left = len(waiting)
            with closing(self._ask_all(waiting, workers)) as answers:
                for asked in answers:
                    left -= 1
                    n_queries += asked.n_queries
                    n_duplicates += asked.n_duplicates
                    quarters += asked.quarters
                    if asked.done is not None:
                        done.append(asked.done)
                        n_rows += asked.done.n_rows
                    progress(Progress(len(done), len(done) + left + len(quarters), n_rows))
            waiting = quarters
        done.sort(key=lambda each: each.tile.path)
        uris = [each.uri for each in done if each.n_rows] or [each.uri for each in done[:1]]
        uris = uris or [self._plan.empty(self._request.no_rows())]
        return CatalogFetch(tuple(uris), n_rows, n_queries, n_duplicates)

    def _begin(self) -> int:
        """Plan the boxes, and return how many queries that took."""
        bounds, density = roots(self._request.region), self._request.table.rows_per_deg2
        tiles, n_queries = self._cover(bounds, density), 0
        if self._request.query.predicates and len(tiles) > _MANY:
            # Filters may leave few rows, for few large boxes.
            sample = tiles[:: len(tiles) // _SAMPLE][:_SAMPLE]
            tiles, n_queries = self._cover(bounds, min(density, self._density(sample, density))), len(sample)
        if len(tiles) > _MOST_BOXES:
            raise BadArguments(
                f"{self._request.table.native}: the region takes more than {_MOST_BOXES:,} queries of "
                f"{self._max_rows:,} rows; ask for a smaller one, or take the release in bulk"
            )
        self._plan.begin(bounds, tiles)
        return n_queries

    def _cover(self, bounds: tuple[Tile, ...], density: float) -> list[Tile]:
        most_rows = _FILL * self._max_rows
        tiles = cover(self._request.region, density, most_rows, _LONGEST_SIDE_DEG, bounds)
        return list(islice(tiles, _MOST_BOXES + 1))

    def _density(self, sample: Sequence[Tile], usual: float) -> float:
        """Return the rows a square degree that filters and cuts leave in the fullest box of a sample."""
        try:
            return max((self._count(tile) + 1) / tile.area_deg2 for tile in sample)
        except AstrolakeError as error:
            _LOG.warning("rows are not counted beforehand, boxes have their usual size: %s", error)
            return usual

    def _ask_all(self, tiles: Sequence[Tile], workers: int) -> Generator[_Asked, None, None]:
        """Yield what became of boxes; raise when all but those that fail are done, or too many fail."""
        failed: list[tuple[Tile, Exception]] = []
        with closing(run_parallel(self._ask, tiles, workers)) as outcomes:
            for outcome in outcomes:
                if outcome.value is not None:
                    yield outcome.value
                elif outcome.error is not None:
                    failed.append((outcome.item, outcome.error))
                    if len(failed) == _MOST_FAILURES:
                        break
        if failed:
            tile, error = failed[0]
            raise ServiceError(
                f"{len(failed)} of {len(tiles)} boxes of {self._request.table.native} could not be fetched, "
                f"the first being {tile}: {error}. What came is kept in {self._plan.storage.root}: "
                "run it again to fetch the rest"
            ) from error

    def _ask(self, tile: Tile) -> _Asked:
        query = self._request.query
        expected = tile.area_deg2 * self._request.table.rows_per_deg2
        answer = self._service.query(query.rows(tile, self._max_rows), self._max_rows, expected)
        n_queries = 1
        if answer.overflow or answer.rows.num_rows >= self._max_rows:
            return self._split(tile, answer, n_queries)
        if self._verify_counts:
            n_queries += 1
            if answer.rows.num_rows < self._count(tile):
                return self._split(tile, answer, n_queries)
        rows, n_duplicates = self._request.rows(answer.rows, tile)
        return _Asked(n_queries, n_duplicates, self._plan.finish(tile, rows))

    def _split(self, tile: Tile, answer: Answer, n_queries: int) -> _Asked:
        if not tile.may_split:
            raise ServiceError(
                f"{self._request.table.native}: {answer.rows.num_rows} rows and more lie in {tile}, and "
                "a box cannot be smaller; add a filter or cut"
            )
        return _Asked(n_queries, quarters=self._plan.split(tile))

    def _count(self, tile: Tile) -> int:
        counted = self._service.query(self._request.query.count(tile), 2, 1.0).rows
        found = counted.column(0)[0].as_py() if counted.num_rows == counted.num_columns == 1 else None
        if not isinstance(found, int | float):
            raise AstrolakeError(
                f"{self._request.table.native}: the service counts no rows; fetch without verify_counts"
            )
        return int(found)
