#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchback_tuf::fuzz::canonical(data));
