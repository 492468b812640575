"""Columns in a survey's file: one entry stands for a column of every band."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astrolake.data_access.surveys.conversions import RULES
from astrolake.data_access.surveys.model import Alias, Conversion, SurveyColumn
from astrolake.data_access.surveys.sections import Section
from astrolake.schema.model import SCALAR_TYPES
from astrolake.schema.objects import band_suffix
from astrolake.sky.ab_offsets import AB_MINUS_VEGA

#: Behind the name of a native array: the element of the band.
_ELEMENT = "[{band}]"


def column_sections(table: Section) -> list[ColumnSection]:
    """Return the entries below ``[[tables.NAME.columns]]``."""
    found = []
    for number, values in enumerate(table.items("columns"), start=1):
        if not isinstance(values, dict):
            raise table.error(f"columns must be written as [[{table.path}.columns]], not {values!r}")
        label = values.get("native", f"number {number}")
        found.append(ColumnSection(Section(values, table.file, f"{table.path}.columns, {label}")))
    return found


@dataclass(frozen=True)
class ColumnSection:
    """One entry.

    The word ``{band}`` stands in ``native``, ``with`` and ``also`` for the band as native columns spell
    it, in ``doc`` for its usual name, and in ``name`` for what `band_suffix` makes of that; ``{ucd}`` in
    ``ucd`` is the band's word of ``[band_ucds]``.
    """

    section: Section

    def columns(self, ucds: Mapping[str, str], conversions: Mapping[str, Section]) -> list[SurveyColumn]:
        """Return the column, or one for every band."""
        bands = _bands(self.section) or {"": ""}
        found = [self._column(spelt, bands, ucds, conversions) for spelt in bands]
        self.section.finish()
        return found

    def _column(
        self,
        spelt: str,
        bands: Mapping[str, str],
        ucds: Mapping[str, str],
        conversions: Mapping[str, Section],
    ) -> SurveyColumn:
        section, band = self.section, bands[spelt]

        def filled(text: str) -> str:
            return text.replace("{band}", spelt)

        native = section.text("native")
        element = list(bands).index(spelt) if native.endswith(_ELEMENT) else None
        name = section.text("name", native).replace("{band}", band_suffix(band))
        inputs = tuple(filled(text) for text in section.texts("with"))
        kind = section.choice("type", section.text("type", "float64"), SCALAR_TYPES)
        return SurveyColumn(
            native=filled(native.removesuffix(_ELEMENT)),
            name=name,
            type=kind,
            doc=section.text("doc").replace("{band}", band),
            unit=section.text("unit", ""),
            ucd=self._ucd(band, ucds),
            null=section.items("null"),
            values=self._values(kind),
            conversion=self._conversion(band, inputs, conversions),
            default=section.flag("default", True),
            inputs=inputs,
            aliases=tuple(
                Alias(filled(text), tuple(text.replace("{band}", other) for other in bands if other))
                for text in section.texts("also")
            ),
            element=element,
            band=band,
            width=section.integer("width") if "width" in section.values else 0,
        )

    def _ucd(self, band: str, ucds: Mapping[str, str]) -> str:
        ucd = self.section.text("ucd", "")
        if "{ucd}" in ucd and band not in ucds:
            raise self.section.error(f"[band_ucds] has no word for band {band!r}; add it")
        return ucd.replace("{ucd}", ucds.get(band, ""))

    def _values(self, kind: str) -> dict[Any, Any]:
        """Return native values to those of the lake; TOML has keys of text only, so digits mean numbers."""
        found = self.section.mapping("values")
        expected = {"string": str, "bool": bool}.get(kind, int)
        if wrong := [value for value in found.values() if type(value) is not expected]:
            raise self.section.error(f"values become {kind}, which {wrong} are not")
        return {int(key) if key.lstrip("-").isdecimal() else key: value for key, value in found.items()}

    def _conversion(
        self, band: str, inputs: tuple[str, ...], conversions: Mapping[str, Section]
    ) -> Conversion | None:
        section = self.section
        name = section.text("convert", "")
        if not name:
            if inputs:
                raise section.error("with names columns for a conversion; add convert")
            return None
        named = conversions.get(name)
        if named is None and name not in RULES:
            raise section.error(
                f"conversion {name!r} is unknown; choose one of {sorted({*RULES, *conversions})}, or add "
                f"[conversions.{name}]"
            )
        kind = section.choice("rule", named.text("rule"), RULES) if named else name
        given = {key: value for key, value in named.values.items() if key != "rule"} if named else {}
        parameters = {key: _of_band(section, key, value, band) for key, value in given.items()}
        _check_parameters(section, kind, parameters, len(inputs))
        return Conversion(kind, parameters)


def _bands(section: Section) -> dict[str, str]:
    """Return the bands by their native spelling: a text of letters, or a table where that is another one."""
    bands = section.get("bands", {})
    if isinstance(bands, str):
        return {band: band for band in bands}
    if not isinstance(bands, dict) or not all(isinstance(band, str) for band in bands.values()):
        raise section.error(f"bands must be letters or a table of native = band, not {bands!r}")
    return bands


def _of_band(section: Section, key: str, value: Any, band: str) -> Any:
    if not isinstance(value, dict):
        return value.replace("{band}", band) if isinstance(value, str) else value
    if band not in value:
        raise section.error(f"the conversion has no {key} for band {band!r}; it has {sorted(value)}")
    return value[band]


def _check_parameters(section: Section, kind: str, parameters: Mapping[str, Any], inputs: int) -> None:
    rule = RULES[kind]
    known = rule.required | rule.optional
    if unknown := set(parameters) - known:
        raise section.error(f"rule {kind} has no parameters {sorted(unknown)}; it has {sorted(known)}")
    if missing := rule.required - set(parameters):
        raise section.error(
            f"rule {kind} needs {sorted(missing)}; add them to the section [conversions.NAME]"
        )
    for key, value in parameters.items():
        _check_parameter(section, key, value)
    needed = len(parameters.get("shifts", ())) - 1 if kind == "packed_integer" else rule.inputs
    if inputs != needed:
        raise section.error(f"rule {kind} needs {needed} other columns in with, not {inputs}")
    if kind == "vega_to_ab" and "ab_minus_vega" not in parameters:
        system, name = parameters.get("system"), parameters.get("filter")
        if name not in AB_MINUS_VEGA.get(str(system), {}):
            raise section.error(
                f"m_AB - m_Vega of filter {name!r} of system {system!r} is not known; give ab_minus_vega, or "
                f"one of { {key: sorted(value) for key, value in AB_MINUS_VEGA.items()} }"
            )


def _check_parameter(section: Section, name: str, value: Any) -> None:
    if name in ("system", "filter"):
        right, expected = isinstance(value, str), "a text"
    elif name == "shifts":
        right = isinstance(value, list) and all(type(bits) is int and 0 <= bits < 63 for bits in value)
        expected = "a list of numbers of bits"
    else:
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        right = right and (value > 0 if name == "softening" else value != 0 or name != "factor")
        expected = "a number above zero" if name == "softening" else "a number, a factor other than zero"
    if not right:
        raise section.error(f"{name} of the conversion must be {expected}, not {value!r}")
