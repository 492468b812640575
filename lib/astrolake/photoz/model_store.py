"""Models in a lake: one file each below ``models/<model_id>``, and a row of the table `models`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, BadInput
from astrolake.lake.storage import Storage
from astrolake.photoz import artifact, combined
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.members import member_columns, member_of
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.template_fit import TemplateFit
from astrolake.schema import MODELS
from astrolake.schema.arrow import arrow_schema

_FILE = "model.npz"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class Estimator(Protocol):
    """What estimates redshifts: a learned model, a template fit, or a combination of these."""

    @property
    def grid(self) -> RedshiftGrid:
        """The redshifts of its densities."""
        ...

    def estimate(
        self, columns: Mapping[str, ArrayLike], pdf_step: float = 0.0, *, whole: bool = True
    ) -> dict[str, NDArray[Any]]:
        """Return the columns of the table `photoz`, but for identifiers and positions."""
        ...

    def to_bytes(self) -> bytes:
        """Return the model as the content of a file."""
        ...


@dataclass(frozen=True)
class StoredModel:
    """A model's file and what it is checked against; cheap to send to executors.

    Parameters
    ----------
    lake : Storage
        Root of the lake.
    model_id, name, sha256 : str
    """

    lake: Storage
    model_id: str
    name: str
    sha256: str

    @property
    def uri(self) -> str:
        """Where the file lies."""
        return self.lake.uri(*_path(self.model_id))

    def load(self) -> Estimator:
        """Return the model; a process reads it once.

        Raises
        ------
        BadInput
            When the file is missing, not the one that was trained, or no model.
        """
        return _loaded(self.uri, self.sha256, _Reader(self.lake, self.model_id))


class _Reader:
    """How to read a file; of no account to the cache, which knows it by name and hash."""

    def __init__(self, lake: Storage, model_id: str) -> None:
        self.lake, self.model_id = lake, model_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reader)

    def __hash__(self) -> int:
        return 0

    def read(self) -> bytes:
        try:
            return bytes(self.lake.fs.cat_file(self.lake.path(*_path(self.model_id))))
        except FileNotFoundError:
            raise BadInput(
                f"the file of model {self.model_id} is gone: {self.lake.uri(*_path(self.model_id))}; "
                "train it again"
            ) from None
        except (IsADirectoryError, PermissionError) as error:
            raise BadInput(
                f"the file of model {self.model_id} cannot be read: {self.lake.uri(*_path(self.model_id))} "
                f"({error.strerror})"
            ) from None


@lru_cache(maxsize=4)
def _loaded(uri: str, sha256: str, reader: _Reader) -> Estimator:
    content = reader.read()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise BadInput(
            f"{uri} is not the model that was trained (SHA-256 {found[:12]}..., the table models says "
            f"{sha256[:12]}...); train it again"
        )
    return estimator_of(content, uri)


def estimator_of(content: bytes, name: str) -> Estimator:
    """Return the model of a file's content, of whatever kind; nothing in it is executed.

    Raises
    ------
    BadInput
        When it is no model, damaged, or of a newer version.
    """
    if artifact.from_bytes(content, name)[0] == combined.KIND:
        return combined.CombinedModel.from_bytes(content, name)
    return member_of(content, name)


def needed_columns(model: Estimator) -> tuple[str, ...]:
    """Return the columns that a catalog must have."""
    if isinstance(model, combined.CombinedModel):
        return model.columns
    if isinstance(model, PhotozModel | TemplateFit):
        return member_columns(model)
    raise BadInput(f"a {type(model).__name__} does not say which columns it reads")


def checked_name(name: str) -> str:
    """Return the name of a model, which becomes part of a path.

    Raises
    ------
    BadArguments
        For one with other signs than letters, digits, "_", "-" and ".", or that begins with a dot.
    """
    if name and not _NAME.fullmatch(name):
        raise BadArguments(
            f"--name {name!r}: give letters, digits, '_', '-' and '.', no '.' at its beginning"
        )
    return name


def store(lake: Storage, model_id: str, name: str, model: Estimator) -> StoredModel:
    """Write the file of a model and return how to find it."""
    content = model.to_bytes()
    folder, file = lake.path("models", model_id), lake.path(*_path(model_id))
    if lake.is_local:
        lake.fs.makedirs(folder, exist_ok=True)
    lake.fs.pipe_file(file, content)
    return StoredModel(lake, model_id, name, hashlib.sha256(content).hexdigest())


def model_row(
    stored: StoredModel, method: str, grid: RedshiftGrid, created: datetime, described: Mapping[str, Any]
) -> pa.Table:
    """Return the row of `models`, but for run_id; `described` has the other columns, JSON ones as objects."""
    row = {
        "model_id": stored.model_id,
        "name": stored.name,
        "method": method,
        "uri": stored.uri,
        "sha256": stored.sha256,
        "z_min": grid.z_min,
        "z_max": grid.z_max,
        "z_step": grid.step,
        "created": created,
        **described,
    }
    for column in ("features", "params", "metrics"):
        row[column] = json.dumps(row.get(column) or {}, sort_keys=True, default=_plain)
    schema = pa.schema([field for field in arrow_schema(MODELS) if field.name != "run_id"])
    return pa.Table.from_pylist([row], schema=schema)


def choose(
    lake: Storage, rows: Sequence[Mapping[str, Any]], wanted: str, flag: str = "--model"
) -> StoredModel:
    """Return the model of that id, else the newest of that name, among rows of `models`.

    Raises
    ------
    BadArguments
        When there is none; the message lists those there are.
    """
    found = [row for row in rows if row["model_id"] == wanted] or [
        row for row in rows if row["name"] == wanted
    ]
    if not found:
        names = sorted({row["name"] for row in rows})
        raise BadArguments(f"{flag} {wanted}: the lake has no such model; it has {names}, or give a model_id")
    row = max(found, key=lambda row: (row["created"], row["model_id"]))
    return StoredModel(lake, row["model_id"], row["name"], row["sha256"])


def _path(model_id: str) -> tuple[str, str, str]:
    return "models", model_id, _FILE


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
