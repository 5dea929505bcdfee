//! vmimg, an image service for virtual machines.
//!
//! A tour in a minute. [`domain`] says what things are and what is allowed, without touching anything. [`db`] keeps the records, [`storage`]
//! the bytes, [`media`] tells what a file is. [`authorize`] makes the proof of a right that every one of the [`operations`] asks for.
//! [`web`] is the console, [`jobs`] the work in the background, [`cli`] the command line; [`app`] puts them together. Dependencies point
//! one way, from the last to the first; `tests/layers.rs` enforces it.

pub mod app;
pub mod authorize;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod jobs;
pub mod media;
pub mod meter;
pub mod operations;
pub mod secret;
pub mod storage;
pub mod web;
