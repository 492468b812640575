"""Magnitudes on the AB system from those on Vega's, by filter."""

from __future__ import annotations

#: 2MASS: Blanton & Roweis 2007, AJ 133, 734, section 2.1.
_TWOMASS = {"J": 0.91, "H": 1.39, "Ks": 1.85}
#: Jarrett et al. 2011, ApJ 735, 112, table 3.
_WISE = {"W1": 2.699, "W2": 3.339, "W3": 5.174, "W4": 6.620}
#: Differences of the zero points G0 in AB and Vega: Riello et al. 2021, A&A 649, A3, and table 5.4 of section
#: 5.4.1 of the documentation of Gaia EDR3 and DR3.
_GAIA_DR3 = {"G": 25.8010 - 25.6874, "BP": 25.3540 - 25.3385, "RP": 25.1040 - 24.7479}
#: The same of Gaia DR2, revised passbands: Evans et al. 2018, A&A 616, A4, table 4, as section 5.3.7 of the
#: documentation of Gaia DR2 gives them.
_GAIA_DR2 = {"G": 25.7934 - 25.6884, "BP": 25.3806 - 25.3514, "RP": 25.1161 - 24.7619}

#: m_AB - m_Vega in magnitudes, by system and filter.
AB_MINUS_VEGA: dict[str, dict[str, float]] = {
    "twomass": _TWOMASS,
    "wise": _WISE,
    "gaia_dr3": _GAIA_DR3,
    "gaia_dr2": _GAIA_DR2,
}
