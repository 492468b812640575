"""What the tests of image archives share: a server, a client that does not wait, and a target."""

import pytest

from astrolake.data_access.services.client import HttpClient
from astrolake.lake.storage import Storage
from tests.data_access.servers.base import LoopbackServer
from tests.data_access.servers.clock import FakeClock


@pytest.fixture
def server():
    with LoopbackServer() as running:
        yield running


@pytest.fixture
def client():
    clock = FakeClock()
    return HttpClient("archive", 10_000.0, connections=4, tries=3, sleep=clock.sleep, clock=clock)


@pytest.fixture
def target(tmp_path):
    return Storage.at(str(tmp_path / "images"))


def places(files, target):
    """Return where files go, below the target."""
    return [file.uri.removeprefix(target.root + "/") for file in files]
