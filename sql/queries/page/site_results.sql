-- The newest results of a site, at all its locations.
--
-- Parameters: $1 text: the site's key; $2 timestamptz: none from before it; $3 bigint: how many.
-- Locks: none.
-- Rows: one for each result, the newest first.
SELECT c.location, c.scheduled_at, c.started_at, c.outcome, c.degraded, c.error_type, c.error_detail, c.error_message,
       c.failed_expectations, c.http_status, c.body_bytes, c.dns_us, c.connect_us, c.tls_us, c.ttfb_us, c.download_us,
       c.total_us, c.attempts, c.tries, c.hops, c.sample, c.url, c.final_url, host(c.remote_ip) AS remote_ip,
       c.http_version, c.tls_version
FROM webmon.checks c
WHERE c.site = $1
  AND c.scheduled_at >= $2
ORDER BY c.scheduled_at DESC, c.location
LIMIT $3
