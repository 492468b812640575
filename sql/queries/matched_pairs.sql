-- Purpose: objects beside their nearest counterpart in a catalog, with the offset between the two.
-- Grain: an object that has a counterpart; read from the cross-match, never joined by comparing ra and dec.
-- Parameters: ${catalog} (an ingested catalog); :max_sep_arcsec.
SELECT
    o.object_id,
    c.source_id,
    o.ra,
    o.dec,
    3600 * (mod(c.ra - o.ra + 540, 360) - 180) * cos(radians(o.dec)) AS dra_cosdec_arcsec,
    3600 * (c.dec - o.dec) AS ddec_arcsec,
    m.sep_arcsec
FROM crossmatches_objects_x_${catalog} AS m
INNER JOIN objects AS o ON m.left_id = o.object_id
INNER JOIN ${catalog} AS c ON m.right_id = c.source_id
WHERE
    m.rank = 1
    AND m.sep_arcsec <= :max_sep_arcsec
ORDER BY m.sep_arcsec, o.object_id;
