-- Finds the receivers that are to be told something, and when. While a message is tried again, nothing else is sent.
-- Parameters: $1 only this receiver (null: all)
-- Rows returned: one for each receiver
SELECT receiver, coalesce(max(next_try_at), min(not_before)) AS at
FROM (SELECT receiver, not_before, NULL::timestamptz AS next_try_at FROM webmon.notifications WHERE state = 'pending'
      UNION ALL
      SELECT receiver, NULL, next_try_at FROM webmon.messages WHERE state = 'pending') AS waiting
WHERE $1::text IS NULL
   OR receiver = $1
GROUP BY receiver
