"""Star/galaxy separation on simulated fields: ``python benchmarks/star_galaxy_fields.py --fields 3``.

Fields like SDSS's r images (3000^2 px of 0.396 arcsec, Moffat seeing of 1.3 arcsec, 5 sigma at r 22.3) with
stars and galaxies rendered by GalSim. Sources are extracted as the jobs do; those with a neighbour within
12 px are left out. Printed by true magnitude: AUC of `star_prob` and of `flux_radius`, and the calibration
error of `star_prob`.
"""

from __future__ import annotations

import argparse

import galsim
import numpy as np
from scipy.spatial import cKDTree
from star_galaxy import auc, calibration_error

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.star_galaxy import star_probabilities

SIZE, SCALE, FWHM_ARCSEC, GAIN, NOISE, ZERO_POINT = 3000, 0.396, 1.3, 900.0, 0.0235, 22.5
N_EACH, MAG, HALF_STAMP = 1200, (17.0, 22.5), 32
#: ln of the half-light radius in arcsec of galaxies at r = 20, its change per mag, its scatter.
LN_RADIUS, LN_RADIUS_PER_MAG, LN_RADIUS_SIGMA = np.log(0.9), -0.18, 0.45
ISOLATED_PX = 12.0


def simulate(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return an image and star (bool), magnitude, x and y of its sources."""
    rng = np.random.default_rng(seed)
    n = 2 * N_EACH
    star = np.arange(n) < N_EACH
    mag = MAG[0] + (MAG[1] - MAG[0]) * rng.random(n) ** 0.6
    x, y = rng.uniform(20, SIZE - 20, (2, n))
    image, psf = galsim.ImageF(SIZE, SIZE, scale=SCALE), galsim.Moffat(beta=3.5, fwhm=FWHM_ARCSEC)
    for i in range(n):
        source = psf if star[i] else galsim.Convolve(_galaxy(mag[i], rng), psf)
        corner = galsim.PositionI(int(x[i]), int(y[i]))
        bounds = galsim.BoundsI(corner.x, corner.x, corner.y, corner.y).withBorder(HALF_STAMP) & image.bounds
        stamp = galsim.ImageF(bounds, scale=SCALE)
        centre = galsim.PositionD(x[i] + 1, y[i] + 1)
        source.withFlux(10 ** (0.4 * (ZERO_POINT - mag[i]))).drawImage(stamp, center=centre)
        image[bounds] += stamp
    light = rng.poisson(np.maximum(image.array, 0) * GAIN) / GAIN
    return (light + rng.normal(0, NOISE, light.shape)).astype(np.float32), star, mag, x, y


def _galaxy(mag: float, rng: np.random.Generator) -> galsim.GSObject:
    radius = np.exp(LN_RADIUS + LN_RADIUS_PER_MAG * (mag - 20) + LN_RADIUS_SIGMA * rng.normal())
    kind = galsim.Exponential if rng.random() < 0.6 else galsim.DeVaucouleurs
    axes, angle = rng.uniform(0.3, 1.0), rng.uniform(0, 180) * galsim.degrees
    return kind(half_light_radius=radius).shear(q=axes, beta=angle)


def measure(seed: int) -> np.ndarray:
    """Return star, true magnitude, star_prob and flux_radius of the isolated sources that were found."""
    image, star, mag, x, y = simulate(seed)
    found = extract_frame(image, gain=GAIN)
    columns = found.columns
    with np.errstate(invalid="ignore", divide="ignore"):
        auto = ZERO_POINT - 2.5 * np.log10(columns["flux_auto"])
    fwhm = found.info.stars.fwhm_px * SCALE
    probability = star_probabilities(columns["extension"], columns["extension_err"], auto, fwhm)
    places = np.stack([x, y], axis=1)
    alone = cKDTree(places).query(places, k=2)[0][:, 1] > ISOLATED_PX
    distance, row = cKDTree(np.stack([columns["x"], columns["y"]], axis=1)).query(places)
    seen = alone & (distance < 1.5) & np.isfinite(probability[row])
    return np.stack([star, mag, probability[row], columns["flux_radius"][row]], axis=1)[seen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=3)
    rows = np.concatenate([measure(seed) for seed in range(parser.parse_args().fields)])
    star = rows[:, 0] == 1
    for low, high in ((17, 19), (19, 20), (20, 21), (21, 21.5), (21.5, 22), (22, 22.5), (17, 21), (17, 22.5)):
        part = (rows[:, 1] >= low) & (rows[:, 1] < high)
        print(
            f"{low} <= r < {high}: {part.sum()} sources, AUC {auc(rows[part, 2], star[part]):.4f} "
            f"(flux_radius {auc(-rows[part, 3], star[part]):.4f}), "
            f"calibration error {calibration_error(rows[part, 2], star[part]):.4f}"
        )


if __name__ == "__main__":
    main()
