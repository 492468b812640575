-- Purpose: size and tightness of a cross-match: counts, shared partners, percentiles of the separation.
-- Grain: one row for the cross-match; rows without partner (mode anti) are not counted.
-- Parameters: ${left}, ${right} (the two tables of the cross-match).
WITH summary AS (
    SELECT
        count(*) AS n_matches,
        count(DISTINCT left_id) AS n_left,
        count(DISTINCT right_id) AS n_right,
        approx_percentile(sep_arcsec, ARRAY[0.5, 0.68, 0.95, 0.99]) AS percentiles,
        max(sep_arcsec) AS max_sep_arcsec
    FROM crossmatches_${left}_x_${right}
    WHERE right_id IS NOT NULL
)

SELECT
    n_matches,
    n_left,
    n_right,
    n_matches - n_right AS n_shared_right,
    percentiles[1] AS median_sep_arcsec,
    percentiles[2] AS p68_sep_arcsec,
    percentiles[3] AS p95_sep_arcsec,
    percentiles[4] AS p99_sep_arcsec,
    max_sep_arcsec
FROM summary;
