//! `docs/attacks.md` and the tests say the same: every test that it names is there, and every test with the name of an
//! attack is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The attacks and faults that have a name, whether or not there is a test yet.
const ATTACKS: &str = "
one_chain_is_not_final views_must_be_consecutive qc_signed_bytes_bind_everything phase_tag_separates
adverts_are_not_votes chain_id_is_signed duplicate_signer duplicate_key bitmap_length_and_trailing_bits empty_set
zero_power power_overflow weak_key non_canonical_signature quorum_is_strictly_more_than_two_thirds
genesis_certificate_is_exact height_is_parent_plus_one view_above_parent timestamp_monotonic header_epoch_matches_set
conflicting_finality_halts_with_evidence qc_binds_to_its_header non_canonical_encoding_is_rejected batch_equals_single
next_set_cannot_finalize_the_boundary closing_headers_are_never_delivered epoch_starts_only_on_a_final_boundary
skipping_needs_a_third_of_trusted_power epoch_is_plus_one handover_set_matches_hash proof_does_not_straddle_sets
handover_signed_by_the_old_set anchor_too_old clock_comes_from_the_host no_ratchet_behind_the_anchor
unproven_height_never_moves_the_target late_unsolicited_and_crossed_responses_are_counted_not_obeyed
limit_is_clamped_with_min ban_lasts ban_expires not_available_reassigns_at_once disconnect_reassigns_at_once
honest_peers_with_pruned_history_are_not_blamed empty_blocks_are_not_slowness own_link_full_blames_nobody
where_all_fall_silent_at_once_nobody_is_to_blame a_late_part_of_a_state_is_taken_from_who_says_nothing_any_more
one_silent_peer_among_good_ones_costs_no_second a_connection_that_ends_under_questions_costs_no_second
one_silent_peer_hides_no_new_block_for_a_second the_quick_alone_do_not_say_that_there_is_no_more
whoever_only_looked_who_is_there_is_gone_at_once a_last_word_passes_a_full_window
a_host_that_drops_all_events_loses_nothing a_reply_that_does_not_fit_moves_nothing
no_more_calls_are_out_than_their_documentation_says
a_question_outlives_the_connection_that_it_was_asked_over
one_bad_of_two_is_blamed_alone decompression_bomb length_prefix_bomb oversize_frame deep_nesting
honest_headers_of_any_stated_size_sync payloads_of_none_one_and_the_largest_size_sync
respond_never_passes_the_askers_limit an_unproven_length_bans_nobody_honest
what_passes_the_stated_sizes_is_stored_nowhere a_full_audit_of_a_chain_without_audits_does_not_stall
a_full_audit_of_the_largest_set_fits trust_that_is_too_old_makes_no_machine trust_expires_while_running
a_verdict_after_trust_ended_moves_nothing a_computer_that_slept_finds_its_trust_expired
a_node_whose_trust_is_too_old_is_not_built a_network_with_another_chain_than_the_checkpoint_halts_the_sync
keys_of_before_a_checkpoint_move_nothing_above_it an_aged_checkpoint_is_refused
a_store_of_another_chain_than_the_checkpoint_is_named no_block_is_executed_before_the_state_that_a_checkpoint_lacks
the_kit_names_each_rule_that_is_left_out
slow_drip_holds_up_nobody_else_and_costs_what_it_sends wrappers_forward_everything slow_drip withheld_proof
eclipse_minus_one
a_liar_costs_one_answer_and_a_silent_peer_its_time_out liars_of_one_kind_cost_one_answer_each
everyone_false_in_another_way_is_our_own_fault strangers_without_end_keep_nobody_from_arriving
busy_for_no_time_at_all_is_not_asked_without_end dead_named_peers_starve_nobody
named_peers_are_remembered_though_they_have_not_answered_yet both_families_are_reached
a_dead_family_costs_a_fraction_of_a_second a_peer_that_lets_us_in_and_hangs_up_is_not_dialled_without_pause
suspect_self_stops_bans unsupported_version_is_no_fault needlessly_small_answers_are_suspected
head_of_line_is_never_starved lost_job_is_reissued unacknowledged_apply_has_a_deadline fabricated_sets_cost_nothing
a_fabricated_set_costs_a_hash bodies_do_not_wait_behind_all_headers a_job_is_timed_from_when_it_begins
done_work_is_not_thrown_away what_the_host_cannot_check_blames_nobody
chunk_with_wrong_value chunk_with_missing_key chunk_with_extra_key chunk_of_another_height
final_root_mismatch_is_an_error_with_a_plan target_moves_under_the_download kill_at_every_write_of_bulk_blocks
kill_at_every_write_near_the_tip kill_at_every_write_of_a_download kill_at_every_write_of_large_subtrees
kill_at_every_write_of_state kill_at_every_write_of_history kill_at_every_step_of_a_creation
kill_at_every_write_of_a_first_state a_full_disk_loses_nothing_of_a_download a_base_that_does_not_fit_is_refused
an_activation_that_comes_again_counts_as_done_while_nothing_else_is_staged
no_pipe_or_device_in_the_place_of_a_key_is_waited_for no_pipe_or_device_in_the_place_of_a_book_is_waited_for
a_hosts_word_reaches_no_further_than_what_it_was_given
handovers_that_do_not_continue_the_newest_epoch_are_not_taken_in
words_of_before_a_pause_count_for_nothing a_fresh_tip_below_the_head_shows_nothing_of_the_head
a_word_counts_from_its_time_on_and_not_for_ever votes_stop_where_the_sync_ends
a_validator_comes_back_to_a_network_that_stands_still
what_is_not_ours_is_not_deleted a_lost_marker_file_is_not_an_empty_store no_odd_file_ends_the_process_or_costs_another
an_earlier_result_is_not_lost
no_acknowledged_subtree_is_fetched_again_after_twenty_kills internal_hash_shown_as_leaf prefix_hash_returns
pinned_peer_dies what_is_proven_is_served work_between_durable_points_is_bounded_in_bytes
silent_leaders_do_not_outrun_the_path a_fork_at_the_head_halts
a_view_that_the_others_have_finished_and_not_left_is_counted evidence_names_no_innocent
a_restored_validator_keeps_its_lock a_vote_that_comes_after_the_answer_is_covered one_liar_mutes_nobody
views_without_certificates_count_for_nothing
every_validator_is_asked a_challenge_is_used_once words_do_not_displace_words
words_from_the_future_are_refused_when_they_come a_clone_is_noticed a_head_that_a_proof_contradicts_gets_no_permit
votes_are_restored_for_one_epoch
a_validator_without_its_record_is_restored_by_the_others
no_permit_while_syncing vote_floor_survives_restart a_lost_record_loses_the_lock_too
falls_behind_again caught_up_is_proven
network_restart_resumes nobody_has_a_snapshot nobody_has_the_history all_peers_gone epoch_proof_missing
a_follower_without_peers_says_so an_old_tip_is_not_caught_up_in_silence
a_full_disk_is_a_stall_whatever_else_moves a_target_that_moves_away_is_no_progress
agreement_survives_faults_and_what_it_makes_synchronizes the_monitor_sees_what_happens_without_the_laws
no_attack_gets_through_the_rules without_qc_binds_to_its_header_a_reproposed_block_finalizes_a_fork
starting_on_a_certified_boundary_finalizes_two_blocks two_honest_peers_in_every_order
a_liar_costs_time_and_nothing_else crashes_and_early_deadlines_lose_nothing any_world_with_one_honest_peer_ends_well
any_state_is_fetched_as_long_as_one_peer_is_honest every_target_takes_its_corpus
f_equivocating_validators_change_nothing a_root_that_is_shown_was_computed
a_server_that_cannot_read_tells_its_operator a_damaged_segment_heals_from_peers
a_lie_about_a_damaged_segment_is_not_put_in_place a_damaged_state_heals_from_peers
a_lie_about_a_damaged_state_is_not_put_in_place a_liar_about_what_lies_below_the_first_block_is_banned
an_application_that_panics_ends_the_sync_with_that_reason a_state_that_is_not_the_networks_is_never_made_durable
one_more_makes_two_chains_and_the_sync_halts_with_evidence_against_them
one_datagram_costs_what_its_bytes_cost a_dialled_peer_whose_datagrams_cost_too_much_is_given_up
an_injected_byte_bans_no_honest_key a_bent_handshake_ends_and_nobody_is_to_blame
frames_that_are_repeated_swapped_left_out_or_reflected_end_the_session_and_blame_nobody
a_length_that_was_made_up_costs_no_memory_and_blames_nobody
a_replayed_or_reflected_handshake_ends_and_nobody_is_to_blame nobody_passes_for_whose_key_it_has_not
who_is_not_expected_does_not_learn_who_dialled ten_thousand_asks_are_no_more_than_were_allowed
a_byte_that_is_changed_on_the_way_bans_nobody
a_ban_holds_on_both_listeners
no_more_connections_than_there_is_room_for_on_both_listeners_together
whoever_is_silent_or_slow_in_the_handshake_holds_its_place_for_a_bounded_time
single_bytes_are_no_sign_of_life
whoever_breaks_a_rule_is_closed_with_the_reason_and_others_are_served
pages_are_served_and_are_no_peers
a_reader_that_never_reads_holds_a_bounded_number_of_answers_over_tcp
pieces_that_were_never_asked_for_are_not_taken pings_without_end_cost_no_memory
an_answer_that_goes_on_after_it_was_cancelled_is_given_up_after_what_a_line_holds
a_light_client_does_not_skip_on_old_keys a_light_client_does_not_skip_on_repeated_signers
a_made_up_set_of_4096_keys_is_vouched_for_by_nobody a_claim_without_end_costs_a_skipping_client_little
an_aged_header_ends_trust verdicts_that_come_after_the_trusting_period_count_for_nothing
two_witnesses_that_differ_halt_the_light_client_with_evidence
a_fork_that_is_shown_higher_than_the_others_stand_halts_too a_fork_that_the_others_have_passed_halts_too
among_silent_peers_the_light_client_says_that_nobody_proves_anything among_liars_the_light_client_tells_nothing
one_honest_of_twenty_shows_the_tip_and_nobody_else_anything an_eclipse_by_one_group_confirms_nothing
a_value_of_long_ago_is_not_one_of_now a_false_value_costs_its_giver_a_ban
in_any_world_the_light_client_tells_the_truth
connections_that_cost_too_much_count_as_handshakes_of_their_network a_node_ends_in_time_whatever_peers_throw_at_it
a_released_handle_never_leads_to_the_next_object a_panic_becomes_a_status_and_poisons_the_object
a_chain_written_in_c_is_synchronized_and_a_check_that_fails_here_blames_nobody
misuse_is_a_status_and_never_undefined misuse_loses_no_byte_and_reads_none_that_is_not_there
a_decided_block_has_a_way_in a_false_decided_block_is_an_error_and_blames_nobody an_epoch_needs_its_handover
a_decided_block_that_contradicts_a_final_one_halts_with_evidence submissions_are_bounded
any_sequence_of_decided_blocks_ends_well submitted_blocks_are_durable_when_they_are_answered
a_validator_that_decides_is_never_paused_by_its_own_blocks a_node_decides_while_it_catches_up
validators_that_decide_need_no_server_and_lose_nothing_in_crashes
a_drain_ends_at_the_end_of_the_clock a_page_that_never_reads_holds_one_answer
whoever_breaks_the_rules_of_a_websocket_is_closed pages_of_other_origins_are_turned_away a_ban_holds_for_pages
a_node_that_lies_is_named_with_its_answer_and_does_not_come_back a_socket_that_is_silent_or_gone_is_given_up
every_failure_says_what_is_wrong_and_what_to_do standard_output_that_cant_be_written_is_no_success
generating_stops_when_asked_and_leaves_nothing a_tool_that_is_stopped_while_it_generates_can_be_called_again
a_node_whose_supervisor_ends_it_has_not_failed idle_connections_starve_no_scrape
kill_at_every_write_of_pruning a_disk_that_fails_while_pruning_loses_nothing what_is_needed_is_not_pruned
a_pruned_block_is_no_damage pruned_blocks_are_not_fetched_again below_the_least_free_disk_nothing_is_taken_in
kill_at_every_step_of_a_backup backups_are_whole_whatever_is_written_meanwhile a_backup_that_fails_harms_neither_side
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files with tests by path, and the names of the tests in them.
fn tests() -> BTreeMap<String, Vec<String>> {
    fn visit(folder: &Path, root: &Path, found: &mut BTreeMap<String, Vec<String>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                visit(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let names = names(&fs::read_to_string(&path).unwrap());
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, names);
            }
        }
    }
    let mut found = BTreeMap::new();
    for member in ["bindings-c", "bindings-wasm", "cli", "core", "runtime-tokio", "tests"] {
        visit(&root().join(member), &root(), &mut found);
    }
    found
}

/// The functions right below a `#[test]` or the like.
fn names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            names.extend(rest.split(['(', '<']).next().map(str::to_owned));
            is_test = false;
        }
    }
    names
}

/// Names in the catalogue with the files that they are said to be in.
fn catalogue() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs/attacks.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.contains(".rs`"));
    rows.map(|row| {
        let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let files = quoted.iter().filter(|word| word.ends_with(".rs")).map(|&file| file.to_owned());
        (quoted[0].to_owned(), files.collect())
    })
    .collect()
}

#[test]
fn every_attack_in_the_catalogue_has_its_test() {
    let tests = tests();
    let rows = catalogue();
    assert!(rows.len() > 50, "{}", rows.len());
    for (name, files) in rows {
        for file in files {
            let there = tests.get(&file).is_some_and(|names| names.contains(&name));
            assert!(there, "docs/attacks.md: there is no test `{name}` in {file}");
        }
    }
}

#[test]
fn every_test_with_the_name_of_an_attack_is_in_the_catalogue() {
    let rows: BTreeMap<String, Vec<String>> = catalogue().into_iter().collect();
    let attacks: Vec<&str> = ATTACKS.split_whitespace().collect();
    for (file, names) in tests() {
        for name in names.iter().filter(|name| attacks.contains(&name.as_str())) {
            let listed = rows.get(name).is_some_and(|files| files.contains(&file));
            assert!(listed, "docs/attacks.md: write a row for `{name}`, or add `{file}` to it");
        }
    }
    for name in rows.keys() {
        assert!(attacks.contains(&name.as_str()), "add `{name}` to the attacks in tests/tests/catalogue.rs");
    }
}
