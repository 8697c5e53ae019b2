-- Gives up what nobody has delivered in time: no process knows the receiver any more, or it was down for too long.
-- Parameters: $1 before when it was to be delivered
-- Locks: the written rows, until the transaction ends
-- Rows changed: the notifications that are dead
WITH dead AS (
    UPDATE webmon.messages
    SET state = 'dead',
        finished_at = clock_timestamp(),
        answer = coalesce(answer, 'it was not delivered in time')
    WHERE state = 'pending'
      AND created_at < $1::timestamptz
    RETURNING message_id
)
UPDATE webmon.notifications
SET state = 'dead',
    finished_at = clock_timestamp(),
    reason = 'it was not delivered in time'
WHERE (state = 'pending' AND not_before < $1)
   OR (state = 'sending' AND message_id IN (SELECT message_id FROM dead))
