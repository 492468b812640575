-- Purpose: what extraction found on each image: number of sources, seeing, noise, fraction of clean sources.
-- Grain: an image with sources on it.
-- Parameters: :survey.
SELECT
    i.image_id,
    i.band,
    i.mjd,
    count(*) AS n_sources,
    approx_percentile(d.fwhm, 0.5) * max(i.pixel_scale_arcsec) AS median_fwhm_arcsec,
    approx_percentile(d.background_rms, 0.5) AS median_background_rms,
    avg(CASE WHEN d.flags = 0 THEN 1e0 ELSE 0e0 END) AS clean_fraction,
    i.uri
FROM images AS i
INNER JOIN detections AS d ON i.image_id = d.image_id
WHERE i.survey = :survey
GROUP BY i.image_id, i.band, i.mjd, i.uri
ORDER BY i.mjd, i.image_id;
