-- Derives the failure runs of one UTC hour again. For each site whose runs have changed, it marks the incidents as changed.
-- Parameters: $1 hour, $2 its end
-- Locks: the written rows, until the transaction ends; the caller has locked the hour before
-- Rows changed: the rows of incidents_dirty
WITH failing AS (
    SELECT site_id, location_id
    FROM webmon.site_hours
    WHERE hour = $1::timestamptz
      AND failure > 0
), events AS (
    SELECT f.site_id, f.location_id, r.scheduled_at, r.outcome, r.error_type, r.error_detail, r.outcome = 's' AS success
    FROM failing f
    JOIN webmon.check_results r USING (site_id, location_id)
    WHERE r.scheduled_at >= $1::timestamptz
      AND r.scheduled_at < $2::timestamptz
      AND r.outcome <> 'm'
    UNION ALL
    -- The site was retired. That ends the failures as a success does.
    SELECT f.site_id, f.location_id, g.from_at, 's', NULL, NULL, false
    FROM failing f
    JOIN webmon.gaps g USING (site_id, location_id)
    WHERE g.from_at >= $1
      AND g.from_at < $2
      AND g.to_at IS NULL
), verdicts AS (
    SELECT *,
           -- Each success begins the next stretch.
           count(*) FILTER (WHERE outcome = 's') OVER so_far AS stretch,
           count(*) FILTER (WHERE success) OVER so_far AS successes
    FROM events
    WINDOW so_far AS (PARTITION BY site_id, location_id ORDER BY scheduled_at)
), stretches AS (
    SELECT site_id,
           location_id,
           min(scheduled_at) FILTER (WHERE outcome = 'f') AS from_at,
           max(scheduled_at) FILTER (WHERE outcome = 'f') AS last_at,
           lead(min(scheduled_at) FILTER (WHERE outcome = 's')) OVER (
               PARTITION BY site_id, location_id ORDER BY stretch) AS ended_at,
           count(*) FILTER (WHERE outcome = 'f') AS failures,
           max(successes) AS successes_before,
           (array_agg(error_type ORDER BY scheduled_at) FILTER (WHERE outcome = 'f'))[1] AS error_type,
           (array_agg(error_detail ORDER BY scheduled_at) FILTER (WHERE outcome = 'f'))[1] AS error_detail
    FROM verdicts
    GROUP BY site_id, location_id, stretch
), found AS MATERIALIZED (
    SELECT *
    FROM stretches
    WHERE failures > 0
), written AS (
    INSERT INTO webmon.failure_runs AS stored (
        from_at, last_at, ended_at, site_id, failures, successes_before, location_id, error_type, error_detail)
    SELECT from_at, last_at, ended_at, site_id, failures, successes_before, location_id, error_type, error_detail
    FROM found
    ON CONFLICT (site_id, location_id, from_at) DO UPDATE
    SET last_at = excluded.last_at,
        ended_at = excluded.ended_at,
        failures = excluded.failures,
        successes_before = excluded.successes_before,
        error_type = excluded.error_type,
        error_detail = excluded.error_detail
    WHERE (stored.last_at, stored.ended_at, stored.failures, stored.successes_before, stored.error_type,
           stored.error_detail)
        IS DISTINCT FROM
          (excluded.last_at, excluded.ended_at, excluded.failures, excluded.successes_before, excluded.error_type,
           excluded.error_detail)
    RETURNING site_id
), removed AS (
    DELETE FROM webmon.failure_runs f
    WHERE f.from_at >= $1
      AND f.from_at < $2
      AND NOT EXISTS (
          SELECT
          FROM found
          WHERE found.site_id = f.site_id
            AND found.location_id = f.location_id
            AND found.from_at = f.from_at)
    RETURNING f.site_id
)
INSERT INTO webmon.incidents_dirty (site_id, from_at, to_at)
SELECT site_id, $1, $2
FROM (SELECT site_id FROM written UNION SELECT site_id FROM removed) AS changed
