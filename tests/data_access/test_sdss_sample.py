"""The sample of SDSS frames, and the command that gets it."""

import json
from pathlib import Path

import pytest

from astrolake.cli import main
from astrolake.data_access.download import RemoteFile
from astrolake.data_access.sdss_sample import sample_frames
from astrolake.errors import BadArguments
from tests.data_access.servers.base import LoopbackServer

FRAME = "frame-r-004510-4-0030.fits.bz2"


@pytest.fixture
def server():
    with LoopbackServer() as started:
        yield started


def test_frames_lie_where_sdss_keeps_them(tmp_path):
    (file,) = sample_frames(str(tmp_path), ["4510-4-30"], "r")
    assert file == RemoteFile(
        "https://data.sdss.org/sas/dr17/eboss/photoObj/frames/301/4510/4/frame-r-004510-4-0030.fits.bz2",
        (tmp_path / FRAME).as_uri(),
        band="r",
    )
    sample = [file.uri.rpartition("/")[2] for file in sample_frames("s3://bucket/sdss")]
    assert FRAME in sample
    assert "frame-i-002583-2-0136.fits.bz2" in sample
    assert len(sample) == len(set(sample)) == 18
    with pytest.raises(BadArguments, match="run-camcol-field"):
        sample_frames(str(tmp_path), ["4510-9-30"])
    with pytest.raises(BadArguments, match="no bands"):
        sample_frames(str(tmp_path), bands="gy")


@pytest.mark.data
def test_the_command_gets_real_frames_and_lists_what_failed(server, survey_data, tmp_path, capsys):
    folder = survey_data / "images_sdss"
    name = "frame-g-004510-4-0030.fits.bz2"
    server.serve(f"/frames/4510/4/{name}", folder / name)
    server.faults = ["503:0", "half"]
    url = f"{server.url}/frames"
    flags = ["--field", "4510-4-30", "--bands", "ug", "--base-url", url, "--out", str(tmp_path)]
    assert main(["download", *flags]) == 1
    printed = capsys.readouterr()
    assert "1 downloaded (3.3 MB), 0 there already, 1 failed" in printed.out
    assert "SDSS: HTTP 404" in printed.err
    assert "frame-u-004510-4-0030.fits.bz2" in printed.err
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_generated_sky_needs_no_network(tmp_path, capsys, monkeypatch):
    from astrolake import cli_aws_data
    from astrolake.demo.layout import Layout
    from astrolake.demo.write import write_sample_sky

    small = Layout(naxis1=256, naxis2=256, n_fields=1, overlap_px=32)
    monkeypatch.setattr(cli_aws_data, "write_sample_sky", lambda out: write_sample_sky(out, layout=small))
    assert main(["download", "--generated", "--out", str(tmp_path)]) == 0
    assert "6 images and 2 damaged ones" in capsys.readouterr().out
    assert len(list((tmp_path / "images").glob("*.fits*"))) == 8


def test_the_sample_list_is_shipped_with_the_package():
    from importlib import resources

    listed = json.loads(resources.files("astrolake.data_access").joinpath("sdss_sample.json").read_text())
    assert {Path(item["field"]).name for item in listed["fields"]} >= {"4510-4-30", "2583-2-136"}
