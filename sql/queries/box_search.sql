-- Purpose: all rows of a table between two right ascensions (eastward from the first) and two declinations.
-- Grain: a row of the table.
-- Parameters: ${table} (any positional table); :ra_min, :ra_max, :dec_min, :dec_max (deg, ICRS; a box over
--   right ascension 0 has ra_min above ra_max); :low_1, :high_1 to :low_4, :high_4 (ranges of _healpix_29 to
--   cover the box, from box_ranges). One branch for each range, as in cone_search.
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
)

SELECT * -- noqa: AM04
FROM near
WHERE
    dec BETWEEN :dec_min AND :dec_max
    AND (
        (:ra_min <= :ra_max AND ra BETWEEN :ra_min AND :ra_max)
        OR (:ra_min > :ra_max AND (ra >= :ra_min OR ra <= :ra_max))
    );
