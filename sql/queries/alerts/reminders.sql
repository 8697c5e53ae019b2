-- Finds alerts that still fire and may be told again: those that were told long enough ago, and those that were silenced. So
-- many rows at once that whoever passes some over asks for the next ones.
-- Parameters, arrays of the same length: $1 receivers with a route that reminds, $2 only what they were told before this time;
--             $3, $4 and $5 the time, transition and receiver of the row returned last (null: from the beginning on), $6 rows at
--             most
-- Rows returned: one for each alert and receiver, those that wait longest first
SELECT n.transition_id, n.receiver, n.reminder, n.state, n.finished_at, t.notice
FROM webmon.alerts a
JOIN webmon.alert_transitions t ON t.transition_id = a.alert_id
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (receiver) *
    FROM webmon.notifications
    WHERE transition_id = a.alert_id
    ORDER BY receiver, reminder DESC) AS n
LEFT JOIN unnest($1::text[], $2::timestamptz[]) AS r (receiver, told_before) ON r.receiver = n.receiver
WHERE a.resolved_at IS NULL
  AND (n.state = 'silenced' OR (n.state = 'delivered' AND n.finished_at < r.told_before))
  AND ($3::timestamptz IS NULL OR (n.finished_at, n.transition_id, n.receiver) > ($3, $4::bigint, $5::text))
ORDER BY n.finished_at, n.transition_id, n.receiver
LIMIT $6
