-- Tokens of programs, and answers that are kept so that a request sent again does nothing twice.

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL CONSTRAINT tokens_token_hash_unique UNIQUE,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE INDEX tokens_user ON tokens (user_id, created_at, id);

-- An answer is empty while its request is under way.
CREATE TABLE requests (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    answer TEXT,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX requests_created ON requests (created_at);
