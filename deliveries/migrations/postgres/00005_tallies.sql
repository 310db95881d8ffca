-- +goose Up
-- How many mails of a while went to the same provider, or were in the same language,
-- and what became of them, for overviews. The relay counts a while anew when one of
-- its deliveries has changed.
DROP TABLE totals;
CREATE TABLE totals (
    span         BIGINT NOT NULL, -- how long the while is, in microseconds
    time         BIGINT NOT NULL, -- its beginning, in microseconds since 1970
    dimension    TEXT   NOT NULL, -- provider or language
    name         TEXT   NOT NULL,
    accepted     BIGINT NOT NULL,
    delivered    BIGINT NOT NULL,
    bounced      BIGINT NOT NULL,
    complained   BIGINT NOT NULL,
    failed       BIGINT NOT NULL,
    to_accepted  TEXT   NOT NULL, -- how many took how long, by steps
    to_delivered TEXT   NOT NULL,
    PRIMARY KEY (span, time, dimension, name)
);
