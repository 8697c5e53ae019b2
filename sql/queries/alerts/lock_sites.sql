-- Locks sites that are to be judged: those with notes, the oldest first, and those whose time has come. Sites that another
-- process judges are passed over.
-- Parameters: $1 sites of each sort at most
-- Locks: the rows of the sites, until the transaction ends. Writers do not wait for these locks.
-- Rows returned: the sites
SELECT site_id
FROM webmon.alert_sites
WHERE site_id IN (
          (SELECT n.site_id
           FROM (SELECT site_id, note_id FROM webmon.alert_notes ORDER BY note_id LIMIT $1::bigint * 4) AS n
           GROUP BY n.site_id
           ORDER BY min(n.note_id)
           LIMIT $1::bigint)
          UNION
          (SELECT p.site_id FROM webmon.alert_places p WHERE p.look_at <= clock_timestamp() ORDER BY p.look_at LIMIT $1))
ORDER BY site_id
FOR UPDATE SKIP LOCKED
