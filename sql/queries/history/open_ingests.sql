-- The transactions that store results. Each of them writes to one of two tables before it reads the floor, and holds that
-- lock until it ends. Prepared transactions count. Transactions of other databases, and those that only read, do not.
-- Parameters: $1 only those of these (null: all)
-- Rows returned: one, their virtual ids
SELECT coalesce(array_agg(DISTINCT virtualtransaction), '{}') AS transactions
FROM pg_catalog.pg_locks
WHERE locktype = 'relation'
  AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND relation IN ('webmon.partition_offsets'::regclass, 'webmon.ingest_batches'::regclass)
  AND mode = 'RowExclusiveLock'
  AND granted
  AND ($1::text[] IS NULL OR virtualtransaction = ANY ($1))
