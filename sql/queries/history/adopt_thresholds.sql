-- Puts the thresholds of each site's newest version into force. The newest version is found so: of the versions that were
-- seen within the last hour of the site's results, it is the one that was first seen latest. So if two locations check a
-- site with different configurations, the later configuration is in force, and the two do not alternate.
-- Parameters: $1 sites
-- Locks: the rows of the sites; the caller has locked them before
-- Rows returned: the sites whose thresholds have changed
UPDATE webmon.sites s
SET incident_failures = n.failures,
    incident_recoveries = n.recoveries,
    incident_locations = n.locations,
    incident_locations_percent = n.percent,
    incident_min_voters = n.min_voters
FROM (
    SELECT DISTINCT ON (v.site_id)
           v.site_id,
           coalesce(v.incident_failures, 2) AS failures,
           coalesce(v.incident_recoveries, 1) AS recoveries,
           CASE WHEN v.incident_locations_percent IS NULL THEN coalesce(v.incident_locations, 1) END AS locations,
           v.incident_locations_percent AS percent,
           coalesce(v.incident_min_voters, 1) AS min_voters
    FROM webmon.site_versions v
    JOIN (
        SELECT site_id, max(last_seen_at) AS at
        FROM webmon.site_versions
        WHERE site_id = ANY($1::integer[])
        GROUP BY site_id) AS last USING (site_id)
    WHERE v.last_seen_at > last.at - interval '1 hour'
    ORDER BY v.site_id, v.first_seen_at DESC, v.version_id DESC
) AS n
WHERE s.site_id = n.site_id
  AND (s.incident_failures, s.incident_recoveries, s.incident_locations, s.incident_locations_percent,
       s.incident_min_voters)
      IS DISTINCT FROM (n.failures, n.recoveries, n.locations, n.percent, n.min_voters)
RETURNING s.site_id
