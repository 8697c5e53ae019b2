-- What retention would drop.
-- Parameters: for how many seconds $1 results, $2 hours and $3 days are kept (null: for ever)
-- Rows returned: one. uncounted has the partitions that would be dropped and whose rows were never estimated.
WITH plan AS MATERIALIZED (
    SELECT r.floor_at,
           r.purged_at,
           extract(epoch FROM r.results_kept)::float8 AS policy_s,
           p.floor_at AS next_floor_at,
           p.objection,
           CASE WHEN h.kept_from IS NOT NULL THEN least(p.floor_at, h.kept_from) END AS hours_at,
           CASE WHEN d.kept_from IS NOT NULL THEN least(p.floor_at, d.kept_from) END AS days_at
    FROM webmon.retention r
    CROSS JOIN webmon.plan_retention(make_interval(secs => $1)) AS p
    CROSS JOIN webmon.floor_for(make_interval(secs => $2::float8)) AS h (kept_from)
    CROSS JOIN webmon.floor_for(make_interval(secs => $3::float8)) AS d (kept_from)
), going AS MATERIALIZED (
    SELECT p.partition, c.reltuples, pg_total_relation_size(c.oid) AS bytes
    FROM webmon.result_partitions() AS p
    JOIN pg_catalog.pg_class c ON c.oid = p.partition
    WHERE p.to_at <= (SELECT next_floor_at FROM plan)
)
SELECT nullif(floor_at, '-infinity') AS floor_at,
       nullif(purged_at, '-infinity') AS purged_at,
       nullif(next_floor_at, '-infinity') AS next_floor_at,
       policy_s,
       objection,
       (SELECT count(*) FROM going) AS partitions,
       (SELECT coalesce(sum(reltuples) FILTER (WHERE reltuples >= 0), 0)::bigint FROM going) AS results,
       ARRAY(SELECT partition::text FROM going WHERE reltuples < 0) AS uncounted,
       (SELECT coalesce(sum(bytes), 0)::bigint FROM going) AS bytes,
       (
           SELECT count(*)
           FROM webmon.site_hours h
           WHERE h.hour < hours_at
             AND NOT EXISTS (
                 SELECT
                 FROM webmon.site_incidents i
                 WHERE i.site_id = h.site_id
                   AND i.from_at < h.hour + interval '1 hour'
                   AND (i.to_at IS NULL OR i.to_at >= hours_at))
       ) AS hours,
       (SELECT count(*) FROM webmon.site_days WHERE day < (days_at AT TIME ZONE 'UTC')::date) AS days
FROM plan
