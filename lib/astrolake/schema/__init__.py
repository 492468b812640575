"""Every table's columns, declared once; all other schemas are derived from here."""

from astrolake.schema.forced import FORCED
from astrolake.schema.model import HEALPIX_COLUMN, PARTITION_COLUMNS, Column, Table
from astrolake.schema.objects import (
    EBV,
    OBJECTS,
    band_columns,
    band_suffix,
    colour_column,
    dereddened_columns,
)
from astrolake.schema.photoz import MODELS, PHOTOZ
from astrolake.schema.quality import IMAGE_QUALITY
from astrolake.schema.serverless import SOURCES
from astrolake.schema.tables import (
    CATALOG,
    CROSSMATCH,
    DETECTIONS,
    IMAGES,
    PIXEL_DETECTIONS,
    REGISTRY,
    REJECTS,
    RUNS,
)

__all__ = [
    "CATALOG",
    "CROSSMATCH",
    "DETECTIONS",
    "EBV",
    "FORCED",
    "HEALPIX_COLUMN",
    "IMAGES",
    "IMAGE_QUALITY",
    "MODELS",
    "OBJECTS",
    "PARTITION_COLUMNS",
    "PHOTOZ",
    "PIXEL_DETECTIONS",
    "REGISTRY",
    "REJECTS",
    "RUNS",
    "SOURCES",
    "Column",
    "Table",
    "band_columns",
    "band_suffix",
    "colour_column",
    "dereddened_columns",
]
