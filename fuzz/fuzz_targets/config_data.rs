#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchback_ddi::fuzz::config_data(data));
