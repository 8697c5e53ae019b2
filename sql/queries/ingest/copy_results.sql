-- Stores new results. If one of them is stored already, it stores none. They are sorted by identity.
-- Data: binary format, the columns as listed
-- Locks: the new rows; waits for a transaction that inserts the same identity
COPY webmon.check_results (
    scheduled_at, cert_not_after, site_id, version_id, checker_id, next_after_s, started_after_us, dns_us,
    connect_us, tls_us, ttfb_us, download_us, total_us, body_bytes, location_id, certificate_id, http_status, redirects,
    attempts, failed_expectations, error_type, outcome, http_version, tls_version, body_matched, body_truncated,
    degraded, remote_ip, final_url, error_detail, error_message, sample, hops, tries)
FROM STDIN (FORMAT binary)
