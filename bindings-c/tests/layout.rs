//! Plain values have the same size and places in Rust and in C.

mod common;

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};

use common::{compile, compilers, header};
use hs2sync::*;

macro_rules! layouts {
    ($($name:ident { $($field:ident)+ })+) => {
        /// Name, size, and fields with their places.
        fn layouts() -> Vec<(&'static str, usize, Vec<(&'static str, usize)>)> {
            vec![$((
                stringify!($name),
                size_of::<$name>(),
                vec![$((stringify!($field), offset_of!($name, $field))),+],
            )),+]
        }
    };
}

layouts! {
    hs2_slice { data len }
    hs2_id { bytes }
    hs2_validator { key power }
    hs2_signature { key bytes }
    hs2_genesis_info {
        chain_id block_id state_root timestamp_ms last_height trusting_period_ms snapshot_interval
    }
    hs2_proposal { view timestamp_ms payload state_root next_epoch proposer }
    hs2_header_info {
        id chain_id parent payload_hash state_root epoch_hash height view justify_view epoch timestamp_ms payload_len
        proposer ends_epoch
    }
    hs2_tip { height id epoch timestamp_ms }
    hs2_turn { kind retry_after_ms ticket deadline_us }
    hs2_peer_status { earliest tip epoch }
    hs2_stored_segment { first last epoch certified segment audit }
    hs2_reader { context status handover tip segment payload }
    hs2_output { kind code detail reserved id object peer max_response_bytes deadline_us height }
    hs2_progress {
        start current target claimed tip_time_ms blocks_per_second remaining_us payload_bytes useful_bytes duplicate_bytes
        quorum_checks buffered_bytes strays strategy bottleneck stall halted
    }
    hs2_call_info { id work reserved first last payload_bytes segment_count handover_count tip }
    hs2_block { height timestamp_ms id state_root payload }
    hs2_link { ended boundary boundary_id epoch first last boundary_time_ms encoded_epoch handover }
    hs2_claim { first last end audit has_parent parent anchor }
    hs2_header_facts { id state_root timestamp_ms payload_len reserved }
    hs2_segment_facts { headers capacity count first parent_id quorum_checks reserved }
    hs2_chain_table { context epoch link handover tip segment stored payload assemble tip_of }
    hs2_gate_output { kind reason object height vote_above id }
    hs2_light_settings {
        one_by_one witnesses max_peers suspect_self_groups peer_timeout_ms query_timeout_ms job_timeout_ms freshness_ms
        status_interval_ms stall_after_ms ban_duration_ms
    }
    hs2_light_block { height timestamp_ms id state_root }
    hs2_light_found { kind has_value block value first payload_count }
    hs2_light_position { epoch proven tip witnesses freshness age_ms }
    hs2_entry { key value }
    hs2_change { key value deleted }
    hs2_state_store { context get next write }
    hs2_state_info { height root keys bytes oldest_snapshot newest_snapshot }
    hs2_base { height id state_root segment tip }
    hs2_session_event { kind id code role object peer chain_id }
}

#[test]
fn plain_values_have_the_same_layout_in_c() {
    let mut text = String::from("#include \"hs2sync.h\"\n#define SAME(name, yes) typedef char name[(yes) ? 1 : -1]\n");
    for (name, size, fields) in layouts() {
        let _ = writeln!(text, "SAME(size_{name}, sizeof({name}) == {size});");
        for (field, place) in fields {
            let _ = writeln!(text, "SAME(at_{name}_{field}, offsetof({name}, {field}) == {place});");
        }
    }
    text.push_str("int main(void) { return hs2_abi() == HS2_ABI ? 0 : 1; }\n");
    let folder = tempfile::tempdir().unwrap();
    for (cpp, file) in [(false, "layout.c"), (true, "layout.cpp")] {
        let source = folder.path().join(file);
        std::fs::write(&source, &text).unwrap();
        for compiler in compilers(cpp) {
            let program = folder.path().join("layout");
            compile(&compiler, &source, &program, &[]);
            common::run(&mut std::process::Command::new(&program));
        }
    }
}

#[test]
fn every_struct_of_the_header_is_compared() {
    let header = header();
    let named = header.lines().filter_map(|line| line.strip_prefix("typedef struct ")?.strip_suffix(" {"));
    let missing: Vec<&str> = named.filter(|name| layouts().iter().all(|(known, ..)| known != name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not compared: name them and all of their fields in `layouts!`");
}
