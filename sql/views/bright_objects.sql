-- Purpose: objects brighter than 18 mag in r with a measurement that is not saturated.
-- Grain: an object. Needs a lake with band r.
-- Parameters: none.
CREATE OR REPLACE VIEW bright_objects AS
SELECT
    object_id,
    ra,
    dec,
    mag_auto_r,
    mag_auto_err_r,
    n_r,
    flags,
    _healpix_29
FROM objects
WHERE
    mag_auto_r < 18
    AND bitwise_and(flags, 4) = 0;
