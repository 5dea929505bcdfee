//! The reader of ISO 9660 and UDF media.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmimg::fuzzing::media(data));
