#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kernel::fuzz::netlink_replies(data));
