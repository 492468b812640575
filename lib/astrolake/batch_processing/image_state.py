"""What is known of an uploaded image: a small JSON object, changed only by whoever saw its last content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from astrolake.batch_processing.conditional import ConditionalStore, Stored
from astrolake.errors import AstrolakeError

#: writing: a function is at it, or was stopped; the others are what became of the image.
Status = Literal["new", "writing", "done", "rejected", "gone"]


@dataclass(frozen=True)
class Output:
    """A file of rows.

    Parameters
    ----------
    key : str
    etag : str
        As it was written; empty while it is to be written.
    rows : int
    """

    key: str
    etag: str = ""
    rows: int = 0


@dataclass(frozen=True)
class Alert:
    """Where the alert of an image version stands.

    Parameters
    ----------
    status : str
        none (nothing unusual), due, sending or sent.
    until_s : float
        While sending: when whoever sends it has surely ended, seconds since 1970.
    message : dict
        What it says.
    """

    status: Literal["none", "due", "sending", "sent"] = "none"
    until_s: float = 0.0
    message: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageState:
    """What became of an image.

    Parameters
    ----------
    uri : str
    status : str
    etag, version_id : str
        Of the image that the rows are of; empty when it is gone.
    size : int
        Bytes.
    sequencer : str
        Of the event that it was read for.
    recipe : str
        Version of the code and options that made the rows.
    outputs : tuple of Output
        Files that hold its rows; while writing, all that may.
    n_images : int
        HDUs measured.
    rejects : tuple of dict
        source, error_type and message of what gave no rows.
    alert : Alert
    """

    uri: str
    status: Status = "new"
    etag: str = ""
    version_id: str = ""
    size: int = 0
    sequencer: str = ""
    recipe: str = ""
    outputs: tuple[Output, ...] = ()
    n_images: int = 0
    rejects: tuple[dict[str, str], ...] = ()
    alert: Alert = field(default_factory=Alert)

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(output.rows for output in self.outputs)

    @property
    def is_settled(self) -> bool:
        """Whether nobody is at it."""
        return self.status not in ("new", "writing")


def image_hash(uri: str) -> str:
    """Return the name under which state and rows of an image are kept."""
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class StateStore:
    """The states of images.

    Parameters
    ----------
    store : ConditionalStore
    prefix : str
        Without slash at its end.
    """

    store: ConditionalStore
    prefix: str

    def key(self, uri: str) -> str:
        """Return where the state of an image lies."""
        return f"{self.prefix}/{image_hash(uri)}.json"

    def read(self, uri: str) -> tuple[ImageState, Stored]:
        """Return what is known of an image, and the object that says so.

        Raises
        ------
        AstrolakeError
            When the object is none of ours.
        """
        found = self.store.read(self.key(uri))
        if not found.etag:
            return ImageState(uri), found
        try:
            known = json.loads(found.body)
            outputs = tuple(Output(**output) for output in known.pop("outputs"))
            state = ImageState(
                **known
                | {"outputs": outputs, "rejects": tuple(known["rejects"]), "alert": Alert(**known["alert"])}
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            where = f"s3://{self.store.bucket}/{self.key(uri)}"
            raise AstrolakeError(f"{where} is no state of an image ({error}); delete it") from error
        return state, found

    def write(self, state: ImageState, before: Stored) -> Stored:
        """Keep a state in the place of the one that was read.

        Raises
        ------
        CommitConflict
            When another function changed it meanwhile.
        """
        body = json.dumps(asdict(state), sort_keys=True, ensure_ascii=False).encode()
        return self.store.write(self.key(state.uri), body, before)
