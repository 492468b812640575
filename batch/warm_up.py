"""Compiles the loops over pixels when an image is built, else every container would lose half a minute.

Extracts a small generated field as a job does; what is compiled goes to NUMBA_CACHE_DIR, for the kind of
processor that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from astropy.io import fits

from astrolake.batch_processing.field_catalog import process_field
from astrolake.batch_processing.field_task import Extraction, FieldTask
from astrolake.demo.files import image_header
from astrolake.demo.layout import Layout, plan_exposures
from astrolake.demo.sky import draw_sky
from astrolake.demo.write import take_image

_SEED = 7


def main() -> None:
    """Extract the field with every option that compiles something of its own."""
    layout = Layout()
    sky = draw_sky(layout, _SEED)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "94" / "1"
        folder.mkdir(parents=True)
        for band in "gr":
            exposure = next(one for one in plan_exposures(layout, _SEED) if one.band.name == band)
            image, header = take_image(sky, exposure, _SEED), image_header(exposure)
            fits.PrimaryHDU(image, header).writeto(folder / f"frame-{band}-000094-1-0011.fits")
        for psf in ("moffat", "empirical"):
            task = FieldTask(94, 1, 11, ("g", "r"), f"{directory}/{psf}", directory, Extraction(psf=psf))
            print(f"{psf}: {process_field(task).rows} sources")  # noqa: T201


if __name__ == "__main__":
    main()
