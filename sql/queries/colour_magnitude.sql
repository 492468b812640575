-- Purpose: points of the colour-magnitude diagram g - r against r.
-- Grain: an object with both colours well measured. Needs a lake with bands g and r.
-- Parameters: :max_mag_r (faint limit, AB); :max_colour_err (mag).
SELECT
    object_id,
    mag_auto_r,
    mag_aper_g - mag_aper_r AS g_r,
    sqrt(power(mag_aper_err_g, 2) + power(mag_aper_err_r, 2)) AS g_r_err
FROM objects
WHERE
    mag_auto_r <= :max_mag_r
    AND mag_aper_g IS NOT NULL
    AND mag_aper_r IS NOT NULL
    AND power(mag_aper_err_g, 2) + power(mag_aper_err_r, 2) <= power(:max_colour_err, 2)
ORDER BY mag_auto_r, object_id;
