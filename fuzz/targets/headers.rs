//! Headers of a request: where it comes from, whose it is, and what its file is called.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmimg::fuzzing::headers(data));
