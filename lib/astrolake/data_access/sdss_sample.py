"""Frames of SDSS DR17 that make a small sample, as `sdss_sample.json` lists them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import resources

from astrolake.data_access.download import RemoteFile
from astrolake.errors import BadArguments
from astrolake.lake.storage import canonical_uri

_FIELD = re.compile(r"([0-9]{1,6})-([1-6])-([0-9]{1,4})")


def sample_frames(
    target: str, fields: Sequence[str] = (), bands: str = "", base_url: str = ""
) -> list[RemoteFile]:
    """Return corrected frames of SDSS DR17: by default the sample.

    Parameters
    ----------
    target : str
        Directory or prefix of the files.
    fields : sequence of str
        As run-camcol-field, such as 4510-4-30, in place of the sample.
    bands : str
        Such as "gr", in place of all.
    base_url : str
        Directory of the frames, in place of SDSS's own.

    Raises
    ------
    BadArguments
        When a field or band cannot be understood.
    """
    listed = json.loads(resources.files(__package__).joinpath("sdss_sample.json").read_text("utf-8"))
    root = (base_url or str(listed["base_url"])).rstrip("/")
    if unknown := set(bands) - set(listed["bands"]):
        raise BadArguments(f"SDSS has no bands {sorted(unknown)}; it has {', '.join(listed['bands'])}")
    chosen = dict.fromkeys(fields, listed["bands"]) or {
        item["field"]: item["bands"] for item in listed["fields"]
    }
    return [
        _frame(root, canonical_uri(target), field, band)
        for field, own in chosen.items()
        for band in own
        if not bands or band in bands
    ]


def _frame(root: str, target: str, field: str, band: str) -> RemoteFile:
    match = _FIELD.fullmatch(field)
    if match is None:
        raise BadArguments(f"field {field!r}: write run-camcol-field, such as 4510-4-30")
    run, camcol, number = map(int, match.groups())
    name = f"frame-{band}-{run:06d}-{camcol}-{number:04d}.fits.bz2"
    return RemoteFile(f"{root}/{run}/{camcol}/{name}", f"{target}/{name}", band=band)
