-- Which of these instants, all of one UTC day, have a result.
-- Parameters: $1 begin of the day, $2 its end (not included), $3 site ids, $4 location ids, $5 instants
-- Rows returned: the place in the arrays (from 1) of each that has one
SELECT a.number
FROM unnest($3::integer[], $4::integer[], $5::timestamptz[]) WITH ORDINALITY AS a (site_id, location_id, at, number)
WHERE EXISTS (
    SELECT
    FROM webmon.check_results r
    WHERE r.scheduled_at >= $1
      AND r.scheduled_at < $2
      AND r.site_id = a.site_id
      AND r.location_id = a.location_id
      AND r.scheduled_at = a.at)
