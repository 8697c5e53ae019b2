-- Finds versions of sites.
-- Parameters: $1 site ids, $2 names, $3 URLs, $4 methods, $5 labels, $6 schedules, $7 time budgets in milliseconds,
--             $8 to $12 failures, recoveries, locations, percentages of locations, and voters of incidents, $13 targets of
--             uptime in millionths, $14 their days, $15 windows of maintenance (null: none): one array for each column,
--             all of the same length
-- Rows returned: place in the arrays (from 1) and id of those that are stored
SELECT w.place, v.version_id
FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::integer[],
            $8::smallint[], $9::smallint[], $10::smallint[], $11::smallint[], $12::smallint[], $13::integer[],
            $14::smallint[], $15::jsonb[])
    WITH ORDINALITY AS w (site_id, name, url, method, labels, schedule, time_budget_ms, incident_failures,
                          incident_recoveries, incident_locations, incident_locations_percent, incident_min_voters,
                          slo_uptime_ppm, slo_window_days, maintenance, place)
JOIN webmon.site_versions v
    ON v.site_id = w.site_id
   AND v.digest = webmon.site_version_digest(
       w.name, w.url, w.method, w.labels, w.schedule, w.time_budget_ms, w.incident_failures, w.incident_recoveries,
       w.incident_locations, w.incident_locations_percent, w.incident_min_voters, w.slo_uptime_ppm, w.slo_window_days,
       w.maintenance)
