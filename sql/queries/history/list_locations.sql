-- The locations, and what is known about each.
-- Rows returned: one for each location, by name
SELECT l.name,
       count(s.site_id) AS sites,
       max(s.last_hour) AS last_hour,
       count(s.down_since_at) AS down,
       -- Also if no operator has retired it, but no result came from there for long.
       coalesce(l.retired_at, CASE WHEN bool_and(s.retired_at IS NOT NULL) THEN max(s.retired_at) END) AS retired_at
FROM webmon.locations l
LEFT JOIN webmon.site_locations s USING (location_id)
GROUP BY l.location_id
ORDER BY l.name
