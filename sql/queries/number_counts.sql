-- Purpose: number counts of a band in bins of 0.5 mag, with Poisson errors and the cumulative count.
-- Grain: a bin [mag_low, mag_low + 0.5) that holds sources.
-- Parameters: :band.
WITH placed AS (
    SELECT floor(mag_auto * 2) / 2 AS mag_low
    FROM detections
    WHERE
        is_primary
        AND band = :band
        AND mag_auto IS NOT NULL
),

binned AS (
    SELECT
        mag_low,
        count(*) AS n_sources
    FROM placed
    GROUP BY mag_low
)

SELECT
    mag_low,
    n_sources,
    sqrt(n_sources) AS n_sources_err,
    sum(n_sources) OVER (ORDER BY mag_low) AS n_up_to_bin
FROM binned
ORDER BY mag_low;
