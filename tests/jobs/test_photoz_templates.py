"""Template fits through the jobs: spectra and filters of directories, redshifts in the table itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query

pytestmark = pytest.mark.spark

N = 600
EDGES = {"g": (4000, 5500), "r": (5500, 6900), "i": (6900, 8200), "z": (8200, 9300)}
WAVE = np.exp(np.linspace(np.log(2000.0), np.log(12000.0), 1500))
#: Spectra with a break at 4000 A, a deep one and a shallow one.
SPECTRA = [np.where(WAVE < 4000, depth, 1.0) * (WAVE / 5000) ** k for depth, k in ((0.3, 0.4), (0.6, -0.8))]


def galaxies(rng: np.random.Generator) -> pd.DataFrame:
    """Galaxies of these spectra, every other with a redshift, ten without any magnitude."""
    z, kind = rng.uniform(0.05, 0.9, N), rng.integers(0, 2, N)
    rows = pd.DataFrame({"id": np.arange(N), "ra": rng.uniform(148, 158, N), "dec": rng.uniform(-2, 8, N)})
    for band, (low, high) in EDGES.items():
        x = np.linspace(low, high, 200)
        photons = [np.interp(x / (1 + a), WAVE, SPECTRA[k]) * x for a, k in zip(z, kind, strict=True)]
        # AB: against a constant flux in frequency
        mag = 21 - 2.5 * np.log10(np.sum(photons, axis=1) / np.sum(5000**2 / x))
        rows[f"mag_{band}"] = mag + rng.normal(0, 0.03, N)
        rows[f"mag_{band}_err"] = 0.03
    rows.loc[:9, [f"mag_{b}{e}" for b in EDGES for e in ("", "_err")]] = np.nan
    return rows.assign(z_true=z, z=np.where(rows["id"] % 2, z, np.nan))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Files of the spectra and of filters 20 A wider than their bands."""
    path = tmp_path_factory.mktemp("templates")
    for name in ("seds", "filters"):
        (path / name).mkdir()
    for k, flux in enumerate(SPECTRA):
        np.savetxt(path / "seds" / f"break_{k}.sed", np.column_stack([WAVE, flux]))
    for band, (low, high) in EDGES.items():
        np.savetxt(path / "filters" / f"{band}.res", [(low - 20, 0), (low, 1), (high, 1), (high + 20, 0)])
    return path


def test_templates_are_calibrated_on_the_table_itself(folder, run_job):
    rows, lake = galaxies(np.random.default_rng(5)), folder / "lake"
    rows.to_parquet(folder / "galaxies.parquet")
    code, _ = run_job("ingest_catalog", "--lake", lake, "--input", folder / "galaxies.parquet", "--table",
                      "galaxies", "--id-column", "id", "--max-rows", 300)  # fmt: skip
    assert code == 0
    code, summary = run_job(
        "train_photoz", "--lake", lake, "--table", "galaxies", "--spec-table", "galaxies", "--method", "template",
        "--template-set", folder / "seds", "--filters", folder / "filters", "--z-max", 1.2, "--z-step", 0.02,
        "--magnitudes", *(f"mag_{b}" for b in EDGES), "--errors", *(f"mag_{b}_err" for b in EDGES),
    )  # fmt: skip
    assert (code, summary["rows_in"]) == (0, 300)
    (row,) = run_query(Lake.open(str(lake)), "SELECT * FROM models").to_pylist()
    assert (row["name"], row["n_train"] + row["n_validation"]) == ("template", 295)

    code, summary = run_job("estimate_photoz", "--lake", lake, "--table", "galaxies", "--model", "template")
    assert (code, summary["rows_out"]) == (0, N)
    found = run_query(Lake.open(str(lake)), "SELECT * FROM photoz ORDER BY object_id").to_pandas()
    assert found["z_phot"][:10].isna().all()
    assert (found["photoz_flags"][:10] & 32 > 0).all()
    error = ((found["z_phot"] - rows["z_true"]) / (1 + rows["z_true"]))[10:]
    # 0.03 mag over breaks of 0.6 and 1.3 mag
    assert 1.4826 * np.median(np.abs(error - np.median(error))) < 0.02
    assert np.mean(np.abs(error) > 0.15) < 0.05
    assert set(found["template"][10:]) == {"break_0", "break_1"}
