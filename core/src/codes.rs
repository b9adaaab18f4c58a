//! Numbers and names of everything that leaves the machine, for languages and files that have no Rust enums.
//!
//! A number is never changed and never used again, so it means the same in every release. The high byte is the kind of
//! thing, the low byte counts from one: numbers of different things never meet. A name is the same as in the serialized
//! form.

use crate::calls::{Holding, HostError, HostReply, HostWork};
use crate::chain::{CheckError, Fault};
use crate::config::{ConfigError, SyncStrategyType};
use crate::light::{LightError, LightEvent, LightHalt, LightOutput, LightStall};
use crate::machine::{
    Bottleneck, DecidedError, Event, HaltReason, NewMachineError, Output, PeerEvent, Penalty, RequestFailure,
    StallReason, StallStep,
};
use crate::peers::{BlacklistReason, PeerHealth};

/// The numbers and names of one type.
pub type Codes = &'static [(u16, &'static str)];

macro_rules! table {
    ($($type:ident { $($code:literal $name:literal $pattern:pat,)+ })+) => {
        $(impl $type {
            /// All numbers and names that there are.
            pub const CODES: Codes = &[$(($code, $name)),+];

            /// Its number, which never changes.
            pub const fn code(&self) -> u16 {
                match self {
                    $($pattern => $code,)+
                }
            }

            /// Its name, without what it is about: the same as in its serialized form.
            pub const fn name(&self) -> &'static str {
                match self {
                    $($pattern => $name,)+
                }
            }
        })+

        /// The numbers and names of all types. New ones are added at the end of their type.
        pub const TABLE: &[(&str, Codes)] = &[$((stringify!($type), $type::CODES)),+];
    };
}

table! {
    Output {
        0x0101 "request" Output::Request { .. },
        0x0102 "cancel_request" Output::CancelRequest(_),
        0x0103 "verify" Output::Verify(_),
        0x0104 "cancel_job" Output::CancelJob(_),
        0x0105 "call" Output::Call(_),
        0x0106 "penalize" Output::Penalize { .. },
        0x0107 "event" Output::Event(_),
        0x0108 "wait" Output::Wait(_),
        0x0109 "decided" Output::Decided { .. },
    }
    HostWork {
        0x0201 "apply" HostWork::Apply(_),
        0x0202 "replay" HostWork::Replay(_),
        0x0203 "store_handovers" HostWork::StoreHandovers(_),
        0x0204 "survey" HostWork::Survey(_),
        0x0205 "stage" HostWork::Stage(_),
        0x0206 "activate" HostWork::Activate(_),
        0x0207 "add_history" HostWork::AddHistory(_),
    }
    HostReply {
        0x0301 "applied" HostReply::Applied { .. },
        0x0302 "handovers_stored" HostReply::HandoversStored,
        0x0303 "surveyed" HostReply::Surveyed(_),
        0x0304 "staged" HostReply::Staged,
        0x0305 "activated" HostReply::Activated { .. },
        0x0306 "root_mismatch" HostReply::RootMismatch { .. },
        0x0307 "history_added" HostReply::HistoryAdded { .. },
    }
    HostError {
        0x0401 "transient" HostError::Transient,
        0x0402 "permanent" HostError::Permanent,
        0x0403 "state_mismatch" HostError::StateMismatch(_),
        0x0404 "no_space" HostError::NoSpace,
    }
    Holding {
        0x0501 "held" Holding::Held,
        0x0502 "differs" Holding::Differs { .. },
        0x0503 "absent" Holding::Absent,
    }
    PeerEvent {
        0x0601 "connected" PeerEvent::Connected { .. },
        0x0602 "disconnected" PeerEvent::Disconnected { .. },
        0x0603 "excluded" PeerEvent::Excluded { .. },
        0x0604 "pardoned" PeerEvent::Pardoned { .. },
    }
    RequestFailure {
        0x0701 "oversize" RequestFailure::Oversize,
        0x0702 "broken" RequestFailure::Broken,
    }
    Penalty {
        0x0801 "ban" Penalty::Ban { .. },
        0x0802 "exclude" Penalty::Exclude { .. },
        0x0803 "lift" Penalty::Lift,
    }
    BlacklistReason {
        0x0901 "proven" BlacklistReason::Proven(_),
        0x0902 "unreliable" BlacklistReason::Unreliable,
        0x0903 "by_hand" BlacklistReason::ByHand,
    }
    PeerHealth {
        0x0a01 "unknown" PeerHealth::Unknown,
        0x0a02 "disconnected" PeerHealth::Disconnected,
        0x0a03 "healthy" PeerHealth::Healthy,
        0x0a04 "standing_by" PeerHealth::StandingBy,
        0x0a05 "suspected" PeerHealth::Suspected { .. },
        0x0a06 "busy" PeerHealth::Busy { .. },
        0x0a07 "banned" PeerHealth::Banned { .. },
        0x0a08 "unsupported" PeerHealth::Unsupported { .. },
    }
    Event {
        0x0b01 "target" Event::Target { .. },
        0x0b02 "strategy" Event::Strategy { .. },
        0x0b03 "state_target" Event::StateTarget { .. },
        0x0b04 "state_lost" Event::StateLost { .. },
        0x0b05 "state_mismatch" Event::StateMismatch { .. },
        0x0b06 "state_active" Event::StateActive(_),
        0x0b07 "history_complete" Event::HistoryComplete,
        0x0b08 "reached" Event::Reached(_),
        0x0b09 "stalled" Event::Stalled { .. },
        0x0b0a "resumed" Event::Resumed,
        0x0b0b "banned" Event::Banned { .. },
        0x0b0c "suspect_self" Event::SuspectSelf { .. },
        0x0b0d "halted" Event::Halted(_),
    }
    HaltReason {
        0x0c01 "conflicting_finality" HaltReason::ConflictingFinality { .. },
        0x0c02 "apply" HaltReason::Apply { .. },
        0x0c03 "state_root" HaltReason::StateRoot { .. },
        0x0c04 "store" HaltReason::Store(_),
        0x0c05 "trust_expired" HaltReason::TrustExpired { .. },
    }
    StallReason {
        0x0d01 "no_peers" StallReason::NoPeers,
        0x0d02 "no_target" StallReason::NoTarget(_),
        0x0d03 "handover_missing" StallReason::HandoverMissing(_),
        0x0d04 "blocks_missing" StallReason::BlocksMissing(_),
        0x0d05 "history_missing" StallReason::HistoryMissing { .. },
        0x0d06 "no_snapshot" StallReason::NoSnapshot { .. },
        0x0d07 "state_missing" StallReason::StateMissing(_),
        0x0d08 "peers_slow" StallReason::PeersSlow,
        0x0d09 "verify_late" StallReason::VerifyLate,
        0x0d0a "host_late" StallReason::HostLate,
        0x0d0b "host_busy" StallReason::HostBusy,
        0x0d0c "disk_full" StallReason::DiskFull,
        0x0d0d "verifying" StallReason::Verifying,
        0x0d0e "verify_fails" StallReason::VerifyFails(_),
    }
    StallStep {
        0x0e01 "await_peer" StallStep::AwaitPeer,
        0x0e02 "ask_peers" StallStep::AskPeers,
        0x0e03 "ask_others" StallStep::AskOthers,
        0x0e04 "verify_again" StallStep::VerifyAgain,
        0x0e05 "call_again" StallStep::CallAgain,
    }
    Bottleneck {
        0x0f01 "network" Bottleneck::Network,
        0x0f02 "verify" Bottleneck::Verify,
        0x0f03 "apply" Bottleneck::Apply,
        0x0f04 "peers" Bottleneck::Peers,
    }
    SyncStrategyType {
        0x1001 "auto" SyncStrategyType::Auto,
        0x1002 "parallel" SyncStrategyType::Parallel,
        0x1003 "incremental" SyncStrategyType::Incremental,
        0x1004 "fast" SyncStrategyType::Fast,
    }
    Fault {
        0x1101 "malformed" Fault::Malformed,
        0x1102 "non_canonical" Fault::NonCanonical,
        0x1103 "oversize" Fault::Oversize,
        0x1104 "wrong_range" Fault::WrongRange,
        0x1105 "wrong_chain" Fault::WrongChain,
        0x1106 "broken_link" Fault::BrokenLink(_),
        0x1107 "wrong_anchor" Fault::WrongAnchor,
        0x1108 "wrong_parent" Fault::WrongParent,
        0x1109 "bad_certificate" Fault::BadCertificate,
        0x110a "not_final" Fault::NotFinal,
        0x110b "bad_epoch" Fault::BadEpoch,
        0x110c "bad_validator_set" Fault::BadValidatorSet,
        0x110d "bad_payload" Fault::BadPayload(_),
        0x110e "bad_frame" Fault::BadFrame,
        0x110f "wrong_state" Fault::WrongState,
        0x1110 "no_conflict" Fault::NoConflict,
        0x1111 "host" Fault::Host(_),
    }
    CheckError {
        0x1401 "false" CheckError::False(_),
        0x1402 "unable" CheckError::Unable(_),
    }
    NewMachineError {
        0x1201 "config" NewMachineError::Config(_),
        0x1202 "epochs" NewMachineError::Epochs,
        0x1203 "no_staging" NewMachineError::NoStaging,
        0x1204 "application_ahead" NewMachineError::ApplicationAhead { .. },
        0x1205 "profile" NewMachineError::Profile(_),
        0x1206 "no_audits" NewMachineError::NoAudits,
        0x1207 "unproven_lengths" NewMachineError::UnprovenLengths,
        0x1208 "trust" NewMachineError::Trust(_),
    }
    ConfigError {
        0x1301 "config" ConfigError { .. },
    }
    LightOutput {
        0x1501 "request" LightOutput::Request { .. },
        0x1502 "cancel_request" LightOutput::CancelRequest(_),
        0x1503 "verify" LightOutput::Verify(_),
        0x1504 "cancel_job" LightOutput::CancelJob(_),
        0x1505 "penalize" LightOutput::Penalize { .. },
        0x1506 "answer" LightOutput::Answer { .. },
        0x1507 "keep" LightOutput::Keep(_),
        0x1508 "event" LightOutput::Event(_),
        0x1509 "wait" LightOutput::Wait(_),
    }
    LightEvent {
        0x1601 "epoch" LightEvent::Epoch { .. },
        0x1602 "skipped" LightEvent::Skipped { .. },
        0x1603 "tip" LightEvent::Tip { .. },
        0x1604 "stalled" LightEvent::Stalled { .. },
        0x1605 "resumed" LightEvent::Resumed,
        0x1606 "banned" LightEvent::Banned { .. },
        0x1607 "suspect_self" LightEvent::SuspectSelf { .. },
        0x1608 "halted" LightEvent::Halted(_),
    }
    LightStall {
        0x1701 "no_peers" LightStall::NoPeers,
        0x1702 "epoch_unproven" LightStall::EpochUnproven { .. },
        0x1703 "no_tip" LightStall::NoTip,
        0x1704 "witnesses" LightStall::Witnesses { .. },
        0x1705 "old_tip" LightStall::OldTip { .. },
        0x1706 "clock_behind" LightStall::ClockBehind { .. },
    }
    LightHalt {
        0x1801 "conflicting_finality" LightHalt::ConflictingFinality { .. },
        0x1802 "trust_expired" LightHalt::TrustExpired(_),
    }
    LightError {
        0x1901 "key_too_long" LightError::KeyTooLong { .. },
        0x1902 "too_many" LightError::TooMany { .. },
        0x1903 "out_of_reach" LightError::OutOfReach { .. },
        0x1904 "not_one_cell" LightError::NotOneCell { .. },
        0x1905 "too_large" LightError::TooLarge { .. },
        0x1906 "no_answer" LightError::NoAnswer,
        0x1907 "unconfirmed" LightError::Unconfirmed { .. },
        0x1908 "stopped" LightError::Stopped,
        0x1909 "unproven_lengths" LightError::UnprovenLengths,
    }
    DecidedError {
        0x1a01 "stopped" DecidedError::Stopped,
        0x1a02 "halted" DecidedError::Halted,
        0x1a03 "too_many" DecidedError::TooMany { .. },
        0x1a04 "too_large" DecidedError::TooLarge { .. },
        0x1a05 "unknown_epoch" DecidedError::UnknownEpoch(_),
        0x1a06 "false" DecidedError::False(_),
        0x1a07 "false_handover" DecidedError::FalseHandover(_),
        0x1a08 "overlap" DecidedError::Overlap { .. },
        0x1a09 "contradicted" DecidedError::Contradicted(_),
    }
}
