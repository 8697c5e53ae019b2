-- What each site is now, at each location from which it is checked.
--
-- Locks: none.
-- Rows: one for each site and location that is not retired.
SELECT c.site, c.location, c.status, c.down_since_at, c.scheduled_at, c.next_at, c.outcome, c.degraded, c.error_type,
       c.error_detail, c.http_status, c.total_us, least(c.cert_not_after, c.cert_chain_not_after) AS expires_at
FROM webmon.current_status c
WHERE c.status <> 'retired'
ORDER BY c.site, c.location
