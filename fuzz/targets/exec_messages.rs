#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kube_agent::fuzz::exec_messages(data));
