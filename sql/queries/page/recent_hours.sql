-- The response times of some sites, hour by hour.
--
-- Parameters: $1 integer[]: the sites; $2 timestamptz: the first hour.
-- Locks: none.
-- Rows: one for each site, location and hour.
SELECT h.site_id, h.hour, h.buckets, h.counts
FROM webmon.site_hours h
WHERE h.site_id = ANY ($1)
  AND h.hour >= $2
