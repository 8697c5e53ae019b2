-- The certificates that the servers of a site presented.
--
-- Parameters: $1 text: the site's key; $2 bigint: how many.
-- Locks: none.
-- Rows: one for each certificate, the one that was seen last first.
SELECT c.sha256, c.issuer, c.subject_names, c.not_after, c.chain_not_after, c.first_seen_at, c.last_seen_at
FROM webmon.certificate_history c
WHERE c.site = $1
ORDER BY c.last_seen_at DESC NULLS FIRST, c.first_seen_at DESC
LIMIT $2
