-- Purpose: depth of each band: the median magnitude of sources detected at 5 sigma.
-- Grain: a survey and band; null where no source lies between 4.5 and 5.5 sigma.
-- Parameters: none.
SELECT
    survey,
    band,
    count(*) AS n_sources,
    count_if(flux_auto / flux_auto_err BETWEEN 4.5 AND 5.5) AS n_at_5_sigma,
    approx_percentile(
        CASE WHEN flux_auto / flux_auto_err BETWEEN 4.5 AND 5.5 THEN mag_auto END, 0.5
    ) AS depth_ab_mag
FROM detections
WHERE
    is_primary
    AND flux_auto_err > 0
    AND mag_auto IS NOT NULL
GROUP BY survey, band
ORDER BY survey, band;
