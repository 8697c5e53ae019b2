-- Reads the newest results of sites at locations that are a success or a failure.
-- Parameters, arrays of the same length: $1 sites, $2 locations; $3 and $4 the begin and end of the time to look at, given as
--             values; $5 results of each place at most
-- Rows returned: those of each place together, the newest first
SELECT place.site_id,
       place.location_id,
       r.scheduled_at,
       r.outcome = 'f' AS failed,
       coalesce(r.degraded, false) AS degraded,
       e.name AS error_type,
       r.error_detail,
       r.error_message
FROM unnest($1::integer[], $2::integer[]) AS place (site_id, location_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM webmon.check_results r
    WHERE r.site_id = place.site_id
      AND r.location_id = place.location_id
      AND r.scheduled_at >= $3::timestamptz
      AND r.scheduled_at < $4::timestamptz
      AND r.outcome <> 'm'
    ORDER BY r.scheduled_at DESC
    LIMIT $5) AS r
LEFT JOIN webmon.error_types e USING (error_type)
ORDER BY place.site_id, place.location_id, r.scheduled_at DESC
