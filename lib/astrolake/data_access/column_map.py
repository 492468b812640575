"""Which columns of a catalog hold position and identifier, and what every column is called in the lake."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from astrolake.errors import BadArguments, MissingColumns
from astrolake.schema import HEALPIX_COLUMN, PARTITION_COLUMNS

#: (ra, dec) names of surveys and tools, in order of preference, as `_key` spells them.
_POSITION_KEYS = (
    ("ra", "dec"),
    ("ra", "decl"),
    ("ra", "de"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("ra2000", "dec2000"),
    ("ra2000", "de2000"),
    ("raicrs", "deicrs"),
    ("raicrs", "decicrs"),
    ("radeg", "decdeg"),
    ("radeg", "dedeg"),
    ("ramean", "decmean"),
    ("meanra", "meandec"),
    ("rastack", "decstack"),
    ("alphaj2000", "deltaj2000"),
    ("alphawinj2000", "deltawinj2000"),
    ("alphasky", "deltasky"),
    ("alpha", "delta"),
    ("rightascension", "declination"),
    ("objra", "objdec"),
    ("targetra", "targetdec"),
    ("coordra", "coorddec"),
    ("skycoordra", "skycoorddec"),
    ("skycentroidra", "skycentroiddec"),
    ("candidatera", "candidatedec"),
)
_ID_KEYS = (
    "sourceid",
    "candid",
    "objid",
    "objectid",
    "coaddobjectid",
    "photoobjid",
    "photoid",
    "memmatchid",
    "catalogid",
    "catid",
    "targetid",
    "designation",
    "id",
)
#: Numbers that repeat: Legacy Survey objid counts within a brick, SDSS id within a field.
_SCOPES = {"objid": {"brickid"}, "id": {"run", "camcol", "field"}}
_DEGREES_PER_UNIT = {
    **dict.fromkeys(("", "deg", "degree", "degrees", "°", "angle[deg]"), 1.0),
    **dict.fromkeys(("rad", "radian", "radians", "angle[rad]"), 57.29577951308232),
    **dict.fromkeys(("hourangle", "h", "hour", "hours", "hr", "hrs"), 15.0),
}
#: Columns that the lake itself adds.
LAKE_COLUMNS = (HEALPIX_COLUMN, "run_id", *PARTITION_COLUMNS)
#: Names that jobs give to columns of their own on the way: no input column may have them.
_PASSING_COLUMNS = re.compile(r"_(part|kind|rank|is_reject|reject_\w+|left_rows)$")
_KEYS = ("source_id", "ra", "dec")


@dataclass(frozen=True)
class ColumnMap:
    """How the columns of an input become those of a catalog table.

    Parameters
    ----------
    ra, dec : str
        Input columns of the position.
    id : str, optional
        Input column of the identifier; None: ids are generated.
    ra_factor, dec_factor : float
        Degrees in one unit of the input column.
    extra : tuple of (input name, lake name)
        Columns kept beside source_id, ra and dec.
    """

    ra: str
    dec: str
    id: str | None
    ra_factor: float
    dec_factor: float
    extra: tuple[tuple[str, str], ...]


def resolve_columns(
    schema: pa.Schema,
    ra: str | None = None,
    dec: str | None = None,
    id: str | None = None,
) -> ColumnMap:
    """Find position and identifier of a catalog and name its columns in the lake.

    A name that is given decides; else the UCDs ``pos.eq.ra;meta.main``,
    ``pos.eq.dec;meta.main`` and ``meta.id;meta.main``; else common names, ignoring case and
    punctuation, numeric columns first. Positions declared in radians or hours are
    converted. All input columns are kept under their names, except that

    * an input column ra, dec or source_id that is the resolved one is not repeated,
    * another one of these names, or one of the lake's own columns, gets the prefix ``input_``,
    * characters that SQL engines reject become ``_``.

    Raises
    ------
    MissingColumns
        When there is no such column; the message lists those that exist.
    BadArguments
        When a position is text, a list or in a unit that is no angle, an identifier is
        neither integer nor text, or two columns would get one name.
    """
    ra_name, dec_name = _position(schema, ra, dec)
    id_name = _identifier(schema, id)
    ra_factor, dec_factor = _factor(schema.field(ra_name), True), _factor(schema.field(dec_name), False)
    resolved = {"ra": ra_name, "dec": dec_name, "source_id": id_name}
    converted = {"ra": ra_factor != 1.0, "dec": dec_factor != 1.0, "source_id": False}
    extra = []
    for name in schema.names:
        lake = lake_name(name)
        key = lake.lower()
        if key in _KEYS and resolved[key] == name and not converted[key]:
            continue
        taken = key in _KEYS or key in {column.lower() for column in LAKE_COLUMNS}
        if taken or _PASSING_COLUMNS.match(key):
            lake = f"input_{lake}"
        extra.append((name, lake))
    _check_distinct(extra)
    return ColumnMap(ra_name, dec_name, id_name, ra_factor, dec_factor, tuple(extra))


def lake_name(name: str) -> str:
    """Return a column name of ASCII letters, digits and underscores, as every SQL engine takes it."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"\W+", "_", ascii_name.strip())
    plain = plain if plain == name else plain.strip("_")
    return plain or "column"


def has_positions(names: Sequence[str], ra: str | None = None, dec: str | None = None) -> bool:
    """Whether columns of these names include a position, by the names given or common ones."""
    return all(guess_positions(names, ra, dec))


def guess_positions(
    names: Sequence[str], ra: str | None = None, dec: str | None = None
) -> tuple[str | None, str | None]:
    """Return the names of the position columns, None for one that is not there."""
    found = _common_position(names)
    return (_named(names, ra) if ra else found[0]), (_named(names, dec) if dec else found[1])


def _common_position(names: Iterable[str]) -> tuple[str | None, str | None]:
    by_key: dict[str, str] = {}
    for name in names:
        by_key.setdefault(_key(name), name)
    for ra_key, dec_key in _POSITION_KEYS:
        if ra_key in by_key and dec_key in by_key:
            return by_key[ra_key], by_key[dec_key]
    return None, None


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _named(names: Iterable[str], wanted: str) -> str | None:
    return next((name for name in names if name.lower() == wanted.lower()), None)


def _required(schema: pa.Schema, wanted: str) -> str:
    name = _named(schema.names, wanted)
    if name is None:
        raise MissingColumns("the input", [wanted], list(schema.names))
    return name


def _position(schema: pa.Schema, ra: str | None, dec: str | None) -> tuple[str, str]:
    by_ucd = _main_ucd(schema, "pos.eq.ra"), _main_ucd(schema, "pos.eq.dec")
    numeric = [field.name for field in schema if _is_number(field.type)]
    guesses = by_ucd, _common_position(numeric), _common_position(schema.names)
    found = next((guess for guess in guesses if all(guess)), (None, None))
    names = (_required(schema, ra) if ra else found[0]), (_required(schema, dec) if dec else found[1])
    if names[0] is None or names[1] is None:
        missing = [key for key, name in zip(("ra", "dec"), names, strict=True) if name is None]
        what = "the input (name its position with --ra-column and --dec-column)"
        raise MissingColumns(what, missing, list(schema.names))
    return names[0], names[1]


def _main_ucd(schema: pa.Schema, word: str) -> str | None:
    for field in schema:
        words = (field.metadata or {}).get(b"ucd", b"").decode().lower().replace(" ", "").split(";")
        if words[0] == word and "meta.main" in words:
            return str(field.name)
    return None


def _identifier(schema: pa.Schema, wanted: str | None) -> str | None:
    if wanted:
        field = schema.field(_required(schema, wanted))
        if not _is_identifier(field.type):
            raise BadArguments(
                f"column {field.name} is {field.type}: an identifier must be an integer or text; "
                "name another one with --id-column, or none to have ids generated"
            )
        return str(field.name)
    candidates = [field.name for field in schema if _is_identifier(field.type)]
    main = _main_ucd(schema, "meta.id")
    if main in candidates:
        return main
    by_key: dict[str, str] = {}
    for name in candidates:
        by_key.setdefault(_key(name), name)
    present = {_key(name) for name in schema.names}
    scoped = {key for key, scope in _SCOPES.items() if scope <= present}
    return next((by_key[key] for key in _ID_KEYS if key in by_key and key not in scoped), None)


def _factor(field: pa.Field, allow_hours: bool) -> float:
    if not _is_number(field.type):
        raise BadArguments(
            f"column {field.name} is {field.type}: a position must be a number of degrees; convert "
            "sexagesimal text to degrees in the file, or name another column (--ra-column, --dec-column)"
        )
    unit = (field.metadata or {}).get(b"unit", b"").decode().strip()
    factor = _DEGREES_PER_UNIT.get(unit.lower())
    if factor is None or (factor == 15.0 and not allow_hours):
        raise BadArguments(
            f"column {field.name} is in {unit!r}: a position must be in deg or rad (right ascension also in "
            "hours); correct the unit in the file or name another column"
        )
    return factor


def _check_distinct(extra: Sequence[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for name, lake in extra:
        if lake.lower() in seen:
            raise BadArguments(
                f"the columns {seen[lake.lower()]!r} and {name!r} both become {lake!r} (SQL ignores "
                "case, and punctuation becomes an underscore); rename or exclude one"
            )
        seen[lake.lower()] = name


def _is_number(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow) or pa.types.is_floating(arrow))


def _is_identifier(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow) or pa.types.is_string(arrow))
