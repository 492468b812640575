"""Jobs run by the spark-submit of a Spark, with an interpreter that holds what a platform has."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from astrolake.demo import SampleSky

ROOT = Path(__file__).resolve().parents[2]
#: As Glue passes them: its own parameters among the job's, one string for each value.
GLUE_ARGV = (
    "--JOB_NAME", "astrolake dev", "--JOB_ID", "j_0a1b", "--JOB_RUN_ID", "jr_0a1b", "--JOB_QUEUE_ARN", "arn:aws:x",
    "--WORKFLOW_NAME", "chain", "--WORKFLOW_RUN_ID", "wr_1", "--TempDir", "s3://temp/a dir/",
    "--additional-python-modules", "s3://code/astrolake-0.1.0.gluewheels.zip",
    "--python-modules-installer-option", "--no-index",
    "--conf", "spark.a=b --conf spark.c=d --conf spark.e=f g", "--enable-metrics", "",
    "--enable-observability-metrics", "true", "--enable-continuous-cloudwatch-log", "true",
    "--enable-spark-ui", "true", "--spark-event-logs-path", "s3://logs/spark/",
    "--enable-glue-datacatalog", "true", "--enable-auto-scaling", "true",
    "--job-bookmark-option", "job-bookmark-disable", "--job-language", "python", "--datalake-formats", "delta",
    "--continuous-log-logGroup", "/aws-glue/jobs", "--continuous-log-conversionPattern", "%d{ISO8601} %p %m%n",
    "--customer-driver-env-vars", 'CUSTOMER_A=1,CUSTOMER_B="2, 3"', "--extra-files", "", "--executor-cores", "8",
)  # fmt: skip

#: Runs jobs/NAME.py and returns the summary that it prints last.
Submit = Callable[..., dict[str, Any]]


def submit_job(
    spark_home: Path, environment: dict[str, str], directory: Path, name: str, flags: Sequence[str]
) -> dict[str, Any]:
    """Run jobs/NAME.py under spark-submit, with nothing of this process's environment but PATH and HOME."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
    done = subprocess.run(
        [
            str(spark_home / "bin" / "spark-submit"),
            *("--master", "local[2]", "--driver-memory", "1g"),
            *(word for key, value in settings.items() for word in ("--conf", f"{key}={value}")),
            *(str(ROOT / "jobs" / f"{name}.py"), *flags),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env=kept | {"SPARK_HOME": str(spark_home), "SPARK_LOCAL_IP": "127.0.0.1"} | environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def check_two_jobs(submit: Submit, sky: SampleSky, lake: Path) -> None:
    """Run ingest_images and extract_sources, and count the rows that they leave in the lake."""
    flags = ("--lake", str(lake), *GLUE_ARGV)
    first = submit("ingest_images", ("--images", json.dumps([str(sky.images_dir)]), *flags))
    n_images = len(sky.images) + len(sky.bad_images)
    assert (first["rows_in"], first["rows_out"]) == (n_images, len(sky.images))
    second = submit("extract_sources", (*flags, "--where", "band = 'r'", "--survey", "", "--band", ""))
    assert second["status"] == "done"
    images = DeltaTable(str(lake / "images")).to_pyarrow_table(columns=["image_id", "band"]).to_pandas()
    detections = DeltaTable(str(lake / "detections" / "dataset")).to_pyarrow_table(columns=["image_id", "ra"])
    assert len(images) == len(sky.images)
    seen = set(detections.column("image_id").to_pylist())
    assert seen == set(images.image_id[images.band == "r"])
    assert detections.num_rows > 20 * len(seen)
