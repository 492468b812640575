-- Purpose: all rows of a table within a radius of a position, nearest first.
-- Grain: a row of the table, with its separation.
-- Parameters: ${table} (any positional table); :ra, :dec (deg, ICRS); :radius_arcsec;
--   :low_1, :high_1 to :low_4, :high_4 (ranges of _healpix_29 that cover the cone, from cone_ranges).
--   One branch for each range, because engines leave files out by a single range, not by an OR of them.
WITH near AS (
    SELECT * FROM ${table}
    WHERE _healpix_29 BETWEEN :low_1 AND :high_1
    UNION ALL
    SELECT * FROM ${table}
    WHERE _healpix_29 BETWEEN :low_2 AND :high_2
    UNION ALL
    SELECT * FROM ${table}
    WHERE _healpix_29 BETWEEN :low_3 AND :high_3
    UNION ALL
    SELECT * FROM ${table}
    WHERE _healpix_29 BETWEEN :low_4 AND :high_4
),

measured AS (
    SELECT
        near.*,
        7200 * degrees(asin(least(1, sqrt(
            power(sin(radians(near.dec - :dec) / 2), 2)
            + cos(radians(near.dec)) * cos(radians(:dec)) * power(sin(radians(near.ra - :ra) / 2), 2)
        )))) AS sep_arcsec
    FROM near
)

SELECT * -- noqa: AM04
FROM measured
WHERE sep_arcsec <= :radius_arcsec
ORDER BY sep_arcsec;
