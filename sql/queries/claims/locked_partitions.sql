-- Partitions that are free (see claim_partitions.sql), but whose rows somebody has locked. It is run after a claim that left
-- some. Usually another writer claims them a moment later. A server process that hangs in its transaction keeps them.
-- Parameters: $1 topic, $2 how many partitions the topic has now, $3 partitions to leave alone
-- Rows returned: the partition, and the server process that has locked its row, if that can be found out
SELECT o.partition, lock.pid
FROM webmon.partition_offsets o
LEFT JOIN pg_catalog.pg_locks lock
       ON lock.locktype = 'transactionid' AND lock.transactionid = o.xmax AND lock.mode = 'ExclusiveLock' AND lock.granted
WHERE o.topic = $1
  AND o.partition < $2
  AND o.partition <> ALL ($3::integer[])
  AND o.paused IS NULL
  AND (o.owner IS NULL
       OR o.lease_until < clock_timestamp()
       OR o.leased_at > clock_timestamp())
ORDER BY o.partition
