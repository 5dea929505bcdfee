//! The API for programs.

mod content;
mod description;
mod idempotency;
mod images;
mod paging;
mod problems;
mod readme;
mod storages;
mod tokens;
