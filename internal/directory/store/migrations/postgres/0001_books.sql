-- +goose Up

-- Times are Unix milliseconds; 0 is never.
CREATE TABLE users (
    user_key    TEXT COLLATE "C" PRIMARY KEY,           -- <issuer>:<value>
    name        TEXT COLLATE "C" NOT NULL DEFAULT '',
    created_at  BIGINT NOT NULL,
    disabled_at BIGINT NOT NULL DEFAULT 0,
    version     BIGINT NOT NULL             -- number of the last event that changed it or its credentials
);

-- One SIP identity belongs to one person: the id is the key.
CREATE TABLE credentials (
    credential_id TEXT COLLATE "C" PRIMARY KEY,
    user_key      TEXT COLLATE "C" NOT NULL REFERENCES users (user_key),
    device        TEXT COLLATE "C" NOT NULL,
    sip_username  TEXT COLLATE "C" NOT NULL DEFAULT '',
    provisioned   BIGINT NOT NULL DEFAULT 0, -- 1: created by us
    created_at    BIGINT NOT NULL,
    usable_at     BIGINT NOT NULL DEFAULT 0,
    expires_at    BIGINT NOT NULL DEFAULT 0,
    vended_at     BIGINT NOT NULL DEFAULT 0,
    seen_in       BIGINT NOT NULL DEFAULT 0, -- the last reconciliation that saw it at Telnyx
    UNIQUE (user_key, device)
);

CREATE INDEX credentials_expiring ON credentials (expires_at) WHERE expires_at > 0;

-- Credentials that are being created, so that one is made however many ask, and
-- that what a crash left at Telnyx can be told whose it was to be.
CREATE TABLE intents (
    name       TEXT COLLATE "C" PRIMARY KEY,            -- of the credential at Telnyx
    user_key   TEXT COLLATE "C" NOT NULL,
    device     TEXT COLLATE "C" NOT NULL,
    holder     TEXT COLLATE "C" NOT NULL,
    held_until BIGINT NOT NULL,
    began_at   BIGINT NOT NULL
);

CREATE INDEX intents_of_user ON intents (user_key);

-- Credentials that are nobody's any more and still have to be deleted at Telnyx.
CREATE TABLE deletions (
    credential_id TEXT COLLATE "C" PRIMARY KEY,
    user_key      TEXT COLLATE "C" NOT NULL DEFAULT '',
    device        TEXT COLLATE "C" NOT NULL DEFAULT '',
    since         BIGINT NOT NULL,
    attempts      BIGINT NOT NULL DEFAULT 0,
    due_at        BIGINT NOT NULL
);

CREATE INDEX deletions_due ON deletions (due_at);

-- Credentials that bear our name at Telnyx, are nobody's, and are to stay: somebody
-- took them from a user and said so.
CREATE TABLE kept (
    credential_id TEXT COLLATE "C" PRIMARY KEY
);

-- Numbered without gaps, in the order in which they took effect.
CREATE TABLE events (
    number        BIGINT PRIMARY KEY,
    at            BIGINT NOT NULL,
    actor         TEXT COLLATE "C" NOT NULL,
    request_id    TEXT COLLATE "C" NOT NULL DEFAULT '',
    action        TEXT COLLATE "C" NOT NULL,
    user_key      TEXT COLLATE "C" NOT NULL DEFAULT '',
    device        TEXT COLLATE "C" NOT NULL DEFAULT '',
    credential_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    detail        TEXT COLLATE "C" NOT NULL DEFAULT ''
);

CREATE INDEX events_of_user ON events (user_key, number);

CREATE TABLE leases (
    name       TEXT COLLATE "C" PRIMARY KEY,
    holder     TEXT COLLATE "C" NOT NULL,
    held_until BIGINT NOT NULL
);

-- The number of the last event. Whoever changes the books locks this row first,
-- so changes are one after the other.
CREATE TABLE counter (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    value BIGINT NOT NULL
);

INSERT INTO counter (id, value) VALUES (1, 0);
