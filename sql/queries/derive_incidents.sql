-- Derives the incidents of some sites anew, around the stretches within which their failures have changed, from
-- failure runs and from the first successes of hours.
--
-- A location is down from the first to the last of at least `failures` failures on end, and on until the success that
-- ends them; an incident lasts while at least `locations` locations are down (webmon.incident_thresholds). What has
-- changed within a stretch may join with, or come off, the failures on end before and after it, up to a success; and
-- an incident that reaches into that may begin or end elsewhere. So that far is looked at, and no further.
--
-- Parameters: $1 sites, $2 and $3 the beginning and end (whole hours) of each one's stretch
-- Locks: the rows written, until the transaction ends; the sites themselves are locked before
-- Rows changed: the incidents inserted
WITH changed AS (
    SELECT c.site_id,
           -- From the last hour with a success before the stretch to the end of the first one after it.
           min(coalesce((
               SELECT h.hour
               FROM webmon.site_hours h
               WHERE h.site_id = c.site_id
                 AND h.location_id = l.location_id
                 AND h.hour < c.from_at
                 AND h.first_success_at IS NOT NULL
               ORDER BY h.hour DESC
               LIMIT 1), '-infinity')) AS from_at,
           max(coalesce((
               SELECT h.hour + interval '1 hour'
               FROM webmon.site_hours h
               WHERE h.site_id = c.site_id
                 AND h.location_id = l.location_id
                 AND h.hour >= c.to_at
                 AND h.first_success_at IS NOT NULL
               ORDER BY h.hour
               LIMIT 1), 'infinity')) AS to_at
    FROM unnest($1::integer[], $2::text[]::timestamptz[], $3::text[]::timestamptz[]) AS c (site_id, from_at, to_at)
    JOIN webmon.site_locations l USING (site_id)
    GROUP BY c.site_id
), stretches AS MATERIALIZED (
    SELECT c.site_id,
           least(c.from_at, min(i.from_at)) AS from_at,
           greatest(c.to_at, max(coalesce(i.to_at, 'infinity'))) AS to_at
    FROM changed c
    LEFT JOIN webmon.site_incidents i
        ON i.site_id = c.site_id
       AND i.from_at <= c.to_at
       AND coalesce(i.to_at, 'infinity') >= c.from_at
    GROUP BY c.site_id, c.from_at, c.to_at
), places AS MATERIALIZED (
    -- To know the runs that reach over an end of the stretch whole, each location is read on to the next success.
    SELECT s.site_id,
           l.location_id,
           coalesce((
               SELECT h.hour
               FROM webmon.site_hours h
               WHERE h.site_id = s.site_id
                 AND h.location_id = l.location_id
                 AND h.hour <= s.from_at - interval '1 hour'
                 AND h.first_success_at IS NOT NULL
               ORDER BY h.hour DESC
               LIMIT 1), '-infinity') AS from_at,
           coalesce((
               SELECT h.hour + interval '1 hour'
               FROM webmon.site_hours h
               WHERE h.site_id = s.site_id
                 AND h.location_id = l.location_id
                 AND h.hour >= s.to_at
                 AND h.first_success_at IS NOT NULL
               ORDER BY h.hour
               LIMIT 1), 'infinity') AS to_at
    FROM stretches s
    JOIN webmon.site_locations l USING (site_id)
), events AS (
    SELECT p.site_id, p.location_id, f.from_at AS at, f.failures, f.error_type, f.error_detail
    FROM places p
    JOIN webmon.failure_runs f USING (site_id, location_id)
    WHERE f.from_at >= p.from_at
      AND f.from_at < p.to_at
    UNION ALL
    SELECT p.site_id, p.location_id, f.ended_at, 0, NULL, NULL
    FROM places p
    JOIN webmon.failure_runs f USING (site_id, location_id)
    WHERE f.from_at >= p.from_at
      AND f.from_at < p.to_at
      AND f.ended_at IS NOT NULL
    UNION ALL
    SELECT p.site_id, p.location_id, h.first_success_at, 0, NULL, NULL
    FROM places p
    JOIN webmon.site_hours h USING (site_id, location_id)
    WHERE h.hour >= p.from_at
      AND h.hour < p.to_at
      AND h.first_success_at IS NOT NULL
    UNION ALL
    -- Retired: nobody waits for a success any more.
    SELECT p.site_id, p.location_id, g.from_at, 0, NULL, NULL
    FROM places p
    JOIN webmon.gaps g USING (site_id, location_id)
    WHERE g.from_at >= p.from_at
      AND g.from_at < p.to_at
      AND g.to_at IS NULL
), numbered AS (
    SELECT *,
           -- Each success begins the next run.
           count(*) FILTER (WHERE failures = 0) OVER (PARTITION BY site_id, location_id ORDER BY at) AS run
    FROM events
), runs AS (
    SELECT site_id,
           location_id,
           min(at) FILTER (WHERE failures > 0) AS from_at,
           lead(min(at) FILTER (WHERE failures = 0)) OVER (
               PARTITION BY site_id, location_id ORDER BY run) AS ended_at,
           sum(failures) AS failures,
           (array_agg(error_type ORDER BY at) FILTER (WHERE failures > 0))[1] AS error_type,
           (array_agg(error_detail ORDER BY at) FILTER (WHERE failures > 0))[1] AS error_detail
    FROM numbered
    GROUP BY site_id, location_id, run
), down AS MATERIALIZED (
    SELECT r.*
    FROM runs r
    CROSS JOIN webmon.incident_thresholds t
    WHERE r.failures >= t.failures
), levels AS (
    SELECT site_id, at, sum(sum(step)) OVER (PARTITION BY site_id ORDER BY at) AS locations
    FROM (
        SELECT site_id, from_at AS at, 1 AS step FROM down
        UNION ALL
        SELECT site_id, ended_at, -1 FROM down WHERE ended_at IS NOT NULL
    ) AS steps
    GROUP BY site_id, at
), edges AS (
    SELECT l.site_id,
           l.at,
           l.locations >= t.locations AS is_down,
           lag(l.locations >= t.locations, 1, false) OVER (PARTITION BY l.site_id ORDER BY l.at) AS was_down
    FROM levels l
    CROSS JOIN webmon.incident_thresholds t
), lasting AS (
    SELECT site_id,
           at AS from_at,
           lead(at) OVER (PARTITION BY site_id ORDER BY at) AS to_at,
           is_down
    FROM edges
    WHERE is_down <> was_down
), found AS MATERIALIZED (
    SELECT l.site_id,
           l.from_at,
           l.to_at,
           sum(d.failures)::bigint AS failures,
           count(DISTINCT d.location_id)::smallint AS locations,
           -- Of the location that made it an incident.
           (array_agg(d.error_type ORDER BY d.from_at <> l.from_at, d.location_id))[1] AS error_type,
           (array_agg(d.error_detail ORDER BY d.from_at <> l.from_at, d.location_id))[1] AS error_detail
    FROM lasting l
    JOIN stretches s
        ON s.site_id = l.site_id
       AND l.from_at <= s.to_at
       AND coalesce(l.to_at, 'infinity') >= s.from_at
    JOIN down d
        ON d.site_id = l.site_id
       AND d.from_at < coalesce(l.to_at, 'infinity')
       AND coalesce(d.ended_at, 'infinity') > l.from_at
    WHERE l.is_down
    GROUP BY l.site_id, l.from_at, l.to_at
), located AS (
    -- A location that was read to the end is down if a run has none.
    UPDATE webmon.site_locations l
    SET down_since_at = d.from_at
    FROM places p
    LEFT JOIN down d
        ON d.site_id = p.site_id
       AND d.location_id = p.location_id
       AND d.ended_at IS NULL
    WHERE l.site_id = p.site_id
      AND l.location_id = p.location_id
      AND p.to_at = 'infinity'
      AND l.down_since_at IS DISTINCT FROM d.from_at
), removed AS (
    DELETE FROM webmon.site_incidents i
    USING stretches s
    WHERE i.site_id = s.site_id
      AND i.from_at <= s.to_at
      AND coalesce(i.to_at, 'infinity') >= s.from_at
      AND NOT EXISTS (SELECT FROM found f WHERE f.site_id = i.site_id AND f.from_at = i.from_at)
), updated AS (
    UPDATE webmon.site_incidents i
    SET to_at = f.to_at,
        failures = f.failures,
        locations = f.locations,
        error_type = f.error_type,
        error_detail = f.error_detail
    FROM found f
    WHERE i.site_id = f.site_id
      AND i.from_at = f.from_at
      AND (i.to_at, i.failures, i.locations, i.error_type, i.error_detail)
          IS DISTINCT FROM (f.to_at, f.failures, f.locations, f.error_type, f.error_detail)
)
INSERT INTO webmon.site_incidents (site_id, from_at, to_at, failures, locations, error_type, error_detail)
SELECT site_id, from_at, to_at, failures, locations, error_type, error_detail
FROM found f
WHERE NOT EXISTS (SELECT FROM webmon.site_incidents i WHERE i.site_id = f.site_id AND i.from_at = f.from_at)
ORDER BY site_id, from_at
