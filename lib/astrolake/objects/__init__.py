"""Objects: detections over bands and epochs, associated and merged."""

from astrolake.objects.associate import Association, associate, incomplete_components
from astrolake.objects.means import order_bands
from astrolake.objects.merge import merge_objects, objects_table

__all__ = [
    "Association",
    "associate",
    "incomplete_components",
    "merge_objects",
    "objects_table",
    "order_bands",
]
