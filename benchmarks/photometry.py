"""Source extraction beside its peers on the same fields: seconds of CPU, sources, completeness, purity.

    python benchmarks/photometry.py --data SURVEY_DATA --peers-python PYTHON [--rounds 3] [--fields NAME ...]

* ours: the pixels of a FITS file and `extract_frame`, all measures, in this process;
* SExtractor: Debian's source-extractor (apt-get install source-extractor), with the same thresholds,
  apertures, meshes and measures, in a process of its own, which also writes its catalog;
* photutils: background, segmentation, deblending, centroids, Kron, radius and apertures, in the Python given
  by --peers-python (pip install photutils scikit-image); its imports are not counted.

Rounds are interleaved, so that what else the machine does meets all alike. Sources are compared with
SExtractor's by position (parity: its sources that have one of ours within 1 px, ours run with SExtractor's
constant noise), and with the truth of simulated fields: completeness of 22 < r < 22.5 (a source within 2 px),
purity (a true source within 3 px), both with default and with deep options.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree
from simulated_fields import FIELDS, GAIN, PSF_FWHM_PX, simulate

from astrolake.photometry.extraction import Extraction, extract_frame
from astrolake.photometry.fits_io import read_pixels
from astrolake.photometry.options import ExtractionOptions, deep_options

RADII_PX = (3.0, 5.0, 7.5)
REAL = {"SDSS r": ("r-004510-4-0030", 4.76), "M2 r": ("r-002583-2-0136", 4.7)}
OURS, SEXTRACTOR, PHOTUTILS = "ours", "SExtractor", "photutils"

CONFIG = """CATALOG_NAME out.cat
CATALOG_TYPE FITS_1.0
PARAMETERS_NAME bench.param
DETECT_TYPE CCD
DETECT_MINAREA 5
DETECT_THRESH 1.5
ANALYSIS_THRESH 1.5
FILTER Y
FILTER_NAME bench.conv
DEBLEND_NTHRESH 32
DEBLEND_MINCONT 0.005
CLEAN Y
CLEAN_PARAM 1.0
MASK_TYPE CORRECT
WEIGHT_TYPE NONE
PHOT_APERTURES 6,10,15
PHOT_AUTOPARAMS 2.5,3.5
PHOT_PETROPARAMS 2.0,3.5
PHOT_FLUXFRAC 0.2,0.5,0.8
SATUR_LEVEL 1e9
MAG_ZEROPOINT 22.5
PIXEL_SCALE 0.396
BACK_SIZE 64
BACK_FILTERSIZE 3
BACKPHOTO_TYPE GLOBAL
MEMORY_OBJSTACK 30000
MEMORY_PIXSTACK 3000000
MEMORY_BUFSIZE 1024
VERBOSE_TYPE QUIET
"""
PARAMETERS = """NUMBER XWIN_IMAGE YWIN_IMAGE X_IMAGE Y_IMAGE ERRX2_IMAGE ERRY2_IMAGE FLUX_AUTO FLUXERR_AUTO
FLUX_ISO FLUXERR_ISO FLUX_PETRO FLUXERR_PETRO PETRO_RADIUS FLUX_APER(3) FLUXERR_APER(3) FLUX_RADIUS(3)
KRON_RADIUS A_IMAGE B_IMAGE THETA_IMAGE FWHM_IMAGE FLUX_MAX BACKGROUND ISOAREA_IMAGE FLAGS"""
HEADINGS = (
    "field",
    "sources, ours / SExtractor",
    "s ours",
    "s SExtractor",
    "s photutils",
    "SExtractor / ours (min-max)",
    "photutils / ours",
    "parity",
    "complete at r 22-22.5, ours / SExtractor / deep",
    "purity, ours / SExtractor / deep",
    "s deep",
)


@dataclass
class Subject:
    """A field, and what was measured on it."""

    name: str
    file: Path
    gain: float
    truth: tuple[np.ndarray, np.ndarray] | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    found: dict[str, np.ndarray] = field(default_factory=dict)


def simulated(folder: Path, names: list[str]) -> list[Subject]:
    """Simulate fields and write them as FITS files."""
    subjects = []
    for wanted in FIELDS:
        if wanted.name in names:
            image, scene, mag = simulate(wanted)
            path = folder / f"{wanted.name.replace(' ', '-')}.fits"
            fits.writeto(path, image)
            subjects.append(Subject(wanted.name, path, GAIN, (np.c_[scene.x_px, scene.y_px], mag)))
    return subjects


def real(folder: Path, data: Path, names: list[str]) -> list[Subject]:
    """Unpack SDSS frames: SExtractor reads no bzip2."""
    subjects = []
    for label in names:
        name, gain = REAL[label]
        with fits.open(data / "images_sdss" / f"frame-{name}.fits.bz2") as hdus:
            path = folder / f"{name}.fits"
            fits.writeto(path, hdus[0].data)
            subjects.append(Subject(label, path, gain / hdus[0].header["NMGY"]))
    return subjects


def extract_ours(subject: Subject, options: ExtractionOptions | None = None) -> tuple[float, Extraction]:
    """Run the full chain; return seconds of CPU and the sources."""
    clock = time.process_time()
    found = extract_frame(
        read_pixels(str(subject.file), 0), gain=subject.gain, options=options or ExtractionOptions()
    )
    return time.process_time() - clock, found


def run_sextractor(subject: Subject, folder: Path, program: str) -> tuple[float, np.ndarray]:
    """Run SExtractor; return seconds of CPU and positions, first pixel centre at 0."""
    (folder / "bench.sex").write_text(CONFIG)
    (folder / "bench.param").write_text(PARAMETERS.replace(" ", "\n"))
    (folder / "bench.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    command = [program, subject.file.name, "-c", "bench.sex", "-GAIN", str(subject.gain)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = fits.getdata(folder / "out.cat", 1)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, np.c_[rows["X_IMAGE"] - 1, rows["Y_IMAGE"] - 1]


def run_photutils(subject: Subject, python: str) -> tuple[float, int]:
    """Run photutils in another Python; return seconds of CPU and the number of sources."""
    script = Path(__file__).with_name("photometry_peers.py")
    command = [python, str(script), str(subject.file), str(subject.gain), *map(str, RADII_PX)]
    out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return out["seconds"], out["sources"]


def positions(found: Extraction) -> np.ndarray:
    """Return x, y of sources."""
    return np.c_[found.columns["x"], found.columns["y"]]


def parity(subject: Subject) -> float:
    """Return the fraction of SExtractor's sources that we find under its own configuration."""
    _, found = extract_ours(subject, ExtractionOptions(noise="global"))
    distance, _ = cKDTree(positions(found)).query(subject.found[SEXTRACTOR])
    return float(np.mean(distance < 1.0))


def against_truth(subject: Subject, found: np.ndarray) -> tuple[float, float]:
    """Return completeness at 22 < r < 22.5 and purity."""
    where, mag = subject.truth if subject.truth is not None else (np.empty((0, 2)), np.empty(0))
    if not len(mag):
        return float("nan"), float("nan")
    faint = where[(mag > 22) & (mag < 22.5)]
    complete = np.mean(cKDTree(found).query(faint)[0] < 2.0)
    pure = np.mean(cKDTree(where).query(found)[0] < 3.0)
    return float(complete), float(pure)


def measure(subjects: list[Subject], folder: Path, rounds: int, peers_python: str | None) -> None:
    """Run all in turn, `rounds` times; photutils once, it takes long and is far behind."""
    program = shutil.which("source-extractor") or shutil.which("sex")
    if program is None:
        sys.exit("source-extractor is not installed: apt-get install source-extractor")
    for number in range(rounds):
        for subject in subjects:
            seconds, found = extract_ours(subject)
            subject.seconds.setdefault(OURS, []).append(seconds)
            subject.found[OURS] = positions(found)
            seconds, where = run_sextractor(subject, folder, program)
            subject.seconds.setdefault(SEXTRACTOR, []).append(seconds)
            subject.found[SEXTRACTOR] = where
            if peers_python and number == 0 and subject.name != "4096 crowded":
                seconds, _ = run_photutils(subject, peers_python)
                subject.seconds[PHOTUTILS] = [seconds]


def report(subjects: list[Subject]) -> None:
    """Print one row for each field."""
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for subject in subjects:
        ours, theirs = subject.seconds[OURS], subject.seconds[SEXTRACTOR]
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        photutils = subject.seconds.get(PHOTUTILS, [float("nan")])[0]
        middle = statistics.median(ours)
        deep, found = extract_ours(subject, deep_options(PSF_FWHM_PX))
        subject.found["deep"] = positions(found)
        truth = [against_truth(subject, subject.found[name]) for name in (OURS, SEXTRACTOR, "deep")]
        cells = [
            subject.name,
            f"{len(subject.found[OURS])} / {len(subject.found[SEXTRACTOR])}",
            f"{middle:.3f}",
            f"{statistics.median(theirs):.3f}",
            f"{photutils:.2f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            f"{photutils / middle:.1f}",
            f"{100 * parity(subject):.2f} %",
            *(" / ".join(f"{values[i]:.3f}" for values in truth) for i in (0, 1)),
            f"{deep:.3f}",
        ]
        print("| " + " | ".join(cells).replace("nan", "-") + " |", flush=True)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [wanted.name for wanted in FIELDS]
    parser.add_argument("--fields", nargs="+", choices=[*names, *REAL], default=[*names, *REAL])
    parser.add_argument("--data", type=Path, help="directory of real survey files; without it no real frames")
    parser.add_argument("--peers-python", help="a Python with photutils; without it photutils is left out")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="astrolake-bench-") as name:
        folder = Path(name)
        subjects = simulated(folder, args.fields)
        if args.data:
            subjects += real(folder, args.data, [label for label in args.fields if label in REAL])
        extract_ours(replace(subjects[0], seconds={}, found={}))  # imports and first touches are not counted
        measure(subjects, folder, args.rounds, args.peers_python)
        report(subjects)


if __name__ == "__main__":
    main()
