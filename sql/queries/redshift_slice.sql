-- Purpose: galaxies in a slice of photometric redshift, brighter than a limit, clean, by redshift.
-- Grain: an object. Needs a lake with bands g and r and with photo-z of objects.
-- Parameters: :method (of `photoz`); :z_min, :z_max; :max_mag_r (faint limit, AB).
WITH estimates AS (
    SELECT
        object_id,
        z_phot,
        z_phot_err
    FROM photoz
    WHERE
        source_table = 'objects'
        AND method = :method
        AND z_phot BETWEEN :z_min AND :z_max
        AND photoz_flags = 0
),

galaxies AS (
    SELECT
        object_id,
        ra,
        dec,
        mag_auto_r AS r_mag,
        mag_aper_g - mag_aper_r AS g_r_color
    FROM objects
    WHERE
        mag_auto_r < :max_mag_r
        AND type = 'GALAXY'
        -- Saturated, cut off, incomplete.
        AND bitwise_and(flags, 28) = 0
)

SELECT
    g.object_id,
    g.ra,
    g.dec,
    e.z_phot,
    e.z_phot_err,
    g.r_mag,
    g.g_r_color
FROM estimates AS e
INNER JOIN galaxies AS g ON e.object_id = g.object_id
ORDER BY e.z_phot, g.object_id;
