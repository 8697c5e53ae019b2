-- Reads what sites looked like when they were checked.
-- Parameters: $1 versions
-- Rows returned: those of each site together, the one that was first seen latest first. Its thresholds are in force.
SELECT version_id,
       site_id,
       name,
       url,
       labels,
       time_budget_ms,
       coalesce(incident_failures, 2) AS failures,
       coalesce(incident_recoveries, 1) AS recoveries,
       coalesce(incident_locations, 1) AS locations,
       incident_locations_percent AS percent,
       coalesce(incident_min_voters, 1) AS min_voters
FROM webmon.site_versions
WHERE version_id = ANY($1::integer[])
ORDER BY site_id, first_seen_at DESC, version_id DESC
