-- Makes the locations of sites known to history, so that webmon.current_status shows them before their first hour is rolled
-- up. Until then their first_hour is null.
-- Parameters: $1 only these sites; arrays of the same length: $2 sites, $3 locations, $4 their newest instants, $5 their newest
--             verdicts (null: none), $6 seconds to the next instant (null: none)
-- Locks: the new rows, until the transaction ends; the caller has locked the sites before
INSERT INTO webmon.site_locations (site_id, location_id, last_hour, last_verdict_hour, next_after_s)
SELECT site_id, location_id, date_trunc('hour', newest_at, 'UTC'), date_trunc('hour', verdict_at, 'UTC'), next_after_s
FROM unnest($2::integer[], $3::integer[], $4::timestamptz[], $5::timestamptz[], $6::integer[])
     AS new (site_id, location_id, newest_at, verdict_at, next_after_s)
WHERE site_id = ANY($1::integer[])
ORDER BY site_id, location_id
ON CONFLICT (site_id, location_id) DO NOTHING
