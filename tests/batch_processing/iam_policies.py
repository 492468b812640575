"""Whether IAM policies allow a request: actions, resources and the conditions that our templates use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from request_log import Request

Statement = Mapping[str, Any]


def statements(documents: Iterable[Mapping[str, Any]]) -> list[Statement]:
    """Return the statements of policy documents."""
    return [one for document in documents for one in _listed(document["Statement"])]


def actions(found: Iterable[Statement]) -> set[str]:
    """Return the actions that statements allow, as written."""
    return {action for one in found if one["Effect"] == "Allow" for action in _listed(one["Action"])}


def allows(found: Iterable[Statement], request: Request) -> bool:
    """Tell whether some statement allows the request and none denies it."""
    applying = [one for one in found if _applies(one, request)]
    return any(one["Effect"] == "Allow" for one in applying) and all(
        one["Effect"] != "Deny" for one in applying
    )


def _applies(one: Statement, request: Request) -> bool:
    named = any(_like(request.action.lower(), action.lower()) for action in _listed(one["Action"]))
    placed = any(_like(request.resource, resource) for resource in _listed(one["Resource"]))
    context = dict(request.context)
    return (
        named
        and placed
        and all(_holds(test, keys, context) for test, keys in one.get("Condition", {}).items())
    )


def _holds(test: str, keys: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    operator = test.removesuffix("IfExists")
    if operator not in ("StringLike", "StringEquals", "ArnLike", "Bool"):
        raise ValueError(f"condition {test} is not known")
    for key, wanted in keys.items():
        if key not in context:
            if operator == test:
                return False
            continue
        if not any(_like(context[key], str(pattern)) for pattern in _listed(wanted)):
            return False
    return True


def _like(text: str, pattern: str) -> bool:
    translated = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(translated, text, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
