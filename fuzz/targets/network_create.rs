#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| docker_api::fuzz::network_create(data));
