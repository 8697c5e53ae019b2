-- Derives the incidents of some sites again, from failure runs and from the first success of each hour. It looks only around
-- the times in which the failures of a site have changed.
--
-- A location is down from the first of at least incident_failures consecutive failures until the success that ends them, or
-- until it is retired. An incident lasts while at least incident_locations locations are down.
--
-- A change can join consecutive failures with those before and after it, up to a success, or separate them. Then an incident
-- that overlaps these may begin or end at another time. So it looks that far, and no further.
--
-- Everything before hours_purged_at may be gone, so it stays as it was derived. An incident that ended by then is not
-- changed. An incident that goes on after it keeps its beginning and lasts at least until then. After hours_purged_at
-- nothing is missing.
--
-- Parameters: $1 sites, $2 and $3 the begin and end (whole hours) of the time that has changed, for each
-- Locks: the written rows, until the transaction ends; the caller has locked the sites before
-- Rows changed: the incidents inserted
WITH purged AS (
    SELECT hours_purged_at AS at
    FROM webmon.retention
    LIMIT 1
), changed AS (
    SELECT c.site_id,
           -- From the last hour with a success before the changed time to the end of the first such hour after it. A
           -- retired location has no such hour after it, and needs none.
           min(greatest(
               coalesce((
                   SELECT h.hour
                   FROM webmon.site_hours h
                   WHERE h.site_id = c.site_id
                     AND h.location_id = l.location_id
                     AND h.hour < c.from_at
                     AND h.first_success_at IS NOT NULL
                   ORDER BY h.hour DESC
                   LIMIT 1), '-infinity'),
               CASE WHEN l.retired_at < c.from_at THEN l.retired_at ELSE '-infinity' END,
               p.at)) AS from_at,
           max(least(
               coalesce((
                   SELECT h.hour + interval '1 hour'
                   FROM webmon.site_hours h
                   WHERE h.site_id = c.site_id
                     AND h.location_id = l.location_id
                     AND h.hour >= c.to_at
                     AND h.first_success_at IS NOT NULL
                   ORDER BY h.hour
                   LIMIT 1), 'infinity'),
               CASE WHEN l.retired_at <= c.to_at THEN c.to_at
                    ELSE coalesce(l.retired_at + interval '1 hour', 'infinity') END)) AS to_at
    FROM unnest($1::integer[], $2::text[]::timestamptz[], $3::text[]::timestamptz[]) AS c (site_id, from_at, to_at)
    JOIN webmon.site_locations l USING (site_id)
    CROSS JOIN purged p
    GROUP BY c.site_id
), stretches AS MATERIALIZED (
    SELECT c.site_id,
           least(c.from_at, min(i.from_at)) AS from_at,
           greatest(c.to_at, max(coalesce(i.to_at, 'infinity'))) AS to_at
    FROM changed c
    CROSS JOIN purged p
    LEFT JOIN webmon.site_incidents i
        ON i.site_id = c.site_id
       AND i.from_at <= c.to_at
       AND coalesce(i.to_at, 'infinity') >= c.from_at
       AND coalesce(i.to_at, 'infinity') > p.at
    GROUP BY c.site_id, c.from_at, c.to_at
), frozen AS MATERIALIZED (
    -- The incident that began before hours_purged_at and goes on after it.
    SELECT i.*
    FROM stretches s
    CROSS JOIN purged p
    JOIN webmon.site_incidents i
        ON i.site_id = s.site_id
       AND i.from_at >= s.from_at
       AND i.from_at < p.at
       AND coalesce(i.to_at, 'infinity') > p.at
), places AS MATERIALIZED (
    -- A run may reach beyond the stretch. To see it whole, each location is read on to the next success.
    SELECT s.site_id,
           l.location_id,
           l.retired_at,
           greatest(
               coalesce((
                   SELECT h.hour
                   FROM webmon.site_hours h
                   WHERE h.site_id = s.site_id
                     AND h.location_id = l.location_id
                     AND h.hour <= s.from_at - interval '1 hour'
                     AND h.first_success_at IS NOT NULL
                   ORDER BY h.hour DESC
                   LIMIT 1), '-infinity'),
               least(p.at, date_trunc('hour', s.from_at, 'UTC'))) AS from_at,
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
    CROSS JOIN purged p
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
    -- The site or the location was retired. That ends the failures as a success does.
    SELECT p.site_id, p.location_id, g.from_at, 0, NULL, NULL
    FROM places p
    JOIN webmon.gaps g USING (site_id, location_id)
    WHERE g.from_at >= p.from_at
      AND g.from_at < p.to_at
      AND g.to_at IS NULL
    UNION ALL
    SELECT site_id, location_id, retired_at, 0, NULL, NULL
    FROM places
    WHERE retired_at >= from_at
), numbered AS (
    SELECT *,
           -- Each success begins the next run.
           count(*) FILTER (WHERE failures = 0) OVER (PARTITION BY site_id, location_id ORDER BY at) AS run
    FROM events
), runs AS (
    SELECT site_id,
           location_id,
           run,
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
    JOIN webmon.sites s USING (site_id)
    WHERE r.failures >= s.incident_failures
), levels AS (
    -- Whatever is before hours_purged_at counts only as the state at that time.
    SELECT site_id, at, sum(sum(step)) OVER (PARTITION BY site_id ORDER BY at) AS locations
    FROM (
        SELECT d.site_id, greatest(d.from_at, p.at) AS at, 1 AS step
        FROM down d
        CROSS JOIN purged p
        UNION ALL
        SELECT d.site_id, greatest(d.ended_at, p.at), -1
        FROM down d
        CROSS JOIN purged p
        WHERE d.ended_at IS NOT NULL
        UNION ALL
        SELECT f.site_id, p.at, 0
        FROM frozen f
        CROSS JOIN purged p
    ) AS steps
    GROUP BY site_id, at
), states AS (
    SELECT l.site_id, l.at, l.locations >= s.incident_locations AS is_down
    FROM levels l
    JOIN webmon.sites s USING (site_id)
    UNION ALL
    SELECT site_id, from_at, true
    FROM frozen
), edges AS (
    SELECT site_id, at, is_down, lag(is_down, 1, false) OVER (PARTITION BY site_id ORDER BY at) AS was_down
    FROM states
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
           coalesce(sum(d.failures)::bigint, f.failures) AS failures,
           coalesce(nullif(count(DISTINCT d.location_id), 0)::smallint, f.locations) AS locations,
           -- The error of the location that made it an incident. If there are several, the first by name.
           coalesce(f.error_type, (array_agg(d.error_type ORDER BY d.from_at <> l.from_at, n.name))[1])
               AS error_type,
           CASE WHEN f.error_type IS NOT NULL THEN f.error_detail
                ELSE (array_agg(d.error_detail ORDER BY d.from_at <> l.from_at, n.name))[1] END AS error_detail
    FROM lasting l
    JOIN stretches s
        ON s.site_id = l.site_id
       AND l.from_at <= s.to_at
       AND coalesce(l.to_at, 'infinity') >= s.from_at
    LEFT JOIN frozen f
        ON f.site_id = l.site_id
       AND f.from_at = l.from_at
    LEFT JOIN down d
        ON d.site_id = l.site_id
       AND d.from_at < coalesce(l.to_at, 'infinity')
       AND coalesce(d.ended_at, 'infinity') > l.from_at
    LEFT JOIN webmon.locations n
        ON n.location_id = d.location_id
    WHERE l.is_down
    GROUP BY l.site_id, l.from_at, l.to_at, f.failures, f.locations, f.error_type, f.error_detail
), located AS (
    -- A location that was read to the end is down if a run has not ended.
    UPDATE webmon.site_locations l
    SET down_since_at = d.from_at
    FROM (
        SELECT p.site_id,
               p.location_id,
               -- Of a run that began before hours_purged_at only the rest is left.
               CASE WHEN d.run = 0 AND l.down_since_at < q.at THEN l.down_since_at ELSE d.from_at END AS from_at
        FROM places p
        CROSS JOIN purged q
        JOIN webmon.site_locations l USING (site_id, location_id)
        LEFT JOIN down d
            ON d.site_id = p.site_id
           AND d.location_id = p.location_id
           AND d.ended_at IS NULL
        WHERE p.to_at = 'infinity'
    ) AS d
    WHERE l.site_id = d.site_id
      AND l.location_id = d.location_id
      AND l.down_since_at IS DISTINCT FROM d.from_at
      -- A retired location is not down.
      AND (l.retired_at IS NULL OR d.from_at IS NULL)
), removed AS (
    DELETE FROM webmon.site_incidents i
    USING stretches s, purged p
    WHERE i.site_id = s.site_id
      AND i.from_at <= s.to_at
      AND coalesce(i.to_at, 'infinity') >= s.from_at
      AND coalesce(i.to_at, 'infinity') > p.at
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
