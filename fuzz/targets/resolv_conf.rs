#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| plan::dns::fuzz::resolv_conf(data));
