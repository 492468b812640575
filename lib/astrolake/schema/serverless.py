"""The table of sources that the serverless tier writes: hive-partitioned Parquet, one file for an image."""

from __future__ import annotations

from astrolake.schema.model import DEC, HEALPIX, RA, RUN_ID, Column, Table

SOURCES = Table(
    name="sources",
    grain="a source on one uploaded image",
    key=("source_id",),
    doc="What the function for uploaded images finds; plain Parquet below survey=<survey>/band=<band>.",
    hive_partitions=(
        Column("survey", "string", "Survey of the image, `unknown` when not recognised", ucd="meta.id"),
        Column("band", "string", "Filter of the image, `unknown` when not known", ucd="instr.bandpass"),
    ),
    columns=(
        HEALPIX,
        Column("source_id", "string", "<image_id>-<number>", ucd="meta.id;meta.main", nullable=False),
        RA,
        DEC,
        Column("flux", "float64", "Kron flux; null without zero point", "uJy", "phot.flux.density"),
        Column("flux_err", "float64", "Error of flux", "uJy", "stat.error;phot.flux.density"),
        Column("snr", "float64", "Kron flux over its error", ucd="stat.snr;phot.flux"),
        Column("mag_auto", "float64", "Kron magnitude, AB", "mag", "phot.mag"),
        Column("mag_auto_err", "float64", "Error of mag_auto", "mag", "stat.error;phot.mag"),
        Column("a_arcsec", "float64", "Semi-major axis (rms)", "arcsec", "phys.angSize.smajAxis"),
        Column("b_arcsec", "float64", "Semi-minor axis (rms)", "arcsec", "phys.angSize.sminAxis"),
        Column("theta", "float64", "Position angle of a on the image, from x towards y", "deg", "pos.posAng"),
        Column("fwhm_arcsec", "float64", "FWHM of a Gaussian of the same second moments", "arcsec"),
        Column("flux_radius_arcsec", "float64", "Radius that holds half of the flux", "arcsec"),
        Column("star_prob", "float64", "Probability of a star, null where unknown"),
        Column("flags", "int32", "Bits as in docs/data-dictionary.md", ucd="meta.code"),
        Column("x", "float64", "Windowed centroid along columns, first pixel centre at 0", "pix"),
        Column("y", "float64", "Windowed centroid along rows, first pixel centre at 0", "pix"),
        Column("mjd", "float64", "Start of the exposure, MJD, as in the header", "d", "time.start"),
        Column("image_id", "int64", "63-bit hash of uri and hdu", ucd="meta.id.parent", nullable=False),
        Column("uri", "string", "Where the image lies", ucd="meta.ref.uri", nullable=False),
        Column("hdu", "int32", "Index of the HDU in the file, 0 is the primary", nullable=False),
        RUN_ID,
    ),
)
