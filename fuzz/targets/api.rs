//! Headers, cursors and bodies of the API.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmimg::fuzzing::api(data));
