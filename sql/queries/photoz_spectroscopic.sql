-- Purpose: photometric beside spectroscopic redshifts of the same objects.
-- Grain: an object with an estimate and a spectrum; paired by the cross-match, which measures on the sphere:
--   the square of differences of ra and dec is no separation, and compares every row with every row.
-- Parameters: ${catalog} (ingested spectra, cross-matched with objects), ${z_column} (their redshift);
--   :method (of `photoz`); :z_min, :z_max (of the estimate); :max_sep_arcsec.
WITH estimates AS (
    SELECT
        object_id,
        ra,
        dec,
        z_phot,
        z_phot_err
    FROM photoz
    WHERE
        source_table = 'objects'
        AND method = :method
        AND z_phot BETWEEN :z_min AND :z_max
),

nearest AS (
    SELECT
        left_id,
        right_id,
        sep_arcsec
    FROM crossmatches_objects_x_${catalog}
    WHERE
        rank = 1
        AND sep_arcsec <= :max_sep_arcsec
)

SELECT
    e.object_id,
    e.ra,
    e.dec,
    e.z_phot,
    e.z_phot_err,
    s.${z_column} AS z_spec,
    abs(e.z_phot - s.${z_column}) AS z_error,
    (e.z_phot - s.${z_column}) / (1 + s.${z_column}) AS dz_norm,
    n.sep_arcsec
FROM nearest AS n
INNER JOIN estimates AS e ON n.left_id = e.object_id
INNER JOIN ${catalog} AS s ON n.right_id = s.source_id
ORDER BY e.object_id;
