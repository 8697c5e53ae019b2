-- Reads the notifications of an alert.
-- Parameters: $1 alert
-- Rows returned: one for each transition, receiver and reminder, in order
SELECT t.action, n.receiver, n.reminder, n.state, n.reason, n.created_at, n.not_before, n.finished_at, n.message_id, m.attempts,
       m.answer
FROM webmon.alert_transitions t
JOIN webmon.notifications n USING (transition_id)
LEFT JOIN webmon.messages m USING (message_id)
WHERE t.alert_id = $1
ORDER BY n.transition_id, n.receiver, n.reminder
