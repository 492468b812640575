-- Purpose: the brightest objects in r.
-- Grain: an object. Needs a lake with band r.
-- Parameters: :n_rows.
SELECT
    object_id,
    ra,
    dec,
    mag_auto_r,
    mag_auto_err_r,
    n_det,
    flags
FROM objects
WHERE mag_auto_r IS NOT NULL
ORDER BY mag_auto_r, object_id
LIMIT :n_rows;
