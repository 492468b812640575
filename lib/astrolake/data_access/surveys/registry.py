"""The surveys that are known, by name."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from astrolake.data_access.surveys.model import Survey
from astrolake.data_access.surveys.survey_file import parse_survey
from astrolake.errors import BadArguments, BadInput

_SUFFIX = ".toml"


def survey_names() -> list[str]:
    """Return the names of the surveys that come with the package."""
    folder = files("astrolake.data_access.surveys")
    return sorted(
        entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(_SUFFIX)
    )


def load_survey(name_or_path: str, release: str = "") -> Survey:
    """Return a survey and a release of it.

    Parameters
    ----------
    name_or_path : str
        One of `survey_names`, or a file of your own that ends in ``.toml``.
    release : str
        Empty: the first one that the file lists.

    Raises
    ------
    BadArguments
        When there is no such survey or release; the message lists those known.
    BadInput
        When the file is not TOML, or says what it may not; the message names file and section.
    """
    if name_or_path.endswith(_SUFFIX):
        path = Path(name_or_path)
        if not path.is_file():
            raise BadArguments(f"there is no file {name_or_path}; name one of the surveys {survey_names()}")
        text, source = path.read_bytes(), name_or_path
    elif name_or_path in survey_names():
        source = f"{name_or_path}{_SUFFIX}"
        text = (files("astrolake.data_access.surveys") / source).read_bytes()
    else:
        raise BadArguments(
            f"survey {name_or_path!r} is unknown; choose one of {survey_names()}, or name a .toml file"
        )
    try:
        values = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{source}: not TOML ({error}); correct the file", "BadSurvey") from error
    return parse_survey(values, source, release)
