-- Records what became of a message: it was delivered, or is given up.
-- Parameters: $1 message, $2 state (delivered or dead), $3 what the receiver answered
-- Locks: the rows of the message and its notifications, until the transaction ends
-- Rows changed: the notifications; 0 if another worker has recorded it
WITH finished AS (
    UPDATE webmon.messages
    SET state = $2,
        answer = $3,
        finished_at = clock_timestamp()
    WHERE message_id = $1
      AND state = 'pending'
    RETURNING message_id
)
UPDATE webmon.notifications n
SET state = $2,
    finished_at = clock_timestamp(),
    reason = CASE WHEN $2 = 'dead' THEN $3 END
FROM finished f
WHERE n.message_id = f.message_id
  AND n.state = 'sending'
