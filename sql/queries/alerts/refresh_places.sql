-- Writes since when each location of some sites is down, as far as history knows the location.
-- Parameters: $1 sites
-- Locks: the written rows, until the transaction ends; the caller has locked the sites before
UPDATE webmon.site_locations l
SET down_since_at = p.down_since_at
FROM webmon.alert_places p
WHERE p.site_id = ANY($1::integer[])
  AND l.site_id = p.site_id
  AND l.location_id = p.location_id
  AND l.retired_at IS NULL
  AND (l.down_since_at IS NULL) <> (p.down_since_at IS NULL)
