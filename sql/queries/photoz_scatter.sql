-- Purpose: quality of photometric redshifts against spectra: bias, scatter and outliers of dz / (1 + z_spec).
-- Grain: a method and a bin of z_spec, 0.1 wide.
-- Parameters: ${catalog} (ingested spectra, cross-matched with objects), ${z_column} (their redshift);
--   :max_sep_arcsec. sigma_nmad = 1.4826 median |dz - median dz| (Brammer et al. 2008, eq. 5); outliers
--   are beyond 0.15.
WITH nearest AS (
    SELECT
        left_id,
        right_id
    FROM crossmatches_objects_x_${catalog}
    WHERE
        rank = 1
        AND sep_arcsec <= :max_sep_arcsec
),

paired AS (
    SELECT
        p.method,
        floor(s.${z_column} / 1e-1) * 1e-1 AS z_low,
        (p.z_phot - s.${z_column}) / (1 + s.${z_column}) AS dz
    FROM nearest AS m
    INNER JOIN photoz AS p ON m.left_id = p.object_id
    INNER JOIN ${catalog} AS s ON m.right_id = s.source_id
    WHERE
        p.source_table = 'objects'
        AND p.z_phot IS NOT NULL
        AND s.${z_column} > -1
),

centres AS (
    SELECT
        method,
        z_low,
        approx_percentile(dz, 0.5) AS bias
    FROM paired
    GROUP BY method, z_low
)

SELECT
    c.method,
    c.z_low,
    count(*) AS n_galaxies,
    c.bias,
    1.4826 * approx_percentile(abs(p.dz - c.bias), 0.5) AS sigma_nmad,
    stddev(p.dz) AS scatter,
    avg(CASE WHEN abs(p.dz) > 0.15 THEN 1e0 ELSE 0e0 END) AS outlier_fraction
FROM centres AS c
INNER JOIN paired AS p ON c.method = p.method AND c.z_low = p.z_low
GROUP BY c.method, c.z_low, c.bias
ORDER BY c.method, c.z_low;
