"""Photometric redshifts beside RAIL's codes, on the same galaxies with the same split.

    python benchmarks/photoz.py --peers-python PYTHON [--peers flexzboost knn ...] [--ours network ...]

Training and test galaxies are the DC2 sample that pz-rail-base carries (10,225 and 20,449, ugrizy);
the environment of the peers is made as `photoz_peers.py` says. Seconds are of CPU. Peers whose result is in
FOLDER are not run again. Template codes "as is" have learned nothing from the training galaxies; the slow
ones are run on a part of the test galaxies, spread over all, and the table says of how many.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from photoz_report import HEADER, HEADER_OF_ERRORS, print_errors, print_row  # noqa: E402

from astrolake.photoz import PhotozEstimator  # noqa: E402
from astrolake.photoz.combine import learn_pool  # noqa: E402
from astrolake.photoz.grid import RedshiftGrid  # noqa: E402
from astrolake.photoz.pdf import summarise  # noqa: E402
from astrolake.photoz.templates import load_templates  # noqa: E402

BANDS = "ugrizy"
GRID = RedshiftGrid()
PEERS = (
    "flexzboost",
    "knn",
    "dnf",
    "gpz",
    "tpz",
    "nn",
    "quantile-forest",
    "sklearn-rf-500x20",
    "sklearn-rf-100x12",
    "bpz-8",
    "bpz-31",
    "eazy",
    "eazy-as-is",
    *(
        f"lephare{dust}{prior}{zero}"
        for dust in ("", "-dust")
        for prior in ("", "-prior")
        for zero in ("", "-as-is")
    ),
)
OURS = {
    "network": ("neural_network", {}),
    "forest": ("random_forest", {"n_estimators": 500, "max_depth": 20}),
    "xgboost": ("xgboost", {}),
    "gbt": ("gbt", {}),
}
#: Template fits, and whether they are calibrated on the training galaxies.
TEMPLATES = {"template": True, "template-as-is": False}
FEATURES = [f"mag_{band}" for band in BANDS]
#: Galaxies that ours are timed on, the test galaxies repeated: rates of a second's work.
TIMED = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", required=True)
    parser.add_argument("--peers", nargs="*", default=[], choices=PEERS)
    parser.add_argument("--ours", nargs="*", default=[*OURS, *TEMPLATES], choices=[*OURS, *TEMPLATES])
    parser.add_argument("--folder", help="keep the results here (a new temporary directory)")
    args = parser.parse_args()
    folder = Path(args.folder or tempfile.mkdtemp(prefix="photoz-"))
    folder.mkdir(parents=True, exist_ok=True)
    data = Path(peer(args.peers_python, "data", folder)["estimation_data"])
    train, test = tables(folder)
    print(f"{len(train)} galaxies to train on, {len(test)} to test\n")
    print(HEADER)
    for name in args.peers:
        found = peer(args.peers_python, name, folder)
        arrays = np.load(folder / f"{name}.npz")
        rows = arrays["rows"]
        known = test["z_spec"].to_numpy()[rows]
        pdf = arrays.get("pdf")
        label = name if len(rows) == len(test) else f"{name} ({len(rows)})"
        print_row(label, found["train"], len(known) / found["estimate"], arrays["z_phot"], known, pdf, GRID)
    densities, estimates = {}, {}
    z = test["z_spec"].to_numpy()
    for name in args.ours:
        fit = fit_templates(calibrated=TEMPLATES[name]) if name in TEMPLATES else trained(name)
        train_s, estimate_s, densities[name], estimates[name] = timed(fit, train, test, data)
        z_phot = estimates[name]["z_phot"]
        print_row(f"astrolake {name}", train_s, TIMED / estimate_s, z_phot, z, densities[name], GRID)
    print(f"\nErrors of astrolake, in quintiles from the worst to the best\n\n{HEADER_OF_ERRORS}")
    for name, found in estimates.items():
        print_errors(name, found, z, test["mag_i"].to_numpy())
    if {"template", "network"} <= set(densities):
        combined(densities, z)


def peer(python: str, name: str, folder: Path) -> dict:
    """Return what a peer printed, from its earlier run where there is one."""
    kept = folder / f"{name}.json"
    if not kept.exists():
        command = [python, str(Path(__file__).with_name("photoz_peers.py")), name, str(folder)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        kept.write_text(run.stdout.splitlines()[-1])
    return json.loads(kept.read_text())


def tables(folder: Path) -> list[pd.DataFrame]:
    arrays = np.load(folder / "dc2.npz")
    found = []
    for part in ("train", "test"):
        columns = {f"mag_{band}": arrays[f"{part}_mag"][:, k] for k, band in enumerate(BANDS)}
        columns |= {f"mag_err_{band}": arrays[f"{part}_err"][:, k] for k, band in enumerate(BANDS)}
        found.append(pd.DataFrame(columns | {"z_spec": arrays[f"{part}_z"]}))
    return found


def trained(name: str) -> Callable:
    model_type, settings = OURS[name]

    def fit(train: pd.DataFrame, data: Path) -> object:
        photoz = PhotozEstimator()
        training = photoz.prepare_training_data(train, "z_spec", FEATURES)
        return photoz.train_ml_model(training, model_type, **settings)

    return fit


def fit_templates(*, calibrated: bool) -> Callable:
    """Return the fit of the 31 SEDs of COSMOS, without reddening."""

    def fit(train: pd.DataFrame, data: Path) -> object:
        photoz = PhotozEstimator()
        templates = load_templates(data / "SED" / "COSMOS_seds.list", type_counts=(10, 5, 16))
        names = {band: f"DC2LSST_{band}" for band in BANDS}
        errors = [f"mag_err_{band}" for band in BANDS]
        return photoz.fit_templates(
            train,
            FEATURES,
            errors,
            templates,
            filters=data / "FILTER",
            filter_names=names,
            spec_z="z_spec" if calibrated else None,
        )

    return fit


def timed(
    fit: Callable, train: pd.DataFrame, test: pd.DataFrame, data: Path
) -> tuple[float, float, np.ndarray, dict[str, np.ndarray]]:
    start = time.process_time()
    model = fit(train, data)
    train_s = time.process_time() - start
    columns = {name: test[name].to_numpy() for name in test}
    density = model.density(columns)
    rows = np.arange(TIMED) % len(test)
    many = {name: values[rows] for name, values in columns.items()}
    start = time.process_time()
    found = model.estimate(many)
    estimate_s = time.process_time() - start
    return train_s, estimate_s, density, {key: values[: len(test)] for key, values in found.items()}


def combined(densities: dict[str, np.ndarray], z: np.ndarray) -> None:
    """Learn the pool of network and template on a third of the test galaxies, judge on the others."""
    learn = np.random.default_rng(1).random(len(z)) < 1 / 3
    pair = [densities["network"], densities["template"]]
    pool = learn_pool([pdf[learn] for pdf in pair], z[learn], GRID)
    together = pool([pdf[~learn] for pdf in pair], GRID)
    weights = ", ".join(f"{weight:.2f}" for weight in pool.weights)
    print(
        f"\nnetwork and template pooled ({pool.kind}, weights {weights}), two thirds of the test galaxies:\n"
    )
    print(HEADER)
    for name, pdf in (("network", pair[0][~learn]), ("template", pair[1][~learn]), ("pool", together)):
        print_row(name, np.nan, np.nan, summarise(pdf, GRID)["z_phot"], z[~learn], pdf, GRID)


if __name__ == "__main__":
    main()
