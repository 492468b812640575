"""An astrolake job over a manifest as an array of jobs: its name, its command line, its retries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from astrolake.batch_processing.manifest import count_lines, pack_indices, unpack_indices
from astrolake.errors import BadArguments, BadInput
from astrolake.lake.storage import Storage

STEP_PREFIX = "astrolake-step-"
#: Batch's greatest array.
MOST_CHILDREN = 10_000
#: Characters of the indices on a command line: overrides of a container may have 8,192 in all.
_MOST_CHARACTERS = 4_000


@dataclass(frozen=True)
class StepTask:
    """A job over the slices of a manifest.

    Parameters
    ----------
    step : str
        Name of the job.
    manifest : str
        Canonical URI.
    slice_size : int
    flags : tuple of str
        Of the job.
    indices : tuple of int
        Slices to run; empty for all.

    Raises
    ------
    BadArguments
        When the slices have no size.
    """

    step: str
    manifest: str
    slice_size: int
    flags: tuple[str, ...]
    indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.slice_size < 1:
            raise BadArguments(f"slice_size {self.slice_size}: give at least 1")

    def command(self) -> list[str]:
        """Return the arguments of the container's entry point."""
        words = ["step", self.step, f"--manifest={self.manifest}", f"--slice-size={self.slice_size}"]
        if self.indices:
            words.append(f"--indices={pack_indices(self.indices)}")
        return [*words, "--", *self.flags]

    def children(self, storage_options: dict[str, str] | None = None) -> int:
        """Return the size of the array, 0 where one job is enough.

        Raises
        ------
        BadArguments
            When Batch takes no array so large.
        BadInput
            When the manifest cannot be read or is empty.
        """
        lines = 0 if self.indices else count_lines(self.manifest, storage_options)
        slices = len(self.indices) or -(-lines // self.slice_size)
        if slices > MOST_CHILDREN:
            raise BadArguments(
                f"slice_size {self.slice_size} makes {slices} jobs of {lines} inputs, an array has at most "
                f"{MOST_CHILDREN}: give at least {-(-lines // MOST_CHILDREN)}"
            )
        return slices if slices > 1 else 0

    def job_name(self, definition: str, storage_options: dict[str, str] | None = None) -> str:
        """Return the name of the job: the same for the same work on the same manifest."""
        storage = Storage.at(self.manifest, storage_options)
        try:
            info = storage.fs.info(storage.path())
        except FileNotFoundError as error:
            raise BadInput(f"manifest {self.manifest} does not exist; upload it", "FileNotFound") from error
        as_it_lies = [info.get("size"), str(info.get("ETag", info.get("mtime", "")))]
        work = json.dumps([definition, self.command(), as_it_lies])
        return f"{STEP_PREFIX}{self.step}-{hashlib.sha256(work.encode()).hexdigest()[:12]}"

    def retries(self, failed: Sequence[int]) -> Iterator[StepTask]:
        """Yield the tasks that run again what failed.

        Parameters
        ----------
        failed : sequence of int
            Indices of children of the array that failed; empty when the job has no children.
        """
        chosen = [self.indices[index] for index in failed] if self.indices else list(failed)
        rest = sorted(chosen or self.indices)
        while rest:
            count = len(rest)
            while len(pack_indices(rest[:count])) > _MOST_CHARACTERS:
                count //= 2
            yield replace(self, indices=tuple(rest[:count]))
            rest = rest[count:]
        if not chosen and not self.indices:
            yield self

    @classmethod
    def from_command(cls, words: Sequence[str]) -> StepTask:
        """Return the task of a container's command that `command` made.

        Raises
        ------
        BadArguments
            When the command is another.
        """
        own = list(words[: words.index("--")]) if "--" in words else []
        given = dict(word.removeprefix("--").partition("=")[::2] for word in own[2:])
        if own[:1] != ["step"] or not {"manifest", "slice-size"} <= set(given):
            raise BadArguments(f"cannot submit {' '.join(words[:2])} again: it was not submitted from here")
        indices = unpack_indices(given["indices"]) if "indices" in given else []
        flags = tuple(words[len(own) + 1 :])
        return cls(own[1], given["manifest"], int(given["slice-size"]), flags, tuple(indices))
