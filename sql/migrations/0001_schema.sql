-- The schema of webmon 0.1.0.

-- Dimensions are small tables. The writer looks ids up in them and caches them. A site controls nothing in
-- them but its certificates, whose number is limited.

CREATE TABLE webmon.sites (
    site_id integer GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    incident_failures smallint NOT NULL DEFAULT 2,
    incident_recoveries smallint NOT NULL DEFAULT 1,
    incident_locations smallint DEFAULT 1,
    incident_locations_percent smallint,
    incident_min_voters smallint NOT NULL DEFAULT 1,
    CONSTRAINT sites_pkey PRIMARY KEY (site_id),
    CONSTRAINT sites_key_key UNIQUE (key),
    CONSTRAINT sites_incident_check
        CHECK (incident_failures > 0 AND incident_recoveries > 0 AND incident_locations > 0
               AND incident_locations_percent BETWEEN 1 AND 100 AND incident_min_voters > 0),
    CONSTRAINT sites_incident_locations_check CHECK ((incident_locations IS NULL) <> (incident_locations_percent IS NULL))
);
COMMENT ON TABLE webmon.sites IS 'One row for each site, by the key that its records carry.';
COMMENT ON COLUMN webmon.sites.incident_failures IS 'After so many consecutive failures a location is down. Its incidents were derived with this value. It is that of the newest version.';
COMMENT ON COLUMN webmon.sites.incident_recoveries IS 'After so many consecutive successes a location is up again. Its incidents were derived with this value.';
COMMENT ON COLUMN webmon.sites.incident_locations IS 'When so many locations are down, there is an incident. Its incidents were derived with this value. Null if there is a percentage.';
COMMENT ON COLUMN webmon.sites.incident_locations_percent IS 'When so many percent of the locations in use are down, rounded up, there is an incident. Its incidents were derived with this value. Null if there is a number.';
COMMENT ON COLUMN webmon.sites.incident_min_voters IS 'While fewer locations are in use, there is no incident. Its incidents were derived with this value.';

-- The texts together may be too long for an index entry, so the key has this digest instead.
CREATE FUNCTION webmon.site_version_digest(
        name text, url text, method text, labels jsonb, schedule text, time_budget_ms integer,
        incident_failures smallint, incident_recoveries smallint, incident_locations smallint,
        incident_locations_percent smallint, incident_min_voters smallint, slo_uptime_ppm integer,
        slo_window_days smallint, maintenance jsonb) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5(md5(name) || md5(url) || md5(method) || md5(labels::text) || md5(coalesce(schedule, ''))
               || coalesce(time_budget_ms, 0)::text || ':' || coalesce(incident_failures, 0)::text
               || ':' || coalesce(incident_recoveries, 0)::text || ':' || coalesce(incident_locations, 0)::text
               || ':' || coalesce(incident_locations_percent, 0)::text
               || ':' || coalesce(incident_min_voters, 0)::text || ':' || coalesce(slo_uptime_ppm, 0)::text
               || ':' || coalesce(slo_window_days, 0)::text || ':' || md5(coalesce(maintenance::text, '')))::uuid;
COMMENT ON FUNCTION webmon.site_version_digest IS 'Distinguishes the rows of webmon.site_versions.';

CREATE TABLE webmon.site_versions (
    version_id integer GENERATED ALWAYS AS IDENTITY,
    site_id integer NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    method text NOT NULL,
    labels jsonb NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    schedule text,
    time_budget_ms integer,
    incident_failures smallint,
    incident_recoveries smallint,
    incident_locations smallint,
    incident_locations_percent smallint,
    incident_min_voters smallint,
    slo_uptime_ppm integer,
    slo_window_days smallint,
    maintenance jsonb,
    last_seen_at timestamptz,
    digest uuid NOT NULL GENERATED ALWAYS AS (
        webmon.site_version_digest(
            name, url, method, labels, schedule, time_budget_ms, incident_failures, incident_recoveries,
            incident_locations, incident_locations_percent, incident_min_voters, slo_uptime_ppm, slo_window_days, maintenance)
    ) STORED,
    CONSTRAINT site_versions_pkey PRIMARY KEY (version_id),
    CONSTRAINT site_versions_site_id_fkey FOREIGN KEY (site_id) REFERENCES webmon.sites (site_id),
    CONSTRAINT site_versions_site_id_digest_key UNIQUE (site_id, digest)
);
COMMENT ON TABLE webmon.site_versions IS 'What a site looked like when it was checked. Each change of name, URL, method, labels, schedule, time budget, thresholds of incidents, target of uptime or windows of maintenance makes a new row.';
COMMENT ON COLUMN webmon.site_versions.incident_failures IS 'After so many consecutive failures a location is down. Null for records that did not say it: then it is 2.';
COMMENT ON COLUMN webmon.site_versions.incident_recoveries IS 'After so many consecutive successes a location is up again. Null for records that did not say it: then it is 1.';
COMMENT ON COLUMN webmon.site_versions.incident_locations IS 'When so many locations are down, there is an incident. Null for records that did not say it: then it is 1, unless there is a percentage.';
COMMENT ON COLUMN webmon.site_versions.incident_locations_percent IS 'When so many percent of the locations in use are down, rounded up, there is an incident. Null for records that did not say it.';
COMMENT ON COLUMN webmon.site_versions.incident_min_voters IS 'While fewer locations are in use, there is no incident. Null for records that did not say it: then it is 1.';
COMMENT ON COLUMN webmon.site_versions.slo_uptime_ppm IS 'The share of the scheduled instants that must not fail, in millionths. Null if there is no target.';
COMMENT ON COLUMN webmon.site_versions.slo_window_days IS 'Over how many UTC days, today included. Null if there is no target.';
COMMENT ON COLUMN webmon.site_versions.maintenance IS 'The windows of planned maintenance, at most 10: an array of objects with schedule (a cron expression that says when a window begins), timezone and duration_s. They may be over. Null if there are none.';
COMMENT ON COLUMN webmon.site_versions.first_seen_at IS 'Its first instant, or the time when its first record was stored, whichever is earlier.';
COMMENT ON COLUMN webmon.site_versions.last_seen_at IS 'Its last instant. Null until the hour of that instant is rolled up.';

-- The texts together may be too long for an index entry, so the key has this digest instead.
CREATE FUNCTION webmon.certificate_digest(
        sha256 text, issuer text, subject_names jsonb, not_after timestamptz, chain_not_after timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5(sha256 || md5(issuer) || md5(subject_names::text)
               || coalesce(extract(epoch FROM not_after AT TIME ZONE 'UTC')::text, '') || ':'
               || coalesce(extract(epoch FROM chain_not_after AT TIME ZONE 'UTC')::text, ''))::uuid;
COMMENT ON FUNCTION webmon.certificate_digest IS 'Distinguishes the rows of webmon.site_certificates.';

CREATE TABLE webmon.site_certificates (
    certificate_id integer GENERATED ALWAYS AS IDENTITY,
    site_id integer NOT NULL,
    sha256 text NOT NULL,
    issuer text NOT NULL,
    subject_names jsonb NOT NULL,
    not_after timestamptz,
    chain_not_after timestamptz,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz,
    stored_at timestamptz NOT NULL DEFAULT now(),
    digest uuid NOT NULL GENERATED ALWAYS AS (
        webmon.certificate_digest(sha256, issuer, subject_names, not_after, chain_not_after)
    ) STORED,
    CONSTRAINT site_certificates_pkey PRIMARY KEY (certificate_id),
    CONSTRAINT site_certificates_site_id_fkey FOREIGN KEY (site_id) REFERENCES webmon.sites (site_id),
    CONSTRAINT site_certificates_site_id_digest_key UNIQUE (site_id, digest)
);
COMMENT ON TABLE webmon.site_certificates IS 'The certificates that the servers of a site presented. Read it through the view webmon.certificate_history. A site gets at most 100 new ones in 24 hours.';
COMMENT ON COLUMN webmon.site_certificates.first_seen_at IS 'Its first instant, or the time when its first record was stored, whichever is earlier.';
COMMENT ON COLUMN webmon.site_certificates.last_seen_at IS 'Its last instant. Null until the hour of that instant is rolled up.';
COMMENT ON COLUMN webmon.site_certificates.stored_at IS 'When its first record was stored.';

CREATE TABLE webmon.locations (
    location_id integer GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    retired_at timestamptz,
    CONSTRAINT locations_pkey PRIMARY KEY (location_id),
    CONSTRAINT locations_name_key UNIQUE (name)
);
COMMENT ON TABLE webmon.locations IS 'Where checks are made from.';
COMMENT ON COLUMN webmon.locations.retired_at IS 'When an operator retired it. Null while it is in use. Each of its sites has its own webmon.site_locations.retired_at.';

CREATE TABLE webmon.checkers (
    checker_id integer GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    CONSTRAINT checkers_pkey PRIMARY KEY (checker_id),
    CONSTRAINT checkers_name_key UNIQUE (name)
);
COMMENT ON TABLE webmon.checkers IS 'The instances of webmon-check.';

CREATE TABLE webmon.error_types (
    error_type smallint NOT NULL,
    name text NOT NULL,
    outcome "char" NOT NULL,
    CONSTRAINT error_types_pkey PRIMARY KEY (error_type),
    CONSTRAINT error_types_name_key UNIQUE (name),
    CONSTRAINT error_types_outcome_check CHECK (outcome IN ('f', 'm'))
);
COMMENT ON TABLE webmon.error_types IS 'The words for check_results.error_type.';

INSERT INTO webmon.error_types (error_type, name, outcome) VALUES
    (1, 'dns_error', 'f'),
    (2, 'connect_error', 'f'),
    (3, 'tls_error', 'f'),
    (4, 'timeout', 'f'),
    (5, 'protocol_error', 'f'),
    (6, 'redirect_error', 'f'),
    (7, 'body_error', 'f'),
    (8, 'blocked_address', 'f'),
    (9, 'expectation_failed', 'f'),
    (101, 'late', 'm'),
    (102, 'overlap', 'm'),
    (103, 'saturated', 'm'),
    (104, 'cancelled', 'm'),
    (105, 'network_down', 'm'),
    (106, 'checker_down', 'm'),
    (107, 'maintenance', 'm');

-- Results.

CREATE FUNCTION webmon.outcome_rank(outcome "char") RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE outcome WHEN 's' THEN 2 WHEN 'f' THEN 1 ELSE 0 END;
COMMENT ON FUNCTION webmon.outcome_rank IS 'missed < failure < success. Of two results for one instant the higher one is kept.';

-- The widest columns come first, and what usually is zero or false is null instead, so that no row has padding: a success
-- over IPv4 and TLS takes 120 bytes. There are no foreign keys: the writer takes every id from the dimensions itself, and a
-- trigger for each row would cost more than the row.
CREATE TABLE webmon.check_results (
    scheduled_at timestamptz NOT NULL,
    cert_not_after timestamptz,
    site_id integer NOT NULL,
    version_id integer NOT NULL,
    checker_id integer NOT NULL,
    next_after_s integer,
    started_after_us integer,
    dns_us integer,
    connect_us integer,
    tls_us integer,
    ttfb_us integer,
    download_us integer,
    total_us integer,
    body_bytes integer,
    location_id integer NOT NULL,
    certificate_id integer,
    http_status smallint,
    redirects smallint,
    attempts smallint NOT NULL,
    failed_expectations smallint,
    error_type smallint,
    outcome "char" NOT NULL,
    http_version "char",
    tls_version "char",
    body_matched boolean,
    body_truncated boolean,
    degraded boolean,
    remote_ip inet,
    final_url text,
    error_detail text,
    error_message text,
    sample jsonb,
    hops jsonb,
    tries jsonb,
    CONSTRAINT check_results_pkey PRIMARY KEY (site_id, location_id, scheduled_at),
    CONSTRAINT check_results_outcome_check CHECK (outcome IN ('s', 'f', 'm')),
    CONSTRAINT check_results_error_type_check CHECK ((outcome = 's') = (error_type IS NULL)),
    CONSTRAINT check_results_next_after_s_check CHECK (next_after_s > 0)
) PARTITION BY RANGE (scheduled_at);
CREATE INDEX check_results_scheduled_at_idx ON webmon.check_results USING brin (scheduled_at) WITH (autosummarize = on);
COMMENT ON TABLE webmon.check_results IS 'One row for every instant of a site at a location. Read it through the view webmon.checks.';

-- The partitions that are attached. Their names do not count: somebody may have detached a table to keep it. The bounds are
-- read from the catalogue, so that no table is locked.
CREATE FUNCTION webmon.result_partitions() RETURNS TABLE (partition regclass, from_at timestamptz, to_at timestamptz)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.oid::regclass, b.from_at, b.to_at
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    -- FOR VALUES FROM ('...') TO ('...'). Other partitions, such as a default one, have no such bounds.
    CROSS JOIN LATERAL string_to_array(pg_get_expr(c.relpartbound, 0), '''') AS words
    CROSS JOIN LATERAL (VALUES (words[2]::timestamptz, words[4]::timestamptz)) AS b (from_at, to_at)
    WHERE i.inhparent = 'webmon.check_results'::regclass
      AND NOT i.inhdetachpending
      AND b.from_at IS NOT NULL
      AND b.to_at IS NOT NULL;
END;
COMMENT ON FUNCTION webmon.result_partitions IS 'The partitions of check_results. Each holds the instants [from_at, to_at).';

-- Creates the partition of one UTC day, unless there is one. It uses LIKE and ATTACH because CREATE TABLE ... PARTITION OF
-- would take a lock that keeps results from being stored meanwhile. The writer may call it without owning the table.
CREATE FUNCTION webmon.ensure_result_partition(day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := format('check_results_%s', to_char(day, 'YYYYMMDD'));
    free_name text := name;
    number integer := 1;
    begin_at timestamptz := day::timestamp AT TIME ZONE 'UTC';
    end_at timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    -- Nearly always the partition is there, under the usual name.
    IF EXISTS (
           SELECT
           FROM pg_inherits
           WHERE inhrelid = to_regclass(format('webmon.%I', name))
             AND inhparent = 'webmon.check_results'::regclass
             AND NOT inhdetachpending)
       OR end_at <= (SELECT floor_at FROM webmon.retention) THEN
        RETURN false;
    END IF;
    -- One at a time, because two writers may want the same day.
    PERFORM pg_advisory_xact_lock(hashtextextended('webmon.check_results', 0));
    IF EXISTS (
           SELECT
           FROM webmon.result_partitions() p
           WHERE p.from_at < end_at
             AND p.to_at > begin_at) THEN
        RETURN false;
    END IF;
    -- Somebody may have detached the day's table to keep it. to_regclass is not used: its cache may say that the name is free.
    WHILE EXISTS (SELECT FROM pg_class WHERE relnamespace = 'webmon'::regnamespace AND relname = free_name) LOOP
        number := number + 1;
        free_name := format('%s_%s', name, number);
    END LOOP;
    EXECUTE format('CREATE TABLE webmon.%I (LIKE webmon.check_results INCLUDING CONSTRAINTS)', free_name);
    EXECUTE format('ALTER TABLE webmon.check_results ATTACH PARTITION webmon.%I FOR VALUES FROM (%L) TO (%L)',
                   free_name, begin_at, end_at);
    RETURN true;
END
$$;

CREATE TABLE webmon.gaps (
    site_id integer NOT NULL,
    location_id integer NOT NULL,
    from_at timestamptz NOT NULL,
    to_at timestamptz,
    instants bigint NOT NULL,
    reason text NOT NULL,
    checker_id integer NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT gaps_pkey PRIMARY KEY (site_id, location_id, from_at, reason),
    CONSTRAINT gaps_stretch_check CHECK (to_at > from_at),
    CONSTRAINT gaps_instants_check CHECK (instants > 0)
);
-- Alerts look for results that were lost.
CREATE INDEX gaps_stored_at_idx ON webmon.gaps (stored_at) WHERE reason = 'outbox_full';
COMMENT ON TABLE webmon.gaps IS 'Times [from_at, to_at) whose instants have no rows, and why. to_at is null if the site was retired.';

-- Kafka.

CREATE TABLE webmon.partition_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    leased_at timestamptz,
    lease_until timestamptz,
    paused text,
    last_error text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    cluster_id text,
    last_record_at timestamptz,
    last_record_crc bigint,
    caught_up_at timestamptz,
    CONSTRAINT partition_offsets_pkey PRIMARY KEY (topic, partition),
    CONSTRAINT partition_offsets_owner_check
        CHECK ((owner IS NULL) = (lease_until IS NULL) AND (owner IS NULL) = (leased_at IS NULL))
) WITH (fillfactor = 50);
COMMENT ON TABLE webmon.partition_offsets IS 'How far each topic-partition is stored, and who may store more of it. next_offset moves in the same transaction as the rows.';
COMMENT ON COLUMN webmon.partition_offsets.epoch IS 'It grows with every claim. A writer with an older epoch can commit nothing.';
COMMENT ON COLUMN webmon.partition_offsets.leased_at IS 'When the lease was given or last renewed. A time in the future means that the clock was set back since.';
COMMENT ON COLUMN webmon.partition_offsets.paused IS 'Why no writer may claim it. Null if any writer may.';
COMMENT ON COLUMN webmon.partition_offsets.cluster_id IS 'The Kafka cluster from which it is stored. Null if the client cannot tell.';
COMMENT ON COLUMN webmon.partition_offsets.last_record_at IS 'The timestamp of the record before next_offset. Null if the client cannot tell.';
COMMENT ON COLUMN webmon.partition_offsets.last_record_crc IS 'The CRC-32 of the key and value of that record. Null before the first record, and after a replay was requested.';
COMMENT ON COLUMN webmon.partition_offsets.caught_up_at IS 'When Kafka had last no record that was not stored. A few seconds old where all goes well.';

CREATE TABLE webmon.writers (
    topic text NOT NULL,
    owner text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    full_from timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT writers_pkey PRIMARY KEY (topic, owner)
);
COMMENT ON TABLE webmon.writers IS 'The writers at work. The partitions are shared among them.';
COMMENT ON COLUMN webmon.writers.lease_until IS 'Until this time the writer counts as at work. It is one lease of its own after seen_at.';
COMMENT ON COLUMN webmon.writers.full_from IS 'From this time it gets a full share. Before, it is a newcomer among writers that have run for a lease.';

CREATE TABLE webmon.ingest_batches (
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch bigint NOT NULL,
    minute timestamptz NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    records bigint NOT NULL,
    inserted bigint NOT NULL,
    superseded bigint NOT NULL,
    duplicate bigint NOT NULL,
    gaps bigint NOT NULL,
    expired bigint NOT NULL,
    dead bigint NOT NULL,
    discarded bigint NOT NULL DEFAULT 0,
    CONSTRAINT ingest_batches_pkey PRIMARY KEY (topic, partition, epoch, minute),
    CONSTRAINT ingest_batches_range_check CHECK (from_offset < to_offset),
    CONSTRAINT ingest_batches_records_check
        CHECK (records = inserted + superseded + duplicate + gaps + expired + dead + discarded)
);
COMMENT ON TABLE webmon.ingest_batches IS 'The ledger: what became of the records of each range of offsets [from_offset, to_offset). It has one row for each minute.';

CREATE TABLE webmon.offset_gaps (
    topic text NOT NULL,
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    detected_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT offset_gaps_pkey PRIMARY KEY (topic, partition, from_offset),
    CONSTRAINT offset_gaps_range_check CHECK (from_offset < to_offset)
);
COMMENT ON TABLE webmon.offset_gaps IS 'Offsets that Kafka had dropped before they were stored. Their records are lost.';

CREATE TABLE webmon.dead_letters (
    letter_id bigint GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    record_at timestamptz,
    key bytea,
    value bytea,
    reason text NOT NULL,
    detail text NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    digest uuid NOT NULL GENERATED ALWAYS AS (
        md5(md5(coalesce(key, '')) || md5(coalesce(value, '')))::uuid
    ) STORED,
    -- Not the digest: from PostgreSQL 18 on, no row of a published table can be deleted if its key has a generated column.
    CONSTRAINT dead_letters_pkey PRIMARY KEY (letter_id),
    CONSTRAINT dead_letters_topic_partition_record_offset_digest_key UNIQUE (topic, partition, record_offset, digest)
);
COMMENT ON TABLE webmon.dead_letters IS 'Records that could not be stored as results, unchanged, and why.';

CREATE TABLE webmon.dead_letter_discards (
    discard_id bigint GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    letters bigint NOT NULL,
    reason text NOT NULL,
    discarded_by text NOT NULL DEFAULT session_user,
    discarded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT dead_letter_discards_pkey PRIMARY KEY (discard_id),
    CONSTRAINT dead_letter_discards_letters_check CHECK (letters > 0)
);
COMMENT ON TABLE webmon.dead_letter_discards IS 'Who discarded how many dead letters, when, and why. The ledger counts them as discarded.';

-- The view that people read.

CREATE VIEW webmon.checks AS
SELECT s.key AS site,
       v.name,
       l.name AS location,
       c.name AS checker,
       v.labels,
       v.url,
       r.final_url,
       v.method,
       coalesce(r.redirects, 0::smallint) AS redirects,
       r.scheduled_at,
       r.scheduled_at + make_interval(secs => r.next_after_s) AS next_at,
       r.scheduled_at + r.started_after_us * interval '1 microsecond' AS started_at,
       CASE r.outcome WHEN 's' THEN 'success' WHEN 'f' THEN 'failure' ELSE 'missed' END AS outcome,
       coalesce(r.degraded, false) AS degraded,
       e.name AS error_type,
       r.error_detail,
       r.error_message,
       array_remove(ARRAY[
           CASE WHEN r.failed_expectations & 1 <> 0 THEN 'status' END,
           CASE WHEN r.failed_expectations & 2 <> 0 THEN 'body' END,
           CASE WHEN r.failed_expectations & 4 <> 0 THEN 'not_body' END,
           CASE WHEN r.failed_expectations & 8 <> 0 THEN 'header' END,
           CASE WHEN r.failed_expectations & 16 <> 0 THEN 'max_time' END,
           CASE WHEN r.failed_expectations & 32 <> 0 THEN 'certificate' END,
           CASE WHEN r.failed_expectations & 64 <> 0 THEN 'not_header' END,
           CASE WHEN r.failed_expectations & 128 <> 0 THEN 'json' END,
           CASE WHEN r.failed_expectations & 256 <> 0 THEN 'tls' END,
           CASE WHEN r.failed_expectations & 512 <> 0 THEN 'final_url' END], NULL) AS failed_expectations,
       r.http_status,
       r.body_matched,
       r.dns_us,
       r.connect_us,
       r.tls_us,
       r.ttfb_us,
       r.download_us,
       r.total_us,
       r.body_bytes,
       coalesce(r.body_truncated, false) AS body_truncated,
       r.remote_ip,
       CASE r.http_version WHEN '0' THEN 'HTTP/1.0' WHEN '1' THEN 'HTTP/1.1' WHEN '2' THEN 'HTTP/2' WHEN '3' THEN 'HTTP/3' END AS http_version,
       CASE r.tls_version WHEN '2' THEN 'TLSv1.2' WHEN '3' THEN 'TLSv1.3' END AS tls_version,
       r.cert_not_after,
       x.chain_not_after AS cert_chain_not_after,
       x.sha256 AS cert_sha256,
       x.issuer AS cert_issuer,
       x.subject_names AS cert_subject_names,
       r.attempts,
       r.tries,
       r.hops,
       r.sample
FROM webmon.check_results r
JOIN webmon.sites s USING (site_id)
JOIN webmon.site_versions v USING (version_id)
JOIN webmon.locations l USING (location_id)
JOIN webmon.checkers c USING (checker_id)
LEFT JOIN webmon.site_certificates x USING (certificate_id)
LEFT JOIN webmon.error_types e USING (error_type);
COMMENT ON VIEW webmon.checks IS 'Every stored result, with names instead of ids and words instead of codes.';

-- A job waits while it is available or, after a failure, retryable. In both states it may run from scheduled_at on. Some
-- columns are set in some states only. The constraints enforce that.
CREATE TABLE webmon.jobs (
    id bigint GENERATED ALWAYS AS IDENTITY,
    epoch bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    scheduled_at timestamptz NOT NULL,
    attempted_at timestamptz,
    leased_at timestamptz,
    lease_until timestamptz,
    cancel_requested_at timestamptz,
    finalized_at timestamptz,
    priority smallint NOT NULL,
    attempt smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL,
    state text NOT NULL DEFAULT 'available',
    kind text NOT NULL,
    key text,
    schedule text,
    attempted_by text,
    last_error text,
    args jsonb NOT NULL,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_priority_check CHECK (priority BETWEEN 1 AND 4),
    CONSTRAINT jobs_attempt_check CHECK (attempt BETWEEN 0 AND max_attempts AND max_attempts > 0),
    CONSTRAINT jobs_state_check
        CHECK (state IN ('available', 'running', 'retryable', 'completed', 'discarded', 'cancelled')),
    CONSTRAINT jobs_lease_check
        CHECK ((state = 'running') = (lease_until IS NOT NULL) AND (leased_at IS NULL) = (lease_until IS NULL)),
    CONSTRAINT jobs_attempted_check
        CHECK ((attempted_at IS NULL) = (attempted_by IS NULL)
               AND (state IN ('available', 'cancelled') OR attempted_at IS NOT NULL)),
    CONSTRAINT jobs_finalized_check
        CHECK ((state IN ('completed', 'discarded', 'cancelled')) = (finalized_at IS NOT NULL)),
    CONSTRAINT jobs_error_check CHECK (state NOT IN ('retryable', 'discarded') OR last_error IS NOT NULL),
    CONSTRAINT jobs_cancel_check CHECK (cancel_requested_at IS NULL OR state IN ('running', 'cancelled'))
) WITH (autovacuum_vacuum_scale_factor = 0.02);
-- A claim looks through this index, in this order.
CREATE INDEX jobs_waiting_idx ON webmon.jobs (priority, scheduled_at, id) WHERE state IN ('available', 'retryable');
-- Of the jobs with the same kind and key, at most one waits and at most one runs. So a job that is enqueued while another one
-- runs is not lost, and it does not begin before that one has ended.
CREATE UNIQUE INDEX jobs_waiting_key ON webmon.jobs (kind, key)
    WHERE state IN ('available', 'retryable') AND key IS NOT NULL;
CREATE UNIQUE INDEX jobs_running_key ON webmon.jobs (kind, key) WHERE state = 'running' AND key IS NOT NULL;
-- It is not on lease_until, so that renewing a lease makes no new index entry.
CREATE INDEX jobs_running_idx ON webmon.jobs (id) WHERE state = 'running';
CREATE INDEX jobs_finalized_at_idx ON webmon.jobs (finalized_at) WHERE finalized_at IS NOT NULL;
COMMENT ON TABLE webmon.jobs IS 'The job queue: jobs that wait, jobs that run, and for a while jobs that have ended.';
COMMENT ON COLUMN webmon.jobs.epoch IS 'It grows with every claim. A worker with an older epoch can neither complete nor fail the job.';
COMMENT ON COLUMN webmon.jobs.scheduled_at IS 'The job may run from this time on.';
COMMENT ON COLUMN webmon.jobs.leased_at IS 'When the lease was given or last renewed. A time in the future means that the clock was set back since.';
COMMENT ON COLUMN webmon.jobs.priority IS '1 runs first, 4 last.';
COMMENT ON COLUMN webmon.jobs.key IS 'Of each kind and key, at most one job waits and at most one runs. Null: any number.';
COMMENT ON COLUMN webmon.jobs.schedule IS 'The schedule that created the job. Null if somebody enqueued it.';
COMMENT ON COLUMN webmon.jobs.attempted_by IS 'The worker of the last attempt. It is part of the application_name of that worker''s connection.';

CREATE TABLE webmon.job_schedules (
    kind text NOT NULL,
    schedule text NOT NULL,
    timezone text NOT NULL,
    next_at timestamptz,
    CONSTRAINT job_schedules_pkey PRIMARY KEY (kind)
);
COMMENT ON TABLE webmon.job_schedules IS 'The periodic kinds. For next_at the next job is enqueued. It is null if there is no next instant.';

-- Retention.

CREATE TABLE webmon.retention (
    one boolean NOT NULL DEFAULT true,
    floor_at timestamptz NOT NULL DEFAULT '-infinity',
    purged_at timestamptz NOT NULL DEFAULT '-infinity',
    hours_purged_at timestamptz NOT NULL DEFAULT '-infinity',
    results_dropped bigint NOT NULL DEFAULT 0,
    results_kept interval,
    CONSTRAINT retention_pkey PRIMARY KEY (one),
    CONSTRAINT retention_one_check CHECK (one),
    CONSTRAINT retention_results_kept_check CHECK (results_kept > interval '0'),
    CONSTRAINT retention_floor_at_check CHECK (floor_at < 'infinity'),
    CONSTRAINT retention_purged_at_check CHECK (purged_at <= floor_at),
    CONSTRAINT retention_hours_purged_at_check CHECK (hours_purged_at <= purged_at)
);
COMMENT ON TABLE webmon.retention IS 'One row that says how far back results go.';
COMMENT ON COLUMN webmon.retention.floor_at IS 'A result of an earlier instant is not stored, but counted as expired.';
COMMENT ON COLUMN webmon.retention.purged_at IS 'Results of earlier instants may be gone. Their hours are not derived again.';
COMMENT ON COLUMN webmon.retention.hours_purged_at IS 'Earlier hours and failure runs may be gone. Their days, and incidents that ended before, are not derived again.';
COMMENT ON COLUMN webmon.retention.results_kept IS 'The policy: results are kept at least this long. Null until the floor is raised for the first time. Only an operator shortens it.';
COMMENT ON COLUMN webmon.retention.results_dropped IS 'The number of rows in all partitions dropped so far. The ledger still counts them.';
INSERT INTO webmon.retention DEFAULT VALUES;

-- Drops the partition that begins on a UTC day, if there is one and all its results may be gone.
--
-- It locks the row of retention before any table, because a transaction that derives an hour does so too. Dropping locks all
-- of check_results for a moment. Writers would queue behind a wait for that lock. So it waits only for a tenth of a second,
-- and tries ten times. If a transaction reads for longer than that, it fails with lock_not_available. Call it again later.
-- The writer may call it without owning the table.
CREATE FUNCTION webmon.drop_result_partition(day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s'
AS $$
DECLARE
    purged timestamptz;
    old regclass;
    dropped bigint;
    tries integer := 1;
BEGIN
    SELECT purged_at INTO purged FROM webmon.retention FOR UPDATE;
    SELECT p.partition
    INTO old
    FROM webmon.result_partitions() p
    WHERE p.from_at >= day::timestamp AT TIME ZONE 'UTC'
      AND p.from_at < (day + 1)::timestamp AT TIME ZONE 'UTC'
      AND p.to_at <= purged
    ORDER BY p.from_at
    LIMIT 1;
    IF old IS NULL THEN
        RETURN false;
    END IF;
    -- Nothing can be stored in it any more, because the floor is above it.
    EXECUTE format('SELECT count(*) FROM %s', old) INTO dropped;
    PERFORM set_config('lock_timeout', '100ms', true);
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE %s', old);
            EXIT;
        EXCEPTION
            WHEN lock_not_available THEN
                IF tries = 10 THEN
                    RAISE;
                END IF;
        END;
        tries := tries + 1;
        PERFORM pg_sleep(0.1);
    END LOOP;
    UPDATE webmon.retention SET results_dropped = results_dropped + dropped;
    RETURN true;
END
$$;

-- Hours and days.

CREATE TABLE webmon.rollup_dirty (
    mark_id bigint GENERATED ALWAYS AS IDENTITY,
    hour timestamptz NOT NULL,
    CONSTRAINT rollup_dirty_pkey PRIMARY KEY (mark_id)
);
COMMENT ON TABLE webmon.rollup_dirty IS 'Marks: hours whose results or gaps have changed since they were rolled up. Writers append a mark for each change.';

CREATE TABLE webmon.rollup_dirty_days (
    mark_id bigint GENERATED ALWAYS AS IDENTITY,
    day date NOT NULL,
    CONSTRAINT rollup_dirty_days_pkey PRIMARY KEY (mark_id)
);
COMMENT ON TABLE webmon.rollup_dirty_days IS 'Marks: days with an hour that was rolled up after the day was.';

CREATE TABLE webmon.incidents_dirty (
    mark_id bigint GENERATED ALWAYS AS IDENTITY,
    site_id integer NOT NULL,
    from_at timestamptz NOT NULL,
    to_at timestamptz NOT NULL,
    CONSTRAINT incidents_dirty_pkey PRIMARY KEY (mark_id)
);
COMMENT ON TABLE webmon.incidents_dirty IS 'Marks: times [from_at, to_at) in which failures of a site have changed since its incidents were derived.';

CREATE TABLE webmon.set_aside (
    what text NOT NULL,
    which text NOT NULL,
    failed_at timestamptz NOT NULL,
    again_at timestamptz NOT NULL,
    attempts integer NOT NULL,
    error text NOT NULL,
    CONSTRAINT set_aside_pkey PRIMARY KEY (what, which),
    CONSTRAINT set_aside_what_check CHECK (what IN ('hour', 'day', 'incidents'))
);
COMMENT ON TABLE webmon.set_aside IS 'Hours, days and incidents that could not be derived because of their contents. They keep their marks and are tried again. A row is deleted when that succeeds.';
COMMENT ON COLUMN webmon.set_aside.which IS 'The hour, such as 2026-03-01T12:00:00Z; the day, such as 2026-03-01; or the key of the site.';
COMMENT ON COLUMN webmon.set_aside.again_at IS 'It is tried again from this time on.';

CREATE TABLE webmon.rolled_up_hours (
    hour timestamptz NOT NULL,
    rolled_up_at timestamptz NOT NULL,
    CONSTRAINT rolled_up_hours_pkey PRIMARY KEY (hour)
) WITH (fillfactor = 50);
COMMENT ON TABLE webmon.rolled_up_hours IS 'When each hour was last rolled up. To lock the hour, lock its row.';

CREATE TABLE webmon.site_locations (
    site_id integer NOT NULL,
    location_id integer NOT NULL,
    first_hour timestamptz,
    last_hour timestamptz NOT NULL,
    last_verdict_hour timestamptz,
    down_since_at timestamptz,
    retired_at timestamptz,
    next_after_s integer,
    CONSTRAINT site_locations_pkey PRIMARY KEY (site_id, location_id)
);
COMMENT ON TABLE webmon.site_locations IS 'The locations from which each site was checked, with the first and last hour that has a result.';
COMMENT ON COLUMN webmon.site_locations.first_hour IS 'From this hour on the location counts as in use. Null until the first of its hours is rolled up: whoever judges alerts adds the row at once.';
COMMENT ON COLUMN webmon.site_locations.last_verdict_hour IS 'The last hour with a success or a failure.';
COMMENT ON COLUMN webmon.site_locations.down_since_at IS 'The first of the consecutive failures, if they are as many as an incident needs and not enough successes have followed. Null otherwise.';
COMMENT ON COLUMN webmon.site_locations.retired_at IS 'The site is retired at the location from this time on: the end of last_hour. An operator retired the location, or no result came for long enough. Null while the site is in use there. A later result makes it null again.';
COMMENT ON COLUMN webmon.site_locations.next_after_s IS 'The longest time, in seconds, from a result of last_hour to the next instant that it announced. Null if none announced one.';

-- The histogram of response times. Bucket b holds [2^(b/8), 2^((b+1)/8)) microseconds. Bucket 0 also holds less than 1. The
-- middle of a bucket, 2^((b+0.5)/8), is within 4.4 % of all times in it. Rounding adds at most half a microsecond.
CREATE FUNCTION webmon.histogram_bucket(us integer) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN us < 1 THEN 0 ELSE floor(8 / ln(2::float8) * ln(us::float8)) END::smallint;
COMMENT ON FUNCTION webmon.histogram_bucket IS 'The bucket of a response time in microseconds.';

CREATE FUNCTION webmon.histogram_middle(bucket integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN round(power(2::float8, (bucket + 0.5) / 8))::integer;
COMMENT ON FUNCTION webmon.histogram_middle IS 'The middle of a bucket, in microseconds.';

-- The arrays may hold several histograms one after another. Their counts are added.
CREATE FUNCTION webmon.histogram_percentile(buckets smallint[], counts integer[], fraction float8) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (
        SELECT webmon.histogram_middle(min(cumulative.bucket) FILTER (
                   WHERE cumulative.count >= fraction * cumulative.total))
        FROM (SELECT h.bucket,
                     sum(sum(h.count)) OVER (ORDER BY h.bucket) AS count,
                     sum(sum(h.count)) OVER () AS total
              FROM (SELECT unnest(buckets) AS bucket, unnest(counts) AS count) AS h
              GROUP BY h.bucket) AS cumulative);
COMMENT ON FUNCTION webmon.histogram_percentile IS 'The response time in microseconds that this fraction of the checks did not exceed, within 4.4 %. Null if there are no checks.';

CREATE AGGREGATE webmon.concat(smallint[]) (sfunc = array_cat, stype = smallint[], parallel = safe, combinefunc = array_cat);
COMMENT ON AGGREGATE webmon.concat(smallint[]) IS 'Joins the buckets of histograms, for histogram_percentile.';
CREATE AGGREGATE webmon.concat(integer[]) (sfunc = array_cat, stype = integer[], parallel = safe, combinefunc = array_cat);
COMMENT ON AGGREGATE webmon.concat(integer[]) IS 'Joins the counts of histograms, for histogram_percentile.';

CREATE TABLE webmon.site_hours (
    hour timestamptz NOT NULL,
    first_success_at timestamptz,
    total_us_sum bigint,
    dns_us_sum bigint,
    connect_us_sum bigint,
    tls_us_sum bigint,
    ttfb_us_sum bigint,
    download_us_sum bigint,
    site_id integer NOT NULL,
    success integer NOT NULL,
    degraded integer NOT NULL,
    failure integer NOT NULL,
    late integer NOT NULL,
    overlap integer NOT NULL,
    saturated integer NOT NULL,
    cancelled integer NOT NULL,
    network_down integer NOT NULL,
    checker_down integer NOT NULL,
    maintenance integer NOT NULL,
    gap integer NOT NULL,
    total_us_min integer,
    total_us_max integer,
    location_id integer NOT NULL,
    buckets smallint[] NOT NULL,
    counts integer[] NOT NULL,
    CONSTRAINT site_hours_pkey PRIMARY KEY (site_id, location_id, hour)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX site_hours_hour_idx ON webmon.site_hours (hour);
COMMENT ON TABLE webmon.site_hours IS 'The figures of each UTC hour, site and location: how many instants ended how, and how long the checks took.';
COMMENT ON COLUMN webmon.site_hours.degraded IS 'Instants that ended in success, but took longer than the site''s degraded. success counts them too.';
COMMENT ON COLUMN webmon.site_hours.gap IS 'Instants that lie in a gap and have no row.';
COMMENT ON COLUMN webmon.site_hours.first_success_at IS 'The first instant that succeeded. It ends a run of failures from earlier hours.';
COMMENT ON COLUMN webmon.site_hours.total_us_sum IS 'Microseconds of all checks that were measured and ended in success or failure. The minimum, the maximum and the histogram are of the same checks.';
COMMENT ON COLUMN webmon.site_hours.dns_us_sum IS 'Microseconds that these checks took to resolve names. The sum of a phase divided by the number of checks in the histogram is its mean. What total_us_sum has beyond the five phases went into redirects and into all that no phase measures. Null if no check measured the phase.';
COMMENT ON COLUMN webmon.site_hours.connect_us_sum IS 'Microseconds that they took to connect by TCP.';
COMMENT ON COLUMN webmon.site_hours.tls_us_sum IS 'Microseconds that they took for TLS handshakes.';
COMMENT ON COLUMN webmon.site_hours.ttfb_us_sum IS 'Microseconds that they waited from the end of the request to the head of the response.';
COMMENT ON COLUMN webmon.site_hours.download_us_sum IS 'Microseconds that they took to read bodies.';
COMMENT ON COLUMN webmon.site_hours.buckets IS 'The histogram: the numbers of the buckets that are not empty, in order.';
COMMENT ON COLUMN webmon.site_hours.counts IS 'The histogram: the number of checks in each of these buckets.';

CREATE TABLE webmon.site_days (
    total_us_sum bigint,
    dns_us_sum bigint,
    connect_us_sum bigint,
    tls_us_sum bigint,
    ttfb_us_sum bigint,
    download_us_sum bigint,
    site_id integer NOT NULL,
    day date NOT NULL,
    success integer NOT NULL,
    degraded integer NOT NULL,
    failure integer NOT NULL,
    late integer NOT NULL,
    overlap integer NOT NULL,
    saturated integer NOT NULL,
    cancelled integer NOT NULL,
    network_down integer NOT NULL,
    checker_down integer NOT NULL,
    maintenance integer NOT NULL,
    gap integer NOT NULL,
    total_us_min integer,
    total_us_max integer,
    location_id integer NOT NULL,
    buckets smallint[] NOT NULL,
    counts integer[] NOT NULL,
    CONSTRAINT site_days_pkey PRIMARY KEY (site_id, location_id, day)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX site_days_day_idx ON webmon.site_days (day);
COMMENT ON TABLE webmon.site_days IS 'The figures of each UTC day, site and location: the sums of the hours.';

CREATE FUNCTION webmon.missed(day webmon.site_days) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN day.late + day.overlap + day.saturated + day.cancelled + day.network_down + day.checker_down;
COMMENT ON FUNCTION webmon.missed IS 'Instants of a day without a verdict, except those in maintenance and in gaps.';

-- How far back history goes. Only the owner's functions raise the floor of results, because results below it are lost for good.

CREATE FUNCTION webmon.floor_for(keep interval) RETURNS timestamptz
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT date_trunc('day', max(least(clock_timestamp(), last_hour + interval '1 hour'))
                             - make_interval(secs => extract(epoch FROM keep)::float8), 'UTC')
    FROM webmon.site_locations;
END;
COMMENT ON FUNCTION webmon.floor_for IS 'The first UTC day to keep, if something is kept for so long. It counts back from the server''s clock or from the newest result rolled up, whichever is earlier. So a wrong clock alone drops nothing. Null before the first result.';

CREATE FUNCTION webmon.plan_retention(keep interval, OUT floor_at timestamptz, OUT days bigint, OUT objection text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    so_far webmon.retention;
BEGIN
    SELECT * INTO so_far FROM webmon.retention;
    floor_at := greatest(so_far.floor_at, webmon.floor_for(keep));
    SELECT count(*)
    INTO days
    FROM webmon.result_partitions() p
    WHERE p.to_at > so_far.floor_at
      AND p.to_at <= plan_retention.floor_at;
    objection := CASE
        WHEN keep < interval '1 day' THEN 'results would be kept for less than a day'
        WHEN keep < so_far.results_kept THEN format(
            'results would be kept for %s, and were kept for %s so far', justify_hours(keep), justify_hours(so_far.results_kept))
        WHEN days > 7 THEN format('%s days of results would go at once', days) END;
END
$$;
COMMENT ON FUNCTION webmon.plan_retention IS 'What raise_retention_floor would do: the new floor, how many more partitions of results would be below it, and why it would refuse. The objection is null if it would not refuse.';

-- For writers, which may raise the floor as time goes by. The first call sets the policy.
CREATE FUNCTION webmon.raise_retention_floor(keep interval) RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '60s'
AS $$
DECLARE
    plan record;
BEGIN
    PERFORM FROM webmon.retention FOR UPDATE;
    SELECT * INTO plan FROM webmon.plan_retention(keep);
    IF plan.objection IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'WM001', MESSAGE = plan.objection;
    END IF;
    UPDATE webmon.retention r
    SET floor_at = plan.floor_at,
        results_kept = keep
    WHERE r.floor_at < plan.floor_at
       OR r.results_kept IS DISTINCT FROM keep;
    RETURN plan.floor_at;
END
$$;
COMMENT ON FUNCTION webmon.raise_retention_floor IS 'Raises the floor to floor_for(keep), and returns it. Refuses (SQLSTATE WM001) if results would be kept for less time than before, or if more than 7 days of them would go at once.';

-- For operators, who need the owner's rights.
CREATE FUNCTION webmon.set_retention_floor(new_floor timestamptz, keep interval) RETURNS timestamptz
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '60s'
AS $$
DECLARE
    day timestamptz := date_trunc('day', new_floor, 'UTC');
    purged timestamptz;
BEGIN
    SELECT purged_at INTO purged FROM webmon.retention FOR UPDATE;
    IF day < purged THEN
        RAISE EXCEPTION USING ERRCODE = 'WM001', MESSAGE = format('results before %s are gone: the floor cannot be lower', purged);
    END IF;
    UPDATE webmon.retention
    SET floor_at = coalesce(day, floor_at),
        results_kept = coalesce(keep, results_kept);
    RETURN day;
END
$$;
COMMENT ON FUNCTION webmon.set_retention_floor IS 'Sets the floor to the UTC day of new_floor, and sets the policy, whatever they were before. A null leaves that value as it is. Refuses (SQLSTATE WM001) a floor below results that are gone.';

-- A transaction that derives an hour holds the row of retention until it ends. This waits for it.
CREATE FUNCTION webmon.purge_results(before timestamptz) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '60s'
AS $$
BEGIN
    UPDATE webmon.retention r
    SET purged_at = least(before, r.floor_at)
    WHERE r.purged_at < least(before, r.floor_at);
END
$$;
COMMENT ON FUNCTION webmon.purge_results IS 'Records that results of earlier instants may be gone, as far as they are below the floor.';

CREATE FUNCTION webmon.purge_hours(before timestamptz) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '60s'
AS $$
BEGIN
    UPDATE webmon.retention r
    SET hours_purged_at = least(date_trunc('day', before, 'UTC'), r.purged_at)
    WHERE r.hours_purged_at < least(date_trunc('day', before, 'UTC'), r.purged_at);
END
$$;
COMMENT ON FUNCTION webmon.purge_hours IS 'Records that hours of earlier UTC days may be gone, as far as their results may be gone.';

-- Incidents.

CREATE TABLE webmon.failure_runs (
    from_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    ended_at timestamptz,
    site_id integer NOT NULL,
    failures integer NOT NULL,
    successes_before integer NOT NULL,
    location_id integer NOT NULL,
    error_type smallint NOT NULL,
    error_detail text,
    CONSTRAINT failure_runs_pkey PRIMARY KEY (site_id, location_id, from_at)
);
CREATE INDEX failure_runs_from_at_idx ON webmon.failure_runs (from_at);
COMMENT ON TABLE webmon.failure_runs IS 'Consecutive failures within one UTC hour at one location, from the first (from_at) to the last (last_at). Missed instants neither end them nor add to them.';
COMMENT ON COLUMN webmon.failure_runs.ended_at IS 'The success, or the retirement of the site, that ended them in the same hour. Null: look at the hours that follow.';
COMMENT ON COLUMN webmon.failure_runs.successes_before IS 'How many instants of the same hour succeeded before them. With site_hours.success this tells how many successes lie between two runs.';
COMMENT ON COLUMN webmon.failure_runs.error_type IS 'The class of the first failure. error_detail is of the same failure.';

-- Sites that are checked rarely have few successes in an hour. So several hours together may show that a location has recovered.
-- It is not inlined into a query. So the planner does not take it for costly, and it is called only if it is needed.
CREATE FUNCTION webmon.recovery_began(site integer, location integer, until_hour timestamptz, recoveries integer)
        RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN count(*) FILTER (WHERE h.failure = 0) = recoveries THEN min(h.hour) END
    FROM (
        SELECT hour, failure
        FROM webmon.site_hours
        WHERE site_id = site
          AND location_id = location
          AND hour <= until_hour
          AND success + failure > 0
        ORDER BY hour DESC
        LIMIT recoveries) AS h;
END;
COMMENT ON FUNCTION webmon.recovery_began IS 'Of as many hours with successes or failures as successes are needed to recover, up to until_hour, the first one. Null if one of them has failures, or if there are not so many.';

CREATE TABLE webmon.site_incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY,
    site_id integer NOT NULL,
    from_at timestamptz NOT NULL,
    to_at timestamptz,
    failures bigint NOT NULL,
    locations smallint NOT NULL,
    error_type smallint NOT NULL,
    error_detail text,
    CONSTRAINT site_incidents_pkey PRIMARY KEY (incident_id),
    CONSTRAINT site_incidents_site_id_from_at_key UNIQUE (site_id, from_at),
    CONSTRAINT site_incidents_stretch_check CHECK (to_at > from_at)
);
CREATE INDEX site_incidents_from_at_idx ON webmon.site_incidents (from_at);
COMMENT ON TABLE webmon.site_incidents IS 'When sites were down. Read it through the view webmon.incidents.';

-- Gaps are looked up by the time they cover.
CREATE INDEX gaps_stretch_idx ON webmon.gaps USING gist (tstzrange(from_at, coalesce(to_at, from_at), '[]'));

-- The views that people read.

COMMENT ON COLUMN webmon.checks.site IS 'The site''s key: its id if one is configured, otherwise its name.';
COMMENT ON COLUMN webmon.checks.name IS 'The site''s display name at that time.';
COMMENT ON COLUMN webmon.checks.location IS 'Where the check was made from.';
COMMENT ON COLUMN webmon.checks.checker IS 'The instance of webmon-check that made it.';
COMMENT ON COLUMN webmon.checks.labels IS 'The site''s labels at that time, an object of texts.';
COMMENT ON COLUMN webmon.checks.url IS 'The URL as configured at that time, without credentials. It has the values of its query only if the site keeps them.';
COMMENT ON COLUMN webmon.checks.final_url IS 'The URL requested last, if redirects led elsewhere.';
COMMENT ON COLUMN webmon.checks.method IS 'The method of the request.';
COMMENT ON COLUMN webmon.checks.redirects IS 'How many redirects were followed.';
COMMENT ON COLUMN webmon.checks.scheduled_at IS 'The instant of the schedule. This is its result.';
COMMENT ON COLUMN webmon.checks.next_at IS 'The next instant planned. Null if the site was retired.';
COMMENT ON COLUMN webmon.checks.started_at IS 'When the check really began. Null if it never did.';
COMMENT ON COLUMN webmon.checks.outcome IS 'success, failure or missed. missed means that there is no verdict, and that this is not the site''s fault.';
COMMENT ON COLUMN webmon.checks.degraded IS 'Whether a success took longer than the site''s degraded: it is up, but slow.';
COMMENT ON COLUMN webmon.checks.error_type IS 'The class of what went wrong. Null on success.';
COMMENT ON COLUMN webmon.checks.error_detail IS 'The reason within the class, such as nxdomain.';
COMMENT ON COLUMN webmon.checks.error_message IS 'What went wrong, in words.';
COMMENT ON COLUMN webmon.checks.failed_expectations IS 'All expectations that were not met: status, body, not_body, header, max_time, certificate.';
COMMENT ON COLUMN webmon.checks.http_status IS 'The status code of the last response. Null if none arrived.';
COMMENT ON COLUMN webmon.checks.body_matched IS 'Whether the body met its patterns. Null if there are no patterns, or the body was not looked at.';
COMMENT ON COLUMN webmon.checks.dns_us IS 'Microseconds to resolve the name. Null if not measured.';
COMMENT ON COLUMN webmon.checks.connect_us IS 'Microseconds to connect by TCP. Null if not measured.';
COMMENT ON COLUMN webmon.checks.tls_us IS 'Microseconds for the TLS handshake. Null if not measured.';
COMMENT ON COLUMN webmon.checks.ttfb_us IS 'Microseconds from the end of the request to the head of the response. Null if not measured.';
COMMENT ON COLUMN webmon.checks.download_us IS 'Microseconds to read the body. Null if not measured.';
COMMENT ON COLUMN webmon.checks.total_us IS 'Microseconds for the whole check, including redirects and body. Null if not measured.';
COMMENT ON COLUMN webmon.checks.body_bytes IS 'How many decoded bytes of the body were read.';
COMMENT ON COLUMN webmon.checks.body_truncated IS 'Whether reading stopped at the site''s max_body.';
COMMENT ON COLUMN webmon.checks.remote_ip IS 'The address of the connection. If there was none, the address tried last.';
COMMENT ON COLUMN webmon.checks.http_version IS 'The version of HTTP, such as HTTP/1.1.';
COMMENT ON COLUMN webmon.checks.tls_version IS 'The version of TLS, such as TLSv1.3.';
COMMENT ON COLUMN webmon.checks.cert_not_after IS 'When the server''s certificate expires.';
COMMENT ON COLUMN webmon.checks.cert_chain_not_after IS 'When the first certificate of its chain expires.';
COMMENT ON COLUMN webmon.checks.cert_sha256 IS 'The SHA-256 of the server''s certificate in DER, in hexadecimal. webmon.certificate_history has all of a site. Null also if the site had too many new ones.';
COMMENT ON COLUMN webmon.checks.cert_issuer IS 'The distinguished name of its issuer.';
COMMENT ON COLUMN webmon.checks.cert_subject_names IS 'The names and addresses that it is for, an array of texts.';
COMMENT ON COLUMN webmon.checks.attempts IS 'How often it was tried. 0 if the check never started.';
COMMENT ON COLUMN webmon.checks.tries IS 'The tries before the last one: outcome, error_type, error_detail and total_us of each. Null if there was one try.';
COMMENT ON COLUMN webmon.checks.hops IS 'The redirects followed: url, http_status, remote_ip and the times of each. Null if there were none.';
COMMENT ON COLUMN webmon.checks.sample IS 'Headers and the start of the body of a failing answer, if the site is configured to record them.';

CREATE VIEW webmon.site_history AS
SELECT s.key AS site,
       v.name,
       v.url,
       v.method,
       v.labels,
       v.schedule,
       v.time_budget_ms,
       v.incident_failures,
       v.incident_recoveries,
       v.incident_locations,
       v.incident_locations_percent,
       v.incident_min_voters,
       v.slo_uptime_ppm,
       v.slo_window_days,
       v.maintenance,
       v.first_seen_at,
       v.last_seen_at
FROM webmon.sites s
JOIN webmon.site_versions v USING (site_id);
COMMENT ON VIEW webmon.site_history IS 'What each site looked like, and when. Each combination of name, URL, method, labels, schedule, time budget, thresholds of incidents, target of uptime and windows of maintenance has one row.';
COMMENT ON COLUMN webmon.site_history.site IS 'The site''s key: its id if one is configured, otherwise its name.';
COMMENT ON COLUMN webmon.site_history.name IS 'The display name.';
COMMENT ON COLUMN webmon.site_history.url IS 'The URL as configured, without credentials. It has the values of its query only if the site keeps them.';
COMMENT ON COLUMN webmon.site_history.method IS 'The method of the request.';
COMMENT ON COLUMN webmon.site_history.labels IS 'The labels, an object of texts.';
COMMENT ON COLUMN webmon.site_history.schedule IS 'The cron expression and its time zone. Null for records that did not say it.';
COMMENT ON COLUMN webmon.site_history.time_budget_ms IS 'The longest time from an instant to its result, in milliseconds. Null for records that did not say it.';
COMMENT ON COLUMN webmon.site_history.incident_failures IS 'After so many consecutive failures a location is down. Null for records that did not say it: then it is 2.';
COMMENT ON COLUMN webmon.site_history.incident_recoveries IS 'After so many consecutive successes a location is up again. Null for records that did not say it: then it is 1.';
COMMENT ON COLUMN webmon.site_history.incident_locations IS 'When so many locations are down, there is an incident. Null for records that did not say it: then it is 1, unless there is a percentage.';
COMMENT ON COLUMN webmon.site_history.incident_locations_percent IS 'When so many percent of the locations in use are down, rounded up, there is an incident. Null for records that did not say it.';
COMMENT ON COLUMN webmon.site_history.incident_min_voters IS 'While fewer locations are in use, there is no incident. Null for records that did not say it: then it is 1.';
COMMENT ON COLUMN webmon.site_history.slo_uptime_ppm IS 'The share of the scheduled instants that must not fail, in millionths. Null if there is no target.';
COMMENT ON COLUMN webmon.site_history.slo_window_days IS 'Over how many UTC days, today included. Null if there is no target.';
COMMENT ON COLUMN webmon.site_history.maintenance IS 'The windows of planned maintenance, at most 10: an array of objects with schedule (a cron expression that says when a window begins), timezone and duration_s. They may be over. Null if there are none.';
COMMENT ON COLUMN webmon.site_history.first_seen_at IS 'Its first instant.';
COMMENT ON COLUMN webmon.site_history.last_seen_at IS 'Its last instant. If a site returned to an earlier version, that row also spans the time in between.';

CREATE VIEW webmon.certificate_history AS
SELECT s.key AS site,
       c.sha256,
       c.issuer,
       c.subject_names,
       c.not_after,
       c.chain_not_after,
       c.first_seen_at,
       c.last_seen_at
FROM webmon.sites s
JOIN webmon.site_certificates c USING (site_id);
COMMENT ON VIEW webmon.certificate_history IS 'Which certificates each site presented, and when. Of a site that redirects: those of the last host.';
COMMENT ON COLUMN webmon.certificate_history.site IS 'The site''s key: its id if one is configured, otherwise its name.';
COMMENT ON COLUMN webmon.certificate_history.sha256 IS 'The SHA-256 of the certificate in DER, in hexadecimal.';
COMMENT ON COLUMN webmon.certificate_history.issuer IS 'The distinguished name of the issuer.';
COMMENT ON COLUMN webmon.certificate_history.subject_names IS 'The names and addresses that it is for, an array of texts.';
COMMENT ON COLUMN webmon.certificate_history.not_after IS 'When it expires.';
COMMENT ON COLUMN webmon.certificate_history.chain_not_after IS 'When the first certificate of its chain expires.';
COMMENT ON COLUMN webmon.certificate_history.first_seen_at IS 'The first instant at which it was presented.';
COMMENT ON COLUMN webmon.certificate_history.last_seen_at IS 'The last instant at which it was presented. Null until the hour of that instant is rolled up.';

CREATE VIEW webmon.current_sites AS
SELECT s.key AS site,
       v.name,
       v.url,
       v.method,
       v.labels,
       v.schedule,
       v.time_budget_ms,
       v.incident_failures,
       v.incident_recoveries,
       v.incident_locations,
       v.incident_locations_percent,
       v.incident_min_voters,
       v.slo_uptime_ppm,
       v.slo_window_days,
       v.maintenance,
       v.first_seen_at AS since_at,
       s.created_at
FROM webmon.sites s
CROSS JOIN LATERAL (
    SELECT *
    FROM webmon.site_versions v
    WHERE v.site_id = s.site_id
    ORDER BY v.last_seen_at DESC NULLS LAST, v.version_id DESC
    LIMIT 1) AS v;
COMMENT ON VIEW webmon.current_sites IS 'What each site looks like now. For a site that is gone: what it looked like last.';
COMMENT ON COLUMN webmon.current_sites.site IS 'The site''s key: its id if one is configured, otherwise its name.';
COMMENT ON COLUMN webmon.current_sites.name IS 'The display name.';
COMMENT ON COLUMN webmon.current_sites.url IS 'The URL as configured, without credentials. It has the values of its query only if the site keeps them.';
COMMENT ON COLUMN webmon.current_sites.method IS 'The method of the request.';
COMMENT ON COLUMN webmon.current_sites.labels IS 'The labels, an object of texts.';
COMMENT ON COLUMN webmon.current_sites.schedule IS 'The cron expression and its time zone. Null for records that did not say it.';
COMMENT ON COLUMN webmon.current_sites.time_budget_ms IS 'The longest time from an instant to its result, in milliseconds. Null for records that did not say it.';
COMMENT ON COLUMN webmon.current_sites.incident_failures IS 'After so many consecutive failures a location is down. Null for records that did not say it: then it is 2.';
COMMENT ON COLUMN webmon.current_sites.incident_recoveries IS 'After so many consecutive successes a location is up again. Null for records that did not say it: then it is 1.';
COMMENT ON COLUMN webmon.current_sites.incident_locations IS 'When so many locations are down, there is an incident. Null for records that did not say it: then it is 1, unless there is a percentage.';
COMMENT ON COLUMN webmon.current_sites.incident_locations_percent IS 'When so many percent of the locations in use are down, rounded up, there is an incident. Null for records that did not say it.';
COMMENT ON COLUMN webmon.current_sites.incident_min_voters IS 'While fewer locations are in use, there is no incident. Null for records that did not say it: then it is 1.';
COMMENT ON COLUMN webmon.current_sites.slo_uptime_ppm IS 'The share of the scheduled instants that must not fail, in millionths. Null if there is no target.';
COMMENT ON COLUMN webmon.current_sites.slo_window_days IS 'Over how many UTC days, today included. Null if there is no target.';
COMMENT ON COLUMN webmon.current_sites.maintenance IS 'The windows of planned maintenance, at most 10: an array of objects with schedule (a cron expression that says when a window begins), timezone and duration_s. They may be over. Null if there are none.';
COMMENT ON COLUMN webmon.current_sites.since_at IS 'The first instant at which it looked like this.';
COMMENT ON COLUMN webmon.current_sites.created_at IS 'When its first record was stored.';

CREATE VIEW webmon.uptime AS
SELECT s.key AS site,
       d.day,
       100.0::float8 * sum(d.success) / nullif(sum(d.success + d.failure), 0) AS uptime_percent,
       100.0::float8 * sum(d.success + d.failure)
           / nullif(sum(d.success + d.failure + webmon.missed(d) + d.gap), 0) AS coverage_percent,
       sum(d.success) AS success,
       sum(d.degraded) AS degraded,
       sum(d.failure) AS failure,
       sum(webmon.missed(d)) AS missed,
       sum(d.maintenance) AS maintenance,
       sum(d.gap) AS gap,
       (sum(d.total_us_sum) / (SELECT sum(n) FROM unnest(webmon.concat(d.counts)) AS n))::integer AS mean_us,
       webmon.histogram_percentile(webmon.concat(d.buckets), webmon.concat(d.counts), 0.50) AS p50_us,
       webmon.histogram_percentile(webmon.concat(d.buckets), webmon.concat(d.counts), 0.95) AS p95_us,
       webmon.histogram_percentile(webmon.concat(d.buckets), webmon.concat(d.counts), 0.99) AS p99_us,
       max(d.total_us_max) AS max_us
FROM webmon.site_days d
JOIN webmon.sites s USING (site_id)
GROUP BY s.key, d.day;
COMMENT ON VIEW webmon.uptime IS 'The figures of each UTC day and site, over all its locations. For several days together use webmon.uptime_between, because percentiles cannot be averaged.';
COMMENT ON COLUMN webmon.uptime.site IS 'The site''s key: its id if one is configured, otherwise its name.';
COMMENT ON COLUMN webmon.uptime.day IS 'The UTC day.';
COMMENT ON COLUMN webmon.uptime.uptime_percent IS 'success / (success + failure), in percent. Null if there are none.';
COMMENT ON COLUMN webmon.uptime.coverage_percent IS '(success + failure) / all scheduled instants, in percent. Instants in gaps count as scheduled, instants in maintenance do not. It says how much the uptime rests on.';
COMMENT ON COLUMN webmon.uptime.success IS 'Instants that ended in success.';
COMMENT ON COLUMN webmon.uptime.degraded IS 'Those of them that took longer than the site''s degraded.';
COMMENT ON COLUMN webmon.uptime.failure IS 'Instants that ended in failure.';
COMMENT ON COLUMN webmon.uptime.missed IS 'Instants without a verdict, except those in maintenance.';
COMMENT ON COLUMN webmon.uptime.maintenance IS 'Instants missed because of planned maintenance.';
COMMENT ON COLUMN webmon.uptime.gap IS 'Instants that lie in gaps and have no row.';
COMMENT ON COLUMN webmon.uptime.mean_us IS 'The mean time of the checks that ended in success or failure, in microseconds. Null if there are none.';
COMMENT ON COLUMN webmon.uptime.p50_us IS 'The median time of the checks that ended in success or failure, in microseconds, within 4.4 %.';
COMMENT ON COLUMN webmon.uptime.p95_us IS 'The time that 95 % of them did not exceed, in microseconds, within 4.4 %.';
COMMENT ON COLUMN webmon.uptime.p99_us IS 'The time that 99 % of them did not exceed, in microseconds, within 4.4 %.';
COMMENT ON COLUMN webmon.uptime.max_us IS 'The longest of them, in microseconds.';

CREATE FUNCTION webmon.uptime_between(from_day date, to_day date) RETURNS TABLE (
        site text, uptime_percent float8, coverage_percent float8, success bigint, degraded bigint, failure bigint,
        missed bigint, maintenance bigint, gap bigint, mean_us integer, p50_us integer, p95_us integer, p99_us integer,
        max_us integer)
    LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT s.key,
           100.0::float8 * d.success / nullif(d.success + d.failure, 0),
           100.0::float8 * (d.success + d.failure) / nullif(d.success + d.failure + d.missed + d.gap, 0),
           d.success,
           d.degraded,
           d.failure,
           d.missed,
           d.maintenance,
           d.gap,
           (d.total_us_sum / p.total)::integer,
           webmon.histogram_middle(p.p50),
           webmon.histogram_middle(p.p95),
           webmon.histogram_middle(p.p99),
           d.total_us_max
    FROM webmon.sites s
    CROSS JOIN LATERAL (
        SELECT sum(d.success) AS success,
               sum(d.degraded) AS degraded,
               sum(d.failure) AS failure,
               sum(webmon.missed(d)) AS missed,
               sum(d.maintenance) AS maintenance,
               sum(d.gap) AS gap,
               sum(d.total_us_sum) AS total_us_sum,
               max(d.total_us_max) AS total_us_max
        FROM webmon.site_days d
        WHERE d.site_id = s.site_id
          AND d.day >= from_day
          AND d.day <= to_day
        HAVING count(*) > 0) AS d
    -- Written out, because histogram_percentile would add up the histograms once for each of the three.
    CROSS JOIN LATERAL (
        SELECT max(c.total) AS total,
               min(c.bucket) FILTER (WHERE c.count >= 0.50 * c.total) AS p50,
               min(c.bucket) FILTER (WHERE c.count >= 0.95 * c.total) AS p95,
               min(c.bucket) FILTER (WHERE c.count >= 0.99 * c.total) AS p99
        FROM (SELECT h.bucket,
                     sum(sum(h.count)) OVER (ORDER BY h.bucket) AS count,
                     sum(sum(h.count)) OVER () AS total
              FROM (SELECT unnest(d.buckets) AS bucket, unnest(d.counts) AS count
                    FROM webmon.site_days d
                    WHERE d.site_id = s.site_id
                      AND d.day >= from_day
                      AND d.day <= to_day) AS h
              GROUP BY h.bucket) AS c) AS p;
END;
COMMENT ON FUNCTION webmon.uptime_between IS 'The columns of webmon.uptime over the UTC days from from_day to to_day, both included. One row for each site.';

CREATE VIEW webmon.incidents AS
SELECT i.incident_id,
       s.key AS site,
       i.from_at,
       i.to_at,
       coalesce(i.to_at, clock_timestamp()) - i.from_at AS duration,
       e.name AS error_type,
       i.error_detail,
       i.failures,
       i.locations
FROM webmon.site_incidents i
JOIN webmon.sites s USING (site_id)
JOIN webmon.error_types e USING (error_type);
COMMENT ON VIEW webmon.incidents IS 'When sites were down. The newest version of a site (webmon.current_sites) says how many consecutive failures, at how many locations, make an incident, and how many consecutive successes end it. Incidents that ended before webmon.retention.hours_purged_at are not derived again.';
COMMENT ON COLUMN webmon.incidents.incident_id IS 'The id of the incident. It stays the same as long as from_at does.';
COMMENT ON COLUMN webmon.incidents.site IS 'The site''s key: its id if one is configured, otherwise its name.';
COMMENT ON COLUMN webmon.incidents.from_at IS 'The instant of the first of the consecutive failures that took the last location needed down. Or when a change of the locations in use made those that are down enough.';
COMMENT ON COLUMN webmon.incidents.to_at IS 'The instant of the first of the consecutive successes after which too few locations were down, or of the retirement of the site or a location. Or when a change of the locations in use made those that are down too few. Null while the incident lasts.';
COMMENT ON COLUMN webmon.incidents.duration IS 'The time from from_at to to_at, or to now.';
COMMENT ON COLUMN webmon.incidents.error_type IS 'The class of the failure at from_at. If there is none, of the first failure of a location that was down.';
COMMENT ON COLUMN webmon.incidents.error_detail IS 'Its reason within the class.';
COMMENT ON COLUMN webmon.incidents.failures IS 'The number of failures of all locations that were down during it. Each time that a location was down counts as a whole.';
COMMENT ON COLUMN webmon.incidents.locations IS 'The number of locations that were down during it.';

-- If a view reads check_results with bounds that are known only when it runs, it locks the partitions of all days. Before
-- PostgreSQL 18 it locks even those that it does not read. 3,600 days fill the server's table of locks. So:
--
-- - Each day that may hold a newest result is read by a statement of its own, with its bounds as literals.
-- - Each statement runs in a subtransaction that is rolled back, which gives its locks back. So only the locks of one day are
--   held, however many days there are.
CREATE FUNCTION webmon.newest_results() RETURNS TABLE (
        site_id integer, location_id integer, version_id integer, scheduled_at timestamptz, next_after_s integer,
        outcome "char", error_type smallint, error_detail text, error_message text, http_status smallint,
        total_us integer, cert_not_after timestamptz, certificate_id integer, degraded boolean)
    LANGUAGE plpgsql STABLE ROWS 10000 SET jit = off
AS $$
DECLARE
    of_day record;
    -- The oldest last_hour of any site and location.
    oldest timestamptz := (SELECT min(l.last_hour) FROM webmon.site_locations l);
BEGIN
    FOR of_day IN
        SELECT days.day, min(days.last_hour) AS last_hour
        FROM (
            SELECT date_trunc('day', l.last_hour, 'UTC') AS day, date_trunc('day', l.last_hour, 'UTC') AS last_hour
            FROM webmon.site_locations l
            UNION
            -- Results that are not rolled up yet may be newer, of any site and location.
            SELECT date_trunc('day', d.hour, 'UTC'), '-infinity'
            FROM webmon.rollup_dirty d
            WHERE d.hour >= oldest) AS days
        WHERE days.day > (SELECT purged_at - interval '1 day' FROM webmon.retention)
        GROUP BY days.day
    LOOP
        BEGIN
            RETURN QUERY EXECUTE format(
                -- Texts are concatenated, so that no value refers to the day's own storage.
                $query$
                SELECT l.site_id, l.location_id, r.version_id, r.scheduled_at, r.next_after_s, r.outcome, r.error_type,
                       r.error_detail || '', r.error_message || '', r.http_status, r.total_us, r.cert_not_after,
                       r.certificate_id, r.degraded
                FROM webmon.site_locations l
                CROSS JOIN LATERAL (
                    SELECT *
                    FROM webmon.check_results r
                    WHERE r.site_id = l.site_id
                      AND r.location_id = l.location_id
                      AND r.scheduled_at >= %1$L
                      AND r.scheduled_at < %2$L
                    ORDER BY r.scheduled_at DESC
                    LIMIT 1) AS r
                WHERE l.last_hour >= %3$L
                  AND l.last_hour < %2$L
                $query$,
                of_day.day, of_day.day + interval '24 hours', of_day.last_hour);
            RAISE EXCEPTION USING ERRCODE = 'WM000';
        EXCEPTION
            WHEN SQLSTATE 'WM000' THEN NULL;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webmon.newest_results IS 'The newest result of each site and location. While that one is not rolled up, there are also older ones, of earlier days. webmon.current_status calls this.';

CREATE VIEW webmon.current_status AS
WITH RECURSIVE newest AS MATERIALIZED (
    SELECT DISTINCT ON (n.site_id, n.location_id) n.*
    FROM webmon.newest_results() n
    ORDER BY n.site_id, n.location_id, n.scheduled_at DESC
), chain AS (
    SELECT n.site_id,
           n.location_id,
           n.scheduled_at,
           n.scheduled_at + make_interval(secs => n.next_after_s) AS next_at,
           0 AS step
    FROM newest n
    -- Not UNION ALL: gaps that overlap lead to the same instants, and would double everything that follows.
    UNION
    -- If a gap covers the announced instant, the instant that the gap announces is due instead.
    SELECT c.site_id, c.location_id, c.scheduled_at, g.to_at, c.step + 1
    FROM chain c
    JOIN webmon.gaps g
        ON g.site_id = c.site_id
       AND g.location_id = c.location_id
       AND g.from_at > c.scheduled_at
       AND g.from_at <= c.next_at
       AND (g.from_at = c.next_at OR g.to_at > c.next_at)
    WHERE c.step < 100
), due AS (
    SELECT DISTINCT ON (c.site_id, c.location_id) c.site_id, c.location_id, c.next_at
    FROM chain c
    ORDER BY c.site_id, c.location_id, c.step DESC, c.next_at DESC NULLS LAST
)
SELECT s.key AS site,
       v.name,
       l.name AS location,
       v.url,
       v.labels,
       CASE WHEN due.next_at IS NULL OR place.retired_at > newest.scheduled_at THEN 'retired'
            WHEN clock_timestamp() > due.next_at + interval '1 minute'
                + coalesce(v.time_budget_ms * interval '1 millisecond',
                           make_interval(secs => newest.next_after_s), '0') THEN 'stale'
            WHEN newest.outcome = 's' AND s.incident_recoveries = 1 THEN 'up'
            WHEN newest.outcome = 'm'
                AND e.name <> 'maintenance'
                AND newest.scheduled_at > coalesce(place.last_verdict_hour, '-infinity') + interval '2 hours'
                    + 2 * make_interval(secs => coalesce(newest.next_after_s, 0)) THEN 'stale'
            WHEN place.down_since_at IS NOT NULL THEN 'down'
            ELSE 'up' END AS status,
       CASE WHEN due.next_at IS NOT NULL AND (newest.outcome <> 's' OR s.incident_recoveries > 1)
            THEN place.down_since_at END AS down_since_at,
       newest.scheduled_at,
       due.next_at,
       CASE newest.outcome WHEN 's' THEN 'success' WHEN 'f' THEN 'failure' ELSE 'missed' END AS outcome,
       coalesce(newest.degraded, false) AS degraded,
       e.name AS error_type,
       newest.error_detail,
       newest.error_message,
       newest.http_status,
       newest.total_us,
       newest.cert_not_after,
       x.chain_not_after AS cert_chain_not_after
FROM newest
JOIN due ON due.site_id = newest.site_id AND due.location_id = newest.location_id
JOIN webmon.site_locations place
    ON place.site_id = newest.site_id
   AND place.location_id = newest.location_id
JOIN webmon.sites s ON s.site_id = newest.site_id
JOIN webmon.locations l ON l.location_id = newest.location_id
JOIN webmon.site_versions v ON v.version_id = newest.version_id
LEFT JOIN webmon.site_certificates x ON x.certificate_id = newest.certificate_id
LEFT JOIN webmon.error_types e ON e.error_type = newest.error_type;
COMMENT ON VIEW webmon.current_status IS 'The status of each site now, at each location.';
COMMENT ON COLUMN webmon.current_status.site IS 'The site''s key: its id if one is configured, otherwise its name.';
COMMENT ON COLUMN webmon.current_status.name IS 'The site''s display name.';
COMMENT ON COLUMN webmon.current_status.location IS 'The location from which it is checked.';
COMMENT ON COLUMN webmon.current_status.url IS 'Its URL as configured, without credentials. It has the values of its query only if the site keeps them.';
COMMENT ON COLUMN webmon.current_status.labels IS 'Its labels, an object of texts.';
COMMENT ON COLUMN webmon.current_status.status IS 'down: there were as many consecutive failures as an incident needs, and since then not as many consecutive successes as end it; known within seconds. stale: a result is overdue by its time budget (otherwise by another interval) plus a minute; or for an hour and more all instants were missed, and the newest one not because of planned maintenance. retired: no result is due any more, because the site was removed or the location was retired (webmon.site_locations.retired_at). up: otherwise.';
COMMENT ON COLUMN webmon.current_status.down_since_at IS 'The first of the consecutive failures that took the location down. Null if it is not down.';
COMMENT ON COLUMN webmon.current_status.scheduled_at IS 'The instant of the newest result.';
COMMENT ON COLUMN webmon.current_status.next_at IS 'When the next result is due. Gaps are passed over. Null if the site was retired.';
COMMENT ON COLUMN webmon.current_status.outcome IS 'How the newest instant ended: success, failure or missed.';
COMMENT ON COLUMN webmon.current_status.degraded IS 'Whether the newest result is a success that took longer than the site''s degraded: up, but slow.';
COMMENT ON COLUMN webmon.current_status.error_type IS 'The class of what went wrong in the newest result. Null on success.';
COMMENT ON COLUMN webmon.current_status.error_detail IS 'The reason within the class.';
COMMENT ON COLUMN webmon.current_status.error_message IS 'What went wrong, in words.';
COMMENT ON COLUMN webmon.current_status.http_status IS 'The status code of the last response. Null if none arrived.';
COMMENT ON COLUMN webmon.current_status.total_us IS 'Microseconds for the whole check. Null if not measured.';
COMMENT ON COLUMN webmon.current_status.cert_not_after IS 'When the server''s certificate expires.';
COMMENT ON COLUMN webmon.current_status.cert_chain_not_after IS 'When the first certificate of its chain expires.';

-- What was not checked may have been good or bad. So what is left of a budget is an interval, and the truth is in it.
CREATE VIEW webmon.slo AS
SELECT c.site,
       c.slo_uptime_ppm / 10000.0::float8 AS target_percent,
       c.slo_window_days AS window_days,
       w.from_day,
       d.success + d.failure + d.unchecked AS scheduled,
       d.success,
       d.failure,
       d.unchecked,
       100.0::float8 * d.success / nullif(d.success + d.failure, 0) AS uptime_percent,
       100.0::float8 * (d.success + d.failure) / nullif(d.success + d.failure + d.unchecked, 0) AS coverage_percent,
       100.0::float8 * (d.success + d.unchecked) / nullif(d.success + d.failure + d.unchecked, 0) AS uptime_best_percent,
       100.0::float8 * d.success / nullif(d.success + d.failure + d.unchecked, 0) AS uptime_worst_percent,
       b.budget,
       1 - d.failure / nullif(b.budget, 0) AS budget_left_best,
       1 - (d.failure + d.unchecked) / nullif(b.budget, 0) AS budget_left_worst
FROM webmon.current_sites c
JOIN webmon.sites s ON s.key = c.site
CROSS JOIN LATERAL (
    SELECT today - (c.slo_window_days - 1) AS from_day, today
    FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS t
) AS w
CROSS JOIN LATERAL (
    SELECT coalesce(sum(d.success), 0) AS success,
           coalesce(sum(d.failure), 0) AS failure,
           coalesce(sum(webmon.missed(d) + d.gap), 0) AS unchecked
    FROM webmon.site_days d
    WHERE d.site_id = s.site_id
      AND d.day >= w.from_day
      AND d.day <= w.today
) AS d
CROSS JOIN LATERAL (
    SELECT (d.success + d.failure + d.unchecked) * (1000000 - c.slo_uptime_ppm) / 1000000.0::float8 AS budget
) AS b
WHERE c.slo_uptime_ppm IS NOT NULL
  AND c.site IN (SELECT a.site FROM webmon.current_status a WHERE a.status <> 'retired');
COMMENT ON VIEW webmon.slo IS 'How much of the failures that a site''s target of uptime allows is left, over all its locations. It has one row for each site whose newest version has a target, except retired sites. What was not checked is counted as all good (best) and as all bad (worst).';
COMMENT ON COLUMN webmon.slo.site IS 'The site''s key: its id if one is configured, otherwise its name.';
COMMENT ON COLUMN webmon.slo.target_percent IS 'The uptime that it is to have, in percent of the scheduled instants.';
COMMENT ON COLUMN webmon.slo.window_days IS 'Over how many UTC days, today included.';
COMMENT ON COLUMN webmon.slo.from_day IS 'The first of these days.';
COMMENT ON COLUMN webmon.slo.scheduled IS 'All scheduled instants: success, failure and unchecked.';
COMMENT ON COLUMN webmon.slo.success IS 'Instants that ended in success.';
COMMENT ON COLUMN webmon.slo.failure IS 'Instants that ended in failure.';
COMMENT ON COLUMN webmon.slo.unchecked IS 'Instants without a verdict: those that were missed and those in gaps, but not those in maintenance.';
COMMENT ON COLUMN webmon.slo.uptime_percent IS 'success / (success + failure), in percent. Null if there are none.';
COMMENT ON COLUMN webmon.slo.coverage_percent IS '(success + failure) / scheduled, in percent. Null if nothing was scheduled.';
COMMENT ON COLUMN webmon.slo.uptime_best_percent IS 'The uptime if all that was not checked was good, in percent of the scheduled instants.';
COMMENT ON COLUMN webmon.slo.uptime_worst_percent IS 'The uptime if all that was not checked was bad, in percent of the scheduled instants.';
COMMENT ON COLUMN webmon.slo.budget IS 'How many of the scheduled instants may fail: scheduled * (1 - target).';
COMMENT ON COLUMN webmon.slo.budget_left_best IS 'The part of the budget that is left if all that was not checked was good. 1: nothing is spent. Negative: more is spent than there was. Null if nothing was scheduled.';
COMMENT ON COLUMN webmon.slo.budget_left_worst IS 'The part of the budget that is left if all that was not checked was bad.';

-- Alerts. Their state only goes forward, because a message cannot be unsent. History is derived again when results come
-- late, and may then differ.

CREATE TABLE webmon.alert_notes (
    note_id bigint GENERATED ALWAYS AS IDENTITY,
    site_id integer NOT NULL,
    location_id integer NOT NULL,
    newest_at timestamptz NOT NULL,
    CONSTRAINT alert_notes_pkey PRIMARY KEY (note_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX alert_notes_site_id_idx ON webmon.alert_notes (site_id);
COMMENT ON TABLE webmon.alert_notes IS 'Notes for those who judge sites: locations with new failures or slow successes, new locations, and any new result where the site is not settled. Writers append them in the transaction of the rows.';
COMMENT ON COLUMN webmon.alert_notes.newest_at IS 'The newest of the instants.';

CREATE TABLE webmon.late_results (
    late_id bigint GENERATED ALWAYS AS IDENTITY,
    checker_id integer NOT NULL,
    sent_at timestamptz NOT NULL,
    late_s integer NOT NULL,
    CONSTRAINT late_results_pkey PRIMARY KEY (late_id)
);
CREATE INDEX late_results_sent_at_idx ON webmon.late_results (sent_at);
COMMENT ON TABLE webmon.late_results IS 'Notes for those who look after webmon itself: checkers whose results reached Kafka a minute late or more, because their outbox works through a backlog. Writers append them. They are kept for minutes.';
COMMENT ON COLUMN webmon.late_results.sent_at IS 'When the record was sent to Kafka.';
COMMENT ON COLUMN webmon.late_results.late_s IS 'How late that was, in seconds after its instant and the time budget of the check.';

CREATE TABLE webmon.alert_sites (
    site_id integer NOT NULL,
    settled boolean NOT NULL DEFAULT true,
    CONSTRAINT alert_sites_pkey PRIMARY KEY (site_id),
    CONSTRAINT alert_sites_site_id_fkey FOREIGN KEY (site_id) REFERENCES webmon.sites (site_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE webmon.alert_sites IS 'The sites that are judged. To judge a site, lock its row.';
COMMENT ON COLUMN webmon.alert_sites.settled IS 'Whether a success changes nothing: no alert fires, and none is about to.';

CREATE TABLE webmon.alert_places (
    site_id integer NOT NULL,
    location_id integer NOT NULL,
    newest_at timestamptz NOT NULL,
    look_at timestamptz,
    down_since_at timestamptz,
    slow_since_at timestamptz,
    CONSTRAINT alert_places_pkey PRIMARY KEY (site_id, location_id)
) WITH (fillfactor = 50);
CREATE INDEX alert_places_look_at_idx ON webmon.alert_places (look_at) WHERE look_at IS NOT NULL;
COMMENT ON TABLE webmon.alert_places IS 'What each location says of each site, as far as it was judged.';
COMMENT ON COLUMN webmon.alert_places.newest_at IS 'The newest instant that was seen.';
COMMENT ON COLUMN webmon.alert_places.look_at IS 'The site is judged again from this time on, even without a note. Null: only after a note.';
COMMENT ON COLUMN webmon.alert_places.down_since_at IS 'The first of the consecutive failures that took the location down. Null if it is not down.';
COMMENT ON COLUMN webmon.alert_places.slow_since_at IS 'The first of the consecutive slow successes that made the location slow. Null if it is not slow.';

CREATE TABLE webmon.alert_transitions (
    transition_id bigint GENERATED ALWAYS AS IDENTITY,
    alert_id bigint NOT NULL,
    kind text NOT NULL,
    level integer NOT NULL DEFAULT 0,
    action text NOT NULL,
    site_id integer,
    subject text NOT NULL,
    at timestamptz NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    receivers text[] NOT NULL,
    notice jsonb NOT NULL,
    CONSTRAINT alert_transitions_pkey PRIMARY KEY (transition_id),
    CONSTRAINT alert_transitions_alert_id_action_key UNIQUE (alert_id, action),
    CONSTRAINT alert_transitions_action_check CHECK (action IN ('firing', 'resolved')),
    CONSTRAINT alert_transitions_alert_id_check CHECK ((action = 'firing') = (alert_id = transition_id))
);
CREATE INDEX alert_transitions_subject_idx ON webmon.alert_transitions (subject, kind, transition_id);
COMMENT ON TABLE webmon.alert_transitions IS 'Each beginning and each end of an alert. A row never changes.';
COMMENT ON COLUMN webmon.alert_transitions.alert_id IS 'The transition with which the alert began.';
COMMENT ON COLUMN webmon.alert_transitions.level IS 'For certificates: the hours left that it is about. Otherwise 0.';
COMMENT ON COLUMN webmon.alert_transitions.at IS 'The instant with which it began or ended.';
COMMENT ON COLUMN webmon.alert_transitions.receivers IS 'Whom the routes named. Each gets one notification.';
COMMENT ON COLUMN webmon.alert_transitions.notice IS 'What is told.';

CREATE TABLE webmon.alerts (
    alert_id bigint NOT NULL,
    kind text NOT NULL,
    level integer NOT NULL,
    site_id integer,
    subject text NOT NULL,
    severity text NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz,
    fired_at timestamptz NOT NULL,
    resolved_at timestamptz,
    CONSTRAINT alerts_pkey PRIMARY KEY (alert_id),
    CONSTRAINT alerts_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES webmon.alert_transitions (transition_id) ON DELETE CASCADE,
    CONSTRAINT alerts_ended_check CHECK ((ended_at IS NULL) = (resolved_at IS NULL))
) WITH (fillfactor = 80);
-- No alert begins twice.
CREATE UNIQUE INDEX alerts_firing_key ON webmon.alerts (kind, subject, level) WHERE resolved_at IS NULL;
CREATE INDEX alerts_site_id_idx ON webmon.alerts (site_id, alert_id);
CREATE INDEX alerts_resolved_at_idx ON webmon.alerts (resolved_at) WHERE resolved_at IS NOT NULL;
COMMENT ON TABLE webmon.alerts IS 'Alerts, those that fire and those that have ended.';
COMMENT ON COLUMN webmon.alerts.subject IS 'The site''s key, or what of webmon it is about.';
COMMENT ON COLUMN webmon.alerts.began_at IS 'The instant with which it began.';
COMMENT ON COLUMN webmon.alerts.fired_at IS 'When webmon noticed that it had begun.';
COMMENT ON COLUMN webmon.alerts.resolved_at IS 'When webmon noticed that it had ended. Null while it fires.';

CREATE TABLE webmon.messages (
    message_id bigint GENERATED ALWAYS AS IDENTITY,
    receiver text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'pending',
    answer text,
    content jsonb NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (message_id),
    CONSTRAINT messages_state_check CHECK (state IN ('pending', 'delivered', 'dead')),
    CONSTRAINT messages_finished_check CHECK ((state = 'pending') = (finished_at IS NULL))
) WITH (fillfactor = 80);
-- A receiver gets its messages one after another, so that it learns of the transitions of a site in order.
CREATE UNIQUE INDEX messages_pending_key ON webmon.messages (receiver) WHERE state = 'pending';
CREATE INDEX messages_finished_at_idx ON webmon.messages (finished_at) WHERE finished_at IS NOT NULL;
COMMENT ON TABLE webmon.messages IS 'What was sent to receivers, or is being sent. A message that is tried again stays as it is.';
COMMENT ON COLUMN webmon.messages.attempts IS 'How often it was sent, or was about to be sent.';
COMMENT ON COLUMN webmon.messages.answer IS 'What the receiver answered last, or why it could not be reached.';

CREATE TABLE webmon.notifications (
    transition_id bigint NOT NULL,
    receiver text NOT NULL,
    reminder integer NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'pending',
    reason text,
    message_id bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    not_before timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT notifications_pkey PRIMARY KEY (transition_id, receiver, reminder),
    CONSTRAINT notifications_transition_id_fkey
        FOREIGN KEY (transition_id) REFERENCES webmon.alert_transitions (transition_id) ON DELETE CASCADE,
    CONSTRAINT notifications_message_id_fkey FOREIGN KEY (message_id) REFERENCES webmon.messages (message_id),
    CONSTRAINT notifications_state_check
        CHECK (state IN ('pending', 'sending', 'delivered', 'superseded', 'silenced', 'dead')),
    CONSTRAINT notifications_finished_check CHECK ((state IN ('pending', 'sending')) = (finished_at IS NULL)),
    CONSTRAINT notifications_message_check CHECK (state NOT IN ('sending', 'delivered') OR message_id IS NOT NULL)
) WITH (fillfactor = 70);
CREATE INDEX notifications_pending_idx ON webmon.notifications (receiver, transition_id) WHERE state = 'pending';
CREATE INDEX notifications_message_id_idx ON webmon.notifications (message_id);
COMMENT ON TABLE webmon.notifications IS 'What is to be told to whom, and what became of it: each transition and receiver that a route named has one row, and one more for each reminder.';
COMMENT ON COLUMN webmon.notifications.state IS 'pending: it waits; reason says for what. sending: it is in a message. delivered: the receiver has it. superseded: it is of no interest any more. silenced: a silence kept it back. dead: it could not be delivered.';
COMMENT ON COLUMN webmon.notifications.not_before IS 'It waits at least until this time.';

CREATE TABLE webmon.receivers (
    name text NOT NULL,
    disabled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text NOT NULL,
    CONSTRAINT receivers_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE webmon.receivers IS 'Receivers that are disabled, because they answered that they are gone.';

CREATE TABLE webmon.silences (
    silence_id bigint GENERATED ALWAYS AS IDENTITY,
    from_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    until_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by text NOT NULL,
    reason text NOT NULL,
    sites text[] NOT NULL,
    labels jsonb NOT NULL,
    kinds text[] NOT NULL,
    CONSTRAINT silences_pkey PRIMARY KEY (silence_id),
    CONSTRAINT silences_stretch_check CHECK (until_at >= from_at)
);
CREATE INDEX silences_until_at_idx ON webmon.silences (until_at);
COMMENT ON TABLE webmon.silences IS 'When alerts are not told, who decided it, and why.';
COMMENT ON COLUMN webmon.silences.until_at IS 'Until this time it holds. A silence that was ended ends here.';
COMMENT ON COLUMN webmon.silences.sites IS 'The keys of the sites. Empty: all that have the labels.';
COMMENT ON COLUMN webmon.silences.kinds IS 'The kinds of alerts. Empty: all.';
