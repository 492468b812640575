"""Write the pages and statements that are generated from the table registry.

``python docs/make_dictionary.py`` writes docs/data-dictionary.md and sql/tables/*.sql;
with ``--check`` it writes nothing and fails when one of them is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from astrolake.data_access.surveys.dictionary import survey_dictionary
from astrolake.photometry.flags import FLAGS
from astrolake.photoz.flags import MEANINGS
from astrolake.schema import REGISTRY
from astrolake.schema.athena import ddl_template
from astrolake.schema.dictionary import data_dictionary

ROOT = Path(__file__).resolve().parent.parent


def generated_files() -> dict[str, str]:
    """Return the content of every generated file by its path below the project's root."""
    statements = {
        f"sql/tables/{_file_name(table.name)}.sql": ddl_template(table) for table in REGISTRY.values()
    }
    dictionary = f"{data_dictionary(FLAGS, MEANINGS)}\n{survey_dictionary()}"
    return {"docs/data-dictionary.md": dictionary, **statements}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` return 1 and name those that are out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args(argv).check
    stale = [name for name, text in generated_files().items() if _current(ROOT / name) != text]
    if check:
        for name in stale:
            sys.stderr.write(f"{name} is out of date: run python docs/make_dictionary.py\n")
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).write_text(generated_files()[name], encoding="utf-8")
    return 0


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _file_name(table: str) -> str:
    """Return a table's name without the variable parts: ``crossmatches/<left>_x_<right>`` is crossmatches."""
    return str(re.findall(r"\w+", table)[0])


if __name__ == "__main__":
    sys.exit(main())
