-- Stores gaps. A gap that is reported again, even if it is longer now, stays one row.
-- Parameters: $1 site ids, $2 location ids, $3 from, $4 to (null: retired), $5 instants, $6 reasons, $7 checker ids
-- Locks: the written rows, until the transaction ends
INSERT INTO webmon.gaps AS stored (site_id, location_id, from_at, to_at, instants, reason, checker_id)
SELECT DISTINCT ON (g.site_id, g.location_id, g.from_at, g.reason) g.*
FROM unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::text[],
            $7::integer[]) AS g (site_id, location_id, from_at, to_at, instants, reason, checker_id)
ORDER BY g.site_id, g.location_id, g.from_at, g.reason, g.instants DESC
ON CONFLICT (site_id, location_id, from_at, reason) DO UPDATE
SET to_at = excluded.to_at,
    instants = excluded.instants,
    checker_id = excluded.checker_id,
    stored_at = now()
WHERE excluded.instants > stored.instants
