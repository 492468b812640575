-- Purpose: the brightest sources of a band, with their signal-to-noise ratio.
-- Grain: a source on one image, once for each visit.
-- Parameters: :band; :min_flux (units of the image); :n_rows.
SELECT
    detection_id,
    ra,
    dec,
    flux_auto,
    flux_auto / nullif(flux_auto_err, 0) AS snr,
    mag_auto,
    flags
FROM detections
WHERE
    is_primary
    AND band = :band
    AND flux_auto > :min_flux
ORDER BY flux_auto DESC
LIMIT :n_rows;
