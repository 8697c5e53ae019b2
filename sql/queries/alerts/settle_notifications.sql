-- Writes what was decided about pending notifications of a receiver.
-- Parameters: $1 receiver; arrays of the same length: $2 transitions, $3 reminders, $4 states, $5 reasons (null: none),
--             $6 until when they wait (null: as it was), $7 messages (null: none)
-- Locks: the rows, until the transaction ends
UPDATE webmon.notifications n
SET state = new.state,
    reason = new.reason,
    not_before = coalesce(new.not_before, n.not_before),
    message_id = new.message_id,
    finished_at = CASE WHEN new.state NOT IN ('pending', 'sending') THEN clock_timestamp() END
FROM unnest($2::bigint[], $3::integer[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[])
     AS new (transition_id, reminder, state, reason, not_before, message_id)
WHERE n.receiver = $1
  AND n.transition_id = new.transition_id
  AND n.reminder = new.reminder
  AND n.state = 'pending'
