//! The whole program from outside: pages driven as a person drives them, on SQLite and on PostgreSQL.
//!
//! Each body runs twice, as `sqlite_…` and as `postgres_…`. `VMIMG_TEST_POSTGRES` names a server on which databases can be made; without
//! it the second half fails, because what was not run was not proved. `support` holds what the tests stand on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod support;

mod access_grid;
mod addresses;
mod api;
mod clusters;
mod deletion;
mod download;
mod edit;
mod events;
mod files;
mod foreseen;
mod headers;
mod health;
mod interrupted;
mod list;
mod migrations;
mod names;
mod order;
mod pages;
mod plans;
mod real_media;
mod resume;
mod same_origin;
mod schema;
mod scripts;
mod seed;
mod selection;
mod set_up;
mod shown;
mod sign_in;
mod slow_clients;
mod statements;
mod statuses;
mod storages;
mod upload;
mod upload_machine;
mod walk;
mod wizard;
