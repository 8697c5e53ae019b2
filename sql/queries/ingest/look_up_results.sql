-- Finds what is stored already of some identities, all of one UTC day.
-- Not to be prepared once for all: planned with its values, it reads and locks the one partition, else all there are.
-- Parameters: $1 site ids, $2 location ids, $3 instants: one array a column, all of one length; $4 begin and $5 end of
--             the day
-- Rows returned: place in the arrays (from 1) and outcome of those that are there
SELECT w.place, r.outcome
FROM unnest($1::integer[], $2::integer[], $3::timestamptz[]) WITH ORDINALITY
    AS w (site_id, location_id, scheduled_at, place)
-- Each by the primary key: for a join the planner may read the whole day, once a batch.
CROSS JOIN LATERAL (
    SELECT c.outcome
    FROM webmon.check_results c
    WHERE c.site_id = w.site_id
      AND c.location_id = w.location_id
      AND c.scheduled_at = w.scheduled_at
      AND c.scheduled_at >= $4
      AND c.scheduled_at < $5
    LIMIT 1) AS r
