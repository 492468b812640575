"""The table of objects, and the columns it has for each band."""

from __future__ import annotations

import re

from astrolake.schema.model import DEC, HEALPIX, RA, RUN_ID, Column, Table

OBJECTS = Table(
    name="objects",
    grain="an object merged over bands and epochs",
    key=("object_id",),
    positional=True,
    doc="Detections within the match radius of each other; per-band columns follow for every band present.",
    columns=(
        HEALPIX,
        Column(
            "object_id", "int64", "_healpix_29 of the seed detection", ucd="meta.id;meta.main", nullable=False
        ),
        RA,
        DEC,
        Column("ra_err", "float64", "Error of ra times cos(dec)", "arcsec", "stat.error;pos.eq.ra"),
        Column("dec_err", "float64", "Error of dec", "arcsec", "stat.error;pos.eq.dec"),
        Column(
            "n_det", "int32", "Detections merged, duplicates on overlapping images included", nullable=False
        ),
        Column(
            "n_used", "int32", "Detections that enter the means: one for each band and visit", nullable=False
        ),
        Column("first_mjd", "float64", "Earliest epoch", "d", "time.start"),
        Column("last_mjd", "float64", "Latest epoch", "d", "time.end"),
        Column("scatter_arcsec", "float64", "Root mean square distance of the detections used", "arcsec"),
        Column("flags", "int32", "Bitwise or of the flags of the detections used", ucd="meta.code"),
        Column(
            "star_prob",
            "float64",
            "Mean star_prob of the detections used, weighted by the inverse variance of mag_auto",
            ucd="src.class.starGalaxy",
        ),
        Column(
            "type", "string", "STAR from star_prob 0.5 on, GALAXY below, null where unknown", ucd="src.class"
        ),
        RUN_ID,
    ),
)


def band_suffix(band: str) -> str:
    """Return what a band's columns end in: lower case letters, digits and _.

    Column names know no case: a capital that is another filter than the small letter (Johnson
    and Cousins U, R, I; Gaia G; Y) ends in ``_cap``.
    """
    if band in _CAPITALS:
        return f"{band.lower()}_cap"
    return re.sub(r"[^a-z0-9]+", "_", band.lower()).strip("_")


_CAPITALS = tuple("UGRIZY")


def band_columns(band: str) -> tuple[Column, ...]:
    """Return the columns that `objects` has for one band (suffix: the band in lower case)."""
    b = band_suffix(band)
    return (
        Column(f"mag_auto_{b}", "float64", f"Mean Kron magnitude in {band}, AB", "mag", "phot.mag"),
        Column(f"mag_auto_err_{b}", "float64", f"Error of mag_auto_{b}", "mag", "stat.error;phot.mag"),
        Column(
            f"mag_aper_{b}",
            "float64",
            f"Mean magnitude in {band}, second circular aperture, AB",
            "mag",
            "phot.mag",
        ),
        Column(f"mag_aper_err_{b}", "float64", f"Error of mag_aper_{b}", "mag", "stat.error;phot.mag"),
        Column(
            f"chi2_{b}", "float64", f"Reduced chi-square of a constant mag_aper in {band} over the visits"
        ),
        Column(f"n_{b}", "int32", f"Visits in {band} that enter the means"),
    )


#: Column of `objects` when they are dereddened.
EBV = Column("ebv", "float64", "Reddening E(B-V) on the scale of Schlegel, Finkbeiner & Davis (1998)", "mag")


def dereddened_columns(band: str) -> tuple[Column, ...]:
    """Return the columns that `objects` has for one band when E(B-V) is known."""
    b = band_suffix(band)
    what = "without Galactic extinction"
    return (
        Column(f"mag_auto_dered_{b}", "float64", f"mag_auto_{b} {what}", "mag", "phot.mag"),
        Column(f"mag_aper_dered_{b}", "float64", f"mag_aper_{b} {what}", "mag", "phot.mag"),
    )


def colour_column(blue: str, red: str) -> Column:
    """Return the colour column of two bands, from the aperture magnitudes."""
    b, r = band_suffix(blue), band_suffix(red)
    return Column(f"{b}_{r}", "float64", f"Colour mag_aper_{b} - mag_aper_{r}", "mag", "phot.color")
