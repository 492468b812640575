"""Photometric redshifts of real galaxies: SDSS/BOSS DR10, and DEEP2/3D-HST beside the output of BPZ.

    ASTROLAKE_TEST_DATA=FOLDER python benchmarks/photoz_real.py

BOSS: 70 % of the 12,320 galaxies to train on, 30 % to test, drawn at random; templates are 31 COSMOS SEDs.
DEEP2: BPZ's own filters, CWW+SB templates and prior, as they are, and with zero points learned from every
second row, for the other rows.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from photoz_report import HEADER, HEADER_OF_ERRORS, print_errors, print_row  # noqa: E402

from astrolake.photoz import PhotozEstimator  # noqa: E402
from astrolake.photoz.filters import load_filters  # noqa: E402
from astrolake.photoz.grid import RedshiftGrid  # noqa: E402
from astrolake.photoz.photometry import BandColumns  # noqa: E402
from astrolake.photoz.prior import MagnitudePrior  # noqa: E402
from astrolake.photoz.template_fit import TemplateFit  # noqa: E402
from astrolake.photoz.templates import load_templates  # noqa: E402

Z_MAX, Z_STEP = 1.2, 0.01
DEEP2 = ("u", "g", "r", "i2", "i", "z", "y")


def boss(folder: Path) -> pd.DataFrame:
    names = [f"{kind}_{band}" for band in "ugriz" for kind in ("mag", "mag_err")]
    files = [folder / "photoz" / f"boss_dr10_{k}.csv" for k in range(3)]
    rows = np.concatenate([np.loadtxt(file, delimiter=",", skiprows=1) for file in files])
    table = pd.DataFrame(rows, columns=[*names, "z_spec"])
    return table.iloc[np.random.default_rng(1).permutation(len(table))].reset_index(drop=True)


def run_boss(folder: Path) -> None:
    table = boss(folder)
    train, test = table[: int(0.7 * len(table))], table[int(0.7 * len(table)) :]
    photoz = PhotozEstimator()
    magnitudes = [f"mag_{band}" for band in "ugriz"]
    errors = [f"mag_err_{band}" for band in "ugriz"]
    training = photoz.prepare_training_data(train, "z_spec", magnitudes)
    z, columns = test["z_spec"].to_numpy(), {name: test[name].to_numpy() for name in test}
    estimates = {}
    print(f"BOSS: {len(train)} galaxies to train on, {len(test)} to test\n\n{HEADER}")
    for name in ("neural_network", "xgboost", "template"):
        start = time.process_time()
        if name == "template":
            model = photoz.fit_templates(
                train, magnitudes, errors, load_templates("cosmos"), (0, Z_MAX), Z_STEP, spec_z="z_spec"
            )
        else:
            model = photoz.train_ml_model(training, name, z_range=(0, Z_MAX), z_resolution=Z_STEP)
        trained = time.process_time()
        estimates[name] = model.estimate(columns)
        rate = len(z) / (time.process_time() - trained)
        z_phot = estimates[name]["z_phot"]
        print_row(name, trained - start, rate, z_phot, z, model.density(columns), model.grid)
    print(f"\n{HEADER_OF_ERRORS}")
    for name, found in estimates.items():
        print_errors(name, found, z, columns["mag_i"])


def run_deep2(folder: Path) -> None:
    rows, bpz = (np.loadtxt(folder / "photoz" / name) for name in ("bpz_catalog.cat", "cwwsb4_photoz.bpz"))
    columns = {f"mag_{band}": rows[:, 1 + 2 * k] for k, band in enumerate(DEEP2)}
    columns |= {f"err_{band}": rows[:, 2 + 2 * k] for k, band in enumerate(DEEP2)}
    files = {band: f"{band}_{'subaru' if band == 'y' else 'megacam'}" for band in DEEP2}
    fit = TemplateFit.make(
        load_templates("cww").interpolated(2),
        load_filters(folder / "photoz" / "filters", DEEP2, files),
        [BandColumns(band, f"mag_{band}", f"err_{band}") for band in DEEP2],
        RedshiftGrid(0.0, 3.5, 0.01),
        prior=MagnitudePrior(),
        prior_band="i",
    )
    z, odd = rows[:, 15], np.arange(len(rows)) % 2 == 1
    even, rest = ({name: values[part] for name, values in columns.items()} for part in (~odd, odd))
    start = time.process_time()
    calibrated = fit.calibrated(even, z[~odd], learn_prior=False)
    seconds = time.process_time() - start
    print(f"\nDEEP2/3D-HST: {len(z)} galaxies, the last two rows of those with odd numbers\n\n{HEADER}")
    print_row("BPZ", np.nan, np.nan, bpz[:, 1], z, None, fit.grid)
    print_row("as it is", 0.0, np.nan, fit.estimate(columns)["z_phot"], z, fit.density(columns), fit.grid)
    print_row("BPZ, odd rows", np.nan, np.nan, bpz[odd, 1], z[odd], None, fit.grid)
    found, density = calibrated.estimate(rest)["z_phot"], calibrated.density(rest)
    print_row("calibrated on even rows", seconds, np.nan, found, z[odd], density, fit.grid)


if __name__ == "__main__":
    data = Path(os.environ["ASTROLAKE_TEST_DATA"])
    run_boss(data)
    run_deep2(data)
