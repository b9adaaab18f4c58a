//! Runs `hotstuff2_sync_testkit::fuzz::jobs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hotstuff2_sync_testkit::fuzz::jobs(data));
