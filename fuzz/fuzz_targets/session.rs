//! Runs `hotstuff2_sync_testkit::fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hotstuff2_sync_testkit::fuzz::session(data));
