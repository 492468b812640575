-- Purpose: sources of the serverless tier for a dashboard such as QuickSight: flat, typed, with plain names.
-- Grain: a source on one uploaded image.
-- Parameters: none.
CREATE OR REPLACE VIEW sources_dashboard AS
SELECT
    source_id,
    survey,
    band,
    ra AS right_ascension_deg,
    dec AS declination_deg,
    flux AS flux_microjansky,
    flux_err AS flux_error_microjansky,
    snr AS signal_to_noise,
    CASE
        WHEN snr > 50 THEN 'very high'
        WHEN snr > 20 THEN 'high'
        WHEN snr > 5 THEN 'medium'
        WHEN snr IS NULL THEN 'unknown'
        ELSE 'low'
    END AS signal_to_noise_class,
    mag_auto AS magnitude_ab,
    mag_auto_err AS magnitude_error,
    fwhm_arcsec,
    1 - b_arcsec / nullif(a_arcsec, 0) AS ellipticity,
    star_prob AS star_probability,
    CASE
        WHEN star_prob >= 0.5 THEN 'star'
        WHEN star_prob < 0.5 THEN 'galaxy'
        ELSE 'unknown'
    END AS object_type,
    flags = 0 AS is_clean,
    date_add(
        'second', cast(round((mjd - 40587) * 86400) AS bigint), TIMESTAMP '1970-01-01 00:00:00'
    ) AS observed_at_utc,
    uri AS image_uri
FROM sources;
