"""A survey's file, checked and turned into the values of `model`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from astrolake.data_access.surveys.column_section import column_sections
from astrolake.data_access.surveys.model import (
    OPERATORS,
    Bulk,
    Condition,
    Cut,
    Service,
    Survey,
    SurveyColumn,
    SurveyTable,
)
from astrolake.data_access.surveys.sections import Section
from astrolake.errors import BadArguments

CATALOG_PROTOCOLS = ("tap", "skyserver")
IMAGING_PROTOCOLS = ("sdss_frames", "panstarrs", "legacy_bricks", "unwise", "sia2")
_LAYOUTS = ("hats", "healpix_k5")
#: Each takes memory whether it is used or not, and no archive likes more.
_MOST_CONNECTIONS = 64
_KEYS = ("source_id", "ra", "dec")
#: Names of surveys and releases become directories of the lake.
_NAME = re.compile(r"[A-Za-z0-9]\w*(?:[.-]\w+)*", re.ASCII)


@dataclass(frozen=True)
class _Shared:
    """What all tables of a file share."""

    release: str
    releases: tuple[str, ...]
    ucds: Mapping[str, str]
    conversions: Mapping[str, Section]
    tables: Mapping[str, Section]
    band_releases: Mapping[str, Any]

    def has(self, band: str) -> bool:
        """Whether the release has the band: it has all that the file says nothing of."""
        return self.release in self.band_releases.get(band, (self.release,))


def parse_survey(values: Mapping[str, Any], file: str, release: str = "") -> Survey:
    """Return a survey and one of its releases.

    Raises
    ------
    BadArguments
        When the survey has no such release.
    BadInput
        When a key is missing, unknown or of the wrong type; the message names file, section and remedy.
    """
    top = Section(values, file, "")
    name = top.text("name")
    releases = top.texts("releases")
    if not releases:
        raise top.error("releases must list one release at least, the default first")
    if bad := [each for each in (name, *releases) if not _NAME.fullmatch(each)]:
        raise top.error(
            f"name and releases become directories: {bad[0]!r} may have letters, digits and single . - _ "
            "between them only"
        )
    release = release or releases[0]
    if release not in releases:
        raise BadArguments(f"survey {name} has no release {release!r}; choose one of {list(releases)}")
    shared = _Shared(
        release,
        releases,
        {str(band): str(ucd) for band, ucd in top.mapping("band_ucds").items()},
        _by_name(top.sections("conversions")),
        _by_name(top.sections("tables")),
        _band_releases(top, releases),
    )
    tables = {
        name: _table(section, shared)
        for name, section in shared.tables.items()
        if _is_of(section, release, releases)
    }
    imaging = top.section("imaging")
    survey = Survey(
        name=name,
        title=top.text("title"),
        reference=top.text("reference"),
        acknowledgement=top.text("acknowledgement", ""),
        release=release,
        releases=releases,
        tables=tables,
        imaging=_service(imaging, release, IMAGING_PROTOCOLS) if imaging else None,
        bands=tuple(band for band in top.texts("bands") if shared.has(band)),
    )
    top.finish()
    if not tables:
        raise top.error(f"release {release} has no table; add a section [tables.NAME]")
    return survey


def _band_releases(top: Section, releases: tuple[str, ...]) -> dict[str, Any]:
    """Return the releases of bands that not all of them have."""
    found = top.mapping("band_releases")
    for band, names in found.items():
        if not isinstance(names, list):
            raise top.error(f"band_releases: band {band} needs a list of releases, not {names!r}")
        for name in names:
            top.choice("band_releases", name, releases)
    return found


def _is_of(section: Section, release: str, releases: tuple[str, ...]) -> bool:
    of = section.texts("releases")
    for name in of:
        section.choice("releases", name, releases)
    return not of or release in of


def _by_name(sections: Iterable[Section]) -> dict[str, Section]:
    return {section.path.rsplit(".", 1)[-1]: section for section in sections}


def _table(section: Section, shared: _Shared) -> SurveyTable:
    release, releases = shared.release, shared.releases
    columns = _columns(section, shared)
    cuts = {
        name: _cut(below, columns)
        for name, below in _by_name(section.sections("cuts")).items()
        if _is_of(below, release, releases)
    }
    service, bulk = section.section("service"), section.section("bulk")
    by_name = {column.name: column.native for column in columns}
    table = SurveyTable(
        name=section.path.split(".")[-1],
        native=section.text("native").replace("{release}", release),
        id=by_name["source_id"],
        ra=by_name["ra"],
        dec=by_name["dec"],
        columns=columns,
        cuts=cuts,
        service=_service(service, release, CATALOG_PROTOCOLS) if service else None,
        row_limit=section.integer("row_limit", 100_000),
        rows_per_deg2=section.number("rows_per_deg2", 10_000.0),
        magnitude=section.text("magnitude", ""),
        bulk=_bulk(bulk, release) if bulk and _is_of(bulk, release, releases) else None,
        layout_of=section.texts("layout_of"),
        doc=section.text("doc"),
        source=section.text("source"),
        others={
            name: _conditions(section, items, columns)
            for name, items in section.mapping("others").items()
            if name != release
        },
    )
    section.finish()
    return table


def _columns(section: Section, shared: _Shared) -> tuple[SurveyColumn, ...]:
    """Return the columns of a table and those of another one that it takes over, with its own conversions."""
    conversions = {**shared.conversions, **_by_name(section.sections("conversions"))}
    like = section.text("like", "")
    taken = [shared.tables[section.choice("like", like, shared.tables)]] if like else []
    own, others = (
        tuple(
            column
            for one in sections
            for below in column_sections(one)
            if _is_of(below.section, shared.release, shared.releases)
            for column in below.columns(shared.ucds, conversions)
            if shared.has(column.band)
        )
        for sections in ([section], taken)
    )
    return _checked_columns(section, own, others)


def _checked_columns(
    section: Section, own: tuple[SurveyColumn, ...], others: tuple[SurveyColumn, ...]
) -> tuple[SurveyColumn, ...]:
    """Return own columns and those of another table that they leave, identifier and position first."""
    seen: dict[str, str] = {}
    for column in own:
        if column.name.lower() in seen:
            raise section.error(
                f"two columns are called {column.name!r} in the lake, from {seen[column.name.lower()]} and "
                f"{column.native}; rename one"
            )
        seen[column.name.lower()] = column.native
    columns = (*own, *(column for column in others if column.name.lower() not in seen))
    by_name = {column.name: column for column in columns}
    if missing := [name for name in _KEYS if name not in by_name]:
        raise section.error(
            f"no column is called {' or '.join(missing)}; every table has source_id, ra and dec"
        )
    return (*(by_name[name] for name in _KEYS), *(c for c in columns if c.name not in _KEYS))


def _cut(section: Section, columns: tuple[SurveyColumn, ...]) -> Cut:
    conditions = _conditions(section, section.get("where"), columns)
    cut = Cut(section.path.split(".")[-1], conditions, section.text("doc"), section.text("source"))
    section.finish()
    return cut


def _conditions(section: Section, items: Any, columns: tuple[SurveyColumn, ...]) -> tuple[Condition, ...]:
    known = {name for column in columns for name in (column.native, *column.inputs)}
    if not isinstance(items, list) or not items:
        raise section.error(f"list [column, operator, value] for every condition, not {items!r}")
    conditions = []
    for item in items:
        if (
            not isinstance(item, list)
            or len(item) != 3
            or not all(isinstance(word, str) for word in item[:2])
        ):
            raise section.error(f"a condition is [column, operator, value], not {item!r}")
        native, operator, value = item
        section.choice("column", native, tuple(known))
        section.choice("operator", operator, OPERATORS)
        conditions.append(Condition(native, operator, _operand(section, operator, value)))
    return tuple(conditions)


def _operand(section: Section, operator: str, value: Any) -> Any:
    """Return the value of a condition as the operator takes it, lists as tuples."""
    is_list = isinstance(value, list)
    if operator == "between" and not (is_list and len(value) == 2):
        raise section.error(f"between takes [smallest, greatest], not {value!r}")
    if operator == "in" and not (is_list and value):
        raise section.error(f"in takes a list of values, not {value!r}")
    if operator.startswith("bits_") and (isinstance(value, bool) or not isinstance(value, int)):
        raise section.error(f"{operator} takes a mask, a whole number, not {value!r}")
    if operator not in ("between", "in") and (is_list or isinstance(value, dict)):
        raise section.error(f"{operator} takes one value, not {value!r}")
    return tuple(value) if is_list else value


def _service(section: Section, release: str, protocols: tuple[str, ...]) -> Service:
    url = section.text("url").replace("{release}", release)
    if not url.startswith(("https://", "http://")):
        raise section.error(f"url must start with https:// or http://, not {url!r}")
    if "@" in urlsplit(url).netloc:
        raise section.error("url holds a user or password; take it out and write it to ~/.netrc")
    connections = section.integer("connections", 4)
    if connections > _MOST_CONNECTIONS:
        raise section.error(f"connections must be {_MOST_CONNECTIONS} at most, not {connections}")
    service = Service(
        protocol=section.choice("protocol", section.text("protocol"), protocols),
        url=url,
        requests_per_s=section.number("requests_per_s", 5.0),
        connections=connections,
        options=section.mapping("options"),
    )
    section.finish()
    return service


def _bulk(section: Section, release: str) -> Bulk:
    bulk = Bulk(
        uri=section.text("uri").replace("{release}", release),
        layout=section.choice("layout", section.text("layout"), _LAYOUTS),
        region=section.text("region", "us-east-1"),
    )
    section.finish()
    return bulk
