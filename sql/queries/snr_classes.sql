-- Purpose: sources by class of signal-to-noise ratio.
-- Grain: a class; sources without a flux error are in none.
-- Parameters: none.
WITH classified AS (
    SELECT
        CASE
            WHEN flux_auto / flux_auto_err > 50 THEN 'very high'
            WHEN flux_auto / flux_auto_err > 20 THEN 'high'
            WHEN flux_auto / flux_auto_err > 5 THEN 'medium'
            ELSE 'low'
        END AS snr_class,
        flux_auto / flux_auto_err AS snr
    FROM detections
    WHERE
        is_primary
        AND flux_auto_err > 0
)

SELECT
    snr_class,
    count(*) AS n_sources,
    min(snr) AS min_snr,
    max(snr) AS max_snr
FROM classified
GROUP BY snr_class
ORDER BY min_snr DESC;
