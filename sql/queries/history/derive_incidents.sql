-- Derives the incidents of some sites again, from the failure runs and the successes of each hour. It looks only around the
-- times in which these have changed.
--
-- A location is down from the first of at least incident_failures consecutive failures on. It is up again from the first of at
-- least incident_recoveries consecutive successes on. Until then it stays down, and single failures in between belong to it.
-- If it is retired, the successes since the last failure are enough; if there are none, it is up from then on.
--
-- An incident lasts while at least incident_locations locations are down, or incident_locations_percent of those in use, rounded
-- up. A location is in use from its first hour on until it is retired. If fewer than incident_min_voters are in use, there is no
-- incident.
--
-- A change can join consecutive failures with those before and after it, or separate them. Whatever it does ends where a
-- location has recovered for certain. Then an incident that overlaps this time may begin or end at another time. So it looks
-- that far, and no further. The figures of hours show that a location has recovered if one of these holds:
--
-- - An hour has so many successes that its failures cannot separate them into series that are all too short.
-- - So many hours in a row have successes and no failures (webmon.recovery_began).
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
           -- From the last recovery before the changed time to the first one after it. A retired location has none after it,
           -- and needs none.
           min(greatest(
               coalesce((
                   SELECT CASE WHEN h.success > (w.incident_recoveries - 1) * (h.failure + 1) THEN h.hour
                               ELSE webmon.recovery_began(h.site_id, h.location_id, h.hour, w.incident_recoveries) END
                   FROM webmon.site_hours h
                   WHERE h.site_id = c.site_id
                     AND h.location_id = l.location_id
                     AND h.hour < c.from_at
                     AND (h.success > (w.incident_recoveries - 1) * (h.failure + 1)
                          OR (w.incident_recoveries > 1
                              AND webmon.recovery_began(h.site_id, h.location_id, h.hour, w.incident_recoveries) IS NOT NULL))
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
                     AND (h.success > (w.incident_recoveries - 1) * (h.failure + 1)
                          OR (w.incident_recoveries > 1
                              AND webmon.recovery_began(h.site_id, h.location_id, h.hour, w.incident_recoveries) >= c.to_at))
                   ORDER BY h.hour
                   LIMIT 1), 'infinity'),
               CASE WHEN l.retired_at <= c.to_at THEN c.to_at
                    ELSE coalesce(l.retired_at + interval '1 hour', 'infinity') END)) AS to_at
    FROM unnest($1::integer[], $2::text[]::timestamptz[], $3::text[]::timestamptz[]) AS c (site_id, from_at, to_at)
    JOIN webmon.site_locations l USING (site_id)
    JOIN webmon.sites w USING (site_id)
    CROSS JOIN purged p
    GROUP BY c.site_id
), stretches AS MATERIALIZED (
    SELECT c.site_id,
           least(c.from_at, min(i.from_at)) AS from_at,
           greatest(c.to_at, max(coalesce(i.to_at, 'infinity')) FILTER (WHERE i.site_id IS NOT NULL)) AS to_at
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
    -- A location may be down beyond the stretch. To see all of that, each location is read on to the next recovery.
    SELECT s.site_id,
           l.location_id,
           l.retired_at,
           greatest(
               coalesce((
                   SELECT CASE WHEN h.success > (w.incident_recoveries - 1) * (h.failure + 1) THEN h.hour
                               ELSE webmon.recovery_began(h.site_id, h.location_id, h.hour, w.incident_recoveries) END
                   FROM webmon.site_hours h
                   WHERE h.site_id = s.site_id
                     AND h.location_id = l.location_id
                     AND h.hour < date_trunc('hour', s.from_at, 'UTC')
                     AND (h.success > (w.incident_recoveries - 1) * (h.failure + 1)
                          OR (w.incident_recoveries > 1
                              AND webmon.recovery_began(h.site_id, h.location_id, h.hour, w.incident_recoveries) IS NOT NULL))
                   ORDER BY h.hour DESC
                   LIMIT 1), '-infinity'),
               least(p.at, date_trunc('hour', s.from_at, 'UTC'))) AS from_at,
           coalesce((
               SELECT h.hour + interval '1 hour'
               FROM webmon.site_hours h
               WHERE h.site_id = s.site_id
                 AND h.location_id = l.location_id
                 AND h.hour >= s.to_at
                 AND (h.success > (w.incident_recoveries - 1) * (h.failure + 1)
                      OR (w.incident_recoveries > 1
                          AND webmon.recovery_began(h.site_id, h.location_id, h.hour, w.incident_recoveries) >= s.to_at))
               ORDER BY h.hour
               LIMIT 1), 'infinity') AS to_at
    FROM stretches s
    CROSS JOIN purged p
    JOIN webmon.site_locations l USING (site_id)
    JOIN webmon.sites w USING (site_id)
    -- No hour of it is rolled up yet: there is nothing to read.
    WHERE l.first_hour IS NOT NULL
), events AS (
    SELECT p.site_id, p.location_id, e.*
    FROM places p
    JOIN webmon.failure_runs f USING (site_id, location_id)
    CROSS JOIN LATERAL (VALUES
        (f.from_at, f.failures, 0, f.successes_before, f.error_type, f.error_detail),
        -- The first success after them.
        (f.ended_at, 0, 0, NULL, NULL, NULL)
    ) AS e (at, failures, successes, successes_before, error_type, error_detail)
    WHERE f.from_at >= p.from_at
      AND f.from_at < p.to_at
      AND e.at IS NOT NULL
    UNION ALL
    SELECT p.site_id, p.location_id, e.*, NULL, NULL, NULL
    FROM places p
    JOIN webmon.site_hours h USING (site_id, location_id)
    CROSS JOIN LATERAL (VALUES
        (h.first_success_at, 0, 0),
        -- The successes of an hour count at its end. Within the hour, successes_before counts them.
        (h.hour + interval '1 hour', NULL, h.success)
    ) AS e (at, failures, successes)
    WHERE h.hour >= p.from_at
      AND h.hour < p.to_at
      AND h.first_success_at IS NOT NULL
    UNION ALL
    -- The site or the location was retired. That ends the failures as a success does, and counts as many of them: more than
    -- any site needs.
    SELECT p.site_id, p.location_id, g.from_at, 0, 1000, NULL, NULL, NULL
    FROM places p
    JOIN webmon.gaps g USING (site_id, location_id)
    WHERE g.from_at >= p.from_at
      AND g.from_at < p.to_at
      AND g.to_at IS NULL
    UNION ALL
    SELECT site_id, location_id, retired_at, 0, 1000, NULL, NULL, NULL
    FROM places
    WHERE retired_at >= from_at
), numbered AS (
    SELECT *,
           -- Each success begins the next run.
           count(*) FILTER (WHERE failures = 0) OVER so_far AS run,
           -- How many successes there were before these failures.
           sum(successes) OVER so_far + successes_before AS recovered,
           sum(successes) OVER place AS recovered_at_last
    FROM events
    WINDOW place AS (PARTITION BY site_id, location_id), so_far AS (place ORDER BY at)
), runs AS (
    SELECT site_id,
           location_id,
           run,
           min(at) FILTER (WHERE failures > 0) AS from_at,
           lead(min(at) FILTER (WHERE failures = 0)) OVER (
               PARTITION BY site_id, location_id ORDER BY run) AS ended_at,
           sum(failures) AS failures,
           min(recovered) AS recovered,
           min(recovered_at_last) AS recovered_at_last,
           (array_agg(error_type ORDER BY at) FILTER (WHERE failures > 0))[1] AS error_type,
           (array_agg(error_detail ORDER BY at) FILTER (WHERE failures > 0))[1] AS error_detail
    FROM numbered
    GROUP BY site_id, location_id, run
), separated AS (
    SELECT r.*,
           s.incident_failures,
           -- Whether the location had recovered before this run, and whether it has after it.
           r.recovered - lag(r.recovered, 1, 0) OVER place >= s.incident_recoveries AS is_first,
           lead(r.recovered, 1, r.recovered_at_last) OVER place - r.recovered >= s.incident_recoveries AS is_last
    FROM runs r
    JOIN webmon.sites s USING (site_id)
    WHERE r.failures > 0
    WINDOW place AS (PARTITION BY site_id, location_id ORDER BY run)
), outages AS (
    -- Runs that are not separated by a recovery have the same number. 0: nobody knows what was before.
    SELECT *, count(*) FILTER (WHERE is_first) OVER (PARTITION BY site_id, location_id ORDER BY run) AS outage
    FROM separated
), failing AS (
    -- The first run that is long enough takes the location down. Those after it, however short, belong to it.
    SELECT *,
           bool_or(failures >= incident_failures) OVER (
               PARTITION BY site_id, location_id, outage ORDER BY run) AS is_down
    FROM outages
), down AS MATERIALIZED (
    SELECT site_id,
           location_id,
           outage,
           min(from_at) AS from_at,
           -- Only the last of them can be followed by a recovery.
           min(ended_at) FILTER (WHERE is_last) AS ended_at,
           sum(failures) AS failures,
           (array_agg(error_type ORDER BY run))[1] AS error_type,
           (array_agg(error_detail ORDER BY run))[1] AS error_detail
    FROM failing
    WHERE is_down
    GROUP BY site_id, location_id, outage
), voters AS (
    -- The locations in use, if their number counts.
    SELECT s.site_id, l.first_hour, l.retired_at
    FROM stretches s
    JOIN webmon.sites w USING (site_id)
    JOIN webmon.site_locations l USING (site_id)
    WHERE l.first_hour IS NOT NULL
      AND (w.incident_locations_percent IS NOT NULL OR w.incident_min_voters > 1)
), levels AS (
    -- Whatever is before hours_purged_at counts only as the state at that time.
    SELECT site_id, at, sum(sum(down)) OVER so_far AS down, sum(sum(voter)) OVER so_far AS voters
    FROM (
        SELECT d.site_id, greatest(d.from_at, p.at) AS at, 1 AS down, 0 AS voter
        FROM down d
        CROSS JOIN purged p
        UNION ALL
        SELECT d.site_id, greatest(d.ended_at, p.at), -1, 0
        FROM down d
        CROSS JOIN purged p
        WHERE d.ended_at IS NOT NULL
        UNION ALL
        SELECT v.site_id, greatest(v.first_hour, p.at), 0, 1
        FROM voters v
        CROSS JOIN purged p
        UNION ALL
        SELECT v.site_id, greatest(v.retired_at, p.at), 0, -1
        FROM voters v
        CROSS JOIN purged p
        WHERE v.retired_at IS NOT NULL
        UNION ALL
        SELECT f.site_id, p.at, 0, 0
        FROM frozen f
        CROSS JOIN purged p
    ) AS steps
    GROUP BY site_id, at
    WINDOW so_far AS (PARTITION BY site_id ORDER BY at)
), states AS (
    SELECT l.site_id,
           l.at,
           l.down >= coalesce(s.incident_locations, greatest(1, ceil(l.voters * s.incident_locations_percent / 100.0)))
               AND (s.incident_min_voters = 1 OR l.voters >= s.incident_min_voters) AS is_down
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
           -- The error of the location that made it an incident. If there are several, the first by name. If there is none,
           -- because fewer locations are needed now, those that were down before.
           coalesce(
               f.error_type,
               (array_agg(d.error_type ORDER BY d.from_at <> l.from_at, d.from_at > l.from_at, n.name))[1]) AS error_type,
           CASE WHEN f.error_type IS NOT NULL THEN f.error_detail
                ELSE (array_agg(d.error_detail ORDER BY d.from_at <> l.from_at, d.from_at > l.from_at, n.name))[1]
                END AS error_detail
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
    -- A location that was read to the end is down if it has not recovered.
    UPDATE webmon.site_locations l
    SET down_since_at = d.from_at
    FROM (
        SELECT p.site_id,
               p.location_id,
               -- Of failures that began before hours_purged_at only the rest is left.
               CASE WHEN d.outage = 0 AND l.down_since_at < q.at THEN l.down_since_at ELSE d.from_at END AS from_at
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
