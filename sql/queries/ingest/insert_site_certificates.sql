-- Adds the certificates of sites that are not stored yet. A server chooses its certificate, and could choose another one for
-- each check. So a site gets at most 100 new ones in 24 hours, and the others are left out.
-- Parameters: as in look_up_site_certificates
INSERT INTO webmon.site_certificates (site_id, sha256, issuer, subject_names, not_after, chain_not_after)
SELECT w.site_id, w.sha256, w.issuer, w.subject_names, w.not_after, w.chain_not_after
FROM (
    SELECT w.*, row_number() OVER (PARTITION BY w.site_id ORDER BY w.sha256, w.chain_not_after) AS number
    FROM unnest($1::integer[], $2::text[], $3::text[], $4::jsonb[], $5::timestamptz[], $6::timestamptz[])
        AS w (site_id, sha256, issuer, subject_names, not_after, chain_not_after)
    WHERE NOT EXISTS (
        SELECT
        FROM webmon.site_certificates c
        WHERE c.site_id = w.site_id
          AND c.digest = webmon.certificate_digest(w.sha256, w.issuer, w.subject_names, w.not_after, w.chain_not_after))
) AS w
WHERE w.number + (
    SELECT count(*)
    FROM webmon.site_certificates c
    WHERE c.site_id = w.site_id
      AND c.stored_at > now() - interval '24 hours') <= 100
ORDER BY w.site_id, w.sha256, w.chain_not_after
ON CONFLICT (site_id, digest) DO NOTHING
