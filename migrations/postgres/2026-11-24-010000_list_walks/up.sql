-- Each order of the list can be walked in an index that holds all that a filter looks at, so that rows which a filter passes over are never
-- fetched. They begin as the indexes did whose place they take.
DROP INDEX images_by_created;
DROP INDEX images_by_name;
DROP INDEX images_by_size;
DROP INDEX images_by_os;
DROP INDEX images_by_kind;
DROP INDEX images_by_storage;
CREATE INDEX images_walk_created ON images (created_at, id, search_key, kind, os, storage_id, status, file_state);
CREATE INDEX images_walk_name ON images (search_key, id, kind, os, storage_id, status, file_state);
CREATE INDEX images_walk_size ON images (size_bytes, id, search_key, kind, os, storage_id, status, file_state);
CREATE INDEX images_walk_os ON images (os, id, search_key, kind, storage_id, status, file_state);
CREATE INDEX images_walk_kind ON images (kind, id, search_key, os, storage_id, status, file_state);
CREATE INDEX images_of_storage ON images (storage_id, created_at, id, search_key, kind, os, status, file_state);
-- The few that are not available, and the few whose files are not sound, in each order.
CREATE INDEX images_unsettled_name ON images (status, search_key, id) WHERE status <> 'available';
CREATE INDEX images_unsettled_kind ON images (status, kind, id) WHERE status <> 'available';
CREATE INDEX images_unsettled_os ON images (status, os, id) WHERE status <> 'available';
CREATE INDEX images_unsettled_size ON images (status, size_bytes, id) WHERE status <> 'available';
CREATE INDEX images_unsound_name ON images (file_state, search_key, id) WHERE file_state <> 'sound';
CREATE INDEX images_unsound_kind ON images (file_state, kind, id) WHERE file_state <> 'sound';
CREATE INDEX images_unsound_os ON images (file_state, os, id) WHERE file_state <> 'sound';
CREATE INDEX images_unsound_size ON images (file_state, size_bytes, id) WHERE file_state <> 'sound';
