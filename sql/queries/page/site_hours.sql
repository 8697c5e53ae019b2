-- How the checks of a site ended and how long they took, by hour.
--
-- Parameters: $1 integer: the site; $2 timestamptz: the first hour.
-- Locks: none.
-- Rows: one for each location and hour.
SELECT h.hour AS from_at, h.success, h.failure,
       h.late + h.overlap + h.saturated + h.cancelled + h.network_down + h.checker_down + h.gap AS unchecked,
       h.maintenance AS planned, h.buckets, h.counts, h.total_us_sum, h.dns_us_sum, h.connect_us_sum, h.tls_us_sum,
       h.ttfb_us_sum, h.download_us_sum
FROM webmon.site_hours h
WHERE h.site_id = $1
  AND h.hour >= $2
