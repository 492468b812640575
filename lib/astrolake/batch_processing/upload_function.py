"""What is done for an uploaded image: its rows in the table `sources` become those of the image as it is now.

Events come twice, late and in any order, and several functions run at a time. None of this matters, because
nothing is taken from the event but the image's name: state, files of rows and image are read in this
order, the rows are made, and state and files are replaced only if they still are what was read. In the end
the image is looked at again. Whoever loses starts anew.
"""

from __future__ import annotations

import logging
import posixpath
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

import astrolake
from astrolake.batch_processing.alerts import Alerter
from astrolake.batch_processing.aws import make_client
from astrolake.batch_processing.conditional import ConditionalStore, Stored
from astrolake.batch_processing.events import Upload
from astrolake.batch_processing.image_catalog import CatalogOptions, ImageCatalog, Place, image_catalog
from astrolake.batch_processing.image_object import ImageVersion, current_version, fetch
from astrolake.batch_processing.image_state import Alert, ImageState, Output, StateStore, image_hash
from astrolake.batch_processing.unusual import UnusualRule, find_unusual
from astrolake.errors import CommitConflict
from astrolake.lake.glue_parquet import PartitionRegistry, partition_path
from astrolake.photometry.scan import Reject
from astrolake.schema import SOURCES

if TYPE_CHECKING:
    import boto3

_LOG = logging.getLogger(__name__)
#: How often an image is begun anew because it, or its state, changed meanwhile.
_ROUNDS = 5
_ROW_GROUP_ROWS = 32_768
_MOST_REJECTS = 20
#: Longest file name of most file systems is 255 bytes, with room for a prefix.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class UploadSettings:
    """Where things lie, and how images are measured.

    Parameters
    ----------
    catalog_bucket, catalog_prefix, state_prefix : str
        Rows lie below ``s3://<catalog_bucket>/<catalog_prefix>/``, states below the other prefix.
    database, table : str
        Of the Glue catalog; an empty database registers nothing.
    alert_topic_arn : str
        Empty for no alerts.
    catalog : CatalogOptions
    unusual : UnusualRule
    attempts : int
        Of a call of AWS; the queue tries again after that.
    read_timeout_s : float
    """

    catalog_bucket: str
    catalog_prefix: str = "sources"
    state_prefix: str = "sources_state"
    database: str = ""
    table: str = SOURCES.name
    alert_topic_arn: str = ""
    catalog: CatalogOptions = field(default_factory=CatalogOptions)
    unusual: UnusualRule = field(default_factory=UnusualRule)
    attempts: int = 4
    read_timeout_s: float = 20.0


@dataclass(frozen=True)
class Outcome:
    """What became of an upload.

    Parameters
    ----------
    state : ImageState
    changed : bool
        False when the rows were there already.
    """

    state: ImageState
    changed: bool


class UploadProcessor:
    """Brings the table `sources` up to an image; clients are made once and used by all calls.

    Parameters
    ----------
    settings : UploadSettings
    session : boto3 Session
        Credentials and region; the ambient ones by default.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        settings: UploadSettings,
        session: boto3.session.Session | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        def client(service: str) -> Any:
            retries = {"mode": "standard", "total_max_attempts": settings.attempts}
            return make_client(service, session, retries=retries, read_timeout=settings.read_timeout_s)

        self._settings = settings
        self._s3 = client("s3")
        self._store = ConditionalStore(self._s3, settings.catalog_bucket)
        self._states = StateStore(self._store, settings.state_prefix.strip("/"))
        self._alerter = Alerter(
            client("sns") if settings.alert_topic_arn else None, settings.alert_topic_arn, self._states, clock
        )
        self._partitions = (
            PartitionRegistry(client("glue"), settings.database, settings.table)
            if settings.database
            else None
        )

    def process(self, upload: Upload) -> Outcome:
        """Make the rows of an image those of what lies at its key now, none if nothing does.

        Raises
        ------
        CommitConflict
            When others kept changing the image or its state.
        AstrolakeError, botocore's errors
            When AWS cannot be reached or refuses; what was begun is completed by the next call.
        """
        for turn in range(_ROUNDS):
            try:
                if (outcome := self._attempt(upload)) is not None:
                    return outcome
                _LOG.info("%s was replaced while it was read (%d)", upload.uri, turn + 1)
            except CommitConflict as conflict:
                if turn == _ROUNDS - 1:
                    raise
                _LOG.info("%s: begun anew: %s", upload.uri, conflict)
        raise CommitConflict(f"{upload.uri} was replaced again and again while it was read; try again")

    def _attempt(self, upload: Upload) -> Outcome | None:
        """Try once; None when the image was replaced meanwhile."""
        # In this order: a version that is read after the state is no older than what the state tells of.
        known, stored = self._states.read(upload.uri)
        before = {output.key: self._store.look(output.key) for output in known.outputs}
        version = current_version(self._s3, upload.bucket, upload.key)
        if self._is_current(known, version, before):
            self._alerter.resume(known, stored)
            return Outcome(known, changed=False)
        with tempfile.TemporaryDirectory(prefix="astrolake-") as folder:
            version, catalog = self._measure(upload, Path(folder))
        new = self._new_state(upload, version, catalog, known)
        state, stored = self._replace(new, stored, before, catalog)
        if current_version(self._s3, upload.bucket, upload.key).etag != version.etag:
            return None
        if state.alert != new.alert:
            self._alerter.send(state, stored)
        return Outcome(state, changed=True)

    def _is_current(self, known: ImageState, version: ImageVersion, before: dict[str, Stored]) -> bool:
        """Tell whether rows of this version are there, whole, and made as we would make them."""
        same = known.is_settled and known.etag == version.etag and known.recipe == self._recipe
        return same and all(before[output.key].etag == output.etag for output in known.outputs)

    @property
    def _recipe(self) -> str:
        return f"astrolake {astrolake.__version__} {self._settings.catalog.recipe}"

    def _measure(self, upload: Upload, folder: Path) -> tuple[ImageVersion, ImageCatalog]:
        path = folder / "image" / _file_name(upload.key)
        path.parent.mkdir()
        most_bytes = self._settings.catalog.most_bytes
        version = fetch(self._s3, upload.bucket, upload.key, path, most_bytes)
        if version.size > most_bytes:
            message = (
                f"{upload.uri} has {version.size} bytes, more than {most_bytes}: "
                "use the jobs ingest_images and extract_sources"
            )
            return version, ImageCatalog({}, (Reject(upload.uri, "TooLarge", message),), 0)
        if not version.etag:
            return version, ImageCatalog({}, (), 0)
        return version, image_catalog(path, upload.uri, f"upload-{version.etag}", self._settings.catalog)

    def _new_state(
        self, upload: Upload, version: ImageVersion, catalog: ImageCatalog, known: ImageState
    ) -> ImageState:
        alert = self._alert(upload.uri, version, catalog)
        if known.etag == version.etag and known.alert.status in ("sending", "sent"):
            # Rows are made anew, but nobody is to hear of this version a second time.
            alert = known.alert
        rejects = tuple(vars(reject) for reject in catalog.rejects[:_MOST_REJECTS])
        gone = not version.etag
        return ImageState(
            upload.uri,
            "gone" if gone else "done" if catalog.n_images else "rejected",
            version.etag,
            version.version_id,
            version.size,
            upload.sequencer,
            self._recipe,
            n_images=catalog.n_images,
            rejects=rejects,
            alert=alert,
        )

    def _alert(self, uri: str, version: ImageVersion, catalog: ImageCatalog) -> Alert:
        if not catalog.tables:
            return Alert()
        found = find_unusual(pa.concat_tables(catalog.tables.values()), self._settings.unusual)
        message = {"image": uri, "etag": version.etag, "count": found.count, "sources": found.sources}
        return Alert("due", message=message) if found.count else Alert()

    def _replace(
        self,
        new: ImageState,
        stored: Stored,
        before: dict[str, Stored],
        catalog: ImageCatalog,
    ) -> tuple[ImageState, Stored]:
        """Put the new rows in the place of those before, and say so in the state."""
        places = {self._key(place, new.uri): place for place, rows in catalog.tables.items() if rows.num_rows}
        for key in places.keys() - before.keys():
            before[key] = self._store.look(key)
        if before:
            # All that may hold rows is named before it is touched: whoever comes after a crash clears it up.
            begun = replace(new, status="writing", outputs=tuple(Output(key) for key in sorted(before)))
            stored = self._states.write(begun, stored)
        # First out, then in: no query may count a source of the image twice.
        for key in before.keys() - places.keys():
            self._store.delete(key, before[key])
        outputs = tuple(self._put(key, catalog.tables[places[key]], before[key]) for key in sorted(places))
        for place in places.values():
            if self._partitions is not None:
                self._partitions.add(place)
        state = self._alerter.claimed(replace(new, outputs=outputs))
        return state, self._states.write(state, stored)

    def _key(self, place: Place, uri: str) -> str:
        directory = partition_path(SOURCES.partition_by, place)
        return f"{self._settings.catalog_prefix.strip('/')}/{directory}/{image_hash(uri)}.parquet"

    def _put(self, key: str, rows: pa.Table, before: Stored) -> Output:
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd", row_group_size=_ROW_GROUP_ROWS)
        written = self._store.write(key, sink.getvalue().to_pybytes(), before)
        return Output(key, written.etag, rows.num_rows)


def _file_name(key: str) -> str:
    """Return the last part of a key as a name that every file system takes, with its end."""
    name = posixpath.basename(key).replace("\0", "_") or "image"
    while len(name.encode()) > _LONGEST_NAME:
        name = name[1:]
    return name if name not in (".", "..") else "image"
