-- Locks sites whose incidents are to be derived, in order; those locked by others are passed over.
-- Parameters: $1 sites at most
-- Locks: the rows of the sites, until the transaction ends; records of these sites may be stored meanwhile
-- Rows returned: the sites
SELECT site_id
FROM webmon.sites
WHERE site_id IN (SELECT site_id FROM webmon.incidents_dirty)
ORDER BY site_id
LIMIT $1
FOR NO KEY UPDATE SKIP LOCKED
