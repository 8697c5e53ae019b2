-- Gives up what waits for a receiver, if it is disabled.
-- Parameters: $1 receiver
-- Locks: the rows of its message and notifications, until the transaction ends
-- Rows changed: the notifications
WITH disabled AS (
    SELECT reason
    FROM webmon.receivers
    WHERE name = $1
), message AS (
    UPDATE webmon.messages m
    SET state = 'dead',
        answer = d.reason,
        finished_at = clock_timestamp()
    FROM disabled d
    WHERE m.receiver = $1
      AND m.state = 'pending'
)
UPDATE webmon.notifications n
SET state = 'dead',
    finished_at = clock_timestamp(),
    reason = 'the receiver is disabled: ' || d.reason
FROM disabled d
WHERE n.receiver = $1
  AND n.state IN ('pending', 'sending')
