-- Ends the connections of frozen writers. A writer is frozen if all of this is true:
--
-- - its lease is over,
-- - its transaction has been open for longer than a lease and waits for its program,
-- - it has not moved since the look before. A COPY that gets bytes has moved, however slow it is.
--
-- Otherwise its locks would stay for ever, and its partitions with them: inside COPY no timeout of the server applies.
--
-- All writers must use the same database user. A connection is known by its application_name: "webmon-store:" and the owner,
-- in printable ASCII, cut to 63 bytes.
--
-- Parameters: $1 topic, $2 this writer, $3 lease in milliseconds. Then the connections that looked frozen at the look
--             before, as arrays of the same length: $4 pids, $5 begin of the transaction, $6 last change of the state,
--             $7 bytes copied. They are ended unless they have moved.
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
