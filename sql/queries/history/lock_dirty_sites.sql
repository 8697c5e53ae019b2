-- Locks sites whose incidents must be derived, in order. Sites locked by others are passed over.
-- Parameters: $1 sites at most, $2 keys of sites to leave out, $3 only these sites (null: all)
-- Locks: the rows of the sites, until the transaction ends; records of these sites can still be stored meanwhile
-- Rows returned: the sites and their keys
SELECT site_id, key
FROM webmon.sites
WHERE site_id IN (SELECT site_id FROM webmon.incidents_dirty)
  AND key <> ALL($2::text[])
  AND ($3::integer[] IS NULL OR site_id = ANY($3))
ORDER BY site_id
LIMIT $1
FOR NO KEY UPDATE SKIP LOCKED
