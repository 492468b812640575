"""A small generated sky for tests of the serverless tier: two images with known names."""

from pathlib import Path

from astrolake.demo.layout import Layout
from astrolake.demo.write import write_sample_sky


def write_small_sky(directory: Path):
    """Write 512 x 512 images in g, r and i at two epochs, with the demo's two broken files."""
    return write_sample_sky(directory, layout=Layout(naxis1=512, naxis2=512, n_fields=1, overlap_px=64))
