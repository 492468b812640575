-- Purpose: every source once for each visit and band, with its signal-to-noise ratio.
-- Grain: a source on one image, where that image owns its position (is_primary).
-- Parameters: none.
CREATE OR REPLACE VIEW primary_detections AS
SELECT
    detection_id,
    image_id,
    survey,
    band,
    visit,
    mjd,
    ra,
    dec,
    ra_err,
    dec_err,
    flux_auto,
    flux_auto_err,
    flux_auto / nullif(flux_auto_err, 0) AS snr,
    mag_auto,
    mag_auto_err,
    fwhm,
    a,
    b,
    theta,
    flags,
    _healpix_29
FROM detections
WHERE is_primary;
