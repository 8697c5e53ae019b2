-- Begins and ends the incidents of some sites as their alerts say. A minute later they are derived from the results.
-- Parameters: $1 sites
-- Locks: the written rows, until the transaction ends; the caller has locked the sites before
WITH newest AS (
    SELECT DISTINCT ON (a.site_id) a.site_id, a.alert_id, a.began_at, a.ended_at
    FROM webmon.alerts a
    WHERE a.site_id = ANY($1::integer[])
      AND a.kind = 'down'
    ORDER BY a.site_id, a.alert_id DESC
), ended AS (
    UPDATE webmon.site_incidents i
    SET to_at = n.ended_at
    FROM newest n
    WHERE i.site_id = n.site_id
      AND i.to_at IS NULL
      AND i.from_at < n.ended_at
)
INSERT INTO webmon.site_incidents (site_id, from_at, failures, locations, error_type, error_detail)
SELECT n.site_id,
       n.began_at,
       1,
       jsonb_array_length(t.notice -> 'locations'),
       e.error_type,
       t.notice ->> 'error_detail'
FROM newest n
JOIN webmon.alert_transitions t ON t.transition_id = n.alert_id
JOIN webmon.error_types e ON e.name = t.notice ->> 'error_type'
WHERE n.ended_at IS NULL
  AND NOT EXISTS (
      SELECT
      FROM webmon.site_incidents i
      WHERE i.site_id = n.site_id
        AND (i.to_at IS NULL OR i.to_at > n.began_at))
ON CONFLICT (site_id, from_at) DO NOTHING
