//! What things are and what is allowed: pure functions without I/O, so that a page, a refusal and a test table can share them.
//!
//! Nothing here knows of requests, rows or files. Whoever decides something gathers the facts first and asks here.

pub mod access;
pub mod audit;
pub mod codes;
pub mod creation;
pub mod deletion;
pub mod digest;
pub mod ids;
pub mod image;
pub mod requirements;
pub mod size;
pub mod storage;
pub mod text;
pub mod upload;
pub mod version;
