#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchback_chunks::fuzz::chunk_round_trip(data));
