-- How the checks of a site ended and how long they took, by UTC day.
--
-- Parameters: $1 integer: the site; $2 date: the first day.
-- Locks: none.
-- Rows: one for each location and day.
SELECT (d.day::timestamp AT TIME ZONE 'UTC') AS from_at, d.success, d.failure,
       webmon.missed(d) + d.gap AS unchecked,
       d.maintenance AS planned, d.buckets, d.counts, d.total_us_sum, d.dns_us_sum, d.connect_us_sum, d.tls_us_sum,
       d.ttfb_us_sum, d.download_us_sum
FROM webmon.site_days d
WHERE d.site_id = $1
  AND d.day >= $2
