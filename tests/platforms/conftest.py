"""The sky that jobs are run on as clusters run them."""

import pytest

from astrolake.demo import Layout, SampleSky, write_sample_sky


@pytest.fixture(scope="session")
def one_sky(tmp_path_factory: pytest.TempPathFactory) -> SampleSky:
    """A sample sky of small images."""
    layout = Layout(
        naxis1=256, naxis2=256, overlap_px=32, stars_per_deg2=60_000.0, galaxies_per_deg2=60_000.0
    )
    return write_sample_sky(tmp_path_factory.mktemp("one sky"), layout=layout)
