"""The table of forced photometry."""

from __future__ import annotations

from astrolake.schema.model import HEALPIX, RUN_ID, Column, Table

FORCED = Table(
    name="forced",
    grain="a position measured on one image",
    key=("position_id", "image_id"),
    positional=True,
    doc="Fluxes at the positions of another table, on every science image there, detected or not: "
    "`forced_objects` for those of `objects`.",
    columns=(
        HEALPIX,
        Column(
            "position_id",
            "int64",
            "Key of the row that gave the position, in its own type",
            ucd="meta.id;meta.main",
            nullable=False,
        ),
        Column("ra", "float64", "Right ascension measured at, ICRS", "deg", "pos.eq.ra", nullable=False),
        Column("dec", "float64", "Declination measured at, ICRS", "deg", "pos.eq.dec", nullable=False),
        Column("image_id", "int64", "Image it was measured on", ucd="meta.id.parent", nullable=False),
        Column("survey", "string", "Survey of the image", ucd="meta.id", nullable=False),
        Column("band", "string", "Filter of the image", ucd="instr.bandpass", nullable=False),
        Column("visit", "string", "Visit of the image", ucd="obs.id"),
        Column("mjd", "float64", "Start of the exposure, MJD, in the image's time_scale", "d", "time.start"),
        Column("x", "float64", "Position along columns, first pixel centre at 0", "pix", "pos.cartesian.x"),
        Column("y", "float64", "Position along rows, first pixel centre at 0", "pix", "pos.cartesian.y"),
        Column("aper_radius_arcsec", "float64", "Radius of the aperture", "arcsec"),
        Column("fwhm_arcsec", "float64", "FWHM of the image as measured, null when unknown", "arcsec"),
        Column("flux", "float64", "Flux in the aperture, units of the image", ucd="phot.flux"),
        Column("flux_err", "float64", "Error of flux", ucd="stat.error;phot.flux"),
        Column("mag", "float64", "AB magnitude; null below 3 sigma", "mag", "phot.mag"),
        Column("mag_err", "float64", "Error of mag", "mag", "stat.error;phot.mag"),
        Column("mag_limit", "float64", "3 sigma upper limit where mag is null", "mag", "phot.mag"),
        Column("flags", "int32", "Bits as in docs/data-dictionary.md", ucd="meta.code"),
        RUN_ID,
    ),
)
