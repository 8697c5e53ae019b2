-- Marks the hours that have an instant of one of these gaps, or had one of a gap that is about to be replaced. Runs
-- before insert_gaps, in the same transaction. Hours below the floor stay as they are.
-- Parameters: $1 site ids, $2 location ids, $3 from, $4 to (null: retired), $5 instants, $6 reasons
-- Rows changed: the marks; of one gap at most 100,000
INSERT INTO webmon.rollup_dirty (hour)
WITH reported AS (
    SELECT *
    FROM unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::text[])
        AS g (site_id, location_id, from_at, to_at, instants, reason)
), stretches AS (
    SELECT from_at, coalesce(to_at, from_at + interval '1 second') AS to_at, instants
    FROM reported
    UNION
    SELECT from_at, coalesce(g.to_at, from_at + interval '1 second'), g.instants
    FROM reported
    JOIN webmon.gaps g USING (site_id, location_id, from_at, reason)
), measured AS (
    SELECT from_at,
           instants,
           extract(epoch FROM to_at - from_at)::bigint AS seconds,
           1 + extract(epoch FROM date_trunc('hour', to_at - interval '1 microsecond', 'UTC')
                                  - date_trunc('hour', from_at, 'UTC'))::bigint / 3600 AS hours
    FROM stretches
), hours AS (
    -- Every hour, or that of every instant, if these are fewer.
    SELECT date_trunc('hour', from_at + CASE
               WHEN instants < hours THEN make_interval(secs => seconds * n / instants)
               ELSE make_interval(hours => n::integer) END, 'UTC') AS hour
    FROM measured
    CROSS JOIN LATERAL generate_series(0, least(instants, hours, 100000) - 1) AS n
)
SELECT DISTINCT hour
FROM hours
WHERE hour >= (SELECT floor_at FROM webmon.retention)
  -- Nobody knows yet what will be missing further ahead.
  AND hour < clock_timestamp() + interval '30 days'
