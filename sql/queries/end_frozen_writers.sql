-- Ends the connections of writers that neither go on nor let go: in a transaction begun longer than a lease ago, and
-- waiting for their program, which is suspended or cut off. Their locks would stand for ever (inside COPY no timeout
-- of the server's applies), and with them their partitions. Only looks where the lease of another writer is over.
-- Needs the same database user for all writers.
-- Parameters: $1 topic, $2 this writer, $3 lease in milliseconds
-- Rows returned: the connections ended, by their application_name
SELECT application_name, pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database()
  AND usename = current_user
  AND pid <> pg_backend_pid()
  AND application_name LIKE 'webmon-store:%'
  AND wait_event_type = 'Client'
  AND (xact_start < clock_timestamp() - $3::float8 * interval '1 millisecond'
       OR xact_start > clock_timestamp() + $3::float8 * interval '1 millisecond')
  AND EXISTS (
      SELECT
      FROM webmon.partition_offsets
      WHERE topic = $1
        AND owner <> $2
        AND (lease_until < clock_timestamp()
             OR leased_at > clock_timestamp()))
