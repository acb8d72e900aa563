-- Only BIGINT and TEXT, and no NULL: one text for SQLite and PostgreSQL.
-- Times are seconds since 1970; `generation` is for compare-and-set; `changed` is milliseconds
-- since 1970, for other replicas.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('action', 0);

CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    next_token_hash TEXT NOT NULL,
    attributes TEXT NOT NULL,
    labels TEXT NOT NULL,
    identity TEXT NOT NULL,
    auto_confirm TEXT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    heard_at BIGINT NOT NULL,
    changed BIGINT NOT NULL
);
CREATE INDEX devices_changed ON devices (changed);

CREATE TABLE releases (
    name TEXT PRIMARY KEY,
    doc TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE rollouts (
    id TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    doc TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed BIGINT NOT NULL
);
CREATE INDEX rollouts_changed ON rollouts (changed);

CREATE TABLE attempts (
    rollout TEXT NOT NULL,
    device TEXT NOT NULL,
    action BIGINT NOT NULL,
    back BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    doc TEXT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (rollout, device)
);
CREATE INDEX attempts_device ON attempts (device);
CREATE INDEX attempts_changed ON attempts (changed);

CREATE TABLE messages (
    device TEXT NOT NULL,
    action BIGINT NOT NULL,
    at BIGINT NOT NULL,
    word TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX messages_device ON messages (device, action);

CREATE TABLE people (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret TEXT NOT NULL
);

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    webhook TEXT NOT NULL,
    body TEXT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL
);
