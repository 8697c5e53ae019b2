-- The whole schema, as the migrations leave it. A test compares the two.
CREATE SCHEMA webmon;

CREATE TABLE webmon.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT migrations_pkey PRIMARY KEY (version)
);

-- Dimensions: small, looked up by the writer and cached; nothing a site controls is ever one.

CREATE TABLE webmon.sites (
    site_id integer GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sites_pkey PRIMARY KEY (site_id),
    CONSTRAINT sites_key_key UNIQUE (key)
);
COMMENT ON TABLE webmon.sites IS 'One row a site, by the key its records carry.';

CREATE TABLE webmon.site_versions (
    version_id integer GENERATED ALWAYS AS IDENTITY,
    site_id integer NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    method text NOT NULL,
    labels jsonb NOT NULL,
    -- The texts together may be longer than an index entry: a digest stands for them.
    digest uuid NOT NULL GENERATED ALWAYS AS (
        md5(md5(name) || md5(url) || md5(method) || md5(labels::text))::uuid
    ) STORED,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT site_versions_pkey PRIMARY KEY (version_id),
    CONSTRAINT site_versions_site_id_fkey FOREIGN KEY (site_id) REFERENCES webmon.sites (site_id),
    CONSTRAINT site_versions_site_id_digest_key UNIQUE (site_id, digest)
);
COMMENT ON TABLE webmon.site_versions IS 'What a site looked like when it was checked: a new row for every change of name, URL, method or labels.';

CREATE TABLE webmon.locations (
    location_id smallint GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    CONSTRAINT locations_pkey PRIMARY KEY (location_id),
    CONSTRAINT locations_name_key UNIQUE (name)
);
COMMENT ON TABLE webmon.locations IS 'Where checks are made from.';

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
COMMENT ON FUNCTION webmon.outcome_rank IS 'missed < failure < success: of two results for one instant the higher is kept.';

-- Columns stand widest first, so that no row has padding: 120 bytes for a success over IPv4 and TLS. There are
-- no foreign keys: the writer takes every id from the dimensions itself, and a trigger a row would cost more
-- than the row.
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
    location_id smallint NOT NULL,
    http_status smallint,
    redirects smallint NOT NULL,
    attempts smallint NOT NULL,
    failed_expectations smallint NOT NULL,
    error_type smallint,
    outcome "char" NOT NULL,
    http_version "char",
    tls_version "char",
    body_matched boolean,
    body_truncated boolean NOT NULL,
    remote_ip inet,
    final_url text,
    error_detail text,
    error_message text,
    sample jsonb,
    CONSTRAINT check_results_identity_key UNIQUE (site_id, location_id, scheduled_at),
    CONSTRAINT check_results_outcome_check CHECK (outcome IN ('s', 'f', 'm')),
    CONSTRAINT check_results_error_type_check CHECK ((outcome = 's') = (error_type IS NULL)),
    CONSTRAINT check_results_next_after_s_check CHECK (next_after_s > 0)
) PARTITION BY RANGE (scheduled_at);
CREATE INDEX check_results_scheduled_at_idx ON webmon.check_results USING brin (scheduled_at) WITH (autosummarize = on);
COMMENT ON TABLE webmon.check_results IS 'One row for every instant of a site, seen from a location. Read it through the view webmon.checks.';

-- Makes the partition of one UTC day, unless it is there. LIKE and ATTACH take no lock that would keep results
-- from being stored meanwhile, as CREATE TABLE ... PARTITION OF would. The writer may call it without owning
-- the table.
CREATE FUNCTION webmon.ensure_result_partition(day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    partition text := format('check_results_%s', to_char(day, 'YYYYMMDD'));
    from_at timestamptz := day::timestamp AT TIME ZONE 'UTC';
    to_at timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(format('webmon.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One at a time: two writers may want the same day.
    PERFORM pg_advisory_xact_lock(hashtextextended('webmon.check_results', 0));
    IF to_regclass(format('webmon.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE webmon.%I (LIKE webmon.check_results INCLUDING CONSTRAINTS)', partition);
    EXECUTE format('ALTER TABLE webmon.check_results ATTACH PARTITION webmon.%I FOR VALUES FROM (%L) TO (%L)',
                   partition, from_at, to_at);
    RETURN true;
END
$$;

CREATE TABLE webmon.gaps (
    site_id integer NOT NULL,
    location_id smallint NOT NULL,
    from_at timestamptz NOT NULL,
    to_at timestamptz,
    instants bigint NOT NULL,
    reason text NOT NULL,
    checker_id integer NOT NULL,
    CONSTRAINT gaps_identity_key UNIQUE (site_id, location_id, from_at, reason),
    CONSTRAINT gaps_stretch_check CHECK (to_at > from_at),
    CONSTRAINT gaps_instants_check CHECK (instants > 0)
);
COMMENT ON TABLE webmon.gaps IS 'Stretches [from_at, to_at) whose instants have no rows, and why. to_at is null for a site that was retired.';

-- Kafka.

CREATE TABLE webmon.partition_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    lease_until timestamptz,
    paused text,
    last_error text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    cluster_id text,
    last_record_at timestamptz,
    last_record_crc bigint,
    CONSTRAINT partition_offsets_pkey PRIMARY KEY (topic, partition),
    CONSTRAINT partition_offsets_owner_check CHECK ((owner IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 50);
COMMENT ON TABLE webmon.partition_offsets IS 'How far each topic-partition is stored, and who may store more of it. next_offset moves in the transaction of the rows.';
COMMENT ON COLUMN webmon.partition_offsets.epoch IS 'Grows with every claim; a writer of an older one can commit nothing.';
COMMENT ON COLUMN webmon.partition_offsets.paused IS 'Why nobody may claim it; null when anybody may.';
COMMENT ON COLUMN webmon.partition_offsets.cluster_id IS 'The Kafka cluster it is stored from; null where the client cannot tell.';
COMMENT ON COLUMN webmon.partition_offsets.last_record_at IS 'The timestamp of the record before next_offset; null where the client cannot tell.';
COMMENT ON COLUMN webmon.partition_offsets.last_record_crc IS 'The CRC-32 of that record''s key and value; null before the first one, and after a replay was asked for.';

CREATE TABLE webmon.writers (
    owner text NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT writers_pkey PRIMARY KEY (owner)
);
COMMENT ON TABLE webmon.writers IS 'The writers at work, for sharing the partitions among them.';

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
    CONSTRAINT ingest_batches_pkey PRIMARY KEY (topic, partition, epoch, minute),
    CONSTRAINT ingest_batches_range_check CHECK (from_offset < to_offset),
    CONSTRAINT ingest_batches_records_check
        CHECK (records = inserted + superseded + duplicate + gaps + expired + dead)
);
COMMENT ON TABLE webmon.ingest_batches IS 'The ledger: what became of the records of each range of offsets [from_offset, to_offset), a row a minute.';

CREATE TABLE webmon.offset_gaps (
    topic text NOT NULL,
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    detected_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT offset_gaps_pkey PRIMARY KEY (topic, partition, from_offset),
    CONSTRAINT offset_gaps_range_check CHECK (from_offset < to_offset)
);
COMMENT ON TABLE webmon.offset_gaps IS 'Offsets that Kafka no longer held when they were to be stored: their records are lost.';

CREATE TABLE webmon.dead_letters (
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
    CONSTRAINT dead_letters_pkey PRIMARY KEY (topic, partition, record_offset, digest)
);
COMMENT ON TABLE webmon.dead_letters IS 'Records that are not results, as they came, and why.';

-- The view people read.

CREATE VIEW webmon.checks AS
SELECT s.key AS site,
       v.name,
       l.name AS location,
       c.name AS checker,
       v.labels,
       v.url,
       r.final_url,
       v.method,
       r.redirects,
       r.scheduled_at,
       r.scheduled_at + make_interval(secs => r.next_after_s) AS next_at,
       r.scheduled_at + r.started_after_us * interval '1 microsecond' AS started_at,
       CASE r.outcome WHEN 's' THEN 'success' WHEN 'f' THEN 'failure' ELSE 'missed' END AS outcome,
       e.name AS error_type,
       r.error_detail,
       r.error_message,
       array_remove(ARRAY[
           CASE WHEN r.failed_expectations & 1 <> 0 THEN 'status' END,
           CASE WHEN r.failed_expectations & 2 <> 0 THEN 'body' END,
           CASE WHEN r.failed_expectations & 4 <> 0 THEN 'not_body' END,
           CASE WHEN r.failed_expectations & 8 <> 0 THEN 'header' END,
           CASE WHEN r.failed_expectations & 16 <> 0 THEN 'max_time' END,
           CASE WHEN r.failed_expectations & 32 <> 0 THEN 'certificate' END], NULL) AS failed_expectations,
       r.http_status,
       r.body_matched,
       r.dns_us,
       r.connect_us,
       r.tls_us,
       r.ttfb_us,
       r.download_us,
       r.total_us,
       r.body_bytes,
       r.body_truncated,
       r.remote_ip,
       CASE r.http_version WHEN '0' THEN 'HTTP/1.0' WHEN '1' THEN 'HTTP/1.1' WHEN '2' THEN 'HTTP/2' WHEN '3' THEN 'HTTP/3' END AS http_version,
       CASE r.tls_version WHEN '2' THEN 'TLSv1.2' WHEN '3' THEN 'TLSv1.3' END AS tls_version,
       r.cert_not_after,
       r.attempts,
       r.sample
FROM webmon.check_results r
JOIN webmon.sites s USING (site_id)
JOIN webmon.site_versions v USING (version_id)
JOIN webmon.locations l USING (location_id)
JOIN webmon.checkers c USING (checker_id)
LEFT JOIN webmon.error_types e USING (error_type);
COMMENT ON VIEW webmon.checks IS 'Every stored result, with names and words.';

-- A job waits while it is available or, after a failure, retryable; both from scheduled_at on. The columns of a
-- state are there in that state only: the constraints hold the state machine.
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
-- What a claim looks through, in its order.
CREATE INDEX jobs_waiting_idx ON webmon.jobs (priority, scheduled_at, id) WHERE state IN ('available', 'retryable');
-- One waits and one runs of those with the same key: what is enqueued while one runs is not lost, and what waits
-- does not begin before that has ended.
CREATE UNIQUE INDEX jobs_waiting_key ON webmon.jobs (kind, key)
    WHERE state IN ('available', 'retryable') AND key IS NOT NULL;
CREATE UNIQUE INDEX jobs_running_key ON webmon.jobs (kind, key) WHERE state = 'running' AND key IS NOT NULL;
-- Not on lease_until: a lease is renewed without a new index entry.
CREATE INDEX jobs_running_idx ON webmon.jobs (id) WHERE state = 'running';
CREATE INDEX jobs_finalized_at_idx ON webmon.jobs (finalized_at) WHERE finalized_at IS NOT NULL;
COMMENT ON TABLE webmon.jobs IS 'The job queue: what waits, what runs, and for a while what has ended.';
COMMENT ON COLUMN webmon.jobs.epoch IS 'Grows with every claim; a worker of an older one can neither complete nor fail the job.';
COMMENT ON COLUMN webmon.jobs.scheduled_at IS 'When it may run at the earliest.';
COMMENT ON COLUMN webmon.jobs.leased_at IS 'When the lease was given or last renewed; one from the future was given before the clock was set back.';
COMMENT ON COLUMN webmon.jobs.priority IS '1 runs first, 4 last.';
COMMENT ON COLUMN webmon.jobs.key IS 'At most one job of a kind and key waits, and at most one runs; null: any number.';
COMMENT ON COLUMN webmon.jobs.schedule IS 'The schedule that brought it about; null when it was enqueued.';
COMMENT ON COLUMN webmon.jobs.attempted_by IS 'The worker of the last attempt, part of its connection''s application_name.';

CREATE TABLE webmon.job_schedules (
    kind text NOT NULL,
    schedule text NOT NULL,
    timezone text NOT NULL,
    next_at timestamptz,
    CONSTRAINT job_schedules_pkey PRIMARY KEY (kind)
);
COMMENT ON TABLE webmon.job_schedules IS 'The periodic kinds, and the next instant for which a job is enqueued; null when there is none.';
