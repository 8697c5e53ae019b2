-- Follows the chain from the gaps: the instant that ends one must be a result or lie in another gap. Where neither is
-- there and nothing later is, the chain ends.
-- Rows returned: as verify_rows; the counts are those of all gaps and of the ones that end
WITH missing AS (
    SELECT g.*
    FROM webmon.gaps g
    WHERE g.to_at IS NOT NULL
      AND NOT EXISTS (
              SELECT
              FROM webmon.check_results r
              WHERE r.site_id = g.site_id
                AND r.location_id = g.location_id
                AND r.scheduled_at = g.to_at)
      AND NOT EXISTS (
              SELECT
              FROM webmon.gaps o
              WHERE o.site_id = g.site_id
                AND o.location_id = g.location_id
                AND (g.to_at = o.from_at OR (g.to_at > o.from_at AND g.to_at < o.to_at)))
)
SELECT NULL AS site,
       NULL AS location,
       NULL::timestamptz AS announced_at,
       NULL::timestamptz AS due_at,
       NULL::boolean AS broken,
       count(*) AS rows,
       count(to_at) AS links
FROM webmon.gaps
UNION ALL
SELECT s.key,
       l.name,
       m.from_at,
       m.to_at,
       EXISTS (
           SELECT
           FROM webmon.check_results r
           WHERE r.site_id = m.site_id
             AND r.location_id = m.location_id
             AND r.scheduled_at > m.to_at)
       OR EXISTS (
           SELECT
           FROM webmon.gaps g
           WHERE g.site_id = m.site_id
             AND g.location_id = m.location_id
             AND g.from_at > m.to_at),
       0,
       0
FROM missing m
JOIN webmon.sites s USING (site_id)
JOIN webmon.locations l USING (location_id)
