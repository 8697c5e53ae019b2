-- Stores the results whose identity is not stored yet. The batch is sorted by identity, so that two writers lock in the same
-- order.
-- Parameters: one array for each column, all of the same length
-- Locks: the new rows; waits for a transaction that inserts the same identity
-- Rows changed: the results inserted
INSERT INTO webmon.check_results (
    scheduled_at, cert_not_after, site_id, version_id, checker_id, next_after_s, started_after_us, dns_us,
    connect_us, tls_us, ttfb_us, download_us, total_us, body_bytes, location_id, certificate_id, http_status, redirects,
    attempts, failed_expectations, error_type, outcome, http_version, tls_version, body_matched, body_truncated,
    degraded, remote_ip, final_url, error_detail, error_message, sample, hops, tries)
SELECT *
FROM unnest(
    $1::timestamptz[], $2::timestamptz[], $3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::integer[],
    $8::integer[], $9::integer[], $10::integer[], $11::integer[], $12::integer[], $13::integer[], $14::integer[],
    $15::integer[], $16::integer[], $17::smallint[], $18::smallint[], $19::smallint[], $20::smallint[],
    $21::smallint[], $22::"char"[], $23::"char"[], $24::"char"[], $25::boolean[], $26::boolean[], $27::boolean[],
    $28::inet[], $29::text[], $30::text[], $31::text[], $32::jsonb[], $33::jsonb[], $34::jsonb[])
ON CONFLICT (site_id, location_id, scheduled_at) DO NOTHING
