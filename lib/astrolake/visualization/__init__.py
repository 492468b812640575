"""Pictures of a lake and the report that holds them; no Spark needed."""

from astrolake.visualization.gallery import PLOTS, lake_pictures
from astrolake.visualization.picture import Picture, save_picture
from astrolake.visualization.report import Provenance, build_report
from astrolake.visualization.report_tables import (
    Fact,
    ReportTable,
    answer,
    lake_facts,
    rejects_table,
    steps_table,
)
from astrolake.visualization.rgb import rgb_image

__all__ = [
    "PLOTS",
    "Fact",
    "Picture",
    "Provenance",
    "ReportTable",
    "answer",
    "build_report",
    "lake_facts",
    "lake_pictures",
    "rejects_table",
    "rgb_image",
    "save_picture",
    "steps_table",
]
