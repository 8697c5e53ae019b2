-- Reads the locations of sites, and whether history knows them.
-- Parameters: $1 sites
-- Rows returned: one for each site and location, in order
SELECT p.site_id,
       p.location_id,
       s.key,
       s.created_at,
       l.name AS location,
       p.newest_at,
       p.down_since_at,
       p.slow_since_at,
       h.retired_at,
       h.site_id IS NOT NULL AS is_listed
FROM webmon.alert_places p
JOIN webmon.sites s USING (site_id)
JOIN webmon.locations l USING (location_id)
LEFT JOIN webmon.site_locations h USING (site_id, location_id)
WHERE p.site_id = ANY($1::integer[])
ORDER BY p.site_id, p.location_id
