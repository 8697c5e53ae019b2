-- What was told of sites that were down. An incident may be derived anew, an alert never is.
--
-- Parameters: $1 integer[]: the sites; $2 bigint: how many.
-- Locks: none.
-- Rows: one for each alert, the newest first.
SELECT a.alert_id, a.site_id, a.began_at, a.ended_at, a.fired_at, a.resolved_at, t.notice ->> 'error_type' AS error_type
FROM webmon.alerts a
JOIN webmon.alert_transitions t ON t.transition_id = a.alert_id
WHERE a.kind = 'down'
  AND a.site_id = ANY ($1)
ORDER BY a.alert_id DESC
LIMIT $2
