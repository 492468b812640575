"""Turns properties of a template into parameters of AWS's API, by the service models of botocore."""

import re
from collections.abc import Mapping
from typing import Any

import botocore.session

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_SESSION = botocore.session.get_session()


class WrongProperty(Exception):
    """A property that AWS's API does not have, or a value that it does not take."""


def api_parameters(
    service: str,
    operation: str,
    properties: Mapping[str, Any],
    where: str,
    renames: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the parameters of an operation for properties of the same names, whatever their capitals.

    Raises
    ------
    WrongProperty
        For a property that is no parameter at its place, a value of the wrong type, and one outside of its
        enumeration.
    """
    shape = _SESSION.get_service_model(service).operation_model(operation).input_shape
    return _convert(dict(properties), shape, where, renames or {})


def _convert(value: Any, shape: Any, where: str, renames: Mapping[str, str]) -> Any:
    match shape.type_name:
        case "structure":
            return _structure(value, shape, where, renames)
        case "list":
            if not isinstance(value, list):
                raise WrongProperty(f"{where}: {value!r} is not a list")
            return [_convert(item, shape.member, f"{where}[{i}]", renames) for i, item in enumerate(value)]
        case "map":
            if not isinstance(value, dict):
                raise WrongProperty(f"{where}: {value!r} is not a map")
            keys = {key: _scalar(key, shape.key, where) for key in value}
            return {
                keys[key]: _convert(item, shape.value, f"{where}.{key}", renames)
                for key, item in value.items()
            }
    return _scalar(value, shape, where)


def _structure(value: Any, shape: Any, where: str, renames: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongProperty(f"{where}: {value!r} is not a structure")
    members = {name.lower(): name for name in shape.members}
    found = {}
    for key, item in value.items():
        name = members.get(key.lower()) or members.get(renames.get(key, key).lower())
        if name is None:
            raise WrongProperty(f"{where}: {shape.name} has no {key}; it has {sorted(shape.members)}")
        found[name] = _convert(item, shape.members[name], f"{where}.{key}", renames)
    given_by_botocore = {
        name for name, member in shape.members.items() if member.metadata.get("idempotencyToken")
    }
    if missing := set(shape.required_members) - set(found) - given_by_botocore:
        raise WrongProperty(f"{where}: {shape.name} lacks {sorted(missing)}")
    return found


def _scalar(value: Any, shape: Any, where: str) -> Any:
    if isinstance(value, dict | list):
        raise WrongProperty(f"{where}: {value!r} where {shape.type_name} is due")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    match shape.type_name:
        case "boolean":
            if text not in ("true", "false"):
                raise WrongProperty(f"{where}: {value!r} is neither true nor false")
            return text == "true"
        case "integer" | "long":
            if not re.fullmatch(r"-?\d+", text):
                raise WrongProperty(f"{where}: {value!r} is not a whole number")
            return int(text)
        case "float" | "double":
            if not _NUMBER.fullmatch(text):
                raise WrongProperty(f"{where}: {value!r} is not a number")
            return float(text)
    if shape.enum and text not in shape.enum:
        raise WrongProperty(f"{where}: {value!r} is not one of {shape.enum}")
    pattern = shape.metadata.get("pattern")
    if pattern and shape.type_name == "string" and not _matches(pattern, text):
        raise WrongProperty(f"{where}: {value!r} does not match {pattern}")
    return text


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text, re.DOTALL) is not None
    except re.error:
        # Some patterns of the models are of Java alone.
        return True
