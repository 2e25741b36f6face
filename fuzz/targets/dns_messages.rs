#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| proxy::dns::fuzz::dns_messages(data));
