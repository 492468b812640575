"""One peer of the photo-z benchmark, run by its own Python: prints seconds of CPU, writes its PDFs.

    python photoz_peers.py data FOLDER        writes dc2.npz: the DC2 sample that pz-rail-base carries
    python photoz_peers.py PEER FOLDER        trains and estimates, writes PEER.npz (z, pdf, z_phot)

Peers: see `PEERS`. Their environment:

    python3 -m venv peers
    peers/bin/pip install pz-rail-base pz-rail-flexzboost pz-rail-bpz pz-rail-sklearn \
        pz-rail-gpz-v1 pz-rail-tpz pz-rail-dnf quantile-forest lephare eazy
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One thread, so that CPU seconds and rates are those of a core.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402

BANDS = "ugrizy"
GRID = np.linspace(0.0, 3.0, 301)
Z_STEP = 0.01
Sample = dict[str, np.ndarray]


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


def cpu() -> float:
    """Return the CPU seconds of this process and of the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def estimation_data() -> Path:
    from rail.utils.path_utils import RAILDIR

    return Path(RAILDIR) / "rail" / "examples_data" / "estimation_data" / "data"


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


def keep(folder: Path, peer: str, pdf: np.ndarray | None, z_phot: np.ndarray) -> None:
    arrays = {"z_phot": z_phot} if pdf is None else {"z_phot": z_phot, "pdf": np.asarray(pdf, np.float32)}
    np.savez(folder / f"{peer}.npz", z=GRID, **arrays)


def median(pdf: np.ndarray) -> np.ndarray:
    mass = 0.5 * (pdf[:, 1:] + pdf[:, :-1]) * Z_STEP
    cdf = np.concatenate([np.zeros((len(pdf), 1)), np.cumsum(mass, axis=1)], axis=1)
    cdf /= np.maximum(cdf[:, -1:], 1e-30)
    return np.array([np.interp(0.5, row, GRID) for row in cdf])


# RAIL's own estimators -------------------------------------------------------------------------------


def rail_table(sample: Sample) -> dict[str, np.ndarray]:
    table = {f"mag_{band}_lsst": sample["mag"][:, k].copy() for k, band in enumerate(BANDS)}
    table |= {f"mag_err_{band}_lsst": sample["err"][:, k].copy() for k, band in enumerate(BANDS)}
    return table | {"redshift": sample["z"].copy()}


def rail(module: str, stem: str, *, inform: dict | None = None, estimate: dict | None = None) -> Callable:
    def run(train: Sample, test: Sample, folder: Path) -> dict[str, float]:
        import importlib

        algorithm = importlib.import_module(f"rail.estimation.algos.{module}")
        common = {"hdf5_groupname": "", "nondetect_val": 99.0}
        tag = sys.argv[1]
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
        keep(folder, tag, pdf, median(pdf))
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
        keep(folder, sys.argv[1], None, z_phot)
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
    keep(folder, sys.argv[1], np.diff(cdf, axis=1) / Z_STEP, quantiles[:, 49:51].mean(axis=1))
    return {"train": trained - start, "estimate": end - trained}


# Template codes on the SEDs and filters of RAIL --------------------------------------------------------


def cosmos_seds() -> list[Path]:
    data = estimation_data()
    return [data / "SED" / line.split()[0] for line in (data / "SED" / "COSMOS_seds.list").open()]


def fluxes(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return fluxes and errors in microjansky; a band not detected is zero with its limit as error."""
    lost = sample["mag"] > 90
    flux = np.where(lost, 0.0, 10 ** (-0.4 * (sample["mag"] - 23.9)))
    limit = 10 ** (-0.4 * (sample["err"] - 23.9))
    error = np.where(lost, limit, np.log(10) / 2.5 * flux * np.minimum(sample["err"], 3.0))
    return flux, error


def eazy(train: Sample, test: Sample, folder: Path) -> dict[str, float]:
    import eazy.photoz
    import eazy.templates
    from astropy.table import Table

    n = min(len(test["z"]), SLOW_ROWS)
    work = folder / "eazy"
    work.mkdir(exist_ok=True)
    _eazy_filters(work)
    # Ilbert's ellipticals to starbursts, every third: eazy combines them linearly.
    _eazy_templates(work, cosmos_seds()[::3][:12])
    flux, error = fluxes(test)
    table = {"id": np.arange(n), "z_spec": test["z"][:n]}
    for k, band in enumerate(BANDS):
        table |= {f"f_{band}": flux[:n, k], f"e_{band}": error[:n, k]}
    Table(table).write(work / "catalog.fits", overwrite=True)
    lines = [f"f_{band} F{k}\ne_{band} E{k}" for k, band in enumerate(BANDS, 1)]
    (work / "translate").write_text("\n".join(lines) + "\n")
    params = {
        "CATALOG_FILE": "catalog.fits",
        "FILTERS_RES": str(work / "FILTER.RES"),
        "TEMPLATES_FILE": str(work / "templates.param"),
        "TEMP_ERR_FILE": str(work / "template_error"),
        "Z_STEP": Z_STEP,
        "Z_STEP_TYPE": 0,
        "Z_MIN": 0.01,
        "Z_MAX": 3.0,
        "PRIOR_ABZP": 23.9,
        "APPLY_PRIOR": "n",
        "MW_EBV": 0.0,
        "CAT_HAS_EXTCORR": "y",
        "SYS_ERR": 0.02,
        "VERBOSITY": 0,
    }
    os.chdir(work)
    start = cpu()
    photoz = eazy.photoz.PhotoZ(
        param_file=None,
        translate_file="translate",
        zeropoint_file=None,
        params=params,
        load_prior=False,
        load_products=False,
        n_proc=0,
    )
    ready = cpu()
    photoz.fit_catalog(n_proc=0, prior=False, fitter="nnls", get_best_fit=False)
    end = cpu()
    pdf = np.exp(photoz.lnp)
    inside = np.stack([np.interp(GRID, photoz.zgrid, row, 0, 0) for row in pdf])
    inside /= np.maximum(inside.sum(axis=1, keepdims=True) * Z_STEP, 1e-30)
    keep(folder, sys.argv[1], inside, median(inside))
    return {"train": ready - start, "estimate": end - ready, "rows": n}


def _eazy_filters(work: Path) -> None:
    with (work / "FILTER.RES").open("w") as out:
        for band in BANDS:
            curve = np.loadtxt(estimation_data() / "FILTER" / f"DC2LSST_{band}.res")
            out.write(
                f"{len(curve)} lsst_{band} lambda_c= {np.average(curve[:, 0], weights=curve[:, 1]):.4e}\n"
            )
            for k, (wave, part) in enumerate(curve, 1):
                out.write(f"{k} {wave:.2f} {part:.6f}\n")


def _eazy_templates(work: Path, seds: list[Path]) -> None:
    lines = []
    for k, path in enumerate(seds, 1):
        sed = np.loadtxt(path)
        np.savetxt(work / path.name, sed)
        lines.append(f"{k} {work / path.name} 1.0 0 1.0")
    (work / "templates.param").write_text("\n".join(lines) + "\n")
    np.savetxt(work / "template_error", [[500.0, 0.05], [5000.0, 0.05], [30000.0, 0.05]])


SLOW_ROWS = 1000

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
    "eazy": eazy,
}


if __name__ == "__main__":
    main()
