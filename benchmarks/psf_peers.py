"""PSF photometry with photutils, run by the Python that has it: psf_peers.py IN.npz OUT.npz."""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
from astropy.table import Table
from photutils.psf import MoffatPSF, PSFPhotometry, SourceGrouper


def main() -> None:
    """Fit Moffat profiles of known shape at given positions and save fluxes and CPU seconds."""
    given = np.load(sys.argv[1])
    fwhm, beta = float(given["fwhm"]), float(given["beta"])
    model = MoffatPSF(alpha=fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1)), beta=beta)
    start = Table({"x": given["x"], "y": given["y"], "flux": given["flux"]})
    side = 2 * round(1.75 * fwhm) + 1
    fitter = PSFPhotometry(model, (side, side), grouper=SourceGrouper(2 * fwhm), aperture_radius=2 * fwhm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clock = time.process_time()
        found = fitter(given["image"], error=given["error"], init_params=start)
        seconds = time.process_time() - clock
    columns = {name: np.asarray(found[f"{name}_fit"]) for name in ("x", "y", "flux")}
    np.savez(sys.argv[2], seconds=seconds, **columns)


if __name__ == "__main__":
    main()
