-- Deletes jobs that ended long ago, the oldest first.
-- Parameters: $1 how long completed and cancelled ones are kept, $2 how long discarded ones are kept, both in seconds,
--             $3 rows at most
-- Locks: the rows, until the transaction ends
DELETE FROM webmon.jobs
WHERE id = ANY (ARRAY(
    SELECT id
    FROM webmon.jobs
    -- The first condition is for the index.
    WHERE finalized_at < statement_timestamp() - least($1::float8, $2::float8) * interval '1 second'
      AND finalized_at < statement_timestamp()
                         - CASE state WHEN 'discarded' THEN $2::float8 ELSE $1::float8 END * interval '1 second'
    ORDER BY finalized_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED))
