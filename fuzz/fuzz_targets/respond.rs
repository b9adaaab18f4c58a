//! Runs `hotstuff2_sync_testkit::fuzz::respond`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hotstuff2_sync_testkit::fuzz::respond(data));
