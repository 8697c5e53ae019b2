-- Adds the versions of sites that are not stored yet.
-- Parameters: as in look_up_site_versions
INSERT INTO webmon.site_versions (
    site_id, name, url, method, labels, schedule, time_budget_ms, incident_failures, incident_recoveries,
    incident_locations, incident_locations_percent, incident_min_voters)
SELECT w.*
FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::integer[],
            $8::smallint[], $9::smallint[], $10::smallint[], $11::smallint[], $12::smallint[])
    AS w (site_id, name, url, method, labels, schedule, time_budget_ms, incident_failures, incident_recoveries,
          incident_locations, incident_locations_percent, incident_min_voters)
WHERE NOT EXISTS (
    SELECT
    FROM webmon.site_versions v
    WHERE v.site_id = w.site_id
      AND v.digest = md5(md5(w.name) || md5(w.url) || md5(w.method) || md5(w.labels::text)
                         || md5(coalesce(w.schedule, '')) || coalesce(w.time_budget_ms, 0)::text
                         || ':' || coalesce(w.incident_failures, 0)::text
                         || ':' || coalesce(w.incident_recoveries, 0)::text
                         || ':' || coalesce(w.incident_locations, 0)::text
                         || ':' || coalesce(w.incident_locations_percent, 0)::text
                         || ':' || coalesce(w.incident_min_voters, 0)::text)::uuid)
ORDER BY w.site_id
ON CONFLICT (site_id, digest) DO NOTHING
