-- Finds when the certificates of sites expire: the one that expires first, of all locations.
-- Rows returned: one for each site that is checked and has one
SELECT s.site_id,
       c.site AS key,
       min(c.name) AS name,
       min(c.url) AS url,
       (array_agg(c.labels))[1] AS labels,
       min(least(c.cert_not_after, c.cert_chain_not_after)) AS not_after
FROM webmon.current_status c
JOIN webmon.sites s ON s.key = c.site
WHERE c.status <> 'retired'
  AND c.cert_not_after IS NOT NULL
GROUP BY s.site_id, c.site
