-- Finds which of some identities, all of one UTC day, are stored already.
-- Do not prepare it: planned with its values, it reads and locks one partition; planned without, it locks all of them.
-- Parameters: $1 site ids, $2 location ids, $3 instants: one array for each column, all of the same length; $4 begin and
--             $5 end of the day
-- Rows returned: place in the arrays (from 1) and outcome of those that are stored
SELECT w.place, r.outcome
FROM unnest($1::integer[], $2::integer[], $3::timestamptz[]) WITH ORDINALITY
    AS w (site_id, location_id, scheduled_at, place)
-- Each is looked up by the primary key. For a join, the planner might read the whole day for each batch.
CROSS JOIN LATERAL (
    SELECT c.outcome
    FROM webmon.check_results c
    WHERE c.site_id = w.site_id
      AND c.location_id = w.location_id
      AND c.scheduled_at = w.scheduled_at
      AND c.scheduled_at >= $4
      AND c.scheduled_at < $5
    LIMIT 1) AS r
