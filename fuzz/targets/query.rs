//! Queries of lists, their cursors, and addresses to return to.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmimg::fuzzing::query(data));
