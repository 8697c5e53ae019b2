-- Notes that checkers sent results late. What they sent long ago is of no interest any more: it was in Kafka since.
-- Parameters, arrays of the same length: $1 checkers, $2 when they sent the result, $3 how late it was, in seconds
-- Locks: none
INSERT INTO webmon.late_results (checker_id, sent_at, late_s)
SELECT checker_id, sent_at, late_s
FROM unnest($1::integer[], $2::timestamptz[], $3::integer[]) AS late (checker_id, sent_at, late_s)
WHERE sent_at > clock_timestamp() - interval '5 minutes'
