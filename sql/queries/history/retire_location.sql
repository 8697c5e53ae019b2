-- Retires a location, and each site at this location from the end of its last hour on.
-- Parameters: $1 name
-- Locks: the written rows, until the transaction ends
-- Rows returned: how many locations have that name, and how many sites were not retired there before
WITH location AS (
    UPDATE webmon.locations
    SET retired_at = coalesce(retired_at, clock_timestamp())
    WHERE name = $1
    RETURNING location_id
), retired AS (
    UPDATE webmon.site_locations l
    SET retired_at = l.last_hour + interval '1 hour',
        down_since_at = NULL
    FROM location
    WHERE l.location_id = location.location_id
      AND l.retired_at IS NULL
    RETURNING l.site_id, l.location_id, l.last_hour, l.retired_at
), noted AS (
    -- What is retired ends the alerts about it.
    INSERT INTO webmon.alert_notes (site_id, location_id, newest_at)
    SELECT site_id, location_id, last_hour
    FROM retired
), marked AS (
    INSERT INTO webmon.incidents_dirty (site_id, from_at, to_at)
    SELECT r.site_id,
           r.retired_at,
           -- If the number of locations in use counts, all is changed from then on.
           CASE WHEN s.incident_locations_percent IS NOT NULL OR s.incident_min_voters > 1 THEN 'infinity'
                ELSE r.retired_at + interval '1 hour' END
    FROM retired r
    JOIN webmon.sites s USING (site_id)
)
SELECT (SELECT count(*) FROM location) AS locations,
       (SELECT count(*) FROM retired) AS sites
