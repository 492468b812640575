"""astrolake: a queryable data lake of sky-survey images and catalogs."""

__version__ = "0.1.0"
