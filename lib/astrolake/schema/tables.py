"""The registry: every table astrolake writes, declared once."""

from __future__ import annotations

from astrolake.schema.forced import FORCED
from astrolake.schema.model import DEC, HEALPIX, RA, RUN_ID, Column, Table
from astrolake.schema.objects import OBJECTS
from astrolake.schema.photoz import MODELS, PHOTOZ
from astrolake.schema.quality import IMAGE_QUALITY

IMAGES = Table(
    name="images",
    grain="an image HDU",
    key=("image_id",),
    doc="Every 2-D image found in the ingested files, with its astrometry, calibration and sky coverage.",
    columns=(
        Column("image_id", "int64", "63-bit hash of uri and hdu", ucd="meta.id;meta.main", nullable=False),
        Column(
            "survey",
            "string",
            "Survey, as given or recognised from the header",
            ucd="meta.id",
            nullable=False,
        ),
        Column("band", "string", "Filter name, empty when unknown", ucd="instr.bandpass", nullable=False),
        Column("image_type", "string", "science, weight, mask, difference, psf or other", nullable=False),
        Column(
            "visit", "string", "Images of one visit tile the sky once: run, exposure or night", ucd="obs.id"
        ),
        Column("mjd", "float64", "Start of the exposure, MJD, in `time_scale`", "d", "time.start"),
        Column("time_scale", "string", "UTC or TAI, as the header says", ucd="time.scale"),
        Column("uri", "string", "Where the file lies", ucd="meta.ref.uri", nullable=False),
        Column("hdu", "int32", "Index of the HDU in the file, 0 is the primary", nullable=False),
        Column("extname", "string", "EXTNAME of the HDU"),
        Column("naxis1", "int32", "Number of columns", "pix", nullable=False),
        Column("naxis2", "int32", "Number of rows", "pix", nullable=False),
        Column("pixel_scale_arcsec", "float64", "Square root of the pixel area", "arcsec/pix", "instr.pixel"),
        Column("exptime_s", "float64", "Exposure time", "s", "time.duration;obs.exposure"),
        Column("gain", "float64", "Electrons per image unit, null when unknown", "electron/(image unit)"),
        Column(
            "zero_point_ab", "float64", "m_AB = zero_point_ab - 2.5 log10(flux), null when unknown", "mag"
        ),
        Column("flux_unit", "string", "Unit of the pixel values (BUNIT or the survey's)"),
        Column("saturation", "float64", "Pixel value from which on pixels are saturated, null when unknown"),
        Column(
            "psf_fwhm_arcsec", "float64", "FWHM of the PSF by the header, null when it says none", "arcsec"
        ),
        Column("wcs_kind", "string", "TAN, TAN-SIP, TPV, GLON-CAR, ..., or none", nullable=False),
        Column("wcs_problem", "string", "Why wcs_kind is none, null when it is not"),
        Column("wcs_roundtrip_px", "float64", "Largest pixel -> sky -> pixel error on a 5 x 5 grid", "pix"),
        Column(
            "wcs_rms_arcsec", "float64", "Astrometric scatter by the header, null when it says none", "arcsec"
        ),
        Column("wcs_header", "string", "The WCS cards of the header, newline separated"),
        Column("ra", "float64", "Right ascension of the image centre, ICRS", "deg", "pos.eq.ra"),
        Column("dec", "float64", "Declination of the image centre, ICRS", "deg", "pos.eq.dec"),
        Column(
            "corners_ra", "list<float64>", "Right ascension of the four corners, from pixel (1, 1) on", "deg"
        ),
        Column("corners_dec", "list<float64>", "Declination of the four corners", "deg"),
        Column("coverage_order", "int32", "HEALPix order of `coverage`"),
        Column("coverage", "list<int64>", "HEALPix cells (NESTED) that the image touches", ucd="pos.healpix"),
        Column("weight_uri", "string", "File of the weight image, null when there is none"),
        Column("weight_hdu", "int32", "HDU of the weight image"),
        Column(
            "weight_kind", "string", "invvar (inverse variance), variance or sigma, in image units; or null"
        ),
        Column("mask_uri", "string", "File of the mask image (non-zero pixels are bad)"),
        Column("mask_hdu", "int32", "HDU of the mask image"),
        Column("bad_fraction", "float64", "Fraction of pixels that are NaN or infinite"),
        Column("file_bytes", "int64", "Size of the file", "byte", nullable=False),
        Column("checksum", "string", "SHA-256 of the file's bytes", nullable=False),
        RUN_ID,
    ),
)

_DETECTION_MEASURES = (
    Column(
        "x", "float64", "Windowed centroid along columns, first pixel centre at 0", "pix", "pos.cartesian.x"
    ),
    Column("y", "float64", "Windowed centroid along rows, first pixel centre at 0", "pix", "pos.cartesian.y"),
    Column("flux_auto", "float64", "Kron flux in units of the image", ucd="phot.flux"),
    Column("flux_auto_err", "float64", "Error of flux_auto: sky noise and, with a gain, photon noise"),
    Column(
        "mag_auto",
        "float64",
        "Kron magnitude, AB; null without zero point or positive flux",
        "mag",
        "phot.mag",
    ),
    Column("mag_auto_err", "float64", "Error of mag_auto", "mag", "stat.error;phot.mag"),
    Column("flux_iso", "float64", "Isophotal flux in units of the image", ucd="phot.flux"),
    Column("flux_iso_err", "float64", "Error of flux_iso"),
    Column("aper_radius_arcsec", "list<float64>", "Radii of the circular apertures", "arcsec"),
    Column(
        "flux_aper", "list<float64>", "Fluxes in the circular apertures, units of the image", ucd="phot.flux"
    ),
    Column("flux_aper_err", "list<float64>", "Errors of flux_aper"),
    Column("mag_aper", "list<float64>", "AB magnitudes in the circular apertures", "mag", "phot.mag"),
    Column("mag_aper_err", "list<float64>", "Errors of mag_aper", "mag", "stat.error;phot.mag"),
    Column("flux_petro", "float64", "Petrosian flux (SDSS) in units of the image", ucd="phot.flux"),
    Column("flux_petro_err", "float64", "Error of flux_petro"),
    Column("mag_petro", "float64", "Petrosian magnitude, AB", "mag", "phot.mag"),
    Column("mag_petro_err", "float64", "Error of mag_petro", "mag", "stat.error;phot.mag"),
    Column("petro_radius", "float64", "Radius at which the Petrosian ratio is 0.2", "pix", "phys.angSize"),
    Column("petro_r50", "float64", "Radius that holds half of flux_petro", "pix", "phys.angSize"),
    Column(
        "petro_r90",
        "float64",
        "Radius that holds 90 % of flux_petro; concentration = petro_r90 / petro_r50",
        "pix",
        "phys.angSize",
    ),
    Column("flux_radius_20", "float64", "Radius that holds 20 % of flux_auto", "pix", "phys.angSize"),
    Column(
        "aper_correction",
        "list<float64>",
        "To add to mag_aper for the total magnitude of a point source, from the growth curve of stars",
        "mag",
    ),
    Column("aper_correction_err", "list<float64>", "Errors of aper_correction, null without stars", "mag"),
    Column(
        "flux_psf",
        "float64",
        "Total flux of the PSF fitted to the source, on the scale of a large aperture",
        ucd="phot.flux",
    ),
    Column("flux_psf_err", "float64", "Error of flux_psf, neighbours left free; not that of the scale"),
    Column("mag_psf", "float64", "PSF magnitude, AB", "mag", "phot.mag"),
    Column("mag_psf_err", "float64", "Error of mag_psf", "mag", "stat.error;phot.mag"),
    Column("x_psf", "float64", "Position of the fitted PSF along columns", "pix", "pos.cartesian.x"),
    Column("y_psf", "float64", "Position of the fitted PSF along rows", "pix", "pos.cartesian.y"),
    Column("x_psf_err", "float64", "Error of x_psf", "pix", "stat.error;pos.cartesian.x"),
    Column("y_psf_err", "float64", "Error of y_psf", "pix", "stat.error;pos.cartesian.y"),
    Column("psf_chi2", "float64", "Reduced chi-square of the PSF fit", ucd="stat.fit.chi2"),
    Column(
        "psf_sharpness",
        "float64",
        "Second moment in excess of the PSF's, over the PSF's: 0 for a star, negative for a cosmic ray",
        ucd="src.morph",
    ),
    Column("flux_radius", "float64", "Radius that holds half of flux_auto", "pix", "phys.angSize"),
    Column("flux_radius_80", "float64", "Radius that holds 80 % of flux_auto", "pix", "phys.angSize"),
    Column("kron_radius", "float64", "Kron radius in units of a and b", ucd="phys.angSize"),
    Column("a", "float64", "Semi-major axis (rms)", "pix", "phys.angSize.smajAxis"),
    Column("b", "float64", "Semi-minor axis (rms)", "pix", "phys.angSize.sminAxis"),
    Column("theta", "float64", "Position angle of a, from x towards y", "deg", "pos.posAng"),
    Column("fwhm", "float64", "FWHM of a Gaussian of the same second moments", "pix", "phys.angSize"),
    Column("peak", "float64", "Highest pixel above the background, units of the image"),
    Column("background", "float64", "Background at the centroid, units of the image", ucd="instr.skyLevel"),
    Column("background_rms", "float64", "Noise of one pixel at the centroid, units of the image"),
    Column("n_pixels", "int32", "Pixels above the threshold", "pix"),
    Column(
        "extension",
        "float64",
        "Magnitude within 0.6 FWHM less that within 1.5 FWHM, less the same of the image's stars",
        "mag",
    ),
    Column("extension_err", "float64", "Error of extension", "mag", "stat.error"),
    Column(
        "star_prob",
        "float64",
        "Probability of a star; null without zero point, pixel scale, or five stars on the image",
        ucd="src.class.starGalaxy",
    ),
    Column("flags", "int32", "Bits as in docs/data-dictionary.md (SExtractor's, then ours)", ucd="meta.code"),
)
_DETECTION_ORIGIN = (
    Column("image_id", "int64", "Image it was found on", ucd="meta.id.parent", nullable=False),
    Column("number", "int32", "Running number on its image, from 0", nullable=False),
    Column("survey", "string", "Survey of the image", ucd="meta.id", nullable=False),
    Column("band", "string", "Filter of the image", ucd="instr.bandpass", nullable=False),
    Column("visit", "string", "Visit of the image", ucd="obs.id"),
    Column("mjd", "float64", "Start of the exposure, MJD, in the image's time_scale", "d", "time.start"),
)
_DETECTION_ID = Column(
    "detection_id", "string", "<image_id>-<number>", ucd="meta.id;meta.main", nullable=False
)

DETECTIONS = Table(
    name="detections",
    grain="a source on one image",
    key=("detection_id",),
    positional=True,
    doc="What source extraction found on every science image with a usable WCS.",
    columns=(
        HEALPIX,
        _DETECTION_ID,
        RA,
        DEC,
        Column("ra_err", "float64", "Error of ra times cos(dec)", "arcsec", "stat.error;pos.eq.ra"),
        Column("dec_err", "float64", "Error of dec", "arcsec", "stat.error;pos.eq.dec"),
        *_DETECTION_ORIGIN,
        Column(
            "is_primary",
            "bool",
            "Whether its image owns this position among the images of its visit and band",
        ),
        Column("edge_distance_px", "float64", "Distance of the centroid to the nearest image edge", "pix"),
        *_DETECTION_MEASURES,
        RUN_ID,
    ),
)

PIXEL_DETECTIONS = Table(
    name="pixel_detections",
    grain="a source on one image that has no usable WCS",
    key=("detection_id",),
    doc="Sources of images without astrometry: pixel coordinates only, never part of a sky table.",
    columns=(_DETECTION_ID, *_DETECTION_ORIGIN, *_DETECTION_MEASURES, RUN_ID),
)

CATALOG = Table(
    name="<catalog>",
    grain="a catalog row",
    key=("source_id",),
    positional=True,
    doc="Any ingested catalog: these columns, then all columns of the input as they were.",
    columns=(
        HEALPIX,
        Column(
            "source_id",
            "int64",
            "Identifier (string when the input's is one)",
            ucd="meta.id;meta.main",
            nullable=False,
        ),
        RA,
        DEC,
        RUN_ID,
    ),
)

CROSSMATCH = Table(
    name="crossmatches/<left>_x_<right>",
    grain="a match",
    key=("left_id", "right_id"),
    positional=True,
    doc="Pairs within the radius; in mode anti the left rows that have none (right_id null).",
    columns=(
        HEALPIX,
        Column(
            "left_id",
            "int64",
            "Key of the left row, in its own type",
            ucd="meta.id;meta.main",
            nullable=False,
        ),
        Column(
            "right_id",
            "int64",
            "Key of the right row, in its own type; null in mode anti",
            ucd="meta.id.assoc",
        ),
        RA,
        DEC,
        Column(
            "sep_arcsec",
            "float64",
            "Angular separation at the epoch of the match",
            "arcsec",
            "pos.angDistance",
        ),
        Column("rank", "int32", "1 for the nearest right row of this left row, then 2, ..."),
        RUN_ID,
    ),
)

RUNS = Table(
    name="runs",
    grain="a run of a job",
    key=("run_id",),
    doc="Provenance: one row for each run; one that has no end was killed or is under way.",
    columns=(
        RUN_ID,
        Column("job", "string", "Name of the job", nullable=False),
        Column("status", "string", "running, done or failed", nullable=False),
        Column("code_version", "string", "Version of astrolake", nullable=False),
        Column("arguments", "string", "Arguments as a JSON object"),
        Column("inputs", "string", "Tables read and their versions, as a JSON object"),
        Column("outputs", "string", "Tables written and their versions, as a JSON object"),
        Column("rows_written", "string", "Rows written to each table, as a JSON object"),
        Column("rows_in", "int64", "Input units read: files, images or rows, by job"),
        Column("rows_out", "int64", "Input units that went into the output"),
        Column("rows_rejected", "int64", "Input units recorded in `rejects`"),
        Column("started_at", "timestamp", "Start, UTC", ucd="time.start"),
        Column("ended_at", "timestamp", "End, UTC", ucd="time.end"),
        Column("message", "string", "The error, when the run failed"),
    ),
)

REJECTS = Table(
    name="rejects",
    grain="an input that could not be used",
    key=("run_id", "source"),
    doc="Nothing is lost: every rejected file, HDU, image or row with its reason.",
    columns=(
        RUN_ID,
        Column("job", "string", "Job that rejected it", nullable=False),
        Column("source", "string", "URI, URI#hdu, or table and row key", ucd="meta.ref", nullable=False),
        Column("error_type", "string", "Kind of error", nullable=False),
        Column("message", "string", "What is wrong and what to do", nullable=False),
        Column("payload", "string", "The rejected row as JSON, where small"),
    ),
)

REGISTRY: dict[str, Table] = {
    table.name: table
    for table in (
        IMAGES,
        DETECTIONS,
        PIXEL_DETECTIONS,
        IMAGE_QUALITY,
        OBJECTS,
        FORCED,
        CATALOG,
        CROSSMATCH,
        PHOTOZ,
        MODELS,
        RUNS,
        REJECTS,
    )
}
