-- Saves what the locations of sites came to.
-- Parameters, arrays of the same length: $1 sites, $2 locations, $3 newest instants (null: as it was), $4 when to look again
--             (null: only after a note), $5 since when down, $6 since when slow (null: not)
-- Locks: the written rows, until the transaction ends; the caller has locked the sites before
UPDATE webmon.alert_places p
SET newest_at = coalesce(new.newest_at, p.newest_at),
    look_at = new.look_at,
    down_since_at = new.down_since_at,
    slow_since_at = new.slow_since_at
FROM unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
     AS new (site_id, location_id, newest_at, look_at, down_since_at, slow_since_at)
WHERE p.site_id = new.site_id
  AND p.location_id = new.location_id
