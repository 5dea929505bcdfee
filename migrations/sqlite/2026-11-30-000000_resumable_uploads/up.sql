-- An interrupted upload keeps its bytes until `expires_at`, where the length of the file is known (`exact`). SQLite changes no CHECK in
-- place, so the table is made anew.
CREATE TABLE uploads_new (
    image_id TEXT PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
    device TEXT NOT NULL,
    user_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    user_name TEXT NOT NULL,
    instance TEXT NOT NULL,
    fence BIGINT NOT NULL,
    declared_bytes BIGINT NOT NULL,
    exact BOOLEAN NOT NULL DEFAULT FALSE,
    offset_bytes BIGINT NOT NULL,
    hash_state BLOB,
    lease_until BIGINT,
    begun_at BIGINT NOT NULL,
    stopped_at BIGINT,
    stopped TEXT CHECK (stopped IN ('never_sent', 'interrupted', 'service_stopped', 'refused', 'storage_failed', 'storage_removed', 'right_lost', 'cancelled', 'expired')),
    stopped_detail TEXT NOT NULL,
    expires_at BIGINT,
    -- A token that carries on this one upload, by its digest: whose it is, from which device it was given, until when.
    handover_hash TEXT,
    handover_user TEXT REFERENCES users (id) ON DELETE SET NULL,
    handover_device TEXT,
    handover_until BIGINT,
    CHECK ((lease_until IS NULL) = (stopped_at IS NOT NULL)),
    CHECK ((stopped IS NULL) = (stopped_at IS NULL)),
    CHECK (expires_at IS NULL OR (stopped_at IS NOT NULL AND hash_state IS NOT NULL))
);
INSERT INTO uploads_new (image_id, device, user_id, user_name, instance, fence, declared_bytes, offset_bytes, hash_state, lease_until, begun_at,
    stopped_at, stopped, stopped_detail)
SELECT image_id, device, user_id, user_name, instance, fence, declared_bytes, offset_bytes, hash_state, lease_until, begun_at, stopped_at, stopped,
    stopped_detail FROM uploads;
DROP TABLE uploads;
ALTER TABLE uploads_new RENAME TO uploads;
CREATE INDEX uploads_lease ON uploads (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX uploads_expiry ON uploads (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX uploads_handover ON uploads (handover_hash) WHERE handover_hash IS NOT NULL;

-- What the digest of the file was said to be, as in sha256:HEX or sha512:HEX, and whether it is.
ALTER TABLE images ADD COLUMN expected_digest TEXT;
ALTER TABLE images ADD COLUMN digest_state TEXT CHECK (digest_state IN ('verified', 'mismatch'));
