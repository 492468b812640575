"""The loaders as the documents show them, in a process of their own, against the archives' own addresses."""

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from tests.data_access.servers.base import Fault, LoopbackServer, Recorded, Reply
from tests.data_access.servers.internet import Internet

boto3 = pytest.importorskip("boto3")
pytestmark = pytest.mark.spark

SNIPPET = """
from astrolake.data_access import SDSSDataLoader, PanSTARRSLoader

# Initialize SDSS loader
sdss = SDSSDataLoader(bucket_name='my-astronomy-data')

# Download imaging for a sky region
images = sdss.download_imaging(
    ra=185.0,  # degrees
    dec=15.5,  # degrees
    width=0.5,  # degrees
    bands=['g', 'r', 'i']
)

# Load catalog data
catalog = sdss.load_catalog(
    ra_range=[184.5, 185.5],
    dec_range=[15.0, 16.0],
    filters={'type': 'GALAXY', 'r_mag': [18, 22]}
)

print(f"Found {len(catalog)} galaxies")
"""
HOSTS = ("skyserver.sdss.org", "data.sdss.org")
#: Run, camcol, field and centre: two fields that the region touches and one that it does not.
FIELDS = ((3805, 2, 101, 184.95, 15.45), (3805, 3, 102, 185.05, 15.65), (3805, 4, 103, 186.20, 15.50))


def frame_bytes(band, run, camcol, number, ra, dec, size=128):
    """A frame as SDSS writes it: nanomaggies, TAN, packed by bzip2 on the way."""
    import bz2

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra, dec]
    wcs.wcs.crpix, wcs.wcs.cd = [size / 2 + 0.5] * 2, [[-0.396 / 3600, 0], [0, 0.396 / 3600]]
    header = wcs.to_header()
    header.update(
        ORIGIN="SDSS", TELESCOP="2.5m", RUN=run, CAMCOL=camcol, FIELD=number, FILTER=band, NMGY=0.005,
        EXPTIME="53.907456", TAI=4.55e9, BUNIT="nanomaggy",
    )  # fmt: skip
    pixels = np.random.default_rng(number).normal(0, 0.02, (size, size)).astype(np.float32)
    stream = io.BytesIO()
    fits.PrimaryHDU(pixels, header).writeto(stream)
    return bz2.compress(stream.getvalue())


def photometry(table, n=3000):
    """Rows of PhotoObj around the region; magnitudes are asinh magnitudes."""
    whole = {c.native for c in table.columns if c.type.startswith("int")}
    rng = np.random.default_rng(12)
    rows = {
        "objID": 1237650000000000000 + np.arange(n),
        "ra": rng.uniform(184, 186, n),
        "dec": rng.uniform(14.5, 16.5, n),
    }
    rows |= {"type": rng.choice([3, 6], n), "clean": np.ones(n, int), "mode": np.ones(n, int)}
    for name in table.native_names(table.columns):
        if re.fullmatch(r"\w+Mag_[ugriz]", name):
            rows[name] = rng.uniform(16, 23, n)
        rows.setdefault(name, np.full(n, 1 if name in whole else 0.05))
    return pa.table({name: rows[name] for name in dict.fromkeys([*rows])})


@pytest.fixture
def sloan():
    """SkyServer and the Science Archive Server with a small sky, at their own addresses."""
    from astrolake.data_access.surveys.registry import load_survey

    table = load_survey("sdss").table()
    base = sqlite3.connect(":memory:", check_same_thread=False)
    rows = photometry(table)
    base.execute(f"CREATE TABLE PhotoObj ({', '.join(rows.column_names)})")
    marks = ", ".join("?" * rows.num_columns)
    base.executemany(
        f"INSERT INTO PhotoObj VALUES ({marks})", zip(*(c.to_pylist() for c in rows.columns), strict=True)
    )
    base.execute("CREATE TABLE Field (run, rerun, camcol, field, ra, dec, primaryArea)")
    base.execute("CREATE TABLE Run (run, rerun, node, incl)")
    base.execute("INSERT INTO Run VALUES (3805, 301, 95.0, 15.5)")
    base.executemany(
        "INSERT INTO Field VALUES (?, 301, ?, ?, ?, ?, 0.02)",
        [(r, c, f, ra, dec) for r, c, f, ra, dec in FIELDS],
    )
    everywhere = "(SELECT objID FROM PhotoObj)"

    def search(request: Recorded) -> Reply:
        sql = re.sub(r"dbo\.fGet\w+\([^)]*\)", everywhere, request.query["cmd"])
        if top := re.match(r"\s*SELECT TOP (\d+) ", sql):
            sql = f"SELECT {sql[top.end() :]} LIMIT {top[1]}"
        cursor = base.execute(sql)
        text = io.StringIO("#Table1\n")
        text.seek(0, io.SEEK_END)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column[0] for column in cursor.description])
        writer.writerows(cursor.fetchall())
        return Reply(200, text.getvalue().encode(), "text/csv")

    with LoopbackServer() as server, Internet(server, HOSTS) as internet:
        server.rows, server.internet = rows, internet
        server.route("GET", r"/dr1\d/SkyServerWS/SearchTools/SqlSearch", search)
        for run, camcol, number, ra, dec in FIELDS:
            for band in "ugriz":
                name = f"frame-{band}-{run:06d}-{camcol}-{number:04d}.fits.bz2"
                path = f"/sas/dr17/eboss/photoObj/frames/301/{run}/{camcol}/{name}"
                server.serve(path, frame_bytes(band, run, camcol, number, ra, dec))
        yield server


def in_python(code, environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def galaxies(rows):
    """How many rows the filters of the documents leave: r is an asinh magnitude, 18 to 22 on the AB scale."""
    r = rows["modelMag_r"].to_numpy()
    flux = 2 * 1.2e-10 * np.sinh(-np.log(10) / 2.5 * r - np.log(1.2e-10))
    pogson = -2.5 * np.log10(flux)
    ra, dec = rows["ra"].to_numpy(), rows["dec"].to_numpy()
    inside = (ra >= 184.5) & (ra <= 185.5) & (dec >= 15) & (dec <= 16)
    return int((inside & (rows["type"].to_numpy() == 3) & (pogson >= 18) & (pogson <= 22)).sum())


#: What the loader found, as a table of the same lake.
AS_A_TABLE = """
from astrolake.cli import main
flags = ["--filters", '{"type": "GALAXY", "r_mag": [18, 22]}', "--max-rows", "50", "--local-memory", "1g"]
where = ["--lake", "s3://my-astronomy-data/lake", "--region", "box:184.5,185.5,15.0,16.0"]
assert main(["run", "fetch_survey", "--survey", "sdss", *where, *flags]) == 0
"""


def test_the_documents_snippet_runs_as_it_is(sloan, aws):
    boto3.client("s3").create_bucket(Bucket="my-astronomy-data")
    show = "print(images[['survey', 'band', 'uri', 'zero_point_ab']].to_csv(index=False))"
    printed = in_python(SNIPPET + show + AS_A_TABLE, sloan.internet.environment)
    first, header, *lines, summary = printed.strip().splitlines()
    lines = [line for line in lines if line]
    expected = galaxies(sloan.rows)
    assert expected > 100
    assert first == f"Found {expected} galaxies"
    assert header == "survey,band,uri,zero_point_ab"
    assert [line.split(",")[:2] for line in lines].count(["sdss", "r"]) == 2
    assert len(lines) == 6
    assert all(",s3://my-astronomy-data/lake/raw/sdss/dr18/images/" in line for line in lines)
    assert all(line.endswith(",22.5") for line in lines)
    assert set(sloan.internet.hosts) == set(HOSTS)
    assert json.loads(summary)["rows_written"] == {"sdss": expected}
    files = read_snapshot(Lake.open("s3://my-astronomy-data/lake").delta_storage("sdss")).files
    assert sum(file.rows for file in files) == expected
    assert len(files) > expected // 50


@pytest.fixture
def here(sloan, monkeypatch):
    """This process among the archives."""
    for name, value in sloan.internet.environment.items():
        monkeypatch.setenv(name, value)
    return sloan


def test_images_are_registered_once_and_fetched_once(here, spark, tmp_path):
    from astrolake.data_access import SDSSDataLoader

    sdss = SDSSDataLoader(lake=tmp_path / "lake")
    images = sdss.download_imaging(185.0, 15.5, 0.5, ["r", "i"])
    assert sorted(images["band"]) == ["i", "i", "r", "r"]
    frames = [path for path in here.paths() if "/frames/" in path]
    assert len(frames) == 4
    again = sdss.download_imaging(185.0, 15.5, 0.5, ["r", "i"])
    assert again["image_id"].tolist() == images["image_id"].tolist()
    assert [path for path in here.paths() if "/frames/" in path] == frames


def test_a_frame_that_is_not_there_is_rejected_beside_the_others(here, spark, tmp_path):
    from astrolake.data_access import SDSSDataLoader
    from astrolake.lake.reader import read_table

    here.faults.append(Fault("404", path="frame-r-003805-3-0102"))
    images = SDSSDataLoader(lake=tmp_path / "lake").download_imaging(185.0, 15.5, 0.5, ["r", "i"])
    assert sorted(images["band"]) == ["i", "i", "r"]
    (reject,) = read_table(spark, Lake.open(str(tmp_path / "lake")), "rejects").collect()
    assert reject["source"].endswith("/frame-r-003805-3-0102.fits.bz2")
    assert "HTTP 404" in reject["message"]


def test_catalogs_come_as_the_kind_of_table_that_is_asked_for(here, spark, tmp_path):
    from astrolake.data_access import SDSSDataLoader

    sdss = SDSSDataLoader(lake=tmp_path / "lake")
    wish = {
        "ra_range": [184.5, 185.5],
        "dec_range": [15, 16],
        "filters": {"type": "GALAXY", "r_mag": [18, 22]},
    }
    frame = sdss.load_catalog(**wish)
    asked = len(here.requests)
    arrow, table = sdss.load_catalog(**wish, output="arrow"), sdss.load_catalog(**wish, output="astropy")
    rows = sdss.load_catalog(**wish, output="spark")
    assert len(here.requests) == asked
    assert len(frame) == arrow.num_rows == len(table) == rows.count() == galaxies(here.rows)
    assert str(table["ra"].unit) == "deg"
    assert frame["mag_model_r"].between(18, 22).all()
    assert sorted(rows.select("source_id").toPandas()["source_id"]) == sorted(frame["source_id"])
    nothing = sdss.load_catalog([184.5, 184.50001], [15, 15.00001])
    assert len(nothing) == 0
    assert "mag_model_r" in nothing


def test_what_a_loader_cannot_do_is_said(here, spark, tmp_path):
    from astrolake.data_access import GaiaLoader, SDSSDataLoader, SurveyLoader
    from astrolake.errors import BadArguments

    lake = tmp_path / "lake"
    with pytest.raises(BadArguments, match="publishes no images"):
        GaiaLoader(lake=lake).download_imaging(185.0, 15.5, 0.5)
    sdss = SDSSDataLoader(lake=lake)
    for arguments, message in (
        ({"ra": 185.0, "dec": 15.5}, "give ra, dec and width"),
        ({"ra": 185.0, "dec": 95.0, "width": 0.5}, "dec in"),
        ({"ra": 185.0, "dec": 15.5, "width": 0.5, "bands": ["q"]}, "no bands q"),
        ({"ra": 185.0, "dec": 15.5, "width": 0.5, "kind": "warp"}, "no options kind"),
    ):
        with pytest.raises(BadArguments, match=message):
            sdss.download_imaging(**arguments)
    secret = SDSSDataLoader(lake=lake, storage_options={"AWS_SECRET_ACCESS_KEY": "hidden"})
    with pytest.raises(BadArguments, match="not given AWS_SECRET_ACCESS_KEY: .* environment"):
        secret.download_imaging(185.0, 15.5, 0.5)
    with pytest.raises(BadArguments, match="output 'polars' is unknown"):
        sdss.load_catalog([184, 185], [15, 16], output="polars")
    with pytest.raises(BadArguments, match="give ra_range"):
        sdss.load_catalog([184, 185])
    with pytest.raises(BadArguments, match="one of them"):
        SDSSDataLoader()
    with pytest.raises(BadArguments, match="survey 'sloan' is unknown"):
        SurveyLoader(survey="sloan", lake=lake)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ((185.0, 15.5, 0.5, None), (184.74, 185.26, 15.25, 15.75)),
        ((0.1, 0.0, 1.0, 0.2), (359.6, 0.6, -0.1, 0.1)),
        ((10.0, 89.95, 0.5, None), (0.0, 360.0, 89.7, 90.0)),
        ((np.float64(185), np.float64(15.5), np.float64(0.5), None), (184.74, 185.26, 15.25, 15.75)),
    ],
)
def test_a_field_is_as_wide_on_the_sky_wherever_it_lies(field, expected):
    from astrolake.sky.region import parse_region
    from astrolake.survey_loaders import _field

    box = parse_region(_field(*field))
    assert (box.ra_min, box.ra_max, box.dec_min, box.dec_max) == pytest.approx(expected, abs=0.002)
