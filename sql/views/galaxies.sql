-- Purpose: galaxies with magnitudes, colours and photometric redshifts under the names that analysts use.
-- Grain: an object and a photo-z method. Needs a lake with bands g, r and i and with photo-z of objects.
-- clean_flag: nothing saturated, cut off or incomplete on its images, and a photo-z without any flag.
-- Parameters: none.
CREATE OR REPLACE VIEW galaxies AS
SELECT
    o.object_id,
    o.ra,
    o.dec,
    p.method,
    p.z_phot,
    p.z_phot_err,
    p.odds,
    o.mag_auto_g AS g_mag,
    o.mag_auto_r AS r_mag,
    o.mag_auto_i AS i_mag,
    o.mag_aper_g - o.mag_aper_r AS g_r_color,
    o.mag_aper_r - o.mag_aper_i AS r_i_color,
    o.type,
    o.star_prob,
    bitwise_and(o.flags, 28) = 0 AND p.photoz_flags = 0 AS clean_flag,
    o._healpix_29
FROM objects AS o
INNER JOIN photoz AS p ON o.object_id = p.object_id
WHERE p.source_table = 'objects';
