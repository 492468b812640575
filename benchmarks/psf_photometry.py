"""PSF photometry beside SExtractor + PSFEx and photutils: CPU seconds and accuracy on simulated fields.

Fields of Moffat stars (GalSim) with sky, photon noise and known truth: an ordinary and a crowded one. Needs
the Debian packages `source-extractor` and `psfex`, and for photutils a Python that has it::

    OPENBLAS_NUM_THREADS=1 python benchmarks/psf_photometry.py --peers-python PYTHON --seeds 1 2
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import galsim
import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.options import ExtractionOptions

SHAPE, ZERO_POINT = (1489, 2048), 22.5
GAIN, NOISE, SKY = 940.0, 0.024, 0.2
FWHM, BETA = 3.3, 3.0
BINS = ((16, 17), (18, 19), (20, 21))
SEXTRACTOR = """
CATALOG_TYPE FITS_LDAC
FILTER_NAME kernel.conv
STARNNW_NAME default.nnw
PHOT_APERTURES 20
GAIN {gain}
PIXEL_SCALE 0.4
MAG_ZEROPOINT 22.5
SATUR_LEVEL 1e9
MEMORY_PIXSTACK 3000000
VERBOSE_TYPE QUIET
"""
STAR_COLUMNS = (
    "VIGNET(35,35) X_IMAGE Y_IMAGE FLUX_RADIUS SNR_WIN FLUX_APER(1) FLUXERR_APER(1) ELONGATION FLAGS"
)


@dataclass(frozen=True)
class Field:
    """An image and the truth."""

    name: str
    image: np.ndarray
    x: np.ndarray
    y: np.ndarray
    mag: np.ndarray


@dataclass(frozen=True)
class Result:
    """What a code found, and the CPU seconds of detection and of PSF photometry."""

    name: str
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    detect_s: float
    psf_s: float


def make_field(name: str, n: int, seed: int, slope: float) -> Field:
    """Draw stars down to r = 24, magnitudes distributed as 10^(slope r)."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SHAPE[1] - 1, n), rng.uniform(0, SHAPE[0] - 1, n)
    low, high = 10 ** (slope * 15), 10 ** (slope * 24)
    mag = np.log10(low + rng.uniform(0, 1, n) * (high - low)) / slope
    accurate = galsim.GSParams(folding_threshold=5e-4, maxk_threshold=1e-4)
    star = galsim.Moffat(beta=BETA, fwhm=FWHM, gsparams=accurate).shear(eta1=0.05, eta2=-0.03)
    image = galsim.ImageD(SHAPE[1], SHAPE[0], xmin=0, ymin=0)
    for xi, yi, mi in zip(x, y, mag, strict=True):
        half = 60 if mi < 19 else 30 if mi < 21.5 else 14
        column, row = round(xi), round(yi)
        box = galsim.BoundsI(column - half, column + half, row - half, row + half)
        flux = 10 ** (-0.4 * (mi - ZERO_POINT))
        stamp = star.withFlux(flux).drawImage(galsim.ImageD(box), scale=1.0, offset=(xi - column, yi - row))
        shared = stamp.bounds & image.bounds
        image[shared] += stamp[shared]
    light = rng.poisson(image.array.clip(min=0) * GAIN) / GAIN
    pixels = (light + SKY + rng.normal(0, NOISE, SHAPE)).astype(np.float32)
    return Field(name, pixels, x, y, mag)


def ours(field: Field, psf: str) -> Result:
    """Run extract_frame without and with PSF photometry, after once that loads the compiled code."""
    extract_frame(field.image, gain=GAIN)
    clock = time.process_time()
    extract_frame(field.image, gain=GAIN)
    plain = time.process_time() - clock
    clock = time.process_time()
    columns = extract_frame(field.image, gain=GAIN, options=ExtractionOptions(psf=psf)).columns
    whole = time.process_time() - clock
    place = (columns["x_psf"], columns["y_psf"], columns["flux_psf"])
    return Result(f"astrolake {psf}", *place, plain, whole - plain)


def child_seconds(run: Callable[[], object]) -> float:
    """Return the CPU seconds of the processes that a function starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sextractor(field: Field, folder: Path) -> Result:
    """Run SExtractor, PSFEx, and SExtractor with the PSF."""
    fits.writeto(folder / "field.fits", field.image, overwrite=True)
    (folder / "kernel.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    (folder / "default.nnw").write_text("")
    (folder / "sex.conf").write_text(SEXTRACTOR.format(gain=GAIN))
    columns = {
        "plain": "X_IMAGE Y_IMAGE FLUX_AUTO FLUX_APER(1) FLAGS XWIN_IMAGE YWIN_IMAGE",
        "stars": STAR_COLUMNS,
        "psf": "X_IMAGE Y_IMAGE XPSF_IMAGE YPSF_IMAGE FLUX_PSF FLUXERR_PSF FLAGS",
    }
    for name, wanted in columns.items():
        (folder / f"{name}.param").write_text("\n".join(wanted.split()) + "\n")

    def extract(name: str, *flags: str) -> float:
        parameters = ["-PARAMETERS_NAME", f"{name}.param", "-CATALOG_NAME", f"{name}.cat", *flags]
        command = ["source-extractor", "field.fits", "-c", "sex.conf", *parameters]
        return child_seconds(lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True))

    detect = extract("plain")
    stars = extract("stars")
    psfex = ["psfex", "stars.cat", "-VERBOSE_TYPE", "QUIET", "-NTHREADS", "1", "-CHECKPLOT_TYPE", "NONE"]
    psfex += ["-CHECKIMAGE_TYPE", "NONE", "-WRITE_XML", "N"]
    model = child_seconds(lambda: subprocess.run(psfex, cwd=folder, check=True, capture_output=True))
    fit = extract("psf", "-PSF_NAME", "stars.psf")
    found = fits.getdata(folder / "psf.cat", 2)
    place = (found["XPSF_IMAGE"] - 1.0, found["YPSF_IMAGE"] - 1.0, found["FLUX_PSF"])
    # Both runs with more columns repeat the detection: it is counted once.
    return Result("SExtractor + PSFEx", *place, detect, stars + model + fit - 2 * detect)


def photutils(field: Field, folder: Path, python: str) -> Result:
    """Run photutils on our detections, with the true profile (circular), in groups."""
    clock = time.process_time()
    columns = extract_frame(field.image, gain=GAIN).columns
    plain = time.process_time() - clock
    image = field.image - SKY
    error = np.sqrt(NOISE**2 + image.clip(min=0) / GAIN)
    start = {name: columns[name] for name in ("x", "y")} | {"flux": columns["flux_auto"]}
    np.savez(folder / "in.npz", image=image, error=error, fwhm=FWHM, beta=BETA, **start)
    script = Path(__file__).with_name("psf_peers.py")
    subprocess.run([python, str(script), str(folder / "in.npz"), str(folder / "out.npz")], check=True)
    found = np.load(folder / "out.npz")
    return Result("photutils Moffat", found["x"], found["y"], found["flux"], plain, float(found["seconds"]))


def row_of(field: Field, results: list[tuple[Field, Result]]) -> str:
    """Return a row of the table: one code on all seeds of a kind of field."""
    n = sum(len(result.flux) for _, result in results)
    errors: dict[tuple[int, int], list[np.ndarray]] = {bin_: [] for bin_ in (*BINS, (15, 19))}
    found, pure = [], []
    for truth, result in results:
        good = np.isfinite(result.x) & np.isfinite(result.flux) & (result.flux > 0)
        x, y, mag = result.x[good], result.y[good], ZERO_POINT - 2.5 * np.log10(result.flux[good])
        inside = (truth.x > 20) & (truth.y > 20) & (truth.x < SHAPE[1] - 21) & (truth.y < SHAPE[0] - 21)
        stars, positions = cKDTree(np.column_stack([truth.x, truth.y])), np.column_stack([x, y])
        distance, row = cKDTree(positions).query(stars.data)
        error = mag[row] - truth.mag
        matched = inside & (distance < 1.5) & (np.abs(error) < 1)
        for (low, high), values in errors.items():
            values.append(error[matched & (truth.mag >= low) & (truth.mag < high)])
        faint = inside & (truth.mag >= 20) & (truth.mag < 21)
        found.append(matched[faint])
        near, star = stars.query(positions, k=6, distance_upper_bound=2.0)
        known = np.append(truth.mag, np.inf)[star]
        real = (np.isfinite(near) & (np.abs(known - mag[:, None]) < 1)).any(axis=1)
        pure.append(real[(mag >= 20) & (mag < 21)])
    joined = {bin_: np.concatenate(values) for bin_, values in errors.items()}
    scatter = [1480 * np.median(np.abs(joined[b] - np.median(joined[b]))) for b in BINS]
    seconds = sum(result.psf_s for _, result in results)
    cells = [
        field.name,
        results[0][1].name,
        f"{n}",
        f"{sum(result.detect_s for _, result in results):.2f}",
        f"{seconds:.2f}",
        f"{1000 * seconds / n:.3f}",
        " / ".join(f"{value:.1f}" for value in scatter),
        f"{1000 * np.median(joined[15, 19]):+.1f}",
        f"{np.concatenate(found).mean():.3f}",
        f"{np.concatenate(pure).mean():.4f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", default="", help="a Python with photutils 3; left out without it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--models", nargs="+", default=["moffat"], help="moffat, gaussian, empirical")
    args = parser.parse_args()
    head = ["field", "code", "sources", "detection CPU s", "PSF CPU s", "s per 1000"]
    head += ["scatter mmag 16-17 / 18-19 / 20-21", "median mmag 15-19", "complete 20-21", "pure 20-21"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for name, count, slope in (("ordinary", 2500, 0.25), ("crowded", 20000, 0.3)):
        fields = [make_field(name, count, seed, slope) for seed in args.seeds]
        runs: list[Callable[[Field, Path], Result]] = []
        runs += [lambda field, _, psf=psf: ours(field, psf) for psf in args.models]
        runs.append(sextractor)
        if args.peers_python:
            runs.append(lambda f, folder: photutils(f, folder, args.peers_python))
        for run in runs:
            with tempfile.TemporaryDirectory(prefix="astrolake-psf-") as folder:
                results = [(field, run(field, Path(folder))) for field in fields]
            print(row_of(fields[0], results), flush=True)


if __name__ == "__main__":
    main()
