-- Purpose: aperture colours g - r and r - i of objects with their errors.
-- Grain: an object measured in g, r and i. Needs a lake with these bands.
-- Parameters: none.
CREATE OR REPLACE VIEW object_colours AS
SELECT
    object_id,
    ra,
    dec,
    mag_auto_r,
    mag_aper_g - mag_aper_r AS g_r,
    sqrt(power(mag_aper_err_g, 2) + power(mag_aper_err_r, 2)) AS g_r_err,
    mag_aper_r - mag_aper_i AS r_i,
    sqrt(power(mag_aper_err_r, 2) + power(mag_aper_err_i, 2)) AS r_i_err,
    flags,
    _healpix_29
FROM objects
WHERE
    mag_aper_g IS NOT NULL
    AND mag_aper_r IS NOT NULL
    AND mag_aper_i IS NOT NULL;
