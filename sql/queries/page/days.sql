-- How many instants ended how, on some UTC days.
--
-- Parameters: $1 date[]: the days.
-- Locks: none.
-- Rows: one for each site and day that has instants.
SELECT d.site_id, d.day,
       sum(d.success) AS success,
       sum(d.failure) AS failure,
       sum(webmon.missed(d) + d.gap) AS unchecked,
       sum(d.maintenance) AS planned
FROM webmon.site_days d
WHERE d.day = ANY ($1)
GROUP BY d.site_id, d.day
