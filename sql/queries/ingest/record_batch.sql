-- Adds a committed range of offsets to the ledger. It has a row for each minute and epoch. Within a row the ranges adjoin.
-- Parameters: $1 topic, $2 partition, $3 epoch, $4 from offset, $5 to offset (not included), $6 inserted,
--             $7 superseded, $8 duplicate, $9 gaps, $10 expired, $11 dead
INSERT INTO webmon.ingest_batches AS ledger (
    topic, partition, epoch, minute, from_offset, to_offset, records, inserted, superseded, duplicate, gaps,
    expired, dead)
VALUES ($1, $2, $3, date_trunc('minute', clock_timestamp()), $4, $5,
        $6::bigint + $7::bigint + $8::bigint + $9::bigint + $10::bigint + $11::bigint, $6, $7, $8, $9,
        $10, $11)
ON CONFLICT (topic, partition, epoch, minute) DO UPDATE
SET to_offset = excluded.to_offset,
    records = ledger.records + excluded.records,
    inserted = ledger.inserted + excluded.inserted,
    superseded = ledger.superseded + excluded.superseded,
    duplicate = ledger.duplicate + excluded.duplicate,
    gaps = ledger.gaps + excluded.gaps,
    expired = ledger.expired + excluded.expired,
    dead = ledger.dead + excluded.dead
