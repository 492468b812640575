"""One peer of the photo-z benchmark, run by its own Python: prints seconds of CPU, writes its PDFs.

    python photoz_peers.py data FOLDER        writes dc2.npz: the DC2 sample that pz-rail-base carries
    python photoz_peers.py PEER FOLDER        trains and estimates, writes PEER.npz (z, pdf, z_phot, rows)

Peers: see `PEERS`; those that fit templates are in `photoz_template_peers.py`. Their environment:

    python3 -m venv peers
    peers/bin/pip install pz-rail-base pz-rail-flexzboost pz-rail-bpz pz-rail-sklearn \
        pz-rail-gpz-v1 pz-rail-tpz pz-rail-dnf quantile-forest lephare eazy
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One thread, so that CPU seconds and rates are those of a core.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
from photoz_peer_tools import BANDS, GRID, Z_STEP, Sample, cpu, estimation_data, keep, median, peer_name  # noqa: E402
from photoz_template_peers import eazy, lephare  # noqa: E402


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    warnings.simplefilter("ignore")
    if what == "data":
        answer: dict[str, Any] = write_data(folder)
    else:
        arrays = np.load(folder / "dc2.npz")
        train, test = (
            {key: arrays[f"{part}_{key}"] for key in ("mag", "err", "z")} for part in ("train", "test")
        )
        os.chdir(folder)
        log = io.StringIO()
        with contextlib.redirect_stdout(log):
            answer = PEERS[what](train, test, folder)
    sys.stdout.write(json.dumps(answer) + "\n")


def write_data(folder: Path) -> dict[str, Any]:
    import h5py
    from rail.utils.path_utils import RAILDIR

    arrays = {}
    for part, name in (("train", "training"), ("test", "validation")):
        path = Path(RAILDIR) / "rail" / "examples_data" / "testdata" / f"test_dc2_{name}_9816.hdf5"
        with h5py.File(path) as file:
            rows = file["photometry"]
            arrays[f"{part}_mag"] = np.stack([rows[f"mag_{band}_lsst"][()] for band in BANDS], axis=1)
            arrays[f"{part}_err"] = np.stack([rows[f"mag_err_{band}_lsst"][()] for band in BANDS], axis=1)
            arrays[f"{part}_z"] = rows["redshift"][()]
    np.savez(folder / "dc2.npz", **arrays)
    return {"estimation_data": str(estimation_data())}


# RAIL's own estimators -------------------------------------------------------------------------------


def rail_table(sample: Sample) -> dict[str, np.ndarray]:
    table = {f"mag_{band}_lsst": sample["mag"][:, k].copy() for k, band in enumerate(BANDS)}
    table |= {f"mag_err_{band}_lsst": sample["err"][:, k].copy() for k, band in enumerate(BANDS)}
    return table | {"redshift": sample["z"].copy()}


def rail(module: str, stem: str, *, inform: dict | None = None, estimate: dict | None = None) -> Callable:
    def run(train: Sample, test: Sample, folder: Path) -> dict[str, float]:
        algorithm = importlib.import_module(f"rail.estimation.algos.{module}")
        common = {"hdf5_groupname": "", "nondetect_val": 99.0}
        tag = peer_name()
        informer = getattr(algorithm, f"{stem}Informer").make_stage(
            name=f"inform_{tag}", model=f"{tag}.pkl", **common, **(inform or {})
        )
        start = cpu()
        model = informer.inform(rail_table(train))
        trained = cpu()
        estimator = getattr(algorithm, f"{stem}Estimator").make_stage(
            name=f"estimate_{tag}", model=model, output=f"{tag}.hdf5", **common, **(estimate or {})
        )
        found = estimator.estimate(rail_table(test))
        end = cpu()
        ensemble = getattr(found, "data", found)
        pdf = ensemble.pdf(GRID)
        keep(folder, pdf, median(pdf))
        return {"train": trained - start, "estimate": end - trained}

    return run


# Bare learners ---------------------------------------------------------------------------------------


def colours(sample: Sample) -> np.ndarray:
    """RAIL's features: i magnitude and colours, non-detections at the limiting magnitude of the band."""
    limits = np.array([27.79, 29.04, 29.06, 28.62, 27.98, 27.05])
    mag = np.where(sample["mag"] > 90, limits, sample["mag"])
    return np.column_stack([mag[:, 3], mag[:, :-1] - mag[:, 1:]])


def sklearn_forest(trees: int, depth: int) -> Callable:
    def run(train: Sample, test: Sample, folder: Path) -> dict[str, float]:
        from sklearn.ensemble import RandomForestRegressor

        start = cpu()
        forest = RandomForestRegressor(trees, max_depth=depth, random_state=1)
        forest.fit(colours(train), train["z"])
        trained = cpu()
        z_phot = forest.predict(colours(test))
        end = cpu()
        keep(folder, None, z_phot)
        return {"train": trained - start, "estimate": end - trained}

    return run


def quantile_forest(train: Sample, test: Sample, folder: Path) -> dict[str, float]:
    from quantile_forest import RandomForestQuantileRegressor

    start = cpu()
    forest = RandomForestQuantileRegressor(200, max_depth=20, random_state=1)
    forest.fit(colours(train), train["z"])
    trained = cpu()
    levels = np.linspace(0.005, 0.995, 100)
    quantiles = forest.predict(colours(test), quantiles=list(levels))
    end = cpu()
    # The density between quantiles is their distance; on the grid by the interpolated cdf.
    edges = np.append(GRID - Z_STEP / 2, GRID[-1] + Z_STEP / 2)
    cdf = np.stack([np.interp(edges, row + 1e-9 * np.arange(100), levels, 0, 1) for row in quantiles])
    keep(folder, np.diff(cdf, axis=1) / Z_STEP, quantiles[:, 49:51].mean(axis=1))
    return {"train": trained - start, "estimate": end - trained}


PEERS: dict[str, Callable[[Sample, Sample, Path], dict[str, float]]] = {
    "flexzboost": rail("flexzboost", "FlexZBoost"),
    "knn": rail("k_nearneigh", "KNearNeigh"),
    "dnf": rail("dnf", "DNF"),
    "gpz": rail("gpz", "GPz"),
    "tpz": rail("tpz_lite", "TPZlite"),
    "nn": rail("sklearn_neurnet", "SklNeurNet"),
    "bpz-8": rail("bpz_lite", "BPZlite"),
    "bpz-31": rail(
        "bpz_lite",
        "BPZlite",
        inform={"spectra_file": "COSMOS_seds.list", "nt_array": [10, 5, 16]},
        estimate={"spectra_file": "COSMOS_seds.list"},
    ),
    "sklearn-rf-500x20": sklearn_forest(500, 20),
    "sklearn-rf-100x12": sklearn_forest(100, 12),
    "quantile-forest": quantile_forest,
    "eazy": eazy(calibrate=True),
    "eazy-as-is": eazy(calibrate=False),
    "lephare": lephare(dust=False, prior=False, adapt=True),
    "lephare-prior": lephare(dust=False, prior=True, adapt=True),
    "lephare-dust": lephare(dust=True, prior=False, adapt=True),
    "lephare-dust-prior": lephare(dust=True, prior=True, adapt=True),
    "lephare-as-is": lephare(dust=False, prior=False, adapt=False),
    "lephare-prior-as-is": lephare(dust=False, prior=True, adapt=False),
    "lephare-dust-as-is": lephare(dust=True, prior=False, adapt=False),
    "lephare-dust-prior-as-is": lephare(dust=True, prior=True, adapt=False),
}


if __name__ == "__main__":
    main()
