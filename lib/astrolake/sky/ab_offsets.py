"""Magnitudes on the AB system from those on Vega's, by filter."""

from __future__ import annotations

#: 2MASS: Blanton & Roweis 2007, AJ 133, 734, section 2.1.
_TWOMASS = {"J": 0.91, "H": 1.39, "Ks": 1.85}
#: Jarrett et al. 2011, ApJ 735, 112, table 3.
_WISE = {"W1": 2.699, "W2": 3.339, "W3": 5.174, "W4": 6.620}
#: Differences of the zero points in AB and Vega, which are known to 0.002 to 0.004 mag: Riello et al. 2021,
#: A&A 649, A3, and https://www.cosmos.esa.int/web/gaia/edr3-passbands, to four digits.
_GAIA_DR3 = {"G": 25.8010 - 25.6874, "BP": 25.3540 - 25.3385, "RP": 25.1040 - 24.7479}
#: The same for the magnitudes that DR2 published (not for its revised passbands): Evans et al. 2018, A&A 616,
#: A4, and https://www.cosmos.esa.int/web/gaia/iow_20180316.
_GAIA_DR2 = {"G": 25.7934 - 25.6884, "BP": 25.3806 - 25.3514, "RP": 25.1161 - 24.7619}

#: m_AB - m_Vega in magnitudes, by system and filter.
AB_MINUS_VEGA: dict[str, dict[str, float]] = {
    "twomass": _TWOMASS,
    "wise": _WISE,
    "gaia_dr3": _GAIA_DR3,
    "gaia_dr2": _GAIA_DR2,
}
