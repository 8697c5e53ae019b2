-- Ends the connections of writers that neither go on nor let go: the lease of the writer is over, its transaction has
-- been open for longer than a lease, waits for its program, and has not moved since the look before (a COPY that gets
-- bytes, however slowly, has). Their locks would stand for ever (inside COPY no timeout of the server's applies), and
-- with them their partitions.
-- Needs the same database user for all writers. A connection is known by its application_name: "webmon-store:" and the
-- owner, printable ASCII, cut to 63 bytes.
-- Parameters: $1 topic, $2 this writer, $3 lease in milliseconds; the connections seen at the look before that are to be
--             ended unless they have moved: $4 pids, $5 begin of their transaction, $6 last change of their state, $7 bytes
--             copied; one array each, all of one length
-- Rows returned: the connections that look frozen: pid, begin, last change, bytes, application_name, and whether it was
--                ended
WITH over AS (
    SELECT owner
    FROM webmon.partition_offsets
    WHERE topic = $1
      AND (lease_until < clock_timestamp()
           OR leased_at > clock_timestamp())
    UNION
    SELECT owner
    FROM webmon.writers
    WHERE topic = $1
      AND (lease_until < clock_timestamp()
           OR seen_at > clock_timestamp())
), frozen AS (
    SELECT a.pid, a.xact_start, a.state_change, coalesce(c.bytes_processed, 0) AS bytes, a.application_name
    FROM pg_stat_activity a
    LEFT JOIN pg_stat_progress_copy c USING (pid)
    WHERE a.datname = current_database()
      AND a.usename = current_user
      AND a.pid <> pg_backend_pid()
      AND a.wait_event_type = 'Client'
      AND (a.xact_start < clock_timestamp() - $3::float8 * interval '1 millisecond'
           OR a.xact_start > clock_timestamp() + $3::float8 * interval '1 millisecond')
      AND a.application_name IN (
          SELECT left('webmon-store:' || regexp_replace(owner, '[^ -~]', '?', 'g'), 63)
          FROM over
          WHERE owner <> $2)
)
SELECT f.pid,
       f.xact_start,
       f.state_change,
       f.bytes,
       f.application_name,
       CASE WHEN s.pid IS NULL THEN false ELSE pg_terminate_backend(f.pid) END AS ended
FROM frozen f
LEFT JOIN unnest($4::integer[], $5::timestamptz[], $6::timestamptz[], $7::bigint[])
    AS s (pid, xact_start, state_change, bytes)
    USING (pid, xact_start, state_change, bytes)
