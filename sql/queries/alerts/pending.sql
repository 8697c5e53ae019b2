-- Reads what a receiver is to be told now.
-- Parameters: $1 receiver, $2 rows at most
-- Rows returned: the notifications in the order of their transitions. Of an end: what became of the beginning, and told if
--                the receiver has heard of it, if only by a reminder. Whether an earlier one of the same kind and subject
--                goes on waiting
SELECT n.transition_id,
       n.reminder,
       t.notice,
       t.site_id,
       a.resolved_at IS NOT NULL AS is_over,
       CASE WHEN t.action = 'resolved' THEN (
           SELECT CASE WHEN bool_or(b.state IN ('sending', 'delivered', 'dead')) THEN 'told'
                       ELSE min(b.state) FILTER (WHERE b.reminder = 0) END
           FROM webmon.notifications b
           WHERE b.transition_id = t.alert_id
             AND b.receiver = n.receiver) END AS beginning,
       EXISTS (
           SELECT
           FROM webmon.alert_transitions earlier
           JOIN webmon.notifications waiting USING (transition_id)
           WHERE earlier.subject = t.subject
             AND earlier.kind = t.kind
             AND earlier.transition_id < n.transition_id
             AND waiting.receiver = n.receiver
             AND waiting.state = 'pending'
             AND waiting.reminder = 0
             AND waiting.not_before > clock_timestamp()) AS is_out_of_turn
FROM webmon.notifications n
JOIN webmon.alert_transitions t USING (transition_id)
JOIN webmon.alerts a USING (alert_id)
WHERE n.receiver = $1
  AND n.state = 'pending'
  AND n.not_before <= clock_timestamp()
ORDER BY n.transition_id, n.reminder
LIMIT $2
