"""A progress bar over a fetch from a catalog service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from astrolake.data_access.services.fetch import Progress


@contextmanager
def fetch_progress(name: str) -> Iterator[Callable[[Progress], None]]:
    """Give what `fetch_catalog` takes as `progress`: a bar on a terminal's stderr, else nothing."""
    with tqdm(desc=f"query {name}", unit="box", disable=None, leave=False) as bar:

        def show(progress: Progress) -> None:
            bar.total, bar.n = progress.known, progress.done
            bar.set_postfix(rows=progress.n_rows)

        yield show
