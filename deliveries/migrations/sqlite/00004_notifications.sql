-- +goose Up
-- What endpoints of the operator's are to be told of.
CREATE TABLE notifications (
    id       TEXT NOT NULL PRIMARY KEY,
    endpoint TEXT   NOT NULL, -- a hash of its URL
    body     TEXT   NOT NULL, -- JSON
    since    BIGINT NOT NULL, -- microseconds since 1970
    due      BIGINT NOT NULL, -- nobody takes it up before; while it is being sent, the end of the claim
    attempts BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX notifications_due ON notifications (endpoint, due);
