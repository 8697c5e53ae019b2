-- How many of the dropped results were read before they were dropped.
-- Parameters: $1 the begins of the days read, $2 how many results were read of each
-- Rows returned: one: all results dropped so far, and the results of those days read that have no partition any more
WITH attached AS MATERIALIZED (
    SELECT from_at, to_at
    FROM webmon.result_partitions()
)
SELECT r.results_dropped,
       (
           SELECT coalesce(sum(d.results), 0)::bigint
           FROM unnest($1::timestamptz[], $2::bigint[]) AS d (day, results)
           WHERE NOT EXISTS (
               SELECT
               FROM attached a
               WHERE a.from_at < d.day + interval '24 hours'
                 AND a.to_at > d.day)
       ) AS read_before
FROM webmon.retention r
