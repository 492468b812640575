"""Where things that come from archives lie in a lake: below ``raw/<survey>/<release>``, beside the tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from astrolake.data_access.surveys.model import Survey
from astrolake.lake.lake import Lake
from astrolake.lake.storage import Storage

RAW = "raw"


def files_of(lake: Lake, survey: Survey) -> Storage:
    """Return where image files of a survey go."""
    return _below(lake, survey, "images")


def fetches_of(lake: Lake, survey: Survey) -> Storage:
    """Return where what its services answered is kept, a directory a fetch; it may be deleted at any time."""
    return _below(lake, survey, "catalog")


def manifest_of(
    lake: Lake, survey: Survey, region: str, bands: Sequence[str], options: Mapping[str, Any]
) -> str:
    """Return the URI of the manifest of a fetch of images: the same for the same wish."""
    wish = json.dumps([region, sorted(bands), options], sort_keys=True, default=str)
    name = hashlib.sha256(wish.encode()).hexdigest()[:16]
    return _below(lake, survey, "manifests").uri(f"{name}.jsonl")


def _below(lake: Lake, survey: Survey, kind: str) -> Storage:
    return Storage(lake.storage.uri(RAW, survey.name, survey.release, kind), lake.storage.options)
