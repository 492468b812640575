"""cfn-lint on files, with its findings as text."""

from collections.abc import Sequence
from pathlib import Path

from cfnlint.api import lint_file


def findings(files: Sequence[Path]) -> list[str]:
    """Return what cfn-lint says of templates, one text for each finding."""
    return [
        f"{file.name}:{match.linenumber} {match.rule.id} {match.message}"
        for file in files
        for match in lint_file(file)
    ]
