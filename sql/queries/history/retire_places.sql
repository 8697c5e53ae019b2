-- Retires sites at locations from which no result came for long after one was due, so that outages there end. Time is
-- measured up to the newest hour of all sites, not by the clock. So nothing is retired while nothing is stored.
-- Parameters: $1 how long in seconds
-- Locks: the written rows, until the transaction ends
-- Rows changed: the marks of the sites
WITH newest AS (
    SELECT max(last_hour) AS hour
    FROM webmon.site_locations
), retired AS (
    UPDATE webmon.site_locations l
    SET retired_at = l.last_hour + interval '1 hour',
        down_since_at = NULL
    FROM newest n
    WHERE l.retired_at IS NULL
      AND l.last_hour + interval '1 hour' + make_interval(secs => coalesce(l.next_after_s, 0) + $1::bigint) <= n.hour
      -- A gap that ends within that time says that no result was due before its end.
      AND NOT EXISTS (
          SELECT
          FROM webmon.gaps g
          WHERE g.site_id = l.site_id
            AND g.location_id = l.location_id
            AND g.from_at >= l.last_hour
            AND g.to_at > n.hour - make_interval(secs => $1::bigint))
    RETURNING l.site_id, l.location_id, l.last_hour, l.retired_at
), noted AS (
    -- What is retired ends the alerts about it.
    INSERT INTO webmon.alert_notes (site_id, location_id, newest_at)
    SELECT site_id, location_id, last_hour
    FROM retired
)
INSERT INTO webmon.incidents_dirty (site_id, from_at, to_at)
SELECT DISTINCT
       r.site_id,
       r.retired_at,
       -- If the number of locations in use counts, all is changed from then on.
       CASE WHEN s.incident_locations_percent IS NOT NULL OR s.incident_min_voters > 1 THEN 'infinity'
            ELSE r.retired_at + interval '1 hour' END
FROM retired r
JOIN webmon.sites s USING (site_id)
