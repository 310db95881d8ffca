-- +goose Up
-- How many mails of an hour were alike, for overviews. The relay counts an hour
-- anew when one of its deliveries has changed.
CREATE TABLE totals (
    hour     BIGINT NOT NULL, -- its beginning, in microseconds since 1970
    provider TEXT   NOT NULL,
    locale   TEXT   NOT NULL,
    status   TEXT   NOT NULL,
    speed    BIGINT NOT NULL, -- the time to the verdict, in steps
    mails    BIGINT NOT NULL,
    PRIMARY KEY (hour, provider, locale, status, speed)
);
