-- +goose Up
-- A table can be partitioned by time only if the time is part of its key. Ids are
-- random in part and do not come twice.
ALTER TABLE deliveries DROP CONSTRAINT deliveries_pkey, ADD PRIMARY KEY (id, time);

-- Who has very many deliveries calls this once: the table then has a partition for
-- each month, and purging is dropping one. What is there becomes the first partition,
-- up to the end of this month, and is not copied. Relays may be at work meanwhile.
-- +goose StatementBegin
CREATE PROCEDURE partition_deliveries() LANGUAGE plpgsql AS $$
DECLARE
    until   BIGINT := CAST(extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC') + INTERVAL '1 month') AS BIGINT) * 1000000;
    indexes TEXT[];
    index   TEXT;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'deliveries'::regclass) = 'p' THEN
        RAISE NOTICE 'deliveries is partitioned already';
        RETURN;
    END IF;
    -- All rows are read for this, while others write. It is what lets the table become
    -- a partition at once.
    ALTER TABLE deliveries DROP CONSTRAINT IF EXISTS deliveries_until;
    EXECUTE format('ALTER TABLE deliveries ADD CONSTRAINT deliveries_until CHECK (time < %s) NOT VALID', until);
    COMMIT;
    ALTER TABLE deliveries VALIDATE CONSTRAINT deliveries_until;
    COMMIT;

    -- Others wait for the rest, which takes some milliseconds. The new table gets the
    -- names of the indexes, so that later migrations find them.
    SET LOCAL lock_timeout = '5s';
    LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE;
    SELECT array_agg(pg_get_indexdef(indexrelid)) INTO indexes FROM pg_index WHERE indrelid = 'deliveries'::regclass AND NOT indisprimary;
    FOR index IN SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = 'deliveries'::regclass LOOP
        EXECUTE format('ALTER INDEX %I RENAME TO %I', index, 'first_' || index);
    END LOOP;
    ALTER TABLE deliveries RENAME TO deliveries_first;
    CREATE TABLE deliveries (LIKE deliveries_first INCLUDING DEFAULTS) PARTITION BY RANGE (time);
    ALTER TABLE deliveries ADD PRIMARY KEY (id, time);
    FOREACH index IN ARRAY indexes LOOP
        EXECUTE index;
    END LOOP;
    EXECUTE format('ALTER TABLE deliveries ATTACH PARTITION deliveries_first FOR VALUES FROM (MINVALUE) TO (%s)', until);
    ALTER TABLE deliveries_first DROP CONSTRAINT deliveries_until;
    -- For clocks that are wrong. It stays empty.
    CREATE TABLE deliveries_rest PARTITION OF deliveries DEFAULT;
    PERFORM keep_months(0);
END $$;
-- +goose StatementEnd

-- keep_months makes the partitions of months to come, drops those with nothing later
-- than a time, and returns the tables whose rows have to be deleted one by one.
-- +goose StatementBegin
CREATE FUNCTION keep_months(oldest BIGINT) RETURNS SETOF TEXT LANGUAGE plpgsql
    SET lock_timeout = '50ms' -- writers wait behind who waits for a search
AS $$
DECLARE
    month TIMESTAMP := date_trunc('month', now() AT TIME ZONE 'UTC');
    name  TEXT;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'deliveries'::regclass) <> 'p' THEN
        RETURN NEXT 'deliveries';
        RETURN;
    END IF;
    BEGIN
        -- One relay at a time.
        PERFORM pg_advisory_xact_lock(hashtext('logto-email-relay: months'));
        FOR ahead IN 0..2 LOOP
            name := 'deliveries_' || to_char(month, 'YYYY_MM');
            IF to_regclass(name) IS NULL THEN
                BEGIN
                    EXECUTE format('CREATE TABLE %I (LIKE deliveries INCLUDING ALL)', name);
                    EXECUTE format('ALTER TABLE deliveries ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', name,
                        CAST(extract(epoch FROM month) AS BIGINT) * 1000000, CAST(extract(epoch FROM month + INTERVAL '1 month') AS BIGINT) * 1000000);
                EXCEPTION WHEN invalid_object_definition OR check_violation THEN
                    NULL; -- the first partition has this month, or the rest a part of it
                END;
            END IF;
            month := month + INTERVAL '1 month';
        END LOOP;
        FOR name IN
            SELECT relname FROM pg_partition_tree('deliveries') JOIN pg_class ON oid = relid
            WHERE isleaf AND substring(pg_get_expr(relpartbound, oid) FROM $re$TO \('(-?\d+)'\)$re$)::BIGINT <= oldest
        LOOP
            EXECUTE format('DROP TABLE %I', name);
        END LOOP;
    EXCEPTION WHEN lock_not_available THEN
        NULL; -- the next time
    END;
    RETURN QUERY SELECT relid::TEXT FROM pg_partition_tree('deliveries') WHERE relid::TEXT IN ('deliveries_first', 'deliveries_rest');
END $$;
-- +goose StatementEnd
