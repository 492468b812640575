"""Files reach S3 whole, under their relative paths, once."""

import os
from pathlib import Path

import pytest

from astrolake.batch_processing.aws import make_client
from astrolake.batch_processing.objects import list_objects
from astrolake.batch_processing.upload import file_checksum, find_files, upload_files
from astrolake.cli import main
from astrolake.errors import AstrolakeError, BadArguments

MIB = 2**20


@pytest.fixture
def s3(aws):
    client = make_client("s3")
    client.create_bucket(Bucket="sky")
    return client


@pytest.fixture
def night(tmp_path):
    """A directory of files with awkward names, one of them large enough for three parts."""
    folder = tmp_path / "night 1"
    (folder / "run+2").mkdir(parents=True)
    (folder / "run+2" / "Größe α.fits").write_bytes(b"SIMPLE" * 100)
    (folder / "a b.fits.bz2").write_bytes(os.urandom(11 * MIB))
    (folder / "notes.txt").write_text("clouds")
    (folder / "empty.fits").write_bytes(b"")
    return folder


def keys(bucket="sky", prefix=""):
    return sorted(item.key for item in list_objects(bucket, prefix))


def upload(paths, prefix="", **settings):
    return list(upload_files(find_files(paths, prefix), "sky", part_bytes=5 * MIB, **settings))


def test_keys_keep_the_relative_path_and_content_is_the_same(s3, night):
    outcomes = upload([night], "incoming/")
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert keys() == ["incoming/a b.fits.bz2", "incoming/empty.fits", "incoming/run+2/Größe α.fits"]
    for key in keys():
        body = s3.get_object(Bucket="sky", Key=key)["Body"].read()
        assert body == (night / key.removeprefix("incoming/")).read_bytes()


def test_large_files_go_in_parts_with_a_checksum_of_each(s3, night):
    upload([night])
    large = s3.get_object(Bucket="sky", Key="a b.fits.bz2", ChecksumMode="ENABLED")
    assert large["ChecksumSHA256"] == f"{file_checksum(night / 'a b.fits.bz2', 5 * MIB)}-3"
    assert large["ETag"].strip('"').endswith("-3")
    whole = s3.head_object(Bucket="sky", Key="empty.fits", ChecksumMode="ENABLED")
    assert "-" not in whole["ChecksumSHA256"]


@pytest.mark.parametrize("n_bytes", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB])
def test_the_checksum_of_a_file_is_the_one_that_s3_computes(s3, tmp_path, n_bytes):
    path = tmp_path / "edge.fits"
    path.write_bytes(os.urandom(n_bytes))
    (outcome,) = upload([path])
    assert outcome.error is None
    stored = s3.get_object(Bucket="sky", Key="edge.fits", ChecksumMode="ENABLED")
    parts = f"-{-(-n_bytes // (5 * MIB))}" if n_bytes >= 5 * MIB else ""
    assert stored["ChecksumSHA256"] == file_checksum(path, 5 * MIB) + parts


def test_a_second_upload_sends_nothing_and_a_changed_file_is_sent(s3, night):
    upload([night])
    before = {item.key: item.etag for item in list_objects("sky")}
    assert all(outcome.value.skipped for outcome in upload([night]))
    (night / "empty.fits").write_bytes(b"no longer")
    again = {outcome.value.key: outcome.value.skipped for outcome in upload([night])}
    assert again == {"empty.fits": False, "a b.fits.bz2": True, "run+2/Größe α.fits": True}
    after = {item.key: item.etag for item in list_objects("sky")}
    assert {key for key in before if before[key] != after[key]} == {"empty.fits"}


def test_an_object_of_other_content_but_the_same_size_is_replaced(s3, night):
    s3.put_object(Bucket="sky", Key="run+2/Größe α.fits", Body=b"x" * 600)
    (outcome,) = upload([night / "run+2"], "run+2")
    assert not outcome.value.skipped
    assert s3.get_object(Bucket="sky", Key="run+2/Größe α.fits")["Body"].read() == b"SIMPLE" * 100


def test_a_file_that_changes_under_way_is_a_failure(s3, tmp_path, monkeypatch):
    path = tmp_path / "live.fits"
    path.write_bytes(b"before")
    from astrolake.batch_processing import upload as module

    def checksum_then_change(file, part_bytes):
        found = file_checksum(file, part_bytes)
        path.write_bytes(b"after!")
        return found

    monkeypatch.setattr(module, "file_checksum", checksum_then_change)
    (outcome,) = upload([path])
    assert "the file changed" in str(outcome.error)


def test_an_unreadable_file_does_not_keep_its_neighbours_from_s3(s3, night):
    files = list(find_files([night]))
    (night / "empty.fits").unlink()
    outcomes = upload_files(files, "sky")
    failed = [outcome for outcome in outcomes if outcome.error]
    assert [outcome.item.key for outcome in failed] == ["empty.fits"]
    assert len(keys()) == 2


def test_no_such_bucket_and_no_such_path_say_so(s3, night, tmp_path):
    with pytest.raises(AstrolakeError, match="bucket nowhere"):
        list(upload_files(find_files([night]), "nowhere"))
    with pytest.raises(BadArguments, match="no such file"):
        list(find_files([tmp_path / "missing"]))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    with pytest.raises(BadArguments, match="holds no image"):
        list(find_files([tmp_path / "texts"]))


def test_two_files_of_one_key_are_refused_and_a_file_given_twice_is_not(night, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "empty.fits").write_bytes(b"another")
    with pytest.raises(BadArguments, match=r"would both be empty\.fits"):
        list(find_files([night, other]))
    assert len(list(find_files([night, night / "empty.fits"]))) == 3


def test_the_command_prints_a_summary(s3, night, capsys):
    assert main(["upload", str(night), "--bucket", "sky", "--prefix", "n1"]) == 0
    assert "3 uploaded (11.5 MB), 0 there already, 0 failed: s3://sky" in capsys.readouterr().out
    assert main(["upload", str(night), "--bucket", "sky", "--prefix", "n1", "--every-file"]) == 0
    assert "1 uploaded (0.0 MB), 3 there already" in capsys.readouterr().out
    assert "n1/notes.txt" in keys()


def test_the_command_lists_failures_and_exits_with_1(s3, night, capsys, monkeypatch):
    from astrolake.batch_processing import upload as module

    def refuse(path, part_bytes):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module, "file_checksum", refuse)
    assert main(["upload", str(night / "empty.fits"), "--bucket", "sky"]) == 1
    printed = capsys.readouterr()
    assert "0 uploaded" in printed.out
    assert "1 failed" in printed.out
    assert "empty.fits" in printed.err
    assert "Permission denied" in printed.err


def test_a_stack_that_is_not_there_is_named(aws, night, capsys):
    assert main(["upload", str(night)]) == 1
    assert "no stack sky-survey-stack" in capsys.readouterr().err


def test_odd_entries_of_a_directory_fail_alone(tmp_path, aws, capsys):
    make_client("s3").create_bucket(Bucket="images")
    (tmp_path / "good.fits").write_bytes(b"good")
    (tmp_path / "broken.fits").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.fits")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.fits")).write_bytes(b"odd")
    assert main(["upload", str(tmp_path), "--bucket", "images"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("1 uploaded (0.0 MB), 0 there already, 3 failed")
    assert "broken.fits is a broken link or no regular file" in told.err
    assert "is no UTF-8; rename" in told.err
    listed = make_client("s3").list_objects_v2(Bucket="images")["Contents"]
    assert [item["Key"] for item in listed] == ["good.fits"]


def test_nothing_is_sent_when_a_path_does_not_exist(tmp_path, aws, capsys):
    make_client("s3").create_bucket(Bucket="images")
    (tmp_path / "good.fits").write_bytes(b"good")
    assert main(["upload", str(tmp_path), str(tmp_path / "none"), "--bucket", "images"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert make_client("s3").list_objects_v2(Bucket="images")["KeyCount"] == 0


def test_a_bucket_is_given_by_its_name_alone(tmp_path, aws, capsys):
    assert main(["upload", str(tmp_path), "--bucket", "s3://images/"]) == 2
    assert "without s3://" in capsys.readouterr().err


def test_an_endpoint_that_is_no_url_is_told(tmp_path, aws, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    (tmp_path / "good.fits").write_bytes(b"good")
    assert main(["upload", str(tmp_path), "--bucket", "images"]) == 1
    assert "Invalid endpoint: nonsense" in capsys.readouterr().err
