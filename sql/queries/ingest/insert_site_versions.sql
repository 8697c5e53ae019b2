-- Adds the versions of sites that are not stored yet.
-- Parameters: as in look_up_site_versions
INSERT INTO webmon.site_versions (
    site_id, name, url, method, labels, schedule, time_budget_ms, incident_failures, incident_recoveries,
    incident_locations, incident_locations_percent, incident_min_voters, slo_uptime_ppm, slo_window_days, maintenance)
SELECT w.*
FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::integer[],
            $8::smallint[], $9::smallint[], $10::smallint[], $11::smallint[], $12::smallint[], $13::integer[],
            $14::smallint[], $15::jsonb[])
    AS w (site_id, name, url, method, labels, schedule, time_budget_ms, incident_failures, incident_recoveries,
          incident_locations, incident_locations_percent, incident_min_voters, slo_uptime_ppm, slo_window_days,
          maintenance)
WHERE NOT EXISTS (
    SELECT
    FROM webmon.site_versions v
    WHERE v.site_id = w.site_id
      AND v.digest = webmon.site_version_digest(
          w.name, w.url, w.method, w.labels, w.schedule, w.time_budget_ms, w.incident_failures, w.incident_recoveries,
          w.incident_locations, w.incident_locations_percent, w.incident_min_voters, w.slo_uptime_ppm, w.slo_window_days,
          w.maintenance))
ORDER BY w.site_id
ON CONFLICT (site_id, digest) DO NOTHING
