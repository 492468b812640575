"""What spark-submit was given is what the session has: in a process of its own, as on a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from astrolake.lake.session import bundled_java_home, has_java

pytestmark = pytest.mark.spark

_SCRIPT = """
import json
from astrolake.lake.session import spark_session
spark = spark_session("submitted")
wanted = ("spark.master", "spark.driver.memory", "spark.sql.shuffle.partitions", "spark.sql.ansi.enabled",
          "spark.sql.session.timeZone", "spark.app.name")
print("FOUND " + json.dumps({name: spark.conf.get(name) for name in wanted}))
spark.stop()
"""


def test_spark_submit_keeps_its_settings(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(_SCRIPT)
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    if not has_java():
        environment["JAVA_HOME"] = str(bundled_java_home())
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    flags = ["--master", "local[1]", "--driver-memory", "600m", "--conf", "spark.sql.shuffle.partitions=77"]
    flags += ["--conf", "spark.ui.enabled=false", "--conf", "spark.driver.host=127.0.0.1"]
    done = subprocess.run(
        [str(submit), *flags, str(script)], capture_output=True, text=True, check=False, env=environment
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    assert line is not None, done.stderr[-2000:]
    found = json.loads(line.removeprefix("FOUND "))
    assert found["spark.master"] == "local[1]"
    assert found["spark.driver.memory"] == "600m"
    assert found["spark.sql.shuffle.partitions"] == "77"
    # What the caller did not set is astrolake's.
    assert (found["spark.sql.ansi.enabled"], found["spark.sql.session.timeZone"]) == ("true", "UTC")
