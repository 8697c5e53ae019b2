-- The job queue, and the schedules of its periodic kinds.

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
