-- +goose Up
-- A call that ends with an error may leave its constraint, which refuses the deliveries of
-- the next month. The lock tells that a call is under way, and goes with its connection.
ALTER PROCEDURE partition_deliveries() RENAME TO partition_deliveries_once;

-- +goose StatementBegin
CREATE PROCEDURE partition_deliveries() LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock(hashtext('logto-email-relay: partition'));
    SET LOCAL lock_timeout = '1s'; -- for the constraint: writers wait behind who waits for a search or a backup
    CALL partition_deliveries_once();
    PERFORM pg_advisory_unlock(hashtext('logto-email-relay: partition'));
END $$;
-- +goose StatementEnd

-- drop_deliveries_until drops what such a call left.
-- +goose StatementBegin
CREATE FUNCTION drop_deliveries_until() RETURNS VOID LANGUAGE plpgsql
    SET lock_timeout = '50ms'
AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = 'deliveries'::regclass AND conname = 'deliveries_until')
        AND pg_try_advisory_xact_lock(hashtext('logto-email-relay: partition'))
    THEN
        ALTER TABLE deliveries DROP CONSTRAINT IF EXISTS deliveries_until;
    END IF;
EXCEPTION WHEN lock_not_available THEN
    NULL; -- the next time
END $$;
-- +goose StatementEnd
