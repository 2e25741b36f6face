#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kube_api::fuzz::selectors(data));
