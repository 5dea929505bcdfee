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
