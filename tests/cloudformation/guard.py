"""Runs the rules of cloudformation/rules on a template."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cfn_guard_rs.cfn_guard_rs import run_checks_rs

RULES = Path(__file__).resolve().parents[2] / "cloudformation" / "rules"
#: Rule -> the file that has it.
RULE_FILES = {
    name: file
    for file in sorted(RULES.glob("*.guard"))
    for name in re.findall(r"^rule (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
}


def rules_by_outcome(resources: Mapping[str, Any], rule: str = "") -> dict[str, set[str]]:
    """Return the names of the rules that failed, passed or did not apply to some resources.

    With a rule, only the rules of its file are run.
    """
    outcome: dict[str, set[str]] = {"failed": set(), "passed": set(), "skipped": set()}
    template = json.dumps({"Resources": dict(resources)})
    for file in {RULE_FILES[rule]} if rule else set(RULE_FILES.values()):
        report = run_checks_rs(template, file.read_text(encoding="utf-8"), False)
        passed, skipped = _names(report, "compliant"), _names(report, "not_applicable")
        outcome["passed"] |= passed
        outcome["skipped"] |= skipped
        outcome["failed"] |= {name for name, place in RULE_FILES.items() if place == file} - passed - skipped
    return outcome


def _names(report: str, key: str) -> set[str]:
    """Return a list of names at the end of a report; of a long report the package gives the end only."""
    (names,) = re.findall(rf'^  "{key}": (\[[^]]*\])', report, re.MULTILINE)
    return set(json.loads(names))
