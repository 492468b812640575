-- Purpose: each row of a table with its nearest row of another within a radius (exact at the poles and RA 0).
-- Grain: a row of the left table that has a partner.
-- Parameters: ${left_table}, ${right_table} (positional tables), ${left_key}, ${right_key} (their keys);
--   :radius_arcsec (above 0). An equi-join on a grid of the unit vectors, 8 radii wide: neither the poles nor
--   right ascension 0 are special, and a left row near a border of the grid looks into each cell within its
--   radius. Equal separations go to the smaller key. For large tables run the job crossmatch_catalogs.
WITH grid AS (
    SELECT
        radians(:radius_arcsec / 3600) AS reach,
        8 * radians(:radius_arcsec / 3600) AS step
),

ours AS (
    SELECT
        l.${left_key} AS left_id,
        l.ra,
        l.dec,
        g.reach,
        g.step,
        cos(radians(l.dec)) * cos(radians(l.ra)) AS x,
        cos(radians(l.dec)) * sin(radians(l.ra)) AS y,
        sin(radians(l.dec)) AS z
    FROM ${left_table} AS l
    CROSS JOIN grid AS g
),

theirs AS (
    SELECT
        r.${right_key} AS right_id,
        r.ra,
        r.dec,
        cast(floor(cos(radians(r.dec)) * cos(radians(r.ra)) / g.step) AS bigint) AS i,
        cast(floor(cos(radians(r.dec)) * sin(radians(r.ra)) / g.step) AS bigint) AS j,
        cast(floor(sin(radians(r.dec)) / g.step) AS bigint) AS k
    FROM ${right_table} AS r
    CROSS JOIN grid AS g
),

sides AS (
    SELECT
        side_x,
        side_y,
        side_z
    FROM (
        VALUES (0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)
    ) AS corners (side_x, side_y, side_z)
),

-- A chord is shorter than its arc; the small surplus is for rounding.
looked_into AS (
    SELECT DISTINCT
        o.left_id,
        o.ra,
        o.dec,
        cast(floor((o.x + (2 * s.side_x - 1) * 1.000001 * o.reach) / o.step) AS bigint) AS i,
        cast(floor((o.y + (2 * s.side_y - 1) * 1.000001 * o.reach) / o.step) AS bigint) AS j,
        cast(floor((o.z + (2 * s.side_z - 1) * 1.000001 * o.reach) / o.step) AS bigint) AS k
    FROM ours AS o
    CROSS JOIN sides AS s
),

pairs AS (
    SELECT
        l.left_id,
        t.right_id,
        7200 * degrees(asin(least(1, sqrt(
            power(sin(radians(t.dec - l.dec) / 2), 2)
            + cos(radians(t.dec)) * cos(radians(l.dec)) * power(sin(radians(t.ra - l.ra) / 2), 2)
        )))) AS sep_arcsec
    FROM looked_into AS l
    INNER JOIN theirs AS t ON l.i = t.i AND l.j = t.j AND l.k = t.k
),

ranked AS (
    SELECT
        left_id,
        right_id,
        sep_arcsec,
        row_number() OVER (PARTITION BY left_id ORDER BY sep_arcsec, right_id) AS nearness
    FROM pairs
    WHERE sep_arcsec <= :radius_arcsec
)

SELECT
    left_id,
    right_id,
    sep_arcsec
FROM ranked
WHERE nearness = 1
ORDER BY left_id;
