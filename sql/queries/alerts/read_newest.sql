-- Reads the newest result of sites at locations.
-- Parameters, arrays of the same length: $1 sites, $2 locations; $3 and $4 the begin and end of the time to look at, given as
--             values, so that only the partitions of that time are planned for and locked
-- Rows returned: at most one for each place
SELECT place.site_id,
       place.location_id,
       r.scheduled_at,
       r.next_after_s,
       r.outcome,
       coalesce(r.error_type = 107, false) AS planned,
       r.version_id
FROM unnest($1::integer[], $2::integer[]) AS place (site_id, location_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM webmon.check_results r
    WHERE r.site_id = place.site_id
      AND r.location_id = place.location_id
      AND r.scheduled_at >= $3::timestamptz
      AND r.scheduled_at < $4::timestamptz
    ORDER BY r.scheduled_at DESC
    LIMIT 1) AS r
