-- Deletes hours that may be gone, with their failure runs. It keeps the hours of an incident that did not end before
-- hours_purged_at, because that incident is derived from them.
-- Parameters: $1 rows at most
-- Locks: the deleted rows, until the transaction ends
-- Rows changed: the hours deleted
WITH cut AS (
    SELECT hours_purged_at AS at
    FROM webmon.retention
), old AS (
    SELECT h.site_id, h.location_id, h.hour
    FROM webmon.site_hours h
    WHERE h.hour < (SELECT at FROM cut)
      AND NOT EXISTS (
          SELECT
          FROM webmon.site_incidents i
          WHERE i.site_id = h.site_id
            AND i.from_at < h.hour + interval '1 hour'
            AND (i.to_at IS NULL OR i.to_at >= (SELECT at FROM cut)))
    LIMIT $1
), runs AS (
    DELETE FROM webmon.failure_runs f
    USING old
    WHERE f.site_id = old.site_id
      AND f.location_id = old.location_id
      AND f.from_at >= old.hour
      AND f.from_at < old.hour + interval '1 hour'
)
DELETE FROM webmon.site_hours h
USING old
WHERE h.site_id = old.site_id
  AND h.location_id = old.location_id
  AND h.hour = old.hour
