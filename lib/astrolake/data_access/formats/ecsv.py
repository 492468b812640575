"""The header of ECSV files (Astropy Proposal for Enhancement 6): names, types, units, descriptions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from astropy.table import meta

from astrolake.errors import BadInput

_TYPES = {
    "bool": pa.bool_(),
    "int8": pa.int32(),
    "int16": pa.int32(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.int32(),
    "uint16": pa.int32(),
    "uint32": pa.int64(),
    "uint64": pa.int64(),
    "float16": pa.float32(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "float128": pa.float64(),
    "string": pa.string(),
}
_LIST = re.compile(r"(\w+)\[(\d+|null)\]$")


@dataclass(frozen=True)
class TextColumn:
    """Name of a column of text and what a header declares of it; type None: to be found by a scan."""

    name: str
    type: pa.DataType | None = None
    unit: str = ""
    ucd: str = ""
    doc: str = ""


def ecsv_header(lines: Sequence[str]) -> tuple[str, tuple[TextColumn, ...]]:
    """Return the delimiter and the columns that the comment lines of an ECSV file declare.

    Vectors and variable arrays of one dimension become lists; arrays of more, other JSON and
    complex numbers stay text.

    Raises
    ------
    BadInput
        When the header is not valid YAML.
    """
    yaml = [line.removeprefix("#").removeprefix(" ") for line in lines if not line.startswith("# %ECSV")]
    try:
        header: dict[str, Any] = meta.get_header_from_yaml(yaml)
    except meta.YamlParseError as error:
        raise BadInput(
            f"the ECSV header is not valid YAML ({error.__cause__}); write the file again", "BadHeader"
        ) from error
    return str(header.get("delimiter", " ")), tuple(_column(entry) for entry in header["datatype"])


def _column(entry: dict[str, Any]) -> TextColumn:
    declared = str(entry.get("subtype", entry["datatype"]))
    ucd = str((entry.get("meta") or {}).get("ucd", ""))
    description = str(entry.get("description", ""))
    return TextColumn(str(entry["name"]), _type(declared), str(entry.get("unit", "")), ucd, description)


def _type(declared: str) -> pa.DataType:
    if vector := _LIST.match(declared):
        return pa.list_(pa.field("element", _type(vector[1])))
    return _TYPES.get(declared, pa.string())
