//! The tables as diesel sees them; the same for both databases. Migrations are the truth, a test compares.

use diesel::{allow_tables_to_appear_in_same_query, joinable, table};

table! {
    users (id) {
        id -> Text, email -> Text, email_key -> Text, name -> Text, password_hash -> Text, role -> Text, disabled -> Bool,
        theme -> Text, shortcuts -> Bool, list_columns -> Text, created_at -> BigInt, version -> BigInt,
    }
}
table! {
    sessions (token_hash) { token_hash -> Text, user_id -> Text, created_at -> BigInt, seen_at -> BigInt, address -> Text, }
}
table! {
    tokens (id) {
        id -> Text, user_id -> Text, name -> Text, token_hash -> Text, scopes -> Text, created_at -> BigInt, expires_at -> BigInt,
        last_used_at -> Nullable<BigInt>,
    }
}
table! {
    requests (user_id, key) {
        user_id -> Text, key -> Text, fingerprint -> Text, created_at -> BigInt, answer -> Nullable<Text>,
    }
}
table! {
    setup_codes (code_hash) { code_hash -> Text, created_at -> BigInt, }
}
table! {
    sign_in_failures (subject) { subject -> Text, failures -> BigInt, last_at -> BigInt, }
}
table! {
    clusters (id) { id -> Text, name -> Text, name_key -> Text, note -> Text, created_at -> BigInt, version -> BigInt, }
}
table! {
    hosts (id) { id -> Text, cluster_id -> Text, name -> Text, kind -> Text, created_at -> BigInt, }
}
table! {
    storages (id) {
        id -> Text, kind -> Text, host_id -> Nullable<Text>, name -> Text, name_key -> Nullable<Text>, path -> Text,
        path_key -> Nullable<Text>, health -> Text, cause -> Nullable<Text>, health_since -> BigInt, checked_at -> BigInt,
        capacity_bytes -> BigInt, free_bytes -> BigInt, unknown_files -> BigInt, created_at -> BigInt, version -> BigInt,
    }
}
table! {
    connections (storage_id, cluster_id) { storage_id -> Text, cluster_id -> Text, created_at -> BigInt, }
}
table! {
    images (id) {
        seq -> BigInt, id -> Text, kind -> Text, status -> Text, storage_id -> Text, name -> Text, search_key -> Text,
        name_key -> Nullable<Text>, note -> Text, os -> Text, min_vcpu -> Integer, min_memory_mib -> Integer, min_disk_gib -> Integer,
        size_bytes -> BigInt, sha256 -> Nullable<Text>, format -> Nullable<Text>, label -> Nullable<Text>, publisher -> Nullable<Text>,
        boot -> Nullable<Text>, file_name -> Text, file_state -> Text, file_checked_at -> Nullable<BigInt>, reserved_bytes -> BigInt,
        status_since -> BigInt, created_at -> BigInt, created_by -> Nullable<Text>, created_by_name -> Text, version -> BigInt,
        expected_digest -> Nullable<Text>, digest_state -> Nullable<Text>,
    }
}
table! {
    uploads (image_id) {
        image_id -> Text, device -> Text, user_id -> Nullable<Text>, user_name -> Text, instance -> Text, fence -> BigInt,
        declared_bytes -> BigInt, exact -> Bool, offset_bytes -> BigInt, hash_state -> Nullable<Binary>,
        lease_until -> Nullable<BigInt>, begun_at -> BigInt, stopped_at -> Nullable<BigInt>, stopped -> Nullable<Text>,
        stopped_detail -> Text, expires_at -> Nullable<BigInt>, handover_hash -> Nullable<Text>, handover_user -> Nullable<Text>,
        handover_device -> Nullable<Text>, handover_until -> Nullable<BigInt>,
    }
}
table! {
    virtual_machines (id) { id -> Text, cluster_id -> Text, name -> Text, created_at -> BigInt, }
}
table! {
    attachments (image_id, vm_id) { image_id -> Text, vm_id -> Text, attached_at -> BigInt, }
}
table! {
    drafts (id) {
        id -> Text, user_id -> Text, answers -> Text, image_id -> Nullable<Text>, created_at -> BigInt, updated_at -> BigInt,
    }
}
table! {
    submissions (id) { id -> Text, user_id -> Text, location -> Text, created_at -> BigInt, }
}
table! {
    jobs (id) {
        id -> Text, kind -> Text, storage_id -> Text, image_id -> Text, attempts -> BigInt, run_after -> BigInt,
        lease_until -> Nullable<BigInt>, error -> Nullable<Text>, created_at -> BigInt, instance -> Nullable<Text>,
    }
}
table! {
    events (id) {
        seq -> BigInt, id -> Text, at -> BigInt, actor_id -> Nullable<Text>, actor_name -> Text, action -> Text, object_kind -> Text,
        object_id -> Nullable<Text>, object_name -> Text, outcome -> Text, detail -> Text, address -> Text, request_id -> Text,
    }
}

joinable!(sessions -> users (user_id));
joinable!(tokens -> users (user_id));
joinable!(hosts -> clusters (cluster_id));
joinable!(storages -> hosts (host_id));
joinable!(images -> storages (storage_id));
joinable!(connections -> storages (storage_id));
joinable!(connections -> clusters (cluster_id));
joinable!(attachments -> virtual_machines (vm_id));

allow_tables_to_appear_in_same_query!(users, sessions, tokens);
allow_tables_to_appear_in_same_query!(images, storages, hosts, clusters, connections, uploads, attachments, virtual_machines, jobs, events);
