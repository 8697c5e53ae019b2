-- Renews the leases of jobs that still run. A row that the completion of its job has locked is passed over.
-- Parameters: $1 ids, $2 their epochs, $3 lease in milliseconds
-- Locks: the renewed rows, until the transaction ends
-- Rows returned: every id, whether its owner still holds it or has completed it, and whether it should be cancelled
WITH held AS (
    SELECT j.id
    FROM webmon.jobs j
    JOIN unnest($1::bigint[], $2::bigint[]) AS mine (id, epoch) ON j.id = mine.id AND j.epoch = mine.epoch
    WHERE j.state = 'running'
    FOR UPDATE OF j SKIP LOCKED
), renewed AS (
    UPDATE webmon.jobs j
    SET leased_at = clock_timestamp(),
        lease_until = clock_timestamp() + $3::float8 * interval '1 millisecond'
    FROM held
    WHERE j.id = held.id
)
SELECT mine.id,
       -- Only its owner completes it. The commit may be visible before the owner has noted it in its own process.
       coalesce(j.epoch = mine.epoch AND j.state IN ('running', 'completed'), false),
       j.cancel_requested_at IS NOT NULL
FROM unnest($1::bigint[], $2::bigint[]) AS mine (id, epoch)
LEFT JOIN webmon.jobs j ON j.id = mine.id
