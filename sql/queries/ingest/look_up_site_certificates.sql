-- Finds certificates of sites.
-- Parameters: $1 site ids, $2 SHA-256 in hexadecimal, $3 issuers, $4 names, $5 expiry of the certificates, $6 expiry of their
--             chains: one array for each column, all of the same length
-- Rows returned: place in the arrays (from 1) and id of those that are stored
SELECT w.place, c.certificate_id
FROM unnest($1::integer[], $2::text[], $3::text[], $4::jsonb[], $5::timestamptz[], $6::timestamptz[])
    WITH ORDINALITY AS w (site_id, sha256, issuer, subject_names, not_after, chain_not_after, place)
JOIN webmon.site_certificates c
    ON c.site_id = w.site_id
   AND c.digest = webmon.certificate_digest(w.sha256, w.issuer, w.subject_names, w.not_after, w.chain_not_after)
