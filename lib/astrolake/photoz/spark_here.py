"""Trees grown by a Spark session on this machine, for the Python API."""

from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F

from astrolake.lake.session import spark_session
from astrolake.lake.storage import Storage
from astrolake.photoz.spark_trees import grow
from astrolake.photoz.train_model import TreeSettings
from astrolake.photoz.trees import TreeEnsemble


def grow_here(features: NDArray[np.float32], z: NDArray[np.float64], settings: TreeSettings) -> TreeEnsemble:
    """Return trees grown on arrays by the running Spark session, or by one started on this machine.

    Parameters
    ----------
    features : (n, f) float32
    z : (n,) float64
    settings : TreeSettings
    """
    frame = pd.DataFrame({"values": list(features.astype(np.float64)), "z_spec": z})
    spark = spark_session("astrolake photo-z")
    rows = spark.createDataFrame(frame).select(array_to_vector(F.col("values")).alias("features"), "z_spec")
    with tempfile.TemporaryDirectory() as folder:
        return grow(rows, features.shape[1], settings, Storage.at(folder))
