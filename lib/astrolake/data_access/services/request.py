"""What a fetch asks for, and what becomes of an answer: from native rows to rows of the lake, each once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astrolake.data_access.services.queries import TileQuery
from astrolake.data_access.services.tiling import Tile
from astrolake.data_access.surveys.conditions import keep, keep_native, parse_filters, to_sql
from astrolake.data_access.surveys.model import Condition, Cut, SurveyColumn, SurveyTable
from astrolake.data_access.surveys.translate import lake_fields, translate
from astrolake.errors import ServiceError
from astrolake.sky.region import Box, Cone, Polygon, Region

_LOG = logging.getLogger(__name__)
#: A service that sends rows this far outside of a box did not understand the query.
_TOLERANCE_DEG = 1e-4


@dataclass(frozen=True)
class FetchRequest:
    """All that decides the rows of a fetch.

    Parameters
    ----------
    table : SurveyTable
    region : Region
    columns : tuple of SurveyColumn
        That come out.
    conditions : tuple of Condition
        In columns of the lake.
    cuts : tuple of Cut
        In native columns.
    """

    table: SurveyTable
    region: Region
    columns: tuple[SurveyColumn, ...]
    conditions: tuple[Condition, ...] = ()
    cuts: tuple[Cut, ...] = ()

    @classmethod
    def of(
        cls,
        table: SurveyTable,
        region: Region,
        columns: Sequence[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        cuts: Sequence[str] = (),
    ) -> FetchRequest:
        """Return the request for columns, filters and cuts by their names.

        Raises
        ------
        BadArguments
            When one is unknown; the message lists those known.
        """
        return cls(
            table,
            region,
            table.select(columns),
            parse_filters(table, filters),
            table.select_cuts(cuts),
        )

    @cached_property
    def _asked(self) -> tuple[SurveyColumn, ...]:
        """Columns that come out, and those of conditions."""
        names = {column.name for column in self.columns} | {each.column for each in self.conditions}
        return self.table.select(sorted(names))

    @property
    def _cut_names(self) -> tuple[str, ...]:
        return tuple(cut.name for cut in self.cuts)

    @cached_property
    def query(self) -> TileQuery:
        """What is asked of every box."""
        names = self.table.native_names(self._asked, self._cut_names)
        query = TileQuery(self.table, names)
        predicates = to_sql(self.table, self.conditions, self._cut_names, query.dialect)
        return TileQuery(self.table, names, tuple(predicates))

    def described(self) -> dict[str, Any]:
        """Return what decides the rows, as JSON can hold it."""
        service = self.table.service
        return {
            "table": self.table.native,
            "service": service.url if service else "",
            "row_limit": self.table.row_limit,
            "region": _region_text(self.region),
            "columns": [asdict(column) | {"values": _pairs(column.values)} for column in self.columns],
            "conditions": [asdict(condition) for condition in self.conditions],
            "cuts": [asdict(cut) for cut in self.cuts],
            "predicates": list(self.query.predicates),
        }

    def rows(self, native: pa.Table, tile: Tile) -> tuple[pa.Table, int]:
        """Return the wanted rows of an answer, as the lake has them, sorted, and how many were double.

        Raises
        ------
        ServiceError
            When rows lie outside of the box that was asked for.
        MissingColumns
            When the answer lacks a column.
        """
        if not native.num_rows:
            return self.no_rows(), 0
        found = _wrapped(translate(self.table, self._asked, native))
        ra, dec = found["ra"].to_numpy(), found["dec"].to_numpy()
        self._check_inside(tile, ra, dec)
        mask = np.asarray(self.region.contains(ra, dec), dtype=bool)
        if self.conditions:
            mask &= keep(self.table, self.conditions, found)
        if self.cuts:
            mask &= keep_native(self.table, self._cut_names, native)
        kept = found.filter(pa.array(mask)).select([column.name for column in self.columns])
        return _once(kept)

    def no_rows(self) -> pa.Table:
        """Return a table of the columns that come out, without rows."""
        return lake_fields(self.columns).empty_table()

    def _check_inside(self, tile: Tile, ra: np.ndarray, dec: np.ndarray) -> None:
        east = np.mod(ra - tile.ra_min + _TOLERANCE_DEG, 360.0)
        inside = east <= tile.ra_max - tile.ra_min + 2 * _TOLERANCE_DEG
        inside &= (dec >= tile.dec_min - _TOLERANCE_DEG) & (dec <= tile.dec_max + _TOLERANCE_DEG)
        if not inside.all():
            at = int(np.argmin(inside))
            raise ServiceError(
                f"{self.table.native}: {np.count_nonzero(~inside)} rows lie outside of what was asked for, "
                f"{tile}, such as ra {ra[at]}, dec {dec[at]}; the service does not understand the query"
            )


def _region_text(region: Region) -> str:
    """Return a text that is the same for the same region only."""
    if isinstance(region, Box | Cone | Polygon):
        return repr(region)
    return f"{type(region).__name__} {hashlib.sha256(region.ranges().tobytes()).hexdigest()}"


def _pairs(values: Mapping[Any, Any]) -> list[list[Any]]:
    return [[key, value] for key, value in values.items()]


def _wrapped(rows: pa.Table) -> pa.Table:
    """Return rows with right ascension in [0, 360)."""
    at = rows.schema.get_field_index("ra")
    ra = rows["ra"].to_numpy()
    if not ((ra < 0) | (ra >= 360)).any():
        return rows
    wrapped = np.mod(ra, 360.0)
    # A tiny negative angle rounds to 360.
    return rows.set_column(at, rows.schema.field(at), pa.array(np.where(wrapped >= 360.0, 0.0, wrapped)))


def _once(rows: pa.Table) -> tuple[pa.Table, int]:
    """Return rows sorted by identifier, the first of each, and how many others there were."""
    if not rows.num_rows:
        return rows, 0
    # All columns take part, so that the order in which the service sends rows decides nothing.
    others = [field.name for field in rows.schema if field.name != "source_id" and _sorts(field.type)]
    rows = rows.sort_by([(name, "ascending") for name in ("source_id", *others)])
    ids = rows["source_id"].combine_chunks()
    same = pc.fill_null(pc.equal(ids[1:], ids[:-1]), False).to_numpy(zero_copy_only=False)
    n_double = int(np.count_nonzero(same))
    if n_double:
        _LOG.warning(
            "%d rows have the source_id of another row, such as %s; one of each is kept",
            n_double,
            ids[1 + int(np.argmax(same))],
        )
        rows = rows.filter(pa.array(np.concatenate([[True], ~same])))
    return rows, n_double


def _sorts(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
    )
