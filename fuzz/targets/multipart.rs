//! The form that brings a file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmimg::fuzzing::multipart(data));
