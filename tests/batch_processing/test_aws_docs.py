"""Commands in the documents are commands of `astrolake`, and messages they explain are messages of ours."""

import re
import shlex
from pathlib import Path

import pytest

from astrolake.batch_processing.artifacts import collect_artifacts
from astrolake.cli import _parser
from astrolake.lake.sql_params import parameter_names
from astrolake.lake.sql_statement import parse_statement

ROOT = Path(__file__).parents[2]
PAGES = ("setup", "cleanup", "troubleshooting", "aws")
_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(astrolake [^`\n]+)`")


def page(name):
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def commands():
    for name in PAGES:
        text = page(name)
        lines = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
        found = [line for line in lines if line.startswith("astrolake ")]
        found += [one for one in _INLINE.findall(_BLOCK.sub("", text)) if not one.startswith("astrolake sql")]
        yield from ((name, command) for command in found)


COMMANDS = sorted(set(commands()))


def test_there_are_commands_of_every_kind():
    kinds = {shlex.split(command, comments=True)[1] for _, command in COMMANDS}
    assert kinds >= {"setup", "download", "upload", "invoke", "query", "cleanup", "cost"}
    assert len(COMMANDS) > 35


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=lambda value: value[:60])
def test_a_command_is_understood(name, command, capsys):
    words = shlex.split(command.replace("...", "1"), comments=True)[1:]
    try:
        args = _parser().parse_args(words)
    except SystemExit as stopped:
        pytest.fail(f"docs/{name}.md: {command}: {capsys.readouterr().err or stopped}")
    sql = getattr(args, "sql", None)
    if sql and "..." not in command:
        given = {pair.partition("=")[0] for pair in (*args.param, *args.text)}
        assert set(parameter_names(sql)) == given
        if not given:
            parse_statement(sql)
    if getattr(args, "file", None):
        assert (ROOT / args.file).is_file()


def test_archives_are_built_as_setup_says(tmp_path):
    (tmp_path / "cloudformation").mkdir()
    (tmp_path / "cloudformation" / "astronomy-stack.yml").touch()
    told = {item.build for item in collect_artifacts(tmp_path, full=True).missing}
    text = "".join(map(page, ("setup", "troubleshooting")))
    assert set(re.findall(r"python (?:glue|emr)/\w+\.py|make lambda-zip", text)) == told


def test_pages_that_the_documents_name_exist():
    text = "".join(map(page, PAGES))
    named = set(re.findall(r"`(?:docs/)?([\w-]+\.md)`", text))
    assert named >= {"setup.md", "cleanup.md", "troubleshooting.md", "sql.md", "data-dictionary.md"}
    assert [name for name in named if not (ROOT / "docs" / name).is_file()] == []
    assert (ROOT / "notebooks" / "sky_analysis.ipynb").is_file()


#: Messages of AWS, which the code does not hold.
_OF_AWS = (
    "AccessDenied", "is not authorized", "ReservedConcurrent", "already exists", "could not be found", "TABLE_NOT_FOUND", "COLUMN_NOT_FOUND",
    "Task timed out", "Runtime exited", "TooManyRequests", "Bytes scanned", "No output location", "flux and", "no rows",
)  # fmt: skip


def test_messages_of_ours_are_in_the_code():
    code = re.sub(
        r'"\s*\n\s*f?"', "", "".join(p.read_text("utf-8") for p in ROOT.glob("lib/astrolake/**/*.py"))
    )
    code = re.sub(r"\{[^{}]*\}", "…", code)
    rows = re.findall(r"^\| (.+?) \| .+ \| .+ \|$", page("troubleshooting"), re.MULTILINE)
    ours = [row for row in rows if row not in ("message", "---") and not any(text in row for text in _OF_AWS)]
    assert len(ours) > 20
    unknown = [message for message in map(_constant_part, ours) if message not in code]
    assert unknown == []


def _constant_part(row):
    """Return the longest part of a message that no value stands in."""
    message = re.search(r"`([^`]+)`", row)[1].removeprefix("rejected: ").removeprefix("cannot ")
    values = r"\.\.\.|sky-survey-stack|dist/|serverless|KEY|a page of HTML|stack|'sources'|:band|\$\{table\}|(?:ROLLBACK|DELETE|UPDATE)_\w+"
    return max((part.strip(" (.,:='") for part in re.split(values, message)), key=len)
