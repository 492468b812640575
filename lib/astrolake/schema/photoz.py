"""The tables of photometric redshifts and of the models that made them."""

from __future__ import annotations

from astrolake.schema.model import HEALPIX, RUN_ID, Column, Table

_Z = "src.redshift.phot"

PHOTOZ = Table(
    name="photoz",
    grain="an estimate of the redshift of a table's object by one method",
    key=("object_id", "source_table", "method"),
    positional=True,
    doc="Photometric redshifts. An object without usable photometry has a row, too: null redshifts, and a "
    "flag. PDFs are densities per unit redshift from z_min of the model (`models`) on, in steps of pdf_step.",
    columns=(
        HEALPIX,
        Column(
            "object_id",
            "int64",
            "Key of the input row, in its own type",
            ucd="meta.id;meta.main",
            nullable=False,
        ),
        Column("ra", "float64", "Right ascension of the object, ICRS", "deg", "pos.eq.ra", nullable=False),
        Column("dec", "float64", "Declination of the object, ICRS", "deg", "pos.eq.dec", nullable=False),
        Column(
            "method", "string", "Name of the estimate: that of the model, or --method-name", nullable=False
        ),
        Column("source_table", "string", "Table that has the object", ucd="meta.table", nullable=False),
        Column("z_phot", "float32", "The estimate: median of the PDF unless asked otherwise", ucd=_Z),
        Column("z_phot_err", "float32", "Half of the central 68 % interval", ucd=f"stat.error;{_Z}"),
        Column("z_mode", "float32", "Redshift of the PDF's peak", ucd=_Z),
        Column("z_mean", "float32", "Mean of the PDF", ucd=_Z),
        Column("z_median", "float32", "Median of the PDF", ucd=_Z),
        Column("z_lo68", "float32", "16th percentile of the PDF", ucd=f"stat.min;{_Z}"),
        Column("z_hi68", "float32", "84th percentile of the PDF", ucd=f"stat.max;{_Z}"),
        Column("z_lo95", "float32", "2.5th percentile of the PDF", ucd=f"stat.min;{_Z}"),
        Column("z_hi95", "float32", "97.5th percentile of the PDF", ucd=f"stat.max;{_Z}"),
        Column(
            "odds",
            "float32",
            "Probability within 0.06 (1 + z_phot) of z_phot (Benitez 2000)",
            ucd="stat.probability",
        ),
        Column(
            "chi2", "float32", "Chi-square of the best template, null by learned models", ucd="stat.fit.chi2"
        ),
        Column("n_bands", "int32", "Bands with a usable flux", ucd="meta.number"),
        Column("template", "string", "The best template, null by learned models", ucd="meta.id"),
        Column(
            "support_distance",
            "float32",
            "Distance to the training set; 1 in 100 of its like is beyond 1 (flagged); null without",
        ),
        Column("photoz_flags", "int32", "Bits as in docs/data-dictionary.md", ucd="meta.code.qual"),
        Column("pdf", "list<float32>", "Density per unit redshift from z_min on, null when not asked for"),
        Column("pdf_step", "float32", "Step in redshift of pdf, null without one"),
        Column("model_version", "string", "model_id in `models`", ucd="meta.id.parent"),
        RUN_ID,
    ),
)

MODELS = Table(
    name="models",
    grain="a trained model",
    key=("model_id",),
    doc="What train_photoz made. The model itself is one file at `uri`; a name means its newest model.",
    columns=(
        Column("model_id", "string", "The model", ucd="meta.id;meta.main", nullable=False),
        Column("name", "string", "What it is called by", ucd="meta.id", nullable=False),
        Column(
            "method",
            "string",
            "template, random_forest, gbt, xgboost, neural_network or combined",
            nullable=False,
        ),
        Column("uri", "string", "Its file", ucd="meta.ref.uri", nullable=False),
        Column("sha256", "string", "SHA-256 of the file's bytes", nullable=False),
        Column("features", "string", "Columns it reads and what it makes of them, as a JSON object"),
        Column(
            "params", "string", "Parameters of the training and of the match of the tables, as a JSON object"
        ),
        Column("metrics", "string", "Quality on the validation rows, as a JSON object"),
        Column("training_table", "string", "Table of the photometry", ucd="meta.table"),
        Column("training_version", "int64", "Its version", ucd="meta.version"),
        Column("spec_table", "string", "Table of the spectroscopic redshifts", ucd="meta.table"),
        Column("spec_version", "int64", "Its version", ucd="meta.version"),
        Column(
            "n_train",
            "int64",
            "Galaxies it was trained on (its members, if combined), those of n_validation not among them",
            ucd="meta.number",
        ),
        Column(
            "n_validation",
            "int64",
            "Galaxies held back from training, which tell metrics; of trees the calibration, of combinations "
            "the weights too",
            ucd="meta.number",
        ),
        Column("z_min", "float64", "First redshift of the grid", ucd="src.redshift"),
        Column("z_max", "float64", "Last redshift of the grid", ucd="src.redshift"),
        Column("z_step", "float64", "Step of the grid"),
        Column("created", "timestamp", "When it was made, UTC", ucd="time.creation"),
        RUN_ID,
    ),
)
