-- Follows the chain from the gaps that end on a day. The instant at which a gap ends must be a result or lie in another gap.
-- The bounds are constants to the planner, so that only the partition of the day is read and locked.
-- Parameters: $1 begin, $2 end (not included)
-- Rows returned: as in verify_rows, but with one row of counts for all places
WITH ended AS MATERIALIZED (
    SELECT site_id, location_id, from_at, to_at
    FROM webmon.gaps
    -- The first condition is for the index.
    WHERE tstzrange(from_at, coalesce(to_at, from_at), '[]') && tstzrange($1, $2)
      AND to_at >= $1
      AND to_at < $2
), missing AS (
    SELECT e.*
    FROM ended e
    WHERE NOT EXISTS (
              SELECT
              FROM webmon.check_results r
              WHERE r.scheduled_at >= $1
                AND r.scheduled_at < $2
                AND r.site_id = e.site_id
                AND r.location_id = e.location_id
                AND r.scheduled_at = e.to_at)
      AND NOT EXISTS (
              SELECT
              FROM webmon.gaps o
              WHERE o.site_id = e.site_id
                AND o.location_id = e.location_id
                AND (e.to_at = o.from_at OR (e.to_at > o.from_at AND e.to_at < o.to_at)))
)
SELECT NULL::integer AS site_id,
       NULL::integer AS location_id,
       NULL AS site,
       NULL AS location,
       NULL::timestamptz AS announced_at,
       NULL::timestamptz AS due_at,
       count(*) AS rows,
       count(*) AS links
FROM ended
UNION ALL
SELECT site_id, location_id, s.key, l.name, m.from_at, m.to_at, 0, 0
FROM missing m
JOIN webmon.sites s USING (site_id)
JOIN webmon.locations l USING (location_id)
ORDER BY site NULLS FIRST, location, due_at
