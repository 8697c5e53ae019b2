-- Marks the hours in which one of these gaps has an instant, and those in which a gap that is about to be replaced had one. It
-- also marks the hours in which a stored gap has an instant that one of these hides, or no longer hides: where gaps overlap, the
-- one that begins first counts.
-- It runs before insert_gaps, in the same transaction. Hours below the floor, and hours before $7, are not marked.
-- Parameters: $1 site ids, $2 location ids, $3 from, $4 to (null: retired), $5 instants, $6 reasons, $7 the oldest instant
--             that results may have
-- Rows changed: the marks, at most 100,000 for each of these gaps and for each that it hides
INSERT INTO webmon.rollup_dirty (hour)
WITH bounds AS (
    SELECT date_trunc('hour', greatest(floor_at, $7::timestamptz), 'UTC') AS oldest,
           -- Further ahead nobody knows yet what will be missing.
           clock_timestamp() + interval '30 days' AS newest
    FROM webmon.retention
), reported AS (
    SELECT *
    FROM unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::text[])
        AS g (site_id, location_id, from_at, to_at, instants, reason)
), stretches AS (
    SELECT site_id, location_id, from_at, coalesce(to_at, from_at + interval '1 second') AS to_at, instants
    FROM reported
    UNION
    SELECT site_id, location_id, from_at, coalesce(g.to_at, from_at + interval '1 second'), g.instants
    FROM reported
    JOIN webmon.gaps g USING (site_id, location_id, from_at, reason)
), changed AS (
    SELECT from_at, to_at, instants, to_at AS until_at
    FROM stretches
    UNION
    -- Gaps that begin within a stretch are hidden until it ends. The hour in which it ends counts too, because rows before the
    -- end no longer take an instant away from them.
    SELECT g.from_at, e.to_at, g.instants, least(e.to_at, s.to_at)
    FROM stretches s
    JOIN webmon.gaps g
        ON g.site_id = s.site_id
       AND g.location_id = s.location_id
       AND g.from_at >= s.from_at
       AND g.from_at < s.to_at
    CROSS JOIN LATERAL (SELECT coalesce(g.to_at, g.from_at + interval '1 second') AS to_at) AS e
), measured AS (
    SELECT s.from_at,
           s.instants,
           c.to_at AS until_at,
           extract(epoch FROM s.to_at - s.from_at) AS seconds,
           c.from_hour,
           1 + extract(epoch FROM date_trunc('hour', c.to_at - interval '1 microsecond', 'UTC') - c.from_hour)::bigint
               / 3600 AS hours
    FROM changed s
    CROSS JOIN bounds b
    CROSS JOIN LATERAL (
        SELECT date_trunc('hour', greatest(s.from_at, b.oldest), 'UTC') AS from_hour, least(s.until_at, b.newest) AS to_at
    ) AS c
    WHERE c.from_hour < c.to_at
), hours AS (
    -- Every hour. If there are fewer instants than hours: the hour of every instant.
    SELECT date_trunc('hour', CASE
               WHEN instants < hours THEN from_at + make_interval(secs => div(seconds * n, instants)::float8)
               ELSE from_hour + make_interval(hours => n::integer) END, 'UTC') AS hour,
           until_at
    FROM measured
    CROSS JOIN LATERAL generate_series(0, least(instants, hours, 100000) - 1) AS n
)
SELECT DISTINCT hour
FROM hours
CROSS JOIN bounds b
WHERE hour >= b.oldest
  AND hour < b.newest
  AND hour < until_at
