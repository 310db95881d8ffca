-- +goose Up
CREATE TABLE deliveries (
    id          TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    time        BIGINT  NOT NULL, -- microseconds since 1970
    status      TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    tenant      TEXT    NOT NULL,
    locale      TEXT    NOT NULL,
    provider    TEXT    NOT NULL, -- that accepted the mail, with its id of it
    provider_id TEXT    NOT NULL,
    recipient   TEXT    NOT NULL, -- in lower case, or its hash
    duration    BIGINT  NOT NULL, -- microseconds from the webhook to the verdict
    data        TEXT    NOT NULL, -- what nobody searches for, as JSON
    events      TEXT    NOT NULL DEFAULT '[]'
);

-- Every search is answered newest first by one of these. A status that most mails
-- have needs no index of its own.
CREATE INDEX deliveries_time ON deliveries (time);
CREATE INDEX deliveries_recipient ON deliveries (recipient, time);
CREATE INDEX deliveries_provider ON deliveries (provider, time);
CREATE INDEX deliveries_type ON deliveries (type, time);
CREATE INDEX deliveries_tenant ON deliveries (tenant, time) WHERE tenant <> '';
CREATE INDEX deliveries_status ON deliveries (status, time) WHERE status NOT IN ('accepted', 'delivered');
