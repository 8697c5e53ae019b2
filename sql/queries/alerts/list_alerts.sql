-- Lists alerts, the newest first.
-- Parameters: $1 whether those that have ended are listed too, $2 only this subject (null: all), $3 only this kind (null: all),
--             $4 alerts at most, $5 only this alert (null: all)
-- Rows returned: one for each alert, with how many notifications are in each state
SELECT a.alert_id,
       a.kind,
       a.subject,
       a.severity,
       a.began_at,
       a.ended_at,
       a.fired_at,
       a.resolved_at,
       t.notice ->> 'summary' AS summary,
       (SELECT i.incident_id
        FROM webmon.site_incidents i
        WHERE a.kind = 'down'
          AND i.site_id = a.site_id
          AND i.from_at <= coalesce(a.ended_at, 'infinity')
          AND coalesce(i.to_at, 'infinity') >= a.began_at
        ORDER BY i.from_at
        LIMIT 1) AS incident_id,
       count(*) FILTER (WHERE n.state IN ('pending', 'sending')) AS pending,
       count(*) FILTER (WHERE n.state = 'delivered') AS delivered,
       count(*) FILTER (WHERE n.state IN ('superseded', 'silenced')) AS kept_back,
       count(*) FILTER (WHERE n.state = 'dead') AS dead
FROM (SELECT *
      FROM webmon.alerts
      WHERE ($1 OR resolved_at IS NULL)
        AND ($2::text IS NULL OR subject = $2)
        AND ($3::text IS NULL OR kind = $3)
        AND ($5::bigint IS NULL OR alert_id = $5)
      ORDER BY alert_id DESC
      LIMIT $4) AS a
JOIN webmon.alert_transitions t ON t.transition_id = a.alert_id
LEFT JOIN webmon.alert_transitions both_ends ON both_ends.alert_id = a.alert_id
LEFT JOIN webmon.notifications n ON n.transition_id = both_ends.transition_id
GROUP BY a.alert_id, a.kind, a.subject, a.severity, a.began_at, a.ended_at, a.fired_at, a.resolved_at, a.site_id, t.notice
ORDER BY a.alert_id DESC
