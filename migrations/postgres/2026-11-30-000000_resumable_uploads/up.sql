-- An interrupted upload keeps its bytes until `expires_at`, where the length of the file is known (`exact`).
ALTER TABLE uploads ADD COLUMN exact BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE uploads ADD COLUMN expires_at BIGINT;
-- A token that carries on this one upload, by its digest: whose it is, from which device it was given, until when.
ALTER TABLE uploads ADD COLUMN handover_hash TEXT COLLATE "C";
ALTER TABLE uploads ADD COLUMN handover_user TEXT COLLATE "C" REFERENCES users (id) ON DELETE SET NULL;
ALTER TABLE uploads ADD COLUMN handover_device TEXT COLLATE "C";
ALTER TABLE uploads ADD COLUMN handover_until BIGINT;
ALTER TABLE uploads DROP CONSTRAINT uploads_stopped_check;
ALTER TABLE uploads ADD CONSTRAINT uploads_stopped_check CHECK (stopped IN ('never_sent', 'interrupted', 'service_stopped', 'refused', 'storage_failed', 'storage_removed', 'right_lost', 'cancelled', 'expired'));
ALTER TABLE uploads ADD CONSTRAINT uploads_kept_check CHECK (expires_at IS NULL OR (stopped_at IS NOT NULL AND hash_state IS NOT NULL));
CREATE INDEX uploads_expiry ON uploads (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX uploads_handover ON uploads (handover_hash) WHERE handover_hash IS NOT NULL;

-- What the digest of the file was said to be, as in sha256:HEX or sha512:HEX, and whether it is.
ALTER TABLE images ADD COLUMN expected_digest TEXT COLLATE "C";
ALTER TABLE images ADD COLUMN digest_state TEXT COLLATE "C" CHECK (digest_state IN ('verified', 'mismatch'));
