"""Cells of text: what type a column of them has, and their values in that type."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from astrolake.data_access.formats.arrays import Mask
from astrolake.errors import BadInput

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:inf|infinity|nan))$"
_BOOLEAN = r"^(?i:true|false)$"
_INT64_DIGITS = "9223372036854775807"


def clean_cells(cells: pa.Array, null_tokens: Sequence[str]) -> pa.Array:
    """Return the cells without blanks around them, null where they are one of the tokens."""
    trimmed = pc.utf8_trim_whitespace(cells)
    is_null = pc.is_in(trimmed, value_set=pa.array(null_tokens, pa.string()))
    return pc.if_else(is_null, pa.scalar(None, pa.string()), trimmed)


@dataclass
class Evidence:
    """What the cells of a column have been so far.

    Parameters
    ----------
    is_position : bool
        Count cells: text in a column of positions that is mostly numbers is malformed.
    """

    is_position: bool = False
    integers: bool = False
    long_integers: bool = False
    floats: bool = False
    booleans: bool = False
    text: bool = False
    n_numbers: int = 0
    n_text: int = 0

    def add(self, cells: pa.Array) -> None:
        """Take in cleaned cells; nulls say nothing."""
        if self.text and not self.is_position:
            return
        present = cells.drop_null()
        if len(present) == 0:
            return
        if self._add_numbers(present):
            self.n_numbers += len(present)
        elif pc.all(pc.match_substring_regex(present, _BOOLEAN)).as_py():
            self.booleans = True
        else:
            self.text = True
            numbers = pc.sum(pc.match_substring_regex(present, _NUMBER)).as_py()
            self.n_numbers += numbers
            self.n_text += len(present) - numbers

    def _add_numbers(self, cells: pa.Array) -> bool:
        if self.floats:
            return _casts(cells, pa.float64())
        if _casts(cells, pa.int64()):
            # Arrow reads 0x1F as an integer.
            if any(pc.any(pc.match_substring(cells, mark)).as_py() for mark in "xX"):
                return False
            self.integers = True
        elif not _casts(cells, pa.float64()):
            return False
        elif pc.all(pc.match_substring_regex(cells, _INTEGER)).as_py():
            fits = pc.all(_is_int64(cells)).as_py()
            self.integers, self.long_integers = self.integers or fits, self.long_integers or not fits
        else:
            self.floats = True
        return True

    def type(self) -> pa.DataType:
        """Return int64, float64, bool or string; null when there was no value.

        Integers beyond int64 stay text so that identifiers keep their digits, unless the
        column has fractions too.
        """
        numbers = self.integers or self.long_integers or self.floats
        if self.text and self.is_position and self.n_numbers > self.n_text:
            return pa.float64()
        if self.text or (self.booleans and numbers):
            return pa.string()
        if self.booleans:
            return pa.bool_()
        if self.floats:
            return pa.float64()
        if self.long_integers:
            return pa.string()
        return pa.int64() if self.integers else pa.null()


def _casts(cells: pa.Array, arrow: pa.DataType) -> bool:
    try:
        # Failing takes Arrow long, and most columns that fail do so at once.
        cells.slice(0, 100).cast(arrow)
        cells.cast(arrow)
    except pa.ArrowInvalid:
        return False
    return True


def parse_cells(cells: pa.Array, arrow: pa.DataType) -> tuple[pa.Array, Mask | None]:
    """Return cleaned cells in a type, and a mask of those that are no value of it (None: all are).

    Bad cells come back as null. Lists are read from JSON.

    Raises
    ------
    BadInput
        When the type cannot be written as text, or JSON is broken.
    """
    if arrow == pa.string():
        return cells, None
    if pa.types.is_list(arrow):
        return _json_lists(cells, arrow), None
    try:
        return cells.cast(arrow), None
    except pa.ArrowInvalid:
        good = pc.fill_null(_is_valid(cells, arrow), True)
    plain = pc.replace_substring_regex(cells, pattern=r"^\+", replacement="")
    values = pc.if_else(good, plain, pa.scalar(None, pa.string()))
    bad: Mask = ~np.asarray(good)
    return values.cast(arrow), bad if bad.any() else None


def _is_valid(cells: pa.Array, arrow: pa.DataType) -> pa.Array:
    if pa.types.is_floating(arrow):
        return pc.match_substring_regex(cells, _NUMBER)
    if arrow == pa.int64():
        return _is_int64(cells)
    if arrow == pa.int32():
        limit = pa.scalar(2**31, pa.int64())
        values, bad = parse_cells(cells, pa.int64())
        in_range = pc.and_(pc.less(values, limit), pc.greater_equal(values, pc.negate(limit)))
        return in_range if bad is None else pc.and_(pc.fill_null(in_range, False), pa.array(~bad))
    if arrow == pa.bool_():
        return pc.match_substring_regex(cells, _BOOLEAN)
    raise BadInput(f"text cannot become {arrow}; exclude the column", "TypeConflict")


def _is_int64(cells: pa.Array) -> pa.Array:
    digits = pc.utf8_ltrim(pc.utf8_ltrim(cells, characters="+-"), characters="0")
    length = pc.utf8_length(digits)
    short = pc.less(length, len(_INT64_DIGITS))
    in_range = pc.and_(pc.equal(length, len(_INT64_DIGITS)), pc.less_equal(digits, _INT64_DIGITS))
    return pc.and_(pc.match_substring_regex(cells, _INTEGER), pc.or_(short, in_range))


def _json_lists(cells: pa.Array, arrow: pa.DataType) -> pa.Array:
    if len(cells) == 0:
        return pa.array([], arrow)
    documents = pc.binary_join_element_wise('{"v":', pc.fill_null(cells, "null"), "}\n", "")
    stream = io.BytesIO("".join(documents.to_pylist()).encode())
    options = pa_json.ParseOptions(
        explicit_schema=pa.schema([("v", arrow)]), unexpected_field_behavior="error"
    )
    table = pa_json.read_json(
        stream, pa_json.ReadOptions(use_threads=False, block_size=stream.getbuffer().nbytes), options
    )
    return pa.concat_arrays(table.column("v").chunks).cast(arrow)
