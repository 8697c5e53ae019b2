-- Deletes alerts that ended long ago, with their transitions and notifications.
-- Parameters: $1 ended before this time, $2 alerts at most
-- Locks: the rows, until the transaction ends
-- Rows changed: the transitions
DELETE FROM webmon.alert_transitions
WHERE alert_id IN (
    SELECT a.alert_id
    FROM webmon.alerts a
    WHERE a.resolved_at < $1::timestamptz
      AND NOT EXISTS (
          SELECT
          FROM webmon.alert_transitions t
          JOIN webmon.notifications n USING (transition_id)
          WHERE t.alert_id = a.alert_id
            AND n.state IN ('pending', 'sending'))
    ORDER BY a.resolved_at
    LIMIT $2)
