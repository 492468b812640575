"""ingest_catalog --survey: files of a survey in the vocabulary of the lake."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from astrolake.lake.declared import declared
from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.reader import read_table

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("surveys") / "lake"


@pytest.fixture(scope="module")
def ingest(run_job, root):
    """ingest(table, survey, *inputs and flags) -> (exit code, summary)."""

    def run(table: str, survey: str, *inputs: object):
        flags = ("--lake", root, "--table", table, "--survey", survey, "--input", *inputs)
        return run_job("ingest_catalog", *flags)

    return run


def _rows(spark, root: Path, table: str) -> pd.DataFrame:
    return (
        read_table(spark, Lake.open(str(root)), table).toPandas().sort_values("source_id", ignore_index=True)
    )


def test_skyserver_rows_with_a_cut(spark, root, ingest, survey_data):
    path = survey_data / "catalogs" / "sdss_308.csv"
    code, summary = ingest("sdss", "sdss", path, "--cut", "star")
    native = pd.read_csv(path, comment="#").sort_values("objid", ignore_index=True)
    stars = native[native["type"] == 6].reset_index(drop=True)
    assert (code, summary["rows_in"], summary["rows_out"]) == (0, len(stars), len(stars))
    rows = _rows(spark, root, "sdss")
    assert rows["source_id"].tolist() == stars["objid"].tolist()
    assert set(rows["type"]) == {"STAR"}
    assert not {"u", "objid", "Err_u"} & set(rows.columns)
    b = 1.4e-10
    pogson = -2.5 * np.log10(2 * b * np.sinh(-stars["u"] * math.log(10) / 2.5 - math.log(b)))
    np.testing.assert_allclose(rows["mag_model_u"], pogson, atol=1e-6)
    magnitude = declared("sdss", read_snapshot(Lake.open(str(root)).delta_storage("sdss"))).column(
        "mag_model_r"
    )
    assert (magnitude.unit, magnitude.ucd) == ("mag", "phot.mag;em.opt.R")


def test_sweeps_again_and_again(spark, root, ingest, survey_data):
    path = survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz"
    code, summary = ingest("sweep", "sdss", path)
    stored = fits.getdata(path, 1)
    assert (code, summary["rows_in"]) == (0, len(stored))
    rows = _rows(spark, root, "sweep")
    order = np.argsort(rows["flux_psf_r"].to_numpy())
    np.testing.assert_array_equal(rows["flux_psf_r"].to_numpy()[order], np.sort(stored["PSFFLUX"][:, 2]))
    code, _ = ingest("sweep", "sdss", path, "--append")
    assert code == 0
    pd.testing.assert_frame_equal(
        _rows(spark, root, "sweep").drop(columns="run_id"), rows.drop(columns="run_id"), check_like=True
    )


def test_a_file_of_another_release_is_rejected_beside_a_good_one(spark, root, ingest, survey_data, tmp_path):
    folder = survey_data / "images_decam"
    dr2 = folder / "case6" / "chunk-03559.fits"
    later = tmp_path / "later.fits"
    with fits.open(dr2) as hdus:
        hdus[1].data["ref_epoch"] = 2016.0
        hdus[1].data["source_id"] += 1
        hdus.writeto(later)
    code, summary = ingest("gaia", "gaia", dr2, later, "--release", "dr2")
    assert (code, summary["rows_out"], summary["rows_rejected"]) == (0, 113, 1)
    rows = _rows(spark, root, "gaia")
    assert set(rows["ref_epoch"]) == {2015.5}
    rejects = read_table(spark, Lake.open(str(root)), "rejects").where("error_type = 'WrongTable'").collect()
    assert [row.source.rsplit("/", 1)[-1] for row in rejects] == ["later.fits"]
    assert "some rows are of dr3" in rejects[0].message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--survey", "sdss", "--ra-column", "x"), "--survey tells position and identifier"),
        (("--cut", "clean"), "--release, --survey-table and --cut need --survey"),
        (("--survey", "sdsss"), "survey 'sdsss' is unknown"),
        (("--survey", "sdss", "--release", "dr1"), "no release 'dr1'"),
        (("--survey", "sdss", "--survey-table", "x"), "no table 'x'"),
        (("--survey", "sdss", "--cut", "tidy"), "no cuts ['tidy']"),
        (("--survey", "gaia"), "no table fits files with the columns"),
    ],
)
def test_flags_that_do_not_fit(run_job, root, survey_data, caplog, capsys, flags, message):
    path = survey_data / "catalogs" / "sdss_308.csv"
    code, _ = run_job("ingest_catalog", "--lake", root, "--table", "bad", "--input", path, *flags)
    assert code == 2
    said = [record.getMessage() for record in caplog.records]
    assert message in "".join([*said, capsys.readouterr().err])
