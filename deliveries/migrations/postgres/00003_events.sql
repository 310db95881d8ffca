-- +goose Up
-- Events name a mail by the id that its service gave it, if not by ours.
CREATE INDEX deliveries_provider_id ON deliveries (provider, provider_id) WHERE provider_id <> '';

-- Addresses that get no mails for a while.
CREATE TABLE suppressions (
    recipient   TEXT    COLLATE "C" NOT NULL PRIMARY KEY, -- as in deliveries
    shown       TEXT    NOT NULL, -- for people; masked where addresses are hashed
    reason      TEXT    NOT NULL,
    provider    TEXT    NOT NULL, -- that reported it; empty for a person
    since       BIGINT  NOT NULL, -- microseconds since 1970
    until       BIGINT  NOT NULL
);
