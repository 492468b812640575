"""Writes the sample sky: a small survey with known truth, made from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astrolake.demo.detector import expose
from astrolake.demo.files import (
    N_BAD_REFERENCE_ROWS,
    N_BAD_SPECZ_LINES,
    image_header,
    write_bad_images,
    write_image,
    write_reference,
    write_specz,
    write_truth,
)
from astrolake.demo.galaxies import observe_redshifts
from astrolake.demo.layout import Exposure, Layout, plan_exposures
from astrolake.demo.render import render_scene
from astrolake.demo.sky import draw_sky, project
from astrolake.demo.stars import observe_reference

#: Width in pixels of the block of columns without data in one image.
_DEAD_COLUMNS = 4


@dataclass(frozen=True)
class SampleSky:
    """Where the sample sky was written and what it holds.

    `n_reference` and `n_specz` count the usable rows, `n_bad_*` the others in the same file;
    `variable_id` and `moving_id` are the truth_id of the variable star and of the moving source.
    """

    directory: Path
    images: tuple[Path, ...]
    bad_images: tuple[Path, ...]
    truth: Path
    reference: Path
    specz: Path
    n_sources: int
    n_reference: int
    n_bad_reference: int
    n_specz: int
    n_bad_specz: int
    variable_id: int
    moving_id: int

    @property
    def images_dir(self) -> Path:
        """Directory of all images, good and bad."""
        return self.directory / "images"


def write_sample_sky(
    directory: Path,
    seed: int = 7,
    progress: Callable[[str], None] | None = None,
    layout: Layout | None = None,
) -> SampleSky:
    """Write images, catalogs and truth of the sample sky below a directory.

    Parameters
    ----------
    directory : Path
        Made where it does not exist; files of the same names are replaced.
    seed : int
        The same seed gives the same pixels, catalogs and truth.
    progress : callable, optional
        Told of every file by a short line.
    layout : Layout, optional
        Fields, bands and epochs; by default two overlapping fields of 2048 x 1489 pixels in g, r
        and i at two epochs.

    Returns
    -------
    SampleSky
        `images` has one FITS file per exposure: the first one gzipped, the last one
        Rice-compressed, one in the middle with a block of NaN columns.
    """
    report = progress or _say_nothing
    layout = layout or Layout()
    images_dir = Path(directory) / "images"
    images_dir.mkdir(parents=True, exist_ok=True)
    truth = draw_sky(layout, seed)
    exposures = plan_exposures(layout, seed)
    paths = tuple(images_dir / name for name in image_names(exposures))
    for number, (path, exposure) in enumerate(zip(paths, exposures, strict=True)):
        image = take_image(truth, exposure, seed)
        if number == len(exposures) // 2:
            _blank_columns(image)
        write_image(path, image, image_header(exposure))
        report(f"{path.name} ({number + 1} of {len(paths)})")
    bad = write_bad_images(images_dir, paths[1], image_header(exposures[1]))
    report("images that cannot be read")
    return _write_catalogs(Path(directory), truth, seed, paths, bad)


def take_image(truth: pd.DataFrame, exposure: Exposure, seed: int) -> NDArray[np.float32]:
    """Return one exposure (ny, nx) of the sky in nanomaggies, noise and sky level included."""
    fwhm_px = exposure.psf_fwhm_arcsec / exposure.layout.pixel_scale_arcsec
    image = render_scene(project(truth, exposure), exposure.shape, fwhm_px, exposure.layout.psf_beta)
    return expose(image, exposure, seed)


def image_names(exposures: list[Exposure]) -> list[str]:
    """Return the file names: the first exposure gzipped, the last Rice-compressed, the others plain."""
    suffixes = [".fits.gz", *[".fits"] * (len(exposures) - 2), ".fits.fz"]
    return [exposure.name + suffix for exposure, suffix in zip(exposures, suffixes, strict=True)]


def _write_catalogs(
    directory: Path, truth: pd.DataFrame, seed: int, images: tuple[Path, ...], bad_images: tuple[Path, ...]
) -> SampleSky:
    rng = np.random.default_rng([seed, 5])
    reference, specz = observe_reference(truth, rng), observe_redshifts(truth, rng)
    sample = SampleSky(
        directory=directory,
        images=images,
        bad_images=bad_images,
        truth=directory / "truth.parquet",
        reference=directory / "reference.fits",
        specz=directory / "specz.csv",
        n_sources=len(truth),
        n_reference=len(reference),
        n_bad_reference=N_BAD_REFERENCE_ROWS,
        n_specz=len(specz),
        n_bad_specz=N_BAD_SPECZ_LINES,
        variable_id=int(truth.loc[truth["type"] == "variable", "truth_id"].item()),
        moving_id=int(truth.loc[truth["type"] == "moving", "truth_id"].item()),
    )
    write_truth(sample.truth, truth, seed)
    write_reference(sample.reference, reference)
    write_specz(sample.specz, specz)
    return sample


def _blank_columns(image: NDArray[np.float32]) -> None:
    """Set a block of columns to NaN, in place."""
    first = image.shape[1] // 3
    image[:, first : first + _DEAD_COLUMNS] = np.nan


def _say_nothing(_: str) -> None:
    """Take the place of a progress callback."""
