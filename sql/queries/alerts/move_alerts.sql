-- Begins and ends alerts. No alert begins twice: a unique index sees to it.
-- Parameters, arrays of the same length: $1 alerts, $2 kinds, $3 levels, $4 whether they begin (firing) or end (resolved),
--             $5 sites (null: about webmon), $6 subjects, $7 severities, $8 instants, $9 when it was noticed
-- Locks: the rows of the alerts, until the transaction ends; the caller has locked the subjects before
WITH moved AS (
    SELECT *
    FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::text[], $5::integer[], $6::text[], $7::text[],
                $8::timestamptz[], $9::timestamptz[])
         AS t (alert_id, kind, level, action, site_id, subject, severity, at, noticed_at)
), ended AS (
    UPDATE webmon.alerts a
    SET ended_at = m.at,
        resolved_at = m.noticed_at
    FROM moved m
    WHERE a.alert_id = m.alert_id
      AND m.action = 'resolved'
      AND a.resolved_at IS NULL
)
INSERT INTO webmon.alerts (alert_id, kind, level, site_id, subject, severity, began_at, fired_at)
SELECT alert_id, kind, level, site_id, subject, severity, at, noticed_at
FROM moved
WHERE action = 'firing'
