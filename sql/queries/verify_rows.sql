-- Follows the chain from the results of some days: each announces the next instant, which must be a result or lie in a
-- gap. Where neither is there and nothing later is, the chain ends.
-- Parameters: $1 begin, $2 end (not included)
-- Rows returned: one a missing instant: site, location, the instant that announced it, the instant itself, and whether
--                anything later is there; and before these one of nulls with the counts of rows and of links
WITH announced AS MATERIALIZED (
    SELECT site_id,
           location_id,
           scheduled_at AS announced_at,
           scheduled_at + next_after_s * interval '1 second' AS due_at
    FROM webmon.check_results
    WHERE scheduled_at >= $1
      AND scheduled_at < $2
), not_near AS MATERIALIZED (
    -- Nearly all are found among the rows of this day and the next: one pass over these.
    SELECT a.*
    FROM announced a
    WHERE a.due_at IS NOT NULL
      AND NOT EXISTS (
          SELECT
          FROM webmon.check_results r
          WHERE r.scheduled_at >= $1
            AND r.scheduled_at < $2::timestamptz + interval '1 day'
            AND r.site_id = a.site_id
            AND r.location_id = a.location_id
            AND r.scheduled_at = a.due_at)
), missing AS (
    SELECT n.*
    FROM not_near n
    WHERE NOT EXISTS (
              SELECT
              FROM webmon.check_results r
              WHERE r.site_id = n.site_id
                AND r.location_id = n.location_id
                AND r.scheduled_at = n.due_at)
      AND NOT EXISTS (
              SELECT
              FROM webmon.gaps g
              WHERE g.site_id = n.site_id
                AND g.location_id = n.location_id
                AND (n.due_at = g.from_at OR (n.due_at > g.from_at AND n.due_at < g.to_at)))
)
SELECT NULL AS site,
       NULL AS location,
       NULL::timestamptz AS announced_at,
       NULL::timestamptz AS due_at,
       NULL::boolean AS broken,
       count(*) AS rows,
       count(due_at) AS links
FROM announced
UNION ALL
SELECT s.key,
       l.name,
       m.announced_at,
       m.due_at,
       EXISTS (
           SELECT
           FROM webmon.check_results r
           WHERE r.site_id = m.site_id
             AND r.location_id = m.location_id
             AND r.scheduled_at > m.due_at)
       OR EXISTS (
           SELECT
           FROM webmon.gaps g
           WHERE g.site_id = m.site_id
             AND g.location_id = m.location_id
             AND g.from_at > m.due_at),
       0,
       0
FROM missing m
JOIN webmon.sites s USING (site_id)
JOIN webmon.locations l USING (location_id)
