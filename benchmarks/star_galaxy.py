"""Train and validate the star/galaxy model on sources with spectra.

``python benchmarks/star_galaxy.py DIRECTORY``: the directory holds sgCatalogue_star_*.txt and
sgCatalogue_galaxy_*.txt, SDSS magnitudes of sources whose class the spectrum told. Every second
row trains, the others validate. Printed are the parameters of
`astrolake.photometry.star_galaxy.StarGalaxyModel`, and AUC and calibration error on the rows held back.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from astrolake.photometry.star_galaxy import (
    StarGalaxyModel,
    class_densities,
    fit_prior,
    log_star_galaxy_ratio,
    star_probability,
)

#: FWHM of the r images (Abazajian et al. 2009, ApJS 182, 543, median 1.32 arcsec).
FWHM_ARCSEC = 1.32
#: Error of psfMag - modelMag in r, mag: a floor, and noise that doubles each 0.75 mag.
FLOOR, NOISE_AT_20, NOISE_PER_MAG = 0.010, 0.018, 0.35
#: Brighter sources are no question.
BRIGHTEST = 17.0
CLASS, PSF_MAG, MODEL_MAG = 0, 3, 5


def read_labels(directory: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return star (bool), psfMag - modelMag and modelMag of all labelled sources, in one fixed order."""
    rows = [
        line.split(",")
        for path in sorted(directory.glob("sgCatalogue_*.txt"))
        for line in path.read_text().splitlines()
        if line and not line.startswith("#")
    ]
    star = np.array([row[CLASS] == "STAR" for row in rows])
    psf, model = (np.array([float(row[column]) for row in rows]) for column in (PSF_MAG, MODEL_MAG))
    return star, psf - model, model


def noise(mag: np.ndarray) -> np.ndarray:
    """Return the error of psfMag - modelMag that SDSS images have."""
    return NOISE_AT_20 * 10 ** (NOISE_PER_MAG * (mag - 20.0))


def calibrated(model: StarGalaxyModel, extension: np.ndarray, mag: np.ndarray) -> np.ndarray:
    """Return the probability of a star of each source of a catalog, its prior found from the catalog."""
    ratio = log_star_galaxy_ratio(extension, noise(mag), mag, FWHM_ARCSEC, model, "model")
    return star_probability(ratio, mag, fit_prior(ratio, mag, model))


def train(star: np.ndarray, extension: np.ndarray, mag: np.ndarray) -> StarGalaxyModel:
    """Return the model under which the labels are most probable."""
    use = mag > BRIGHTEST

    def unpack(p: np.ndarray) -> StarGalaxyModel:
        outliers = 1 / (1 + np.exp(-p[3]))
        return StarGalaxyModel(float(p[0]), float(p[1]), float(np.exp(p[2])), FLOOR, float(outliers))

    def cost(p: np.ndarray) -> float:
        of_star, of_galaxy = class_densities(
            extension[use], noise(mag[use]), mag[use], FWHM_ARCSEC, unpack(p), "model"
        )
        return -float(np.log(np.where(star[use], of_star, of_galaxy)).sum())

    start = np.array([-0.7, -0.25, np.log(0.4), -4.0])
    found = minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 0.1})
    return unpack(found.x)


def auc(score: np.ndarray, star: np.ndarray) -> float:
    """Return the probability that a star scores higher than a galaxy (Mann-Whitney)."""
    rank = np.empty(len(score))
    order = np.argsort(score, kind="stable")
    rank[order] = np.arange(1, len(score) + 1)
    n = star.sum()
    return float((rank[star].sum() - n * (n + 1) / 2) / (n * (~star).sum()))


def calibration_error(probability: np.ndarray, star: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error: mean |stars' share - probability| over equal bins."""
    which = np.minimum((probability * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(which, star - probability, bins)).sum() / len(star))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    star, extension, mag = read_labels(parser.parse_args().directory)
    held_back = np.arange(len(star)) % 2 == 1
    model = train(star[~held_back], extension[~held_back], mag[~held_back])
    print(model)
    probability = calibrated(model, extension[held_back], mag[held_back])
    star, mag = star[held_back], mag[held_back]
    for low, high in ((14, 21), (18, 19), (19, 20), (20, 21), (21, 22)):
        part = (mag >= low) & (mag < high)
        print(
            f"{low} <= r < {high}: {part.sum()} sources, {star[part].sum()} stars, "
            f"AUC {auc(probability[part], star[part]):.4f}, "
            f"calibration error {calibration_error(probability[part], star[part]):.4f}"
        )


if __name__ == "__main__":
    main()
