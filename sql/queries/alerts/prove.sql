-- Proves that every transition has one notification for each receiver that it names, and what became of them.
-- Rows returned: one
WITH told AS (
    SELECT t.transition_id,
           cardinality(t.receivers) AS named,
           count(n.receiver) FILTER (WHERE n.reminder = 0 AND n.receiver = ANY(t.receivers)) AS notified,
           count(n.receiver) FILTER (WHERE n.reminder = 0 AND n.receiver <> ALL(t.receivers)) AS strangers
    FROM webmon.alert_transitions t
    LEFT JOIN webmon.notifications n USING (transition_id)
    GROUP BY t.transition_id
), turned AS (
    SELECT kind, subject, level, action,
           lag(action) OVER (PARTITION BY kind, subject, level ORDER BY transition_id) AS before
    FROM webmon.alert_transitions
)
SELECT (SELECT count(*) FROM webmon.alert_transitions) AS transitions,
       (SELECT count(*) FROM told WHERE notified <> named OR strangers > 0) AS unaccounted,
       (SELECT count(*) FROM turned WHERE action = before) AS repeated,
       (SELECT count(*)
        FROM webmon.notifications n
        JOIN webmon.messages m USING (message_id)
        WHERE (n.state = 'delivered') <> (m.state = 'delivered')
           OR (n.state = 'sending') <> (m.state = 'pending')) AS contradictions,
       count(*) AS notifications,
       count(*) FILTER (WHERE state IN ('pending', 'sending')) AS pending,
       count(*) FILTER (WHERE state = 'delivered') AS delivered,
       count(*) FILTER (WHERE state = 'superseded') AS superseded,
       count(*) FILTER (WHERE state = 'silenced') AS silenced,
       count(*) FILTER (WHERE state = 'dead') AS dead
FROM webmon.notifications
