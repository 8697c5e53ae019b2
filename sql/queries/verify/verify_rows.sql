-- Follows the chain from the results of a day. Each announces the next instant, which must be a result or lie in a gap. The
-- bounds are constants to the planner, so that only the partitions of two days are read and locked.
-- Parameters: $1 begin, $2 end (not included), $3 end of the next day
-- Rows returned: first one for each place (site and location), with its newest instant and the counts of its rows and links;
--                the names are null. Then one for each missing instant: the place, its names, the instant that announced it,
--                and the instant itself. An instant at or after $3 is missing only if no later day has it.
WITH announced AS MATERIALIZED (
    SELECT site_id,
           location_id,
           scheduled_at AS announced_at,
           scheduled_at + next_after_s * interval '1 second' AS due_at
    FROM webmon.check_results
    WHERE scheduled_at >= $1
      AND scheduled_at < $2
), not_near AS MATERIALIZED (
    -- Nearly all are found in one pass over the rows of this day and the next.
    SELECT a.*
    FROM announced a
    WHERE a.due_at IS NOT NULL
      AND NOT EXISTS (
          SELECT
          FROM webmon.check_results r
          WHERE r.scheduled_at >= $1
            AND r.scheduled_at < $3
            AND r.site_id = a.site_id
            AND r.location_id = a.location_id
            AND r.scheduled_at = a.due_at)
), missing AS (
    SELECT n.*
    FROM not_near n
    WHERE NOT EXISTS (
        SELECT
        FROM webmon.gaps g
        WHERE g.site_id = n.site_id
          AND g.location_id = n.location_id
          AND (n.due_at = g.from_at OR (n.due_at > g.from_at AND n.due_at < g.to_at)))
)
SELECT site_id,
       location_id,
       NULL AS site,
       NULL AS location,
       max(announced_at) AS announced_at,
       NULL::timestamptz AS due_at,
       count(*) AS rows,
       count(due_at) AS links
FROM announced
GROUP BY site_id, location_id
UNION ALL
SELECT site_id, location_id, s.key, l.name, m.announced_at, m.due_at, 0, 0
FROM missing m
JOIN webmon.sites s USING (site_id)
JOIN webmon.locations l USING (location_id)
ORDER BY site NULLS FIRST, location, due_at
