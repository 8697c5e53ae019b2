-- Notes which locations must be judged: those with a failure or a slow success, those that nobody has judged yet, and all
-- with a new result of a site that is not settled.
--
-- No success that ends something is overlooked. All records of a site are in one partition, so its failure was committed
-- before. Either its note is still there, or whoever took the note has marked the site in the same transaction.
--
-- Parameters, arrays of the same length for distinct sites and locations: $1 sites, $2 locations, $3 their newest instants,
--             $4 whether there is a failure or a slow success
-- Locks: none
INSERT INTO webmon.alert_notes (site_id, location_id, newest_at)
SELECT new.site_id, new.location_id, new.newest_at
FROM unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::boolean[]) AS new (site_id, location_id, newest_at, bad)
-- Subqueries, because a join could be planned as a walk through all sites that are not settled for each new one.
WHERE new.bad
   OR (SELECT a.settled
       FROM webmon.alert_places p
       JOIN webmon.alert_sites a USING (site_id)
       WHERE p.site_id = new.site_id
         AND p.location_id = new.location_id) IS NOT TRUE
   OR EXISTS (SELECT FROM webmon.alert_notes n WHERE n.site_id = new.site_id)
