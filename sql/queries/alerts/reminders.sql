-- Finds alerts that still fire, and what was last told of them to whom.
-- Parameters: $1 only what was told before this time; what was silenced is returned in any case (null: only that), $2 rows at
--             most
-- Rows returned: one for each alert and receiver
SELECT n.transition_id, n.receiver, n.reminder, n.state, n.finished_at, t.notice
FROM webmon.alerts a
JOIN webmon.alert_transitions t ON t.transition_id = a.alert_id
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (receiver) *
    FROM webmon.notifications
    WHERE transition_id = a.alert_id
    ORDER BY receiver, reminder DESC) AS n
WHERE a.resolved_at IS NULL
  AND (n.state = 'silenced' OR (n.state = 'delivered' AND n.finished_at < $1::timestamptz))
ORDER BY n.finished_at
LIMIT $2
