"""The serverless tier from files to answers, by its commands, on the local twin."""

import json

import pytest
from tier_sky import write_small_sky

from astrolake.batch_processing.aws import make_client
from astrolake.batch_processing.objects import list_objects
from astrolake.cli import main
from astrolake.cli_aws_data import query_values
from astrolake.errors import BadArguments

LOCAL = ["--local", "--catalog-bucket", "catalog", "--database", "astronomy_catalog"]


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return write_small_sky(tmp_path_factory.mktemp("sky"))


@pytest.fixture
def tier(aws, sky):
    """Two buckets, the images uploaded below a prefix with a space and a plus sign."""
    s3 = make_client("s3")
    for bucket in ("images", "catalog"):
        s3.create_bucket(Bucket=bucket)
    assert main(["upload", str(sky.images_dir), "--bucket", "images", "--prefix", "night 1+2"]) == 0
    return s3


def ask(capsys, *args):
    capsys.readouterr()
    assert main(["query", "--local", "--format", "jsonl", *args]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_from_files_to_answers(tier, sky, capsys):
    assert main(["invoke", "--bucket", "images", *LOCAL]) == 0
    printed = capsys.readouterr()
    assert "8 images:" in printed.out
    assert "2 rejected, 0 failed" in printed.out
    assert all(path.name in printed.err for path in sky.bad_images)

    rows = ask(capsys, "SELECT band, count(*) AS n, count(DISTINCT uri) AS images FROM sources GROUP BY band")
    assert {row["band"]: row["images"] for row in rows} == {"g": 2, "r": 2, "i": 2}
    assert f"{sum(row['n'] for row in rows)} sources" in printed.out
    assert all(row["n"] > 20 for row in rows)

    before = {item.key: item.etag for item in list_objects("catalog")}
    assert main(["invoke", "--bucket", "images", *LOCAL, "--prefix", "night 1+2/"]) == 0
    assert "6 as before, 2 rejected" in capsys.readouterr().out
    assert {item.key: item.etag for item in list_objects("catalog")} == before

    star = ask(capsys, "SELECT source_id, ra, dec FROM sources ORDER BY flux DESC LIMIT 1")[0]
    cone = ["--file", "sql/queries/cone_search.sql", "--name", "table=sources"]
    near = ask(capsys, *cone, "--cone", str(star["ra"]), str(star["dec"]), "2")
    assert star["source_id"] in {row["source_id"] for row in near}
    assert all(row["sep_arcsec"] <= 2 for row in near)
    limited = ask(capsys, "SELECT * FROM sources", "--max-rows", "3")
    assert len(limited) == 3


def test_a_catalog_bucket_that_is_missing_is_told_once(aws, capsys):
    make_client("s3").create_bucket(Bucket="images")
    given = ["--catalog-bucket", "nocat", "--database", "sky"]
    assert main(["invoke", "--bucket", "images", "--local", *given]) == 1
    error = capsys.readouterr().err
    assert "s3://nocat/" in error
    assert "Traceback" not in error


def test_a_number_longer_than_athena_has_is_a_bad_argument():
    with pytest.raises(BadArguments, match="5000 digits"):
        query_values(["x=" + "9" * 5000], [])
