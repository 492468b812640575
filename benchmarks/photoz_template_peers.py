"""The template codes LePhare and eazy-py on the SEDs and filters of pz-rail-base.

Neither package carries the data its code reads. What is missing is written to a folder beside the results:
filters and SEDs from pz-rail-base, the absorption by the intergalactic medium (Inoue et al. 2014) and the
spectrum of Vega from eazy-py, extinction laws from their papers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from photoz_peer_tools import BANDS, GRID, Z_STEP, Sample, cpu, estimation_data, keep, median, peer_name

#: Test galaxies that the slow ones are run on, spread over the sample.
SLOW_ROWS = 2000
DUSTY_ROWS = 5000


def cosmos_seds() -> list[Path]:
    data = estimation_data()
    return [data / "SED" / line.split()[0] for line in (data / "SED" / "COSMOS_seds.list").open()]


def filter_curve(band: str) -> np.ndarray:
    """Return wavelengths and transmission where there is any, at every 20 Angstroms."""
    curve = np.loadtxt(estimation_data() / "FILTER" / f"DC2LSST_{band}.res")
    open_at = np.flatnonzero(curve[:, 1] > 1e-4 * curve[:, 1].max())
    return curve[max(open_at[0] - 20, 0) : open_at[-1] + 21 : 20]


def fluxes(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return fluxes and errors in microjansky; a band not detected is zero with its limit as error."""
    lost = sample["mag"] > 90
    flux = np.where(lost, 0.0, 10 ** (-0.4 * (sample["mag"] - 23.9)))
    limit = 10 ** (-0.4 * (sample["err"] - 23.9))
    error = np.where(lost, limit, np.log(10) / 2.5 * flux * np.minimum(sample["err"], 3.0))
    return flux, error


def spread(n: int, wanted: int) -> np.ndarray:
    """Return up to `wanted` rows of `n` at even distances: the sample is sorted in parts."""
    return np.unique(np.linspace(0, n - 1, min(n, wanted)).astype(int))


def on_grid(z: np.ndarray, pdf: np.ndarray) -> np.ndarray:
    inside = np.stack([np.interp(GRID, z, row, 0, 0) for row in pdf])
    return inside / np.maximum(inside.sum(axis=1, keepdims=True) * Z_STEP, 1e-30)


# LePhare -----------------------------------------------------------------------------------------------

#: E(B-V) and laws of the COSMOS set-up (Ilbert et al. 2009): for each law the first and last SED it is for.
REDDENING = {
    "EB_V": "0.,0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4,0.5",
    "EXTINC_LAW": "SMC_prevot.dat,SB_calzetti.dat,SB_calzetti_bump1.dat,SB_calzetti_bump2.dat",
    "MOD_EXTINC": "18,26,26,33,26,33,26,33",
}
NO_REDDENING = {"EB_V": "0.", "EXTINC_LAW": "SB_calzetti.dat", "MOD_EXTINC": "0,0"}


def lephare(*, dust: bool, prior: bool, adapt: bool, **settings: str) -> Callable:
    """Return a run of LePhare.

    With `adapt`, zero points are learned from the training galaxies; with `prior`, templates are weighed by
    the redshifts that VVDS found for their i magnitude and type (NZ_PRIOR).
    """

    def run(train: Sample, test: Sample, folder: Path) -> dict[str, float]:
        work = folder / peer_name()
        lephare_data(work / "data")
        os.environ |= {"LEPHAREDIR": str(work / "data"), "LEPHAREWORK": str(work / "work")}
        with prints_to(work / "log"):
            import lephare as lp

            start = cpu()
            config = lp.default_cosmos_config | lephare_settings(work) | settings
            config |= REDDENING if dust else NO_REDDENING
            config["NZ_PRIOR"] = "4" if prior else "-1"
            config["AUTO_ADAPT"] = "YES" if adapt else "NO"
            lp.prepare(config, star_config=None, gal_config={}, qso_config=None)
            photoz = lp.PhotoZ(lp.all_types_to_keymap(config))
            adapted = [s for s in sources(lp, photoz, train) if photoz.belong_autoadapt(s)] if adapt else []
            offsets = photoz.compute_offsets(adapted)
            trained = cpu()
            rows = spread(len(test["z"]), DUSTY_ROWS if dust else len(test["z"]))
            fitted = sources(lp, photoz, {key: values[rows] for key, values in test.items()})
            photoz.run_photoz(fitted, offsets)
            end = cpu()
        # BAY_ZG: the likelihood summed over templates.
        density = [source.pdfmap[11] for source in fitted]
        pdf = on_grid(np.asarray(density[0].xaxis), np.array([part.vPDF for part in density]))
        keep(folder, pdf, median(pdf), rows)
        shutil.rmtree(work / "work")
        return {"train": trained - start, "estimate": end - trained, "offsets": list(offsets)}

    return run


def sources(lp: object, photoz: object, sample: Sample) -> list:
    flux, error = (1e-29 * part for part in fluxes(sample))
    found = []
    for k, z in enumerate(sample["z"]):
        source = lp.onesource(k, photoz.gridz)
        source.readsource(str(k), flux[k], error[k], 2 ** len(BANDS) - 1, z, " ")
        photoz.prep_data(source)
        found.append(source)
    return found


def lephare_settings(work: Path) -> dict[str, str]:
    return {
        "FILTER_REP": str(work / "data" / "filt"),
        "FILTER_LIST": ",".join(f"{band}.pb" for band in BANDS),
        "FILTER_CALIB": "0",
        "FILTER_FILE": "filters",
        "GAL_SED": str(work / "data" / "sed" / "GAL" / "seds.list"),
        "GAL_LIB": "GAL",
        "GAL_LIB_IN": "GAL",
        "GAL_LIB_OUT": "GAL_MAG",
        "ZPHOTLIB": "GAL_MAG",
        "Z_STEP": f"{Z_STEP},{GRID[0]},{GRID[-1]}",
        "INP_TYPE": "F",
        "ERR_SCALE": "0.02",
        "ERR_FACTOR": "1.0",
        "EM_LINES": "NO",
        "GLB_CONTEXT": "-1",
        "MABS_CONTEXT": "-1",
        "MABS_METHOD": "3",
        "MABS_REF": "1",
        "RF_COLORS": "-1",
        "PDZ_OUT": "NONE",
        "ADAPT_BAND": "4",
        "ADAPT_LIM": "15,25",
        "ADAPT_ZBIN": "0.01,3",
    }


def lephare_data(root: Path) -> None:
    """Write the files that LePhare reads by name; those for stars and far infrared are not needed."""
    from astropy.table import Table
    from eazy import __file__ as eazy_file
    from eazy.igm import Inoue14

    for name in ("filt", "opa", "vega", "ext", "sed/GAL"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for band in BANDS:
        np.savetxt(root / "filt" / f"{band}.pb", filter_curve(band), fmt="%.6f")
    for path in cosmos_seds():
        shutil.copy(path, root / "sed" / "GAL" / path.name)
    (root / "sed" / "GAL" / "seds.list").write_text("".join(f"{path.name}\n" for path in cosmos_seds()))
    # mag_gal opens the list of far-infrared spectra even where none are added.
    (root / "sed" / "GAL" / "BETHERMIN12").mkdir(exist_ok=True)
    (root / "sed" / "GAL" / "BETHERMIN12" / "BETHERMIN12_MOD.list").write_text(
        f"{cosmos_seds()[0].name} - 0\n"
    )
    wave = np.arange(200.0, 1215.0, 3.0)
    with (root / "opa" / "OPACITY.dat").open("w") as listed:
        for k in range(81):
            through = Inoue14().full_IGM(k / 10, wave * (1 + k / 10))
            np.savetxt(root / "opa" / f"igm{k}.dat", np.column_stack([wave, through]), fmt="%.5e")
            listed.write(f"{k / 10:.1f} igm{k}.dat\n")
    star = Table.read(Path(eazy_file).parent / "data" / "alpha_lyr_stis_008.fits")
    spectrum = np.column_stack([star["WAVELENGTH"], star["FLUX"]])
    # Vega, and what stands for the other two standards, are for magnitudes that are not AB: not used here.
    for name in ("VegaLCB", "BD+17o4708", "SunLCB"):
        np.savetxt(root / "vega" / f"{name}.sed", spectrum, fmt="%.6e")
    wave = np.arange(600.0, 30000.0, 10.0)
    curves = {"SMC_prevot": prevot(wave), "SB_calzetti": calzetti(wave), "MW_seaton": calzetti(wave)}
    curves |= {f"SB_calzetti_bump{k}": calzetti(wave) + 0.75 * k * bump(wave) for k in (1, 2)}
    for name, curve in curves.items():
        np.savetxt(root / "ext" / f"{name}.dat", np.column_stack([wave, curve]), fmt="%.5f")


def calzetti(wave: np.ndarray) -> np.ndarray:
    """Return A/E(B-V) of Calzetti et al. (2000), prolonged by its slope at 1200 A and down to 0."""
    inverse = 1e4 / np.maximum(wave, 1200.0)
    blue = 2.659 * (-2.156 + 1.509 * inverse - 0.198 * inverse**2 + 0.011 * inverse**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 * inverse) + 4.05
    law = np.where(wave < 6300.0, blue, red)
    slope = (law[np.searchsorted(wave, 1210.0)] - law[np.searchsorted(wave, 1200.0)]) / 10.0
    return np.maximum(law + slope * np.minimum(wave - 1200.0, 0.0), 0.0)


def bump(wave: np.ndarray) -> np.ndarray:
    """Return the feature at 2175 A with a peak of 1 (a Drude profile 350 A wide: Noll et al. 2009)."""
    width = (350.0 * wave) ** 2
    return width / ((wave**2 - 2175.0**2) ** 2 + width)


def prevot(wave: np.ndarray) -> np.ndarray:
    """Return A/E(B-V) of the SMC: Prevot et al. (1984), infrared of Bouchet et al. (1985), R = 2.72."""
    at = [1275, 1330, 1385, 1435, 1490, 1545, 1595, 1647, 1700, 1755, 1810, 1860, 1910, 2000, 2115, 2220]
    at += [2335, 2445, 2550, 2665, 2778, 2890, 2995, 3105, 3704, 4255, 5291, 12500, 16500, 22000]
    law = [13.54, 12.52, 11.51, 10.80, 9.84, 9.28, 9.06, 8.49, 8.01, 7.71, 7.17, 6.90, 6.76, 6.38, 5.85, 5.30]
    law += [4.53, 4.24, 3.91, 3.49, 3.15, 3.00, 2.65, 2.29, 1.81, 1.00, 0.00, -2.02, -2.36, -2.47]
    slope = (law[0] - law[1]) / (at[0] - at[1])
    return np.interp(wave, at, law) + slope * np.minimum(wave - at[0], 0.0) + 2.72


@contextlib.contextmanager
def prints_to(path: Path) -> Iterator[None]:
    """Send what C++ prints to a file: stdout is for the answer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out = os.dup(1)
    with path.open("w") as log:
        os.dup2(log.fileno(), 1)
        try:
            yield
        finally:
            ctypes.CDLL(None).fflush(None)
            os.dup2(out, 1)
            os.close(out)


# eazy-py -----------------------------------------------------------------------------------------------


def eazy(*, calibrate: bool, **settings: object) -> Callable:
    """Return a run of eazy-py; with `calibrate`, zero points are learned from the training galaxies."""

    def run(train: Sample, test: Sample, folder: Path) -> dict[str, float]:
        import eazy.photoz

        work = folder / peer_name()
        work.mkdir(exist_ok=True)
        rows = spread(len(test["z"]), SLOW_ROWS)
        learn = spread(len(train["z"]), SLOW_ROWS)
        params = _eazy_files(
            work, {key: np.concatenate([train[key][learn], test[key][rows]]) for key in ("mag", "err", "z")}
        )
        params |= settings
        os.chdir(work)
        start = cpu()
        photoz = eazy.photoz.PhotoZ(
            param_file=None,
            translate_file="translate",
            zeropoint_file=None,
            params=params,
            load_prior=False,
            load_products=False,
            n_proc=-1,
        )
        if calibrate:
            _eazy_zero_points(photoz, np.arange(len(learn)))
        ready = cpu()
        wanted = np.arange(len(learn), len(learn) + len(rows))
        photoz.fit_catalog(idx=wanted, n_proc=0, prior=False, get_best_fit=False)
        end = cpu()
        density = on_grid(photoz.zgrid, np.exp(photoz.lnp[wanted]))
        keep(folder, density, median(density), rows)
        return {"train": ready - start, "estimate": end - ready, "offsets": photoz.zp.tolist()}

    return run


def _eazy_zero_points(photoz: object, learn: np.ndarray) -> None:
    """Scale each band to the best model at the spectroscopic redshift, the i band held fixed."""
    grid = photoz.zgrid
    nearest = np.abs(grid[:, None] - photoz.ZSPEC[learn]).argmin(axis=0)
    for _ in range(3):
        model = np.full((len(learn), len(BANDS)), np.nan)
        flux = photoz.fnu[learn] * photoz.zp
        error = photoz.efnu[learn] * photoz.zp
        for k in np.unique(nearest):
            at = np.flatnonzero(nearest == k)
            model[at] = _eazy_models(photoz, grid[k], flux[at], error[at])
        seen = flux > 5 * error
        ratio = [np.median((model / flux)[seen[:, k], k]) for k in range(len(BANDS))]
        photoz.zp = photoz.zp * np.array(ratio) / ratio[3]


def _eazy_models(photoz: object, z: float, flux: np.ndarray, error: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    templates = photoz.tempfilt(z)
    total = np.hypot(error, photoz.TEF(z) * np.maximum(flux, 0.0))
    fits = [nnls((templates / err).T, row / err)[0] for row, err in zip(flux, total, strict=True)]
    return np.array(fits) @ templates


def _eazy_files(work: Path, sample: Sample) -> dict[str, object]:
    from astropy.table import Table

    _eazy_filters(work)
    # Ilbert's ellipticals to starbursts, every third: eazy combines them linearly.
    _eazy_templates(work, cosmos_seds()[::3])
    flux, error = fluxes(sample)
    table = {"id": np.arange(len(flux)), "z_spec": sample["z"]}
    for k, band in enumerate(BANDS):
        table |= {f"f_{band}": flux[:, k], f"e_{band}": error[:, k]}
    Table(table).write(work / "catalog.fits", overwrite=True)
    lines = [f"f_{band} F{k}\ne_{band} E{k}" for k, band in enumerate(BANDS, 1)]
    (work / "translate").write_text("\n".join(lines) + "\n")
    return {
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


def _eazy_filters(work: Path) -> None:
    with (work / "FILTER.RES").open("w") as out:
        for band in BANDS:
            curve = filter_curve(band)
            centre = np.average(curve[:, 0], weights=curve[:, 1])
            out.write(f"{len(curve)} lsst_{band} lambda_c= {centre:.4e}\n")
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
