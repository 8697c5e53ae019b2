-- Finds what is stored already of some identities.
-- Parameters: $1 site ids, $2 location ids, $3 instants: one array a column, all of one length
-- Rows returned: place in the arrays (from 1) and outcome of those that are there
SELECT w.place, r.outcome
FROM unnest($1::integer[], $2::integer[], $3::timestamptz[]) WITH ORDINALITY
    AS w (site_id, location_id, scheduled_at, place)
JOIN webmon.check_results r USING (site_id, location_id, scheduled_at)
