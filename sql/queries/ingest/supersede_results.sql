-- Replaces stored results with results of a higher rank: missed < failure < success. It runs after insert_results, in the
-- same transaction. A result that replaces nothing is a duplicate: its rank is the same as the stored one's, or lower. All
-- are of one UTC day.
-- Do not prepare it: planned with its values, it reads and locks one partition; planned without, it locks all of them.
-- Parameters: as in insert_results; $35 begin and $36 end of the day
-- Locks: the replaced rows, until the transaction ends
-- Rows changed: the results replaced
UPDATE webmon.check_results stored
SET cert_not_after = new.cert_not_after,
    version_id = new.version_id,
    checker_id = new.checker_id,
    next_after_s = new.next_after_s,
    started_after_us = new.started_after_us,
    dns_us = new.dns_us,
    connect_us = new.connect_us,
    tls_us = new.tls_us,
    ttfb_us = new.ttfb_us,
    download_us = new.download_us,
    total_us = new.total_us,
    body_bytes = new.body_bytes,
    certificate_id = new.certificate_id,
    http_status = new.http_status,
    redirects = new.redirects,
    attempts = new.attempts,
    failed_expectations = new.failed_expectations,
    error_type = new.error_type,
    outcome = new.outcome,
    http_version = new.http_version,
    tls_version = new.tls_version,
    body_matched = new.body_matched,
    body_truncated = new.body_truncated,
    degraded = new.degraded,
    remote_ip = new.remote_ip,
    final_url = new.final_url,
    error_detail = new.error_detail,
    error_message = new.error_message,
    sample = new.sample,
    hops = new.hops,
    tries = new.tries
FROM unnest(
    $1::timestamptz[], $2::timestamptz[], $3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::integer[],
    $8::integer[], $9::integer[], $10::integer[], $11::integer[], $12::integer[], $13::integer[], $14::integer[],
    $15::integer[], $16::integer[], $17::smallint[], $18::smallint[], $19::smallint[], $20::smallint[],
    $21::smallint[], $22::"char"[], $23::"char"[], $24::"char"[], $25::boolean[], $26::boolean[], $27::boolean[],
    $28::inet[], $29::text[], $30::text[], $31::text[], $32::jsonb[], $33::jsonb[], $34::jsonb[])
    AS new (
        scheduled_at, cert_not_after, site_id, version_id, checker_id, next_after_s, started_after_us, dns_us,
        connect_us, tls_us, ttfb_us, download_us, total_us, body_bytes, location_id, certificate_id, http_status, redirects,
        attempts, failed_expectations, error_type, outcome, http_version, tls_version, body_matched, body_truncated,
        degraded, remote_ip, final_url, error_detail, error_message, sample, hops, tries)
WHERE stored.site_id = new.site_id
  AND stored.location_id = new.location_id
  AND stored.scheduled_at = new.scheduled_at
  AND stored.scheduled_at >= $35
  AND stored.scheduled_at < $36
  AND webmon.outcome_rank(new.outcome) > webmon.outcome_rank(stored.outcome)
