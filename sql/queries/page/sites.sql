-- What each site is called and how it is configured.
--
-- Locks: none.
-- Rows: one for each site, also for those that are gone.
SELECT k.site_id, c.site, c.name, c.url, c.method, c.labels, c.schedule, c.maintenance, c.slo_uptime_ppm,
       c.slo_window_days
FROM webmon.current_sites c
JOIN webmon.sites k ON k.key = c.site
