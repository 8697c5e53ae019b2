-- Reads what gaps say about when the next result of sites at locations is due.
-- Parameters, arrays of the same length: $1 sites, $2 locations, $3 their newest instants
-- Rows returned: one for each place with later gaps: the latest end, and the time of retirement if there is one
SELECT g.site_id,
       g.location_id,
       max(g.to_at) AS to_at,
       min(g.from_at) FILTER (WHERE g.to_at IS NULL) AS retired_at
FROM unnest($1::integer[], $2::integer[], $3::timestamptz[]) AS place (site_id, location_id, newest_at)
JOIN webmon.gaps g USING (site_id, location_id)
WHERE g.from_at > place.newest_at
GROUP BY g.site_id, g.location_id
