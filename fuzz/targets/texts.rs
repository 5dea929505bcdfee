//! What people type.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmimg::fuzzing::texts(data));
