-- Derives all rows of site_days of one UTC day again from its hours.
-- Parameters: $1 day
-- Locks: the written rows, until the transaction ends; the caller has locked the day before, and made sure that its hours
--        are there
-- Rows changed: the rows written
WITH hours AS MATERIALIZED (
    SELECT *
    FROM webmon.site_hours
    WHERE hour >= $1::date::timestamp AT TIME ZONE 'UTC'
      AND hour < ($1 + 1)::timestamp AT TIME ZONE 'UTC'
), buckets AS (
    SELECT site_id, location_id, b.bucket, sum(b.count)::integer AS count
    FROM hours
    CROSS JOIN LATERAL unnest(buckets, counts) AS b (bucket, count)
    GROUP BY site_id, location_id, b.bucket
), histograms AS (
    SELECT site_id,
           location_id,
           array_agg(bucket ORDER BY bucket) AS buckets,
           array_agg(count ORDER BY bucket) AS counts
    FROM buckets
    GROUP BY site_id, location_id
), sums AS (
    SELECT site_id,
           location_id,
           sum(total_us_sum)::bigint AS total_us_sum,
           sum(dns_us_sum)::bigint AS dns_us_sum,
           sum(connect_us_sum)::bigint AS connect_us_sum,
           sum(tls_us_sum)::bigint AS tls_us_sum,
           sum(ttfb_us_sum)::bigint AS ttfb_us_sum,
           sum(download_us_sum)::bigint AS download_us_sum,
           sum(success)::integer AS success,
           sum(degraded)::integer AS degraded,
           sum(failure)::integer AS failure,
           sum(late)::integer AS late,
           sum(overlap)::integer AS overlap,
           sum(saturated)::integer AS saturated,
           sum(cancelled)::integer AS cancelled,
           sum(network_down)::integer AS network_down,
           sum(checker_down)::integer AS checker_down,
           sum(maintenance)::integer AS maintenance,
           sum(gap)::integer AS gap,
           min(total_us_min) AS total_us_min,
           max(total_us_max) AS total_us_max
    FROM hours
    GROUP BY site_id, location_id
)
INSERT INTO webmon.site_days AS stored (
    total_us_sum, dns_us_sum, connect_us_sum, tls_us_sum, ttfb_us_sum, download_us_sum, site_id, day, success, degraded,
    failure, late, overlap, saturated, cancelled, network_down, checker_down, maintenance, gap, total_us_min, total_us_max,
    location_id, buckets, counts)
SELECT total_us_sum, dns_us_sum, connect_us_sum, tls_us_sum, ttfb_us_sum, download_us_sum, site_id, $1, success, degraded,
       failure, late, overlap, saturated, cancelled, network_down, checker_down, maintenance, gap, total_us_min,
       total_us_max, location_id, coalesce(buckets, '{}'), coalesce(counts, '{}')
FROM sums
LEFT JOIN histograms USING (site_id, location_id)
ON CONFLICT (site_id, location_id, day) DO UPDATE
SET total_us_sum = excluded.total_us_sum,
    dns_us_sum = excluded.dns_us_sum,
    connect_us_sum = excluded.connect_us_sum,
    tls_us_sum = excluded.tls_us_sum,
    ttfb_us_sum = excluded.ttfb_us_sum,
    download_us_sum = excluded.download_us_sum,
    success = excluded.success,
    degraded = excluded.degraded,
    failure = excluded.failure,
    late = excluded.late,
    overlap = excluded.overlap,
    saturated = excluded.saturated,
    cancelled = excluded.cancelled,
    network_down = excluded.network_down,
    checker_down = excluded.checker_down,
    maintenance = excluded.maintenance,
    gap = excluded.gap,
    total_us_min = excluded.total_us_min,
    total_us_max = excluded.total_us_max,
    buckets = excluded.buckets,
    counts = excluded.counts
-- The whole rows, because every column is derived.
WHERE stored IS DISTINCT FROM excluded
