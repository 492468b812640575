"""Rows of surveys for tests: of files, as they are read, and a few that archives published."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from astrolake.data_access.catalog_files import (
    ReadOptions,
    file_schema,
    list_inputs,
    merge_schemas,
    read_batches,
)
from astrolake.data_access.surveys.file_vocabulary import FileVocabulary

#: Two rows of gaiadr3.gaia_source, an answer of the Gaia archive that astroquery keeps among its tests
#: (astroquery/gaia/tests/data/1710099405832VAL-result.vot), names in its case.
GAIA_DR3 = {
    "SOURCE_ID": pa.array([4583627001381815936, 5348723816842275584]),
    "ref_epoch": pa.array([2016.0, 2016.0]),
    "ra": pa.array([268.0676646661466, 171.55081173633306]),
    "ra_error": pa.array([0.020685712, 0.027162714], pa.float32()),
    "dec": pa.array([26.50748605871529, -51.3606309660715]),
    "dec_error": pa.array([0.026818542, 0.029566439], pa.float32()),
    "parallax": pa.array([2.3034086430210925, 1.0704678100897584]),
    "pmra": pa.array([-8.5440331309214, -12.518990461622858]),
    "pmdec": pa.array([-27.67299135507808, 2.7709983154619877]),
    "ruwe": pa.array([1.0828559, 1.03767], pa.float32()),
    "duplicated_source": pa.array([False, False]),
    "phot_g_mean_flux_over_error": pa.array([584.28723, 227.41293], pa.float32()),
    "phot_g_mean_mag": pa.array([7.0120187, 7.0179033], pa.float32()),
    "phot_bp_mean_mag": pa.array([9.272621, 9.790323], pa.float32()),
    "phot_rp_mean_mag": pa.array([5.6080775, 5.5675364], pa.float32()),
    "phot_variable_flag": pa.array(["VARIABLE", "NOT_AVAILABLE"]),
}
#: The nucleus of M31 in the point source catalog of 2MASS, an answer of IRSA that astroquery keeps among its
#: tests (astroquery/ipac/irsa/tests/data/Cone.xml).
TWOMASS = {
    "ra": pa.array([10.684737]),
    "dec": pa.array([41.269035]),
    "designation": pa.array(["00424433+4116085"]),
    "j_m": pa.array([9.453]),
    "j_msigcom": pa.array([0.052]),
    "h_m": pa.array([8.668]),
    "h_msigcom": pa.array([0.051]),
    "k_m": pa.array([8.475]),
    "k_msigcom": pa.array([0.051]),
    "ph_qual": pa.array(["EEE"]),
    "cc_flg": pa.array(["000"]),
    "gal_contam": pa.array([2]),
}


def read_rows(path: Path) -> pa.Table:
    """Return all rows of a catalog file in its own columns."""
    [file] = list_inputs([str(path)])
    schema = merge_schemas([(file.uri, file_schema(file, ReadOptions()))])
    return pa.Table.from_batches([batch.records for batch in read_batches(file, schema, ReadOptions())])


def translated(table, rows: pa.Table, cuts: tuple[str, ...] = ()) -> pa.Table:
    """Return the rows of a file in the vocabulary of the lake."""
    vocabulary = FileVocabulary.of_schema(table, rows.schema, cuts)
    [batch] = rows.combine_chunks().to_batches()
    found, _ = vocabulary.translated(batch)
    return pa.Table.from_batches([found])
