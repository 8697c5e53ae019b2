-- Derives all rows of site_hours of one UTC hour again from its results and gaps. It records which locations and versions were
-- seen. It marks the incidents of a site as changed if the first success of the hour has changed, if there are more successes
-- and the site needs several to recover, or if other locations count as in use.
--
-- The instants of a gap are spread evenly over it: of n instants in [from, to) number i (from 0) lies at
-- from + (to - from) * i / n. Where gaps overlap, the one that begins first counts. Every row of the hour within a gap takes
-- one instant away from it.
--
-- Parameters: $1 hour, $2 its end. Both are given as values, so that only the partition of the hour is planned for and
--             locked.
-- Locks: the written rows, until the transaction ends; the caller has locked the hour before
-- Rows changed: the rows of incidents_dirty
WITH groups AS MATERIALIZED (
    SELECT site_id,
           location_id,
           version_id,
           certificate_id,
           CASE WHEN outcome <> 'm' THEN webmon.histogram_bucket(total_us) END AS bucket,
           count(*) FILTER (WHERE outcome = 's') AS success,
           count(*) FILTER (WHERE degraded) AS degraded,
           count(*) FILTER (WHERE outcome = 'f') AS failure,
           count(*) FILTER (WHERE error_type = 101) AS late,
           count(*) FILTER (WHERE error_type = 102) AS overlap,
           count(*) FILTER (WHERE error_type = 103) AS saturated,
           count(*) FILTER (WHERE error_type = 104) AS cancelled,
           count(*) FILTER (WHERE error_type = 105) AS network_down,
           count(*) FILTER (WHERE error_type = 106) AS checker_down,
           count(*) FILTER (WHERE error_type = 107) AS maintenance,
           min(scheduled_at) FILTER (WHERE outcome = 's') AS first_success_at,
           sum(total_us) FILTER (WHERE outcome <> 'm') AS total_us_sum,
           sum(dns_us) FILTER (WHERE outcome <> 'm' AND total_us IS NOT NULL) AS dns_us_sum,
           sum(connect_us) FILTER (WHERE outcome <> 'm' AND total_us IS NOT NULL) AS connect_us_sum,
           sum(tls_us) FILTER (WHERE outcome <> 'm' AND total_us IS NOT NULL) AS tls_us_sum,
           sum(ttfb_us) FILTER (WHERE outcome <> 'm' AND total_us IS NOT NULL) AS ttfb_us_sum,
           sum(download_us) FILTER (WHERE outcome <> 'm' AND total_us IS NOT NULL) AS download_us_sum,
           min(total_us) FILTER (WHERE outcome <> 'm') AS total_us_min,
           max(total_us) FILTER (WHERE outcome <> 'm') AS total_us_max,
           max(next_after_s) AS next_after_s,
           min(scheduled_at) AS first_at,
           max(scheduled_at) AS last_at
    FROM webmon.check_results
    WHERE scheduled_at >= $1::timestamptz
      AND scheduled_at < $2::timestamptz
    GROUP BY site_id, location_id, version_id, certificate_id, bucket
), buckets AS (
    SELECT site_id, location_id, bucket, sum(success + failure)::integer AS count
    FROM groups
    WHERE bucket IS NOT NULL
    GROUP BY site_id, location_id, bucket
), histograms AS (
    SELECT site_id,
           location_id,
           array_agg(bucket ORDER BY bucket) AS buckets,
           array_agg(count ORDER BY bucket) AS counts
    FROM buckets
    GROUP BY site_id, location_id
), results AS (
    SELECT site_id,
           location_id,
           min(first_success_at) AS first_success_at,
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
           min(total_us_min) AS total_us_min,
           max(total_us_max) AS total_us_max,
           max(next_after_s) AS next_after_s
    FROM groups
    GROUP BY site_id, location_id
), stretches AS (
    SELECT site_id,
           location_id,
           from_at,
           end_at,
           -- Numeric, because the products of these do not fit into an integer.
           extract(epoch FROM end_at - from_at) AS seconds,
           -- Instants are whole seconds, so a gap has at most one for each second, and an hour has 3,600.
           least(instants, extract(epoch FROM end_at - from_at)) AS instants,
           greatest($1, from_at, max(end_at) OVER (
               PARTITION BY site_id, location_id
               ORDER BY from_at, end_at, reason
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS counts_from,
           least($2, end_at) AS counts_to
    FROM (SELECT *, coalesce(to_at, from_at + interval '1 second') AS end_at FROM webmon.gaps) AS gaps
    WHERE tstzrange(from_at, coalesce(to_at, from_at), '[]') && tstzrange($1, $2)
), missing AS (
    SELECT s.site_id,
           s.location_id,
           least(sum(greatest(0, l.until_end - l.until_begin - rows.count)), 3600)::integer AS gap
    FROM stretches s
    -- How many instants lie before each end. The divisions round up.
    CROSS JOIN LATERAL (
        SELECT div(extract(epoch FROM s.counts_to - s.from_at) * s.instants + s.seconds - 1, s.seconds) AS until_end,
               div(extract(epoch FROM s.counts_from - s.from_at) * s.instants + s.seconds - 1, s.seconds) AS until_begin
    ) AS l
    CROSS JOIN LATERAL (
        SELECT count(*)
        FROM webmon.check_results r
        WHERE r.site_id = s.site_id
          AND r.location_id = s.location_id
          AND r.scheduled_at >= s.counts_from
          AND r.scheduled_at < s.counts_to
          AND r.scheduled_at >= $1
          AND r.scheduled_at < $2
    ) AS rows
    WHERE s.counts_from < s.counts_to
    GROUP BY s.site_id, s.location_id
), before AS (
    SELECT site_id, location_id, first_success_at, success
    FROM webmon.site_hours
    WHERE hour = $1
), written AS (
    INSERT INTO webmon.site_hours AS stored (
        hour, first_success_at, total_us_sum, dns_us_sum, connect_us_sum, tls_us_sum, ttfb_us_sum, download_us_sum, site_id,
        success, degraded, failure, late, overlap, saturated, cancelled, network_down, checker_down, maintenance, gap,
        total_us_min, total_us_max, location_id, buckets, counts)
    SELECT $1, r.first_success_at, r.total_us_sum, r.dns_us_sum, r.connect_us_sum, r.tls_us_sum, r.ttfb_us_sum,
           r.download_us_sum, site_id, coalesce(r.success, 0), coalesce(r.degraded, 0), coalesce(r.failure, 0),
           coalesce(r.late, 0), coalesce(r.overlap, 0), coalesce(r.saturated, 0), coalesce(r.cancelled, 0),
           coalesce(r.network_down, 0), coalesce(r.checker_down, 0), coalesce(r.maintenance, 0), coalesce(m.gap, 0),
           r.total_us_min, r.total_us_max, location_id, coalesce(h.buckets, '{}'), coalesce(h.counts, '{}')
    FROM results r
    LEFT JOIN histograms h USING (site_id, location_id)
    FULL JOIN missing m USING (site_id, location_id)
    -- If an hour no longer has anything of a site, a row of zeros is written.
    FULL JOIN before b USING (site_id, location_id)
    ON CONFLICT (site_id, location_id, hour) DO UPDATE
    SET first_success_at = excluded.first_success_at,
        total_us_sum = excluded.total_us_sum,
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
    RETURNING site_id, location_id, first_success_at, success
), recovering AS (
    -- Sites that need several consecutive successes, and have some more. Only those after the last failures of the hour count,
    -- and of them only as many as are needed. If there are more before these failures, find_failure_runs marks it.
    SELECT w.site_id
    FROM written w
    JOIN webmon.sites s USING (site_id)
    LEFT JOIN before b USING (site_id, location_id)
    CROSS JOIN LATERAL (
        SELECT coalesce(b.success, 0) - coalesce(max(f.successes_before), 0) AS successes
        FROM webmon.failure_runs f
        WHERE f.site_id = w.site_id
          AND f.location_id = w.location_id
          AND f.from_at >= $1
          AND f.from_at < $2
    ) AS since
    WHERE s.incident_recoveries > 1
      AND w.success <> coalesce(b.success, 0)
      AND since.successes < s.incident_recoveries
), joined AS (
    -- Sites that are in use at a location from this hour on. Until now they were known to be so from a later hour on (null:
    -- none was rolled up), or they were retired there.
    SELECT r.site_id,
           coalesce(l.first_hour, 'infinity') AS first_hour,
           l.retired_at,
           s.incident_locations_percent IS NOT NULL OR s.incident_min_voters > 1 AS votes
    FROM results r
    JOIN webmon.sites s USING (site_id)
    LEFT JOIN webmon.site_locations l USING (site_id, location_id)
    WHERE coalesce(l.first_hour, 'infinity') > $1
       OR l.retired_at <= $1
), located AS (
    INSERT INTO webmon.site_locations AS stored (
        site_id, location_id, first_hour, last_hour, last_verdict_hour, next_after_s)
    SELECT site_id, location_id, $1, $1, CASE WHEN success + failure > 0 THEN $1 END, next_after_s
    FROM results
    -- Two hours that are rolled up at the same time lock in the same order.
    ORDER BY site_id, location_id
    ON CONFLICT (site_id, location_id) DO UPDATE
    SET first_hour = least(stored.first_hour, excluded.first_hour),
        last_hour = greatest(stored.last_hour, excluded.last_hour),
        last_verdict_hour = greatest(stored.last_verdict_hour, excluded.last_verdict_hour),
        next_after_s = CASE WHEN stored.last_hour <= excluded.last_hour THEN excluded.next_after_s
                            ELSE stored.next_after_s END,
        retired_at = CASE WHEN stored.retired_at > excluded.last_hour THEN stored.retired_at END
    WHERE stored.first_hour > excluded.first_hour
       OR stored.first_hour IS NULL
       OR stored.last_hour < excluded.last_hour
       OR stored.last_verdict_hour < excluded.last_verdict_hour
       OR (stored.last_verdict_hour IS NULL AND excluded.last_verdict_hour IS NOT NULL)
       OR (stored.last_hour = excluded.last_hour AND stored.next_after_s IS DISTINCT FROM excluded.next_after_s)
       OR stored.retired_at <= excluded.last_hour
), in_use AS (
    UPDATE webmon.locations l
    SET retired_at = NULL
    WHERE l.retired_at <= $1
      AND l.location_id IN (SELECT location_id FROM results)
), versions AS (
    SELECT site_id, version_id, min(first_at) AS first_at, max(last_at) AS last_at
    FROM groups
    GROUP BY site_id, version_id
), seen AS (
    UPDATE webmon.site_versions v
    SET first_seen_at = least(v.first_seen_at, g.first_at),
        last_seen_at = greatest(v.last_seen_at, g.last_at)
    FROM versions g
    WHERE v.version_id = g.version_id
      AND (v.first_seen_at > g.first_at OR v.last_seen_at < g.last_at OR v.last_seen_at IS NULL)
), presented AS (
    UPDATE webmon.site_certificates c
    SET first_seen_at = least(c.first_seen_at, g.first_at),
        last_seen_at = greatest(c.last_seen_at, g.last_at)
    FROM (SELECT certificate_id, min(first_at) AS first_at, max(last_at) AS last_at
          FROM groups
          GROUP BY certificate_id) AS g
    WHERE c.certificate_id = g.certificate_id
      AND (c.first_seen_at > g.first_at OR c.last_seen_at < g.last_at OR c.last_seen_at IS NULL)
)
INSERT INTO webmon.incidents_dirty (site_id, from_at, to_at)
SELECT DISTINCT site_id, $1, $2
FROM written w
LEFT JOIN before b USING (site_id, location_id)
WHERE w.first_success_at IS DISTINCT FROM b.first_success_at
UNION
-- A gap may say that a site was retired, or that it was not. That can end an incident or bring it back.
SELECT site_id, $1, $2
FROM stretches
WHERE from_at >= $1
UNION
SELECT site_id, $1, $2
FROM recovering
UNION
SELECT site_id, $1, first_hour
FROM joined
WHERE first_hour > $1
UNION
-- A retirement is taken back. If the number of locations in use counts, that changes all since then.
SELECT site_id, CASE WHEN votes THEN retired_at ELSE $1 END, CASE WHEN votes THEN 'infinity' ELSE $2 END
FROM joined
WHERE retired_at <= $1
UNION
-- Versions with other thresholds than those in force.
SELECT g.site_id, $1, $2
FROM versions g
JOIN webmon.site_versions v USING (version_id)
JOIN webmon.sites s ON s.site_id = g.site_id
WHERE (coalesce(v.incident_failures, 2), coalesce(v.incident_recoveries, 1),
       CASE WHEN v.incident_locations_percent IS NULL THEN coalesce(v.incident_locations, 1) END,
       v.incident_locations_percent, coalesce(v.incident_min_voters, 1))
    IS DISTINCT FROM
      (s.incident_failures, s.incident_recoveries, s.incident_locations, s.incident_locations_percent, s.incident_min_voters)
