-- Purpose: how many sources are brighter than a flux, their mean flux and best signal-to-noise ratio.
-- Grain: a survey and band.
-- Parameters: :min_flux (units of the image).
SELECT
    survey,
    band,
    count(*) AS n_sources,
    avg(flux_auto) AS mean_flux,
    max(flux_auto / nullif(flux_auto_err, 0)) AS max_snr
FROM detections
WHERE
    is_primary
    AND flux_auto > :min_flux
GROUP BY survey, band
ORDER BY survey, band;
