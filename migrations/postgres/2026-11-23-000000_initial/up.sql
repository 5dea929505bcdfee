-- The whole first schema. The other database has the same migration under the same name; a test compares them.

CREATE TABLE users (
    id TEXT COLLATE "C" PRIMARY KEY,
    email TEXT COLLATE "C" NOT NULL,
    email_key TEXT COLLATE "C" NOT NULL CONSTRAINT users_email_key_unique UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    password_hash TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('administrator', 'no_access')),
    disabled BOOLEAN NOT NULL,
    theme TEXT COLLATE "C" NOT NULL CHECK (theme IN ('system', 'light', 'dark')),
    shortcuts BOOLEAN NOT NULL,
    list_columns TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE sessions (
    token_hash TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    address TEXT COLLATE "C" NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_seen ON sessions (seen_at);

CREATE TABLE setup_codes (
    code_hash TEXT COLLATE "C" PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE sign_in_failures (
    subject TEXT COLLATE "C" PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);

CREATE TABLE clusters (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    name_key TEXT COLLATE "C" NOT NULL CONSTRAINT clusters_name_key_unique UNIQUE,
    note TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE hosts (
    id TEXT COLLATE "C" PRIMARY KEY,
    cluster_id TEXT COLLATE "C" NOT NULL REFERENCES clusters (id) ON DELETE RESTRICT,
    name TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('this_machine')),
    created_at BIGINT NOT NULL
);
CREATE INDEX hosts_cluster ON hosts (cluster_id);

CREATE TABLE storages (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('datastore', 'local')),
    host_id TEXT COLLATE "C" REFERENCES hosts (id) ON DELETE RESTRICT,
    name TEXT COLLATE "C" NOT NULL,
    name_key TEXT COLLATE "C" CONSTRAINT storages_name_key_unique UNIQUE,
    path TEXT COLLATE "C" NOT NULL,
    path_key TEXT COLLATE "C" CONSTRAINT storages_path_key_unique UNIQUE,
    health TEXT COLLATE "C" NOT NULL CHECK (health IN ('healthy', 'degraded', 'removed')),
    cause TEXT COLLATE "C",
    health_since BIGINT NOT NULL,
    checked_at BIGINT NOT NULL,
    capacity_bytes BIGINT NOT NULL,
    free_bytes BIGINT NOT NULL,
    unknown_files BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    CHECK ((kind = 'local') = (host_id IS NOT NULL))
);
CREATE INDEX storages_host ON storages (host_id);

CREATE TABLE connections (
    storage_id TEXT COLLATE "C" NOT NULL REFERENCES storages (id) ON DELETE CASCADE,
    cluster_id TEXT COLLATE "C" NOT NULL REFERENCES clusters (id) ON DELETE RESTRICT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (storage_id, cluster_id)
);
CREATE INDEX connections_cluster ON connections (cluster_id);

CREATE TABLE images (
    seq BIGSERIAL PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT images_id_unique UNIQUE,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('installation', 'base', 'virtual_disk')),
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'uploading', 'creating', 'available', 'deleting')),
    storage_id TEXT COLLATE "C" NOT NULL REFERENCES storages (id) ON DELETE RESTRICT,
    name TEXT COLLATE "C" NOT NULL,
    search_key TEXT COLLATE "C" NOT NULL,
    name_key TEXT COLLATE "C",
    note TEXT COLLATE "C" NOT NULL,
    os TEXT COLLATE "C" NOT NULL,
    min_vcpu INTEGER NOT NULL,
    min_memory_mib INTEGER NOT NULL,
    min_disk_gib INTEGER NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT COLLATE "C",
    format TEXT COLLATE "C",
    label TEXT COLLATE "C",
    publisher TEXT COLLATE "C",
    boot TEXT COLLATE "C",
    file_name TEXT COLLATE "C" NOT NULL,
    file_state TEXT COLLATE "C" NOT NULL CHECK (file_state IN ('sound', 'missing', 'changed')),
    file_checked_at BIGINT,
    reserved_bytes BIGINT NOT NULL CHECK (reserved_bytes >= 0),
    status_since BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" REFERENCES users (id) ON DELETE SET NULL,
    created_by_name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    CHECK (status <> 'available' OR kind <> 'installation' OR sha256 IS NOT NULL),
    CHECK ((status = 'deleting') = (name_key IS NULL)),
    CONSTRAINT images_name_unique UNIQUE (storage_id, name_key)
);
-- The orders in which the list can be walked; the identifier breaks ties.
CREATE INDEX images_by_created ON images (created_at, id);
CREATE INDEX images_by_name ON images (search_key, id);
CREATE INDEX images_by_size ON images (size_bytes, id);
CREATE INDEX images_by_storage ON images (storage_id, created_at, id);
CREATE INDEX images_counted ON images (storage_id, status, id);
CREATE INDEX images_by_os ON images (os, id);
CREATE INDEX images_by_kind ON images (kind, id);
CREATE INDEX images_of_kind ON images (kind, created_at, id);
CREATE INDEX images_of_os ON images (os, created_at, id);
CREATE INDEX images_unfinished ON images (created_by) WHERE status IN ('pending', 'uploading');
-- The few that are not simply available, and those whose promised bytes are summed.
CREATE INDEX images_unsettled ON images (status, created_at, id) WHERE status <> 'available';
CREATE INDEX images_unsound ON images (file_state, created_at, id) WHERE file_state <> 'sound';
CREATE INDEX images_reserving ON images (storage_id, reserved_bytes) WHERE reserved_bytes > 0;

CREATE TABLE uploads (
    image_id TEXT COLLATE "C" PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
    device TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" REFERENCES users (id) ON DELETE SET NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    instance TEXT COLLATE "C" NOT NULL,
    fence BIGINT NOT NULL,
    declared_bytes BIGINT NOT NULL,
    offset_bytes BIGINT NOT NULL,
    hash_state BYTEA,
    lease_until BIGINT,
    begun_at BIGINT NOT NULL,
    stopped_at BIGINT,
    stopped TEXT COLLATE "C" CHECK (stopped IN ('never_sent', 'interrupted', 'service_stopped', 'refused', 'storage_failed', 'storage_removed', 'right_lost')),
    stopped_detail TEXT COLLATE "C" NOT NULL,
    CHECK ((lease_until IS NULL) = (stopped_at IS NOT NULL)),
    CHECK ((stopped IS NULL) = (stopped_at IS NULL))
);
CREATE INDEX uploads_lease ON uploads (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE virtual_machines (
    id TEXT COLLATE "C" PRIMARY KEY,
    cluster_id TEXT COLLATE "C" NOT NULL REFERENCES clusters (id) ON DELETE RESTRICT,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE attachments (
    image_id TEXT COLLATE "C" NOT NULL REFERENCES images (id) ON DELETE RESTRICT,
    vm_id TEXT COLLATE "C" NOT NULL REFERENCES virtual_machines (id) ON DELETE RESTRICT,
    attached_at BIGINT NOT NULL,
    PRIMARY KEY (image_id, vm_id)
);
CREATE INDEX attachments_vm ON attachments (vm_id);

CREATE TABLE drafts (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    answers TEXT COLLATE "C" NOT NULL,
    image_id TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX drafts_user ON drafts (user_id);

CREATE TABLE submissions (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    location TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE jobs (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('remove_files', 'write_manifest', 'verify_image')),
    storage_id TEXT COLLATE "C" NOT NULL REFERENCES storages (id) ON DELETE RESTRICT,
    image_id TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    run_after BIGINT NOT NULL,
    lease_until BIGINT,
    error TEXT COLLATE "C",
    created_at BIGINT NOT NULL
);
CREATE INDEX jobs_due ON jobs (run_after);
CREATE INDEX jobs_image ON jobs (image_id);

CREATE TABLE events (
    seq BIGSERIAL PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT events_id_unique UNIQUE,
    at BIGINT NOT NULL,
    actor_id TEXT COLLATE "C",
    actor_name TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    object_kind TEXT COLLATE "C" NOT NULL,
    object_id TEXT COLLATE "C",
    object_name TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL CHECK (outcome IN ('done', 'refused', 'denied', 'failed')),
    detail TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL
);
CREATE INDEX events_by_time ON events (at, id);
CREATE INDEX events_by_object ON events (object_id, at, id);
CREATE INDEX events_by_actor ON events (actor_id, at, id);
CREATE INDEX events_by_action ON events (action, at, id);

-- Search for any part of a name: a trigram index.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX images_search ON images USING gin (search_key gin_trgm_ops);

-- The audit log only grows.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END;
$$;
CREATE TRIGGER events_are_not_changed BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER events_are_not_emptied BEFORE TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
