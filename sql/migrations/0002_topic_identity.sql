-- What tells a partition from another one of its name, and a dead letter from another one of its offset: topics are
-- deleted and made anew, and clusters are moved.

ALTER TABLE webmon.partition_offsets
    ADD COLUMN cluster_id text,
    ADD COLUMN last_record_at timestamptz,
    ADD COLUMN last_record_crc bigint;
COMMENT ON COLUMN webmon.partition_offsets.cluster_id IS 'The Kafka cluster it is stored from; null where the client cannot tell.';
COMMENT ON COLUMN webmon.partition_offsets.last_record_at IS 'The timestamp of the record before next_offset; null where the client cannot tell.';
COMMENT ON COLUMN webmon.partition_offsets.last_record_crc IS 'The CRC-32 of that record''s key and value; null before the first one, and after a replay was asked for.';

-- Writers share the partitions of their topic only. They come back by themselves.
DELETE FROM webmon.writers;
ALTER TABLE webmon.writers
    ADD COLUMN topic text NOT NULL,
    DROP CONSTRAINT writers_pkey,
    ADD CONSTRAINT writers_pkey PRIMARY KEY (topic, owner);

ALTER TABLE webmon.dead_letters
    ADD COLUMN digest uuid NOT NULL GENERATED ALWAYS AS (
        md5(md5(coalesce(key, '')) || md5(coalesce(value, '')))::uuid
    ) STORED,
    DROP CONSTRAINT dead_letters_pkey,
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (topic, partition, record_offset, digest);
