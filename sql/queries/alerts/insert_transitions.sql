-- Stores transitions.
-- Parameters, arrays of the same length: $1 their ids, $2 alerts, $3 kinds, $4 levels, $5 actions, $6 sites (null: about
--             webmon), $7 subjects, $8 instants, $9 when they were noticed, $10 receivers (arrays in JSON), $11 notices
-- Locks: none; the caller has locked the subjects before
INSERT INTO webmon.alert_transitions (
    transition_id, alert_id, kind, level, action, site_id, subject, at, noticed_at, receivers, notice)
OVERRIDING SYSTEM VALUE
SELECT t.transition_id, t.alert_id, t.kind, t.level, t.action, t.site_id, t.subject, t.at, t.noticed_at,
       ARRAY(SELECT jsonb_array_elements_text(t.receivers)), t.notice
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[], $5::text[], $6::integer[], $7::text[], $8::timestamptz[],
            $9::timestamptz[], $10::jsonb[], $11::jsonb[])
     AS t (transition_id, alert_id, kind, level, action, site_id, subject, at, noticed_at, receivers, notice)
