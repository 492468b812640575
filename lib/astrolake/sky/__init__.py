"""The geometry of the sky: HEALPix, separations, regions, epochs, matching."""

from astrolake.sky.tables import crossmatch, crossmatch_arrays

__all__ = ["crossmatch", "crossmatch_arrays"]
