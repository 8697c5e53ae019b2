-- The UTC days that may have changed.
--
-- Parameters: $1 timestamptz: hours that were rolled up after this time; $2 timestamptz: no hours before this one.
-- Locks: none.
-- Rows: one for each day, with the time of its newest roll-up.
SELECT (h.hour AT TIME ZONE 'UTC')::date AS day, max(h.rolled_up_at) AS rolled_up_at
FROM webmon.rolled_up_hours h
WHERE h.rolled_up_at > $1
  AND h.hour >= $2
GROUP BY 1
