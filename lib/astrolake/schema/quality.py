"""The table of what images are worth."""

from __future__ import annotations

from astrolake.schema.model import RUN_ID, Column, Table

IMAGE_QUALITY = Table(
    name="image_quality",
    grain="an image whose sources were extracted",
    key=("image_id",),
    doc="What the extraction found out about every science image as a whole.",
    columns=(
        Column("image_id", "int64", "The image", ucd="meta.id;meta.main", nullable=False),
        Column("checksum", "string", "SHA-256 of the file that was extracted", nullable=False),
        Column("survey", "string", "Survey of the image", ucd="meta.id", nullable=False),
        Column("band", "string", "Filter of the image", ucd="instr.bandpass", nullable=False),
        Column("visit", "string", "Visit of the image", ucd="obs.id"),
        Column("mjd", "float64", "Start of the exposure, MJD, in the image's time_scale", "d", "time.start"),
        Column("ra", "float64", "Right ascension of the image centre, ICRS", "deg", "pos.eq.ra"),
        Column("dec", "float64", "Declination of the image centre, ICRS", "deg", "pos.eq.dec"),
        Column("n_sources", "int32", "Sources found", ucd="meta.number"),
        Column("n_stars", "int32", "Stars that tell fwhm_arcsec and the locus of `extension`"),
        Column(
            "fwhm_arcsec", "float64", "FWHM of the mean profile of the stars", "arcsec", "instr.obsty.seeing"
        ),
        Column("background", "float64", "Median of the background map, units of the image"),
        Column("background_rms", "float64", "Median of its noise of one pixel, units of the image"),
        Column("bad_fraction", "float64", "Fraction of pixels that were not used"),
        Column("zero_point_ab", "float64", "Zero point that the magnitudes have", "mag"),
        Column("zero_point_err", "float64", "Its standard error, null when it is the header's", "mag"),
        Column("zero_point_source", "string", "header or reference; null without zero point"),
        Column("zero_point_header", "float64", "Zero point by the header", "mag"),
        Column("zero_point_scatter", "float64", "Robust scatter of the stars about the fit", "mag"),
        Column("zero_point_n", "int32", "Stars of the fit"),
        Column("zero_point_n_rejected", "int32", "Stars left out as outliers"),
        Column("colour_term", "float64", "Reference - image, per magnitude of the reference's colour"),
        Column("colour_term_err", "float64", "Error of colour_term", ucd="stat.error"),
        Column("colour_pivot", "float64", "Colour for which zero_point_ab holds", "mag", "phot.color"),
        Column("ra_offset_arcsec", "float64", "Image - reference, times cos(dec), by the WCS", "arcsec"),
        Column("dec_offset_arcsec", "float64", "Image - reference, by the WCS", "arcsec"),
        Column(
            "ra_shift_arcsec",
            "float64",
            "Taken away from the positions of detections, as ra_offset",
            "arcsec",
        ),
        Column("dec_shift_arcsec", "float64", "Taken away from the positions of detections", "arcsec"),
        Column("wcs_rms_arcsec", "float64", "Robust scatter about the offset, both axes together", "arcsec"),
        Column("wcs_n", "int32", "Stars of the offset"),
        Column("depth_5sigma", "float64", "Point source of 5 times its error, median noise", "mag"),
        Column("depth_5sigma_best", "float64", "The same where the noise is the lowest 10 %", "mag"),
        Column("depth_5sigma_worst", "float64", "The same where the noise is the highest 10 %", "mag"),
        Column("completeness_mag", "list<float64>", "Magnitudes of the stars that were injected", "mag"),
        Column("completeness", "list<float64>", "Fraction of them that was found"),
        Column("completeness_50", "float64", "Magnitude at which half of the stars are found", "mag"),
        Column("completeness_90", "float64", "Magnitude at which nine of ten are found", "mag"),
        RUN_ID,
    ),
)
