-- Forgets what the ledger says of long ago.
-- Parameters: $1 how long it is kept, in seconds, $2 rows at most
-- Locks: the rows, until the transaction ends
DELETE FROM webmon.ingest_batches
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM webmon.ingest_batches
    WHERE minute < statement_timestamp() - $1::float8 * interval '1 second'
    LIMIT $2))
