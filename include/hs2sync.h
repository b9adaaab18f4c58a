/*
 * libhs2sync: brings a node that is behind to where a HotStuff-2 network is, from peers that nobody trusts.
 *
 * This file is made from the library's source and is its manual; docs/c.md shows how to begin. What holds everywhere:
 *
 * Results. A function returns HS2_OK (0) and has written its results, or another status and has written nothing.
 *   hs2_last_error says in words what was wrong. Statuses are only ever added.
 * Handles. Objects are named by numbers (hs2_handle) with a kind and a generation in them. A handle that was released,
 *   never given out, or is of another kind is a status, never undefined behaviour. 0 is no object. Whoever gets a handle
 *   has one reference and gives it back with hs2_release, on any thread; handing a handle to a function takes nothing
 *   away. hs2_retain makes one more reference.
 * Bytes. An hs2_slice that goes in is read until the call returns, and not kept. One that comes out belongs to the
 *   object that it was asked from, and is there until the last reference to that is released.
 * Threads. Any thread may call anything. Functions marked `one at a time` change their object: a second call at the same
 *   moment is told HS2_IN_USE, and changes nothing.
 * Callbacks. Functions of the host, in tables such as hs2_reader, are called only while the library's function that got
 *   the table runs, on the same thread, and are not kept. There are no others.
 * Panics. A defect of the library ends as HS2_PANICKED, with the object poisoned; no exception or panic crosses.
 * Pointers. Null, misaligned and impossible ones are HS2_INVALID_ARGUMENT. Others must lead where the types say.
 * Time. `now_us` is the host's monotonic clock in microseconds from a start of its choice; it must not run backwards.
 */


#ifndef HS2SYNC_H
#define HS2SYNC_H

#include <stddef.h>
#include <stdint.h>

/* What functions return. */
/** Done. */
#define HS2_OK 0
/** An argument is null, misaligned or out of range. */
#define HS2_INVALID_ARGUMENT 1
/** The handle was released, or was never given out. */
#define HS2_STALE_HANDLE 2
/** The handle is of another kind than the function needs. */
#define HS2_WRONG_KIND 3
/** Another call uses the object at this moment, on another thread or further up on this one. */
#define HS2_IN_USE 4
/** An earlier call with this object panicked: release it. */
#define HS2_POISONED 5
/** This call panicked, which is a defect of the library: release the object, and report it. */
#define HS2_PANICKED 6
/** The bytes are no encoding of what they should be. */
#define HS2_MALFORMED 7
/** There is nothing of this name. */
#define HS2_UNKNOWN_NAME 8
/** The text is no value of this kind. */
#define HS2_UNREADABLE 9
/** The value is out of range. */
#define HS2_OUT_OF_RANGE 10
/** There is nothing at this place. */
#define HS2_NOT_FOUND 11
/** The object can't do this now: the order of calls is wrong. */
#define HS2_WRONG_STATE 12
/** The bytes are provably false. */
#define HS2_FALSE 13
/** A function of the host's table failed, or gave back what it must not. */
#define HS2_HOST_FAILED 14
/** There are too many objects or bytes. */
#define HS2_TOO_MANY 15
/** The parts don't fit together. */
#define HS2_REFUSED 16
/** The session is over: write what is left, then close the connection. */
#define HS2_SESSION_OVER 17

/* What the machine says: numbers never change their meaning; hs2_code_name has the names. */
#define HS2_OUTPUT_REQUEST 0x0101u
#define HS2_OUTPUT_CANCEL_REQUEST 0x0102u
#define HS2_OUTPUT_VERIFY 0x0103u
#define HS2_OUTPUT_CANCEL_JOB 0x0104u
#define HS2_OUTPUT_CALL 0x0105u
#define HS2_OUTPUT_PENALIZE 0x0106u
#define HS2_OUTPUT_EVENT 0x0107u
#define HS2_OUTPUT_WAIT 0x0108u
#define HS2_OUTPUT_DECIDED 0x0109u
#define HS2_HOST_WORK_APPLY 0x0201u
#define HS2_HOST_WORK_REPLAY 0x0202u
#define HS2_HOST_WORK_STORE_HANDOVERS 0x0203u
#define HS2_HOST_WORK_SURVEY 0x0204u
#define HS2_HOST_WORK_STAGE 0x0205u
#define HS2_HOST_WORK_ACTIVATE 0x0206u
#define HS2_HOST_WORK_ADD_HISTORY 0x0207u
#define HS2_HOST_REPLY_APPLIED 0x0301u
#define HS2_HOST_REPLY_HANDOVERS_STORED 0x0302u
#define HS2_HOST_REPLY_SURVEYED 0x0303u
#define HS2_HOST_REPLY_STAGED 0x0304u
#define HS2_HOST_REPLY_ACTIVATED 0x0305u
#define HS2_HOST_REPLY_ROOT_MISMATCH 0x0306u
#define HS2_HOST_REPLY_HISTORY_ADDED 0x0307u
#define HS2_HOST_ERROR_TRANSIENT 0x0401u
#define HS2_HOST_ERROR_PERMANENT 0x0402u
#define HS2_HOST_ERROR_STATE_MISMATCH 0x0403u
#define HS2_HOST_ERROR_NO_SPACE 0x0404u
#define HS2_HOLDING_HELD 0x0501u
#define HS2_HOLDING_DIFFERS 0x0502u
#define HS2_HOLDING_ABSENT 0x0503u
#define HS2_PEER_EVENT_CONNECTED 0x0601u
#define HS2_PEER_EVENT_DISCONNECTED 0x0602u
#define HS2_PEER_EVENT_EXCLUDED 0x0603u
#define HS2_PEER_EVENT_PARDONED 0x0604u
#define HS2_REQUEST_FAILURE_OVERSIZE 0x0701u
#define HS2_REQUEST_FAILURE_BROKEN 0x0702u
#define HS2_PENALTY_BAN 0x0801u
#define HS2_PENALTY_EXCLUDE 0x0802u
#define HS2_PENALTY_LIFT 0x0803u
#define HS2_BLACKLIST_REASON_PROVEN 0x0901u
#define HS2_BLACKLIST_REASON_UNRELIABLE 0x0902u
#define HS2_BLACKLIST_REASON_BY_HAND 0x0903u
#define HS2_PEER_HEALTH_UNKNOWN 0x0a01u
#define HS2_PEER_HEALTH_DISCONNECTED 0x0a02u
#define HS2_PEER_HEALTH_HEALTHY 0x0a03u
#define HS2_PEER_HEALTH_STANDING_BY 0x0a04u
#define HS2_PEER_HEALTH_SUSPECTED 0x0a05u
#define HS2_PEER_HEALTH_BUSY 0x0a06u
#define HS2_PEER_HEALTH_BANNED 0x0a07u
#define HS2_PEER_HEALTH_UNSUPPORTED 0x0a08u
#define HS2_EVENT_TARGET 0x0b01u
#define HS2_EVENT_STRATEGY 0x0b02u
#define HS2_EVENT_STATE_TARGET 0x0b03u
#define HS2_EVENT_STATE_LOST 0x0b04u
#define HS2_EVENT_STATE_MISMATCH 0x0b05u
#define HS2_EVENT_STATE_ACTIVE 0x0b06u
#define HS2_EVENT_HISTORY_COMPLETE 0x0b07u
#define HS2_EVENT_REACHED 0x0b08u
#define HS2_EVENT_STALLED 0x0b09u
#define HS2_EVENT_RESUMED 0x0b0au
#define HS2_EVENT_BANNED 0x0b0bu
#define HS2_EVENT_SUSPECT_SELF 0x0b0cu
#define HS2_EVENT_HALTED 0x0b0du
#define HS2_HALT_REASON_CONFLICTING_FINALITY 0x0c01u
#define HS2_HALT_REASON_APPLY 0x0c02u
#define HS2_HALT_REASON_STATE_ROOT 0x0c03u
#define HS2_HALT_REASON_STORE 0x0c04u
#define HS2_HALT_REASON_TRUST_EXPIRED 0x0c05u
#define HS2_STALL_REASON_NO_PEERS 0x0d01u
#define HS2_STALL_REASON_NO_TARGET 0x0d02u
#define HS2_STALL_REASON_HANDOVER_MISSING 0x0d03u
#define HS2_STALL_REASON_BLOCKS_MISSING 0x0d04u
#define HS2_STALL_REASON_HISTORY_MISSING 0x0d05u
#define HS2_STALL_REASON_NO_SNAPSHOT 0x0d06u
#define HS2_STALL_REASON_STATE_MISSING 0x0d07u
#define HS2_STALL_REASON_PEERS_SLOW 0x0d08u
#define HS2_STALL_REASON_VERIFY_LATE 0x0d09u
#define HS2_STALL_REASON_HOST_LATE 0x0d0au
#define HS2_STALL_REASON_HOST_BUSY 0x0d0bu
#define HS2_STALL_REASON_DISK_FULL 0x0d0cu
#define HS2_STALL_REASON_VERIFYING 0x0d0du
#define HS2_STALL_REASON_VERIFY_FAILS 0x0d0eu
#define HS2_STALL_STEP_AWAIT_PEER 0x0e01u
#define HS2_STALL_STEP_ASK_PEERS 0x0e02u
#define HS2_STALL_STEP_ASK_OTHERS 0x0e03u
#define HS2_STALL_STEP_VERIFY_AGAIN 0x0e04u
#define HS2_STALL_STEP_CALL_AGAIN 0x0e05u
#define HS2_BOTTLENECK_NETWORK 0x0f01u
#define HS2_BOTTLENECK_VERIFY 0x0f02u
#define HS2_BOTTLENECK_APPLY 0x0f03u
#define HS2_BOTTLENECK_PEERS 0x0f04u
#define HS2_SYNC_STRATEGY_TYPE_AUTO 0x1001u
#define HS2_SYNC_STRATEGY_TYPE_PARALLEL 0x1002u
#define HS2_SYNC_STRATEGY_TYPE_INCREMENTAL 0x1003u
#define HS2_SYNC_STRATEGY_TYPE_FAST 0x1004u
#define HS2_FAULT_MALFORMED 0x1101u
#define HS2_FAULT_NON_CANONICAL 0x1102u
#define HS2_FAULT_OVERSIZE 0x1103u
#define HS2_FAULT_WRONG_RANGE 0x1104u
#define HS2_FAULT_WRONG_CHAIN 0x1105u
#define HS2_FAULT_BROKEN_LINK 0x1106u
#define HS2_FAULT_WRONG_ANCHOR 0x1107u
#define HS2_FAULT_WRONG_PARENT 0x1108u
#define HS2_FAULT_BAD_CERTIFICATE 0x1109u
#define HS2_FAULT_NOT_FINAL 0x110au
#define HS2_FAULT_BAD_EPOCH 0x110bu
#define HS2_FAULT_BAD_VALIDATOR_SET 0x110cu
#define HS2_FAULT_BAD_PAYLOAD 0x110du
#define HS2_FAULT_BAD_FRAME 0x110eu
#define HS2_FAULT_WRONG_STATE 0x110fu
#define HS2_FAULT_NO_CONFLICT 0x1110u
#define HS2_FAULT_HOST 0x1111u
#define HS2_CHECK_ERROR_FALSE 0x1401u
#define HS2_CHECK_ERROR_UNABLE 0x1402u
#define HS2_NEW_MACHINE_ERROR_CONFIG 0x1201u
#define HS2_NEW_MACHINE_ERROR_EPOCHS 0x1202u
#define HS2_NEW_MACHINE_ERROR_NO_STAGING 0x1203u
#define HS2_NEW_MACHINE_ERROR_APPLICATION_AHEAD 0x1204u
#define HS2_NEW_MACHINE_ERROR_PROFILE 0x1205u
#define HS2_NEW_MACHINE_ERROR_NO_AUDITS 0x1206u
#define HS2_NEW_MACHINE_ERROR_UNPROVEN_LENGTHS 0x1207u
#define HS2_NEW_MACHINE_ERROR_TRUST 0x1208u
#define HS2_CONFIG_ERROR_CONFIG 0x1301u
#define HS2_LIGHT_OUTPUT_REQUEST 0x1501u
#define HS2_LIGHT_OUTPUT_CANCEL_REQUEST 0x1502u
#define HS2_LIGHT_OUTPUT_VERIFY 0x1503u
#define HS2_LIGHT_OUTPUT_CANCEL_JOB 0x1504u
#define HS2_LIGHT_OUTPUT_PENALIZE 0x1505u
#define HS2_LIGHT_OUTPUT_ANSWER 0x1506u
#define HS2_LIGHT_OUTPUT_KEEP 0x1507u
#define HS2_LIGHT_OUTPUT_EVENT 0x1508u
#define HS2_LIGHT_OUTPUT_WAIT 0x1509u
#define HS2_LIGHT_EVENT_EPOCH 0x1601u
#define HS2_LIGHT_EVENT_SKIPPED 0x1602u
#define HS2_LIGHT_EVENT_TIP 0x1603u
#define HS2_LIGHT_EVENT_STALLED 0x1604u
#define HS2_LIGHT_EVENT_RESUMED 0x1605u
#define HS2_LIGHT_EVENT_BANNED 0x1606u
#define HS2_LIGHT_EVENT_SUSPECT_SELF 0x1607u
#define HS2_LIGHT_EVENT_HALTED 0x1608u
#define HS2_LIGHT_STALL_NO_PEERS 0x1701u
#define HS2_LIGHT_STALL_EPOCH_UNPROVEN 0x1702u
#define HS2_LIGHT_STALL_NO_TIP 0x1703u
#define HS2_LIGHT_STALL_WITNESSES 0x1704u
#define HS2_LIGHT_STALL_OLD_TIP 0x1705u
#define HS2_LIGHT_STALL_CLOCK_BEHIND 0x1706u
#define HS2_LIGHT_HALT_CONFLICTING_FINALITY 0x1801u
#define HS2_LIGHT_HALT_TRUST_EXPIRED 0x1802u
#define HS2_LIGHT_ERROR_KEY_TOO_LONG 0x1901u
#define HS2_LIGHT_ERROR_TOO_MANY 0x1902u
#define HS2_LIGHT_ERROR_OUT_OF_REACH 0x1903u
#define HS2_LIGHT_ERROR_NOT_ONE_CELL 0x1904u
#define HS2_LIGHT_ERROR_TOO_LARGE 0x1905u
#define HS2_LIGHT_ERROR_NO_ANSWER 0x1906u
#define HS2_LIGHT_ERROR_UNCONFIRMED 0x1907u
#define HS2_LIGHT_ERROR_STOPPED 0x1908u
#define HS2_LIGHT_ERROR_UNPROVEN_LENGTHS 0x1909u
#define HS2_DECIDED_ERROR_STOPPED 0x1a01u
#define HS2_DECIDED_ERROR_HALTED 0x1a02u
#define HS2_DECIDED_ERROR_TOO_MANY 0x1a03u
#define HS2_DECIDED_ERROR_TOO_LARGE 0x1a04u
#define HS2_DECIDED_ERROR_UNKNOWN_EPOCH 0x1a05u
#define HS2_DECIDED_ERROR_FALSE 0x1a06u
#define HS2_DECIDED_ERROR_FALSE_HANDOVER 0x1a07u
#define HS2_DECIDED_ERROR_OVERLAP 0x1a08u
#define HS2_DECIDED_ERROR_CONTRADICTED 0x1a09u


/**
 * The result of a host's function: it did what it was asked.
 */
#define HS2_HOST_OK 0

/**
 * The result of a host's function: there is no such thing, which is no failure.
 */
#define HS2_HOST_NONE 1

/**
 * A time or a height that never comes.
 */
#define HS2_NEVER 18446744073709551615ull

/**
 * Largest buffer in bytes: more than any answer of the protocol takes.
 */
#define HS2_MAX_BUFFER_BYTES (128 << 20)

/**
 * Version of this interface. It rises with every change that a program compiled before would not survive.
 */
#define HS2_ABI 1

/**
 * Phase of a vote for a proposal.
 */
#define HS2_PHASE_ONE 1

/**
 * Phase of a vote for a block whose phase-one certificate the voter saw.
 */
#define HS2_PHASE_TWO 2

/**
 * Bytes that a validator signs for a vote.
 */
#define HS2_VOTE_BYTES 105

/**
 * Bytes that a validator signs to give up on a view.
 */
#define HS2_TIMEOUT_BYTES 64

/**
 * Make the answer of this ticket now.
 */
#define HS2_TURN_SERVE 1

/**
 * Tell this ticket's peer that the node is busy (`hs2_refusal_busy`).
 */
#define HS2_TURN_REFUSE 2

/**
 * Nothing now.
 */
#define HS2_TURN_WAIT 3

/**
 * A side of a session that asks, and answers if it serves.
 */
#define HS2_ROLE_NODE 1

/**
 * A side of a session that asks and never answers.
 */
#define HS2_ROLE_PAGE 2

/**
 * No event.
 */
#define HS2_SESSION_NONE 0

/**
 * The peer has proven its key. From now on questions may be put.
 */
#define HS2_SESSION_OPEN 1

/**
 * The peer asks: `hs2_session_answer` or `hs2_session_give_up` must follow.
 */
#define HS2_SESSION_ASKED 2

/**
 * The peer has no more use for an answer.
 */
#define HS2_SESSION_CANCELLED 3

/**
 * The last byte of an answer of this side was handed out to be written.
 */
#define HS2_SESSION_SENT 4

/**
 * An answer of the peer is whole.
 */
#define HS2_SESSION_ANSWER 5

/**
 * The peer sent more than it was asked for, which is its fault.
 */
#define HS2_SESSION_OVERSIZE 6

/**
 * The peer gave up on a question.
 */
#define HS2_SESSION_RESET 7

/**
 * The asker no longer wants the answer.
 */
#define HS2_STREAM_CANCELLED 1

/**
 * The request or answer is longer than allowed.
 */
#define HS2_STREAM_OVERSIZE 2

/**
 * The node does not serve.
 */
#define HS2_STREAM_NOT_SERVING 3

/**
 * The other side was too slow.
 */
#define HS2_STREAM_TOO_SLOW 4

/**
 * Something failed that is not the other side's fault.
 */
#define HS2_STREAM_FAILED 5

/**
 * A segment ends where asked, and proves its last block final.
 */
#define HS2_END_CERTIFIED 1

/**
 * A segment ends at or below the height asked for, and proves its last block final.
 */
#define HS2_END_CERTIFIED_UP_TO 2

/**
 * A segment ends with a block that was proven before.
 */
#define HS2_END_ANCHORED 3

/**
 * Cast no vote any more and make no proposal.
 */
#define HS2_GATE_PAUSE 1

/**
 * Take part.
 */
#define HS2_GATE_RESUME 2

/**
 * Ask every validator that can be reached for its word.
 */
#define HS2_GATE_ASK 3

/**
 * Nothing now.
 */
#define HS2_GATE_WAIT 4

/**
 * This key has never voted on this chain.
 */
#define HS2_VOTES_NEVER 1

/**
 * The highest view that it voted in or gave up on is known.
 */
#define HS2_VOTES_LAST 2

/**
 * The record of votes is gone, damaged or from a backup.
 */
#define HS2_VOTES_LOST 3

/**
 * The answer is a key's value.
 */
#define HS2_LIGHT_VALUE 1

/**
 * The answer is a block.
 */
#define HS2_LIGHT_HEADER 2

/**
 * The answer is payloads of consecutive blocks.
 */
#define HS2_LIGHT_BODIES 3

/**
 * The tip is younger than the setting `freshness_ms`.
 */
#define HS2_LIGHT_FRESH 1

/**
 * The tip is older than that.
 */
#define HS2_LIGHT_OLD 2

/**
 * There is no tip yet, or it is from the future by more than clocks differ.
 */
#define HS2_LIGHT_UNKNOWN_AGE 3

/**
 * Read the newest state that peers have.
 */
#define HS2_LIGHT_NOW 1

/**
 * Read the newest snapshot that a peer says it serves.
 */
#define HS2_LIGHT_SNAPSHOT 2

/**
 * Read the state after the block at a height, one of the chain's snapshot heights.
 */
#define HS2_LIGHT_AT 3

/**
 * The status that every function returns: 0 where it did what it says, else why it did nothing.
 */
typedef int32_t hs2_status;

/**
 * Bytes that belong to somebody else. Each function says for how long they are there. `data` may be null where `len` is 0.
 */
typedef struct hs2_slice {
  /**
   * The first byte.
   */
  const uint8_t *data;
  /**
   * How many there are.
   */
  size_t len;
} hs2_slice;

/**
 * A handle to an object of the library; 0 is none. The kinds below are all of this type: a handle of the wrong kind, or
 * one that was released, is a status and never undefined behaviour. Each handle that a function gives out has one
 * reference, which the host gives back with `hs2_release`; handing a handle to a function takes nothing away.
 */
typedef uint64_t hs2_handle;

/**
 * Bytes: memory to be filled, then final and shared.
 */
typedef hs2_handle hs2_buffer;

/**
 * Settings of a machine.
 */
typedef hs2_handle hs2_config;

/**
 * 32 bytes that name something: a block, a chain, a state root, a peer's or a validator's Ed25519 public key.
 */
typedef struct hs2_id {
  /**
   * The bytes.
   */
  uint8_t bytes[32];
} hs2_id;

/**
 * A member of a validator set.
 */
typedef struct hs2_validator {
  /**
   * Its Ed25519 public key.
   */
  struct hs2_id key;
  /**
   * Its voting power; not 0.
   */
  uint64_t power;
} hs2_validator;

/**
 * A checked genesis document. Immutable: usable on any number of threads at a time.
 */
typedef hs2_handle hs2_genesis;

/**
 * The fields of a genesis document, and what follows from them.
 */
typedef struct hs2_genesis_info {
  /**
   * The chain's id: the hash of the document.
   */
  struct hs2_id chain_id;
  /**
   * The genesis block's id.
   */
  struct hs2_id block_id;
  /**
   * Root of the state before the first block.
   */
  struct hs2_id state_root;
  /**
   * When the chain begins, in milliseconds since 1970.
   */
  uint64_t timestamp_ms;
  /**
   * The last height of epoch 0.
   */
  uint64_t last_height;
  /**
   * For how long a validator set stays trustworthy, in milliseconds; 0 for ever.
   */
  uint64_t trusting_period_ms;
  /**
   * States are offered at heights that are multiples of this.
   */
  uint64_t snapshot_interval;
} hs2_genesis_info;

/**
 * A native chain to verify with. Immutable.
 */
typedef hs2_handle hs2_chain;

/**
 * Where a host stands when its machine is made.
 */
typedef hs2_handle hs2_start;

/**
 * A proven handover, as a host stores it and gives it back at the next start.
 */
typedef struct hs2_link {
  /**
   * The epoch that ended.
   */
  uint64_t ended;
  /**
   * Its last height.
   */
  uint64_t boundary;
  /**
   * The block there.
   */
  struct hs2_id boundary_id;
  /**
   * The epoch that begins.
   */
  uint64_t epoch;
  /**
   * Its first height.
   */
  uint64_t first;
  /**
   * Its last height.
   */
  uint64_t last;
  /**
   * Milliseconds since 1970 in the header of the block at `boundary`; 0 where the chain has no time.
   */
  uint64_t boundary_time_ms;
  /**
   * That epoch, as the chain encodes it.
   */
  struct hs2_slice encoded_epoch;
  /**
   * The handover as it came, to store and serve.
   */
  struct hs2_slice handover;
} hs2_link;

/**
 * A machine: the synchronization of one node.
 */
typedef hs2_handle hs2_machine;

/**
 * The result of a verification. Immutable.
 */
typedef hs2_handle hs2_verdict;

/**
 * The next thing to do, of a machine or a light client. Which fields mean something depends on `kind`; the others are 0. What
 * is said of `HS2_OUTPUT_…` holds for the `HS2_LIGHT_OUTPUT_…` of the same name.
 */
typedef struct hs2_output {
  /**
   * `HS2_OUTPUT_…`, of a light client `HS2_LIGHT_OUTPUT_…`.
   */
  uint32_t kind;
  /**
   * `HS2_OUTPUT_CALL`: `HS2_HOST_WORK_…`. `HS2_OUTPUT_PENALIZE`: `HS2_PENALTY_…`. `HS2_OUTPUT_EVENT`: `HS2_EVENT_…`.
   * `HS2_OUTPUT_DECIDED`: 0 where the blocks are stored and executed, else `HS2_DECIDED_ERROR_…`.
   * `HS2_LIGHT_OUTPUT_EVENT`: `HS2_LIGHT_EVENT_…`. `HS2_LIGHT_OUTPUT_ANSWER`: 0 where there is an answer, else
   * `HS2_LIGHT_ERROR_…`.
   */
  uint32_t code;
  /**
   * Why: the fault of a ban (`HS2_FAULT_…`) or the reason of an exclusion (`HS2_BLACKLIST_REASON_…`); of an event its
   * fault, its strategy, its stall's reason or its halt's reason; the fault of decided blocks that don't hold.
   */
  uint32_t detail;
  /**
   * Of no meaning.
   */
  uint32_t reserved;
  /**
   * Of a request, a job or a call, as the answer must name it; of decided blocks, as they were handed in; of the question
   * that `HS2_LIGHT_OUTPUT_ANSWER` closes.
   */
  uint64_t id;
  /**
   * One reference to what there is to do: `HS2_OUTPUT_REQUEST`, an `hs2_buffer` with the bytes to send;
   * `HS2_OUTPUT_VERIFY`, an `hs2_job`; `HS2_OUTPUT_CALL`, an `hs2_call`; `HS2_OUTPUT_EVENT`, an `hs2_buffer` with
   * words for people, and so `HS2_OUTPUT_DECIDED` where the blocks were not taken in; `HS2_LIGHT_OUTPUT_ANSWER`, an
   * `hs2_light_answer`, or an `hs2_buffer` with words where there is none; `HS2_LIGHT_OUTPUT_KEEP`, an `hs2_buffer` with
   * the checkpoint. Else 0.
   */
  hs2_handle object;
  /**
   * Whom to ask, or who is penalized, or whom an event is about.
   */
  struct hs2_id peer;
  /**
   * `HS2_OUTPUT_REQUEST`: bytes of an answer after which to stop reading and say `HS2_REQUEST_FAILURE_OVERSIZE`.
   */
  uint64_t max_response_bytes;
  /**
   * `HS2_OUTPUT_WAIT`: when to say that time has passed, `HS2_NEVER` for never. `HS2_OUTPUT_PENALIZE`: when the peer
   * may come back. In microseconds of the host's clock.
   */
  uint64_t deadline_us;
  /**
   * The height that an event is about; of a job, from which on blocks wait for it: the lowest are to be run first.
   * `HS2_OUTPUT_DECIDED`: up to which all blocks are stored and executed; with `HS2_DECIDED_ERROR_OVERLAP` the first that
   * is missing, with `HS2_DECIDED_ERROR_UNKNOWN_EPOCH` and `HS2_DECIDED_ERROR_CONTRADICTED` the block concerned.
   * `HS2_LIGHT_OUTPUT_KEEP`: the checkpoint's block.
   */
  uint64_t height;
} hs2_output;

/**
 * How far a synchronization is.
 */
typedef struct hs2_progress {
  /**
   * Height at the start.
   */
  uint64_t start;
  /**
   * Height that is stored and executed.
   */
  uint64_t current;
  /**
   * Highest proven height; the current one where nothing is proven above it.
   */
  uint64_t target;
  /**
   * Highest height that a usable peer claims, which proves nothing; 0 where none does.
   */
  uint64_t claimed;
  /**
   * Time in the header of the target, in milliseconds since 1970; 0 where it is not known.
   */
  uint64_t tip_time_ms;
  /**
   * Blocks a second, over the last seconds in which there was something to do.
   */
  uint64_t blocks_per_second;
  /**
   * Time that is likely left, in microseconds; `HS2_NEVER` while that can't be said.
   */
  uint64_t remaining_us;
  /**
   * Payload bytes applied.
   */
  uint64_t payload_bytes;
  /**
   * Bytes of answers that were accepted, each piece once.
   */
  uint64_t useful_bytes;
  /**
   * Bytes of answers that came although the same had been accepted already.
   */
  uint64_t duplicate_bytes;
  /**
   * Certificates that were checked against a quorum.
   */
  uint64_t quorum_checks;
  /**
   * Bytes of the memory budget in use.
   */
  uint64_t buffered_bytes;
  /**
   * Answers and verdicts that came too late, twice or for nothing.
   */
  uint64_t strays;
  /**
   * `HS2_SYNC_STRATEGY_TYPE_…` in use.
   */
  uint32_t strategy;
  /**
   * `HS2_BOTTLENECK_…`: what it waits for most.
   */
  uint32_t bottleneck;
  /**
   * `HS2_STALL_REASON_…`: why nothing moves; 0 while something does.
   */
  uint32_t stall;
  /**
   * 1 once it has stopped for good, else 0.
   */
  uint32_t halted;
} hs2_progress;

/**
 * One verification, for any thread. Immutable.
 */
typedef hs2_handle hs2_job;

/**
 * A block that was proven final.
 */
typedef struct hs2_tip {
  /**
   * Its height.
   */
  uint64_t height;
  /**
   * Its id.
   */
  struct hs2_id id;
  /**
   * Its epoch.
   */
  uint64_t epoch;
  /**
   * When it was proposed, in milliseconds since 1970.
   */
  uint64_t timestamp_ms;
} hs2_tip;

/**
 * The terms that a segment must keep, for `hs2_chain_table`.
 */
typedef struct hs2_claim {
  /**
   * The first height asked for.
   */
  uint64_t first;
  /**
   * The last.
   */
  uint64_t last;
  /**
   * `HS2_END_CERTIFIED`: it ends at `last` and proves that block final. `HS2_END_CERTIFIED_UP_TO`: it ends at or below
   * `last`, and proves its end final. `HS2_END_ANCHORED`: it ends at `last` with the block `anchor`, which was proven.
   */
  uint32_t end;
  /**
   * 1 where every block comes with a certificate of its own, in the audit.
   */
  uint32_t audit;
  /**
   * 1 where `parent` is known.
   */
  uint64_t has_parent;
  /**
   * The id that the parent of the first header must have, if `has_parent` is 1.
   */
  struct hs2_id parent;
  /**
   * The id of the last block, with `HS2_END_ANCHORED`.
   */
  struct hs2_id anchor;
} hs2_claim;

/**
 * The facts that a host's chain gives of a header.
 */
typedef struct hs2_header_facts {
  /**
   * The block's id.
   */
  struct hs2_id id;
  /**
   * Root of the state after it; zeros for a chain without.
   */
  struct hs2_id state_root;
  /**
   * When it was proposed, in milliseconds since 1970; 0 for a chain without time.
   */
  uint64_t timestamp_ms;
  /**
   * Length of the payload in bytes, at most 4 MiB.
   */
  uint32_t payload_len;
  /**
   * Of no meaning.
   */
  uint32_t reserved;
} hs2_header_facts;

/**
 * The facts that a host's chain gives of a segment that it proved, or decodes from the host's store.
 */
typedef struct hs2_segment_facts {
  /**
   * Places for headers, in order from the first on; set before the call.
   */
  struct hs2_header_facts *headers;
  /**
   * How many places there are: 1,024, the most headers that a segment has; set before the call.
   */
  size_t capacity;
  /**
   * How many were written: at least one.
   */
  size_t count;
  /**
   * Height of the first.
   */
  uint64_t first;
  /**
   * Id of the block below the first.
   */
  struct hs2_id parent_id;
  /**
   * How many certificates were checked against a quorum.
   */
  uint32_t quorum_checks;
  /**
   * Of no meaning.
   */
  uint32_t reserved;
} hs2_segment_facts;

/**
 * A chain of the host's own: its blocks, certificates and validator sets. The functions are called inside of
 * `hs2_job_run_own` and the other functions that take the table, on the calling thread, on any number of threads at a
 * time, and are not kept. What they are shown comes from peers that nobody trusts, unless a function says otherwise; it is
 * there until they return, and what they point to in their results must stay until the next function of the table is
 * called or the library's returns. A function must not throw, nor jump out, must bound its work by the length of its
 * input, and depend on its arguments alone.
 *
 * Results: `HS2_HOST_OK`, proven and written. A positive number above `HS2_HOST_NONE`: provably false, and whoever gave
 * the bytes is banned; `HS2_FAULT_…` or a number of the host's own. A negative number: could not be checked here, nobody
 * is to blame, and the same is checked again after a pause.
 */
typedef struct hs2_chain_table {
  /**
   * Handed to each function.
   */
  void *context;
  /**
   * Looks whether a validator set, named by a verified handover or trusted, can be read.
   */
  int32_t (*epoch)(void *context, struct hs2_slice epoch);
  /**
   * Reads which epoch a handover begins, and checks by hashes and numbers alone that it ends `epoch` and brings along the
   * set that it names, so that a made-up one costs nothing. `epoch` may not be proven yet. Writes of `link` as below.
   */
  int32_t (*link)(void *context, struct hs2_slice epoch, struct hs2_slice handover, struct hs2_link *link);
  /**
   * Proves that `epoch` ended as `handover` says, signatures and all. Writes of `link`: `boundary_id`, `epoch`, `first`, `last` and
   * `encoded_epoch`.
   */
  int32_t (*handover)(void *context, struct hs2_slice epoch, struct hs2_slice handover, struct hs2_link *link);
  /**
   * Proves that the block in `tip` is final, if it belongs to `epoch`. Where it says that it belongs to another one:
   * `HS2_HOST_NONE`, with that number in `facts->epoch`.
   */
  int32_t (*tip)(void *context, struct hs2_slice epoch, struct hs2_slice tip, struct hs2_tip *facts);
  /**
   * Proves that a segment is the final headers that `claim` asks for.
   */
  int32_t (*segment)(void *context,
                     struct hs2_slice epoch,
                     const struct hs2_claim *claim,
                     struct hs2_slice segment,
                     struct hs2_slice audit,
                     struct hs2_segment_facts *facts);
  /**
   * Decodes a segment that was verified before and comes from the host's own store.
   */
  int32_t (*stored)(void *context, struct hs2_slice segment, struct hs2_segment_facts *facts);
  /**
   * Proves that `payload` is the one that the header at `height` of a verified segment names.
   */
  int32_t (*payload)(void *context, struct hs2_slice segment, uint64_t height, struct hs2_slice payload);
  /**
   * Cuts or joins verified segments, consecutive and in order, to the one that `claim` asks for (without its parent);
   * `HS2_HOST_NONE` where they don't prove its end. For serving.
   */
  int32_t (*assemble)(void *context,
                      const struct hs2_slice *parts,
                      size_t part_count,
                      const struct hs2_claim *claim,
                      struct hs2_slice *segment);
  /**
   * The tip message that the end of a certified segment makes; `HS2_HOST_NONE` for an anchored one. For serving.
   */
  int32_t (*tip_of)(void *context, struct hs2_slice segment, struct hs2_slice *tip);
} hs2_chain_table;

/**
 * A call of the machine into the host: blocks, handovers or parts of a state to store. Immutable: a host may hold it as long as it likes.
 */
typedef hs2_handle hs2_call;

/**
 * The work that a call asks for.
 */
typedef struct hs2_call_info {
  /**
   * The call, as the answer must name it.
   */
  uint64_t id;
  /**
   * `HS2_HOST_WORK_…`.
   */
  uint32_t work;
  /**
   * Of no meaning.
   */
  uint32_t reserved;
  /**
   * Of blocks to apply or replay: the lowest height.
   */
  uint64_t first;
  /**
   * The highest.
   */
  uint64_t last;
  /**
   * Payload bytes of the blocks to apply.
   */
  uint64_t payload_bytes;
  /**
   * Segments that the blocks to apply come from, for `hs2_call_segment`.
   */
  size_t segment_count;
  /**
   * Handovers to store, for `hs2_call_handover`.
   */
  size_t handover_count;
  /**
   * The message that proves the last block to apply final, where its segment doesn't; else empty.
   */
  struct hs2_slice tip;
} hs2_call_info;

/**
 * A block to store and execute: final and verified.
 */
typedef struct hs2_block {
  /**
   * Its height.
   */
  uint64_t height;
  /**
   * When it was proposed, in milliseconds since 1970.
   */
  uint64_t timestamp_ms;
  /**
   * Its id.
   */
  struct hs2_id id;
  /**
   * Root of the state after it: executing it must give this.
   */
  struct hs2_id state_root;
  /**
   * Its payload.
   */
  struct hs2_slice payload;
} hs2_block;

/**
 * A segment of headers as the host stored it.
 */
typedef struct hs2_stored_segment {
  /**
   * The lowest height that it holds.
   */
  uint64_t first;
  /**
   * The highest.
   */
  uint64_t last;
  /**
   * The epoch of all of them.
   */
  uint64_t epoch;
  /**
   * 1 where it proves its last block final by itself, 0 where it was anchored to a block above.
   */
  uint64_t certified;
  /**
   * The segment, as it was given to the host.
   */
  struct hs2_slice segment;
  /**
   * The certificates of the single blocks, if they came with it.
   */
  struct hs2_slice audit;
} hs2_stored_segment;

/**
 * One end of a session over a stream of bytes.
 */
typedef hs2_handle hs2_session;

/**
 * An event of a session: the meaning of bytes that came in.
 */
typedef struct hs2_session_event {
  /**
   * `HS2_SESSION_…`.
   */
  uint32_t kind;
  /**
   * The question.
   */
  uint32_t id;
  /**
   * `HS2_SESSION_RESET`: why, `HS2_STREAM_…`. `HS2_SESSION_OPEN`: how many questions the peer takes at a time.
   */
  uint32_t code;
  /**
   * `HS2_SESSION_OPEN`: `HS2_ROLE_…`. A page is not told to a machine as a peer.
   */
  uint32_t role;
  /**
   * One reference to an `hs2_buffer`: the request with `HS2_SESSION_ASKED`, the answer with `HS2_SESSION_ANSWER`. Else
   * 0.
   */
  hs2_handle object;
  /**
   * `HS2_SESSION_OPEN`: the peer's key, proven.
   */
  struct hs2_id peer;
  /**
   * `HS2_SESSION_OPEN`: its chain, which is this side's.
   */
  struct hs2_id chain_id;
} hs2_session_event;

/**
 * The blocks and states that a serving node holds.
 */
typedef struct hs2_peer_status {
  /**
   * Lowest height whose header and payload are there.
   */
  uint64_t earliest;
  /**
   * Highest height that is final here.
   */
  uint64_t tip;
  /**
   * The epoch of that block.
   */
  uint64_t epoch;
} hs2_peer_status;

/**
 * The host's store, which `hs2_respond` reads from. Functions are called while `hs2_respond` runs, on its thread, and not
 * kept. Each returns `HS2_HOST_OK` and has written its result; `HS2_HOST_NONE` where there is no such thing; or any other
 * number, a failure of the host's own, which `hs2_respond` reports. Bytes that a function points to must stay until the
 * next function of the table is called or `hs2_respond` returns. A function must not throw, nor jump out.
 */
typedef struct hs2_reader {
  /**
   * Handed to each function.
   */
  void *context;
  /**
   * The blocks and states that this node holds.
   */
  int32_t (*status)(void *context, struct hs2_peer_status *out);
  /**
   * The handover that ends an epoch.
   */
  int32_t (*handover)(void *context, uint64_t epoch, struct hs2_slice *out);
  /**
   * The newest proof of finality.
   */
  int32_t (*tip)(void *context, struct hs2_slice *out);
  /**
   * The stored segment that holds the header at this height.
   */
  int32_t (*segment)(void *context, uint64_t height, struct hs2_stored_segment *out);
  /**
   * The payload of the block at this height.
   */
  int32_t (*payload)(void *context, uint64_t height, struct hs2_slice *out);
} hs2_reader;

/**
 * An entry of a host's ordered store.
 */
typedef struct hs2_entry {
  /**
   * The key.
   */
  struct hs2_slice key;
  /**
   * Its value.
   */
  struct hs2_slice value;
} hs2_entry;

/**
 * A change of one key.
 */
typedef struct hs2_change {
  /**
   * The key.
   */
  struct hs2_slice key;
  /**
   * The new value. Of no meaning where the key is deleted.
   */
  struct hs2_slice value;
  /**
   * 1 where the key is deleted, else 0.
   */
  uint64_t deleted;
} hs2_change;

/**
 * An ordered store of the host's, in which the library keeps a state: its keys and values, the tree over them, snapshots for
 * others, and a state that is being fetched. Keys are at most 64 bytes, ordered as `memcmp` orders them, a shorter one before
 * those that it begins. They belong to the library: the host keeps them apart from its own. Functions are called while a
 * function that got the table runs, on its thread, and are not kept. Each returns `HS2_HOST_OK` and has written its result;
 * `HS2_HOST_NONE` where there is no such thing; or any other number, a failure of the host's own. Bytes that a function points
 * to must stay until the next function of the table is called or the library's function returns. A function must not throw,
 * nor jump out.
 *
 * Two functions of the library that write must not run at a time with one store; the host sees to that. While one that reads
 * runs (`hs2_respond_with_state`), its table shows one moment: a snapshot of the database, or nobody writes meanwhile.
 */
typedef struct hs2_state_store {
  /**
   * Handed to each function.
   */
  void *context;
  /**
   * The value of a key.
   */
  int32_t (*get)(void *context, struct hs2_slice key, struct hs2_slice *value);
  /**
   * The entry with the lowest key that is not below `from` and not above `to`.
   */
  int32_t (*next)(void *context, struct hs2_slice from, struct hs2_slice to, struct hs2_entry *entry);
  /**
   * Makes changes, each of another key: all of them or none, also where the process or the machine dies. A write that
   * survives has all those before it. Every write of a call survives once the call is answered to the machine.
   */
  int32_t (*write)(void *context, const struct hs2_change *changes, size_t count);
} hs2_state_store;

/**
 * The block whose state was fetched: stored blocks begin above it.
 */
typedef struct hs2_base {
  /**
   * Its height.
   */
  uint64_t height;
  /**
   * Its id.
   */
  struct hs2_id id;
  /**
   * Root of the state after it.
   */
  struct hs2_id state_root;
  /**
   * Verified headers that begin with the block's own, to be stored and served: they prove it to others.
   */
  struct hs2_stored_segment segment;
  /**
   * The tip message that proves the last of them, where the segment doesn't; else empty.
   */
  struct hs2_slice tip;
} hs2_base;

/**
 * Where a stored state stands.
 */
typedef struct hs2_state_info {
  /**
   * The height of the block that left it.
   */
  uint64_t height;
  /**
   * Its root.
   */
  struct hs2_id root;
  /**
   * How many keys have a value.
   */
  uint64_t keys;
  /**
   * Bytes of keys and values.
   */
  uint64_t bytes;
  /**
   * The lowest snapshot that others are served; 0 for none.
   */
  uint64_t oldest_snapshot;
  /**
   * The highest.
   */
  uint64_t newest_snapshot;
} hs2_state_info;

/**
 * The decision who is served when.
 */
typedef hs2_handle hs2_admission;

/**
 * The next word of admission.
 */
typedef struct hs2_turn {
  /**
   * `HS2_TURN_SERVE`, `HS2_TURN_REFUSE` or `HS2_TURN_WAIT`.
   */
  uint32_t kind;
  /**
   * For a refusal: milliseconds after which the peer may ask again.
   */
  uint32_t retry_after_ms;
  /**
   * The request's ticket; 0 with `HS2_TURN_WAIT`. After a refusal it is void.
   */
  uint64_t ticket;
  /**
   * With `HS2_TURN_WAIT`: when to poll again though nothing happened, in microseconds of the host's clock;
   * `HS2_NEVER` where that is not needed.
   */
  uint64_t deadline_us;
} hs2_turn;

/**
 * The gate between a synchronization and consensus.
 */
typedef hs2_handle hs2_gate;

/**
 * A trusted epoch of a native chain. Immutable.
 */
typedef hs2_handle hs2_epoch;

/**
 * An order of a gate.
 */
typedef struct hs2_gate_output {
  /**
   * `HS2_GATE_…`.
   */
  uint32_t kind;
  /**
   * `HS2_GATE_PAUSE`: 1 too far behind, 2 the host asked, 3 the record of votes is lost, 4 another block is proven at the
   * head's height, 5 the epoch is over for which the others knew of this validator's votes, 6 this node is no validator any
   * more. `HS2_GATE_WAIT`: 0 there is a permit, 1 proven blocks are not applied yet, 2 nothing shows that the tip is the network's, 3 the record of votes is lost, 4 the host has not brought it, 5 the others restore it, 6 this
   * validator's key signs elsewhere, 7 another block is proven at the head's height, 8 this node is in no place of the set that is
   * in force. `HS2_GATE_ASK`: 1 where words must come
   * with the certificates that back them (`hs2_advert_sign_backed`), else 0.
   */
  uint32_t reason;
  /**
   * `HS2_GATE_RESUME`: one reference to an `hs2_permit`. Else 0.
   */
  hs2_handle object;
  /**
   * `HS2_GATE_RESUME`: the height of the final block that is executed.
   */
  uint64_t height;
  /**
   * `HS2_GATE_RESUME`: votes and proposals may be made in views above this one only.
   */
  uint64_t vote_above;
  /**
   * `HS2_GATE_RESUME`: that block's id. `HS2_GATE_ASK`: the challenge.
   */
  struct hs2_id id;
} hs2_gate_output;

/**
 * Leave to take part in consensus. Immutable.
 */
typedef hs2_handle hs2_permit;

/**
 * Settings of a light client. `hs2_light_defaults` fills them in, so that a program changes what it means to.
 */
typedef struct hs2_light_settings {
  /**
   * 1: each epoch is proven by the one before. 0: epochs are skipped, which assumes that less than a third of a set turns
   * false within the trusting period.
   */
  uint32_t one_by_one;
  /**
   * Peers of other groups that must prove the same block before it is told: 0 to 16.
   */
  uint32_t witnesses;
  /**
   * Most peers that are asked at a time: 1 to 1,000, and more than `witnesses`.
   */
  uint32_t max_peers;
  /**
   * Groups that must give the same false kind of answer before the client suspects itself: 2 to 1,000.
   */
  uint32_t suspect_self_groups;
  /**
   * Longest time of a request, in milliseconds: 100 ms to 1 h.
   */
  uint64_t peer_timeout_ms;
  /**
   * Longest time of a question, in milliseconds: 1 s to 1 h.
   */
  uint64_t query_timeout_ms;
  /**
   * Longest time of a job, in milliseconds: 100 ms to 1 h.
   */
  uint64_t job_timeout_ms;
  /**
   * Age from which on a tip is old, in milliseconds: 1 s to 10 years.
   */
  uint64_t freshness_ms;
  /**
   * How often each peer is asked for its status, in milliseconds: 100 ms to 1 h.
   */
  uint64_t status_interval_ms;
  /**
   * Time without progress after which an event says why, in milliseconds: 100 ms to 1 h.
   */
  uint64_t stall_after_ms;
  /**
   * How long a peer that gave a false answer is left out, in milliseconds: at least 1 s.
   */
  uint64_t ban_duration_ms;
} hs2_light_settings;

/**
 * A light client.
 */
typedef hs2_handle hs2_light;

/**
 * A proven block, as far as a light client knows it.
 */
typedef struct hs2_light_block {
  /**
   * Its height.
   */
  uint64_t height;
  /**
   * When it was proposed, in milliseconds since 1970.
   */
  uint64_t timestamp_ms;
  /**
   * Its id.
   */
  struct hs2_id id;
  /**
   * Root of the state after it.
   */
  struct hs2_id state_root;
} hs2_light_block;

/**
 * Where a light client stands.
 */
typedef struct hs2_light_position {
  /**
   * The newest trusted epoch.
   */
  uint64_t epoch;
  /**
   * The highest height that anyone proved, confirmed or not; 0 for none.
   */
  uint64_t proven;
  /**
   * The highest block that was proven and confirmed; all zero before there is one.
   */
  struct hs2_light_block tip;
  /**
   * Groups that confirmed it, beside the one that showed it.
   */
  uint32_t witnesses;
  /**
   * `HS2_LIGHT_FRESH`, `HS2_LIGHT_OLD` or `HS2_LIGHT_UNKNOWN_AGE`.
   */
  uint32_t freshness;
  /**
   * Its age in milliseconds, with `HS2_LIGHT_OLD`.
   */
  uint64_t age_ms;
} hs2_light_position;

/**
 * A proven answer of a light client. Immutable.
 */
typedef hs2_handle hs2_light_answer;

/**
 * The content of an answer.
 */
typedef struct hs2_light_found {
  /**
   * `HS2_LIGHT_VALUE`, `HS2_LIGHT_HEADER` or `HS2_LIGHT_BODIES`.
   */
  uint32_t kind;
  /**
   * `HS2_LIGHT_VALUE`: 1 where the key has a value, 0 where it has none, which is proven too.
   */
  uint32_t has_value;
  /**
   * `HS2_LIGHT_VALUE`: the block after which the key has the value. `HS2_LIGHT_HEADER`: the block.
   */
  struct hs2_light_block block;
  /**
   * `HS2_LIGHT_VALUE`: the value.
   */
  struct hs2_slice value;
  /**
   * `HS2_LIGHT_BODIES`: height of the first payload.
   */
  uint64_t first;
  /**
   * `HS2_LIGHT_BODIES`: how many payloads there are, for `hs2_light_answer_payload`.
   */
  size_t payload_count;
} hs2_light_found;

/**
 * The part of a header that its proposer chooses.
 */
typedef struct hs2_proposal {
  /**
   * The view; above the parent's.
   */
  uint64_t view;
  /**
   * When it is proposed, in milliseconds since 1970; not before the parent.
   */
  uint64_t timestamp_ms;
  /**
   * The payload: at most 4 MiB.
   */
  struct hs2_slice payload;
  /**
   * Root of the state after executing the payload.
   */
  struct hs2_id state_root;
  /**
   * The epoch that begins above this block; 0 unless this is its epoch's last block.
   */
  hs2_epoch next_epoch;
  /**
   * Index of the proposer in the validator set.
   */
  uint16_t proposer;
} hs2_proposal;

/**
 * The fields of a header.
 */
typedef struct hs2_header_info {
  /**
   * The block's id.
   */
  struct hs2_id id;
  /**
   * The chain's id.
   */
  struct hs2_id chain_id;
  /**
   * The parent's id.
   */
  struct hs2_id parent;
  /**
   * Hash of the payload.
   */
  struct hs2_id payload_hash;
  /**
   * Root of the state after this block.
   */
  struct hs2_id state_root;
  /**
   * Hash of the epoch.
   */
  struct hs2_id epoch_hash;
  /**
   * The parent's height plus one.
   */
  uint64_t height;
  /**
   * The view it was proposed in.
   */
  uint64_t view;
  /**
   * View of the certificate that justifies it: the parent's view.
   */
  uint64_t justify_view;
  /**
   * The epoch whose validators vote on it.
   */
  uint64_t epoch;
  /**
   * When it was proposed, in milliseconds since 1970.
   */
  uint64_t timestamp_ms;
  /**
   * Length of the payload in bytes.
   */
  uint32_t payload_len;
  /**
   * Index of the proposer in the validator set.
   */
  uint16_t proposer;
  /**
   * 1 where the block ends its epoch, else 0.
   */
  uint16_t ends_epoch;
} hs2_header_info;

/**
 * A validator's signature on a vote.
 */
typedef struct hs2_signature {
  /**
   * The signer's key.
   */
  struct hs2_id key;
  /**
   * The Ed25519 signature: R and s.
   */
  uint8_t bytes[64];
} hs2_signature;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ==== Versions, words, and the life of handles. ==== */

/**
 * The library's version, as `0.1.0`. Ownership: the library's, for ever. Threads: any. Errors: none.
 */
const char *hs2_version(void);

/**
 * The version of this interface in the library that runs. A program compares it with its own `HS2_ABI` before anything
 * else. Threads: any. Errors: none.
 */
uint32_t hs2_abi(void);

/**
 * Words for a status, in English; for a number that is none, words that say so. Ownership: the library's, for ever.
 * Threads: any. Errors: none.
 */
const char *hs2_status_words(hs2_status status);

/**
 * The name of a number that the machine says (`HS2_OUTPUT_…`, `HS2_EVENT_…`, `HS2_FAULT_…`, and so on), as `broken_link`.
 * Ownership: the library's, for ever; no zero byte is behind it. Threads: any.
 * Errors: `HS2_NOT_FOUND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_code_name(uint32_t code,
                         struct hs2_slice *name);

/**
 * The exact fault of the last call on this thread that failed, in English; empty before the first. Calls that
 * succeed leave it as it is. Ownership: the library's; it reads the same until the next failure on this thread, and is
 * there until the thread ends. Threads: each has its own. Errors: none.
 */
const char *hs2_last_error(void);

/**
 * One more reference to an object, to be given back with `hs2_release`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_INVALID_ARGUMENT` for 0, `HS2_TOO_MANY` after four billion.
 */
hs2_status hs2_retain(hs2_handle handle);

/**
 * Gives a reference back. With the last one the handle is stale, and so are bytes that were borrowed from the object.
 * Calls that use the object meanwhile end as if nothing had happened. 0 is let pass, as `free` does with null.
 * Threads: any. Errors: `HS2_STALE_HANDLE`.
 */
hs2_status hs2_release(hs2_handle handle);

/**
 * How many objects are held now, to find what was forgotten. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_object_count(size_t *count);

/* ==== Buffers: bytes over the border without a copy. ==== */

/**
 * Memory of `capacity` zero bytes, at most `HS2_MAX_BUFFER_BYTES`, to be filled by the host and frozen.
 * Ownership: one reference to `buffer`. Threads: any.
 * Errors: `HS2_TOO_MANY` for more bytes, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_buffer_new(size_t capacity, hs2_buffer *buffer);

/**
 * A frozen buffer with a copy of `content`. Ownership: one reference to `buffer`. Threads: any.
 * Errors: `HS2_TOO_MANY` for more than `HS2_MAX_BUFFER_BYTES`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_buffer_copy(struct hs2_slice content, hs2_buffer *buffer);

/**
 * Where to write in a buffer that is not frozen, and how many bytes. The memory stays where it is until the buffer is
 * frozen; nothing may be written to it after that. Threads: one at a time.
 * Errors: `HS2_WRONG_STATE` for a frozen buffer, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_buffer_memory(hs2_buffer buffer,
                             uint8_t **data,
                             size_t *capacity);

/**
 * Ends the writing: the first `len` bytes are the buffer's content from now on, and never change. No byte is moved.
 * Threads: one at a time.
 * Errors: `HS2_WRONG_STATE` for a frozen buffer, `HS2_INVALID_ARGUMENT` for more bytes than there are,
 * `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_buffer_freeze(hs2_buffer buffer,
                             size_t len);

/**
 * The content of a frozen buffer. Ownership: borrowed; it is there until the buffer's last reference is released.
 * Threads: any.
 * Errors: `HS2_WRONG_STATE` for a buffer that is not frozen, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_buffer_bytes(hs2_buffer buffer,
                            struct hs2_slice *content);

/* ==== Settings by name. ==== */

/**
 * Settings, all at their defaults. Ownership: one reference to `config`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_config_new(hs2_config *config);

/**
 * Sets one setting: `hs2_config_set(config, "memory_budget", "64 MiB")`. Numbers are whole; bytes may have `KiB`, `MiB`
 * or `GiB`, times need `us`, `ms`, `s`, `min`, `h` or `d`; others are `true`, `false`, or words. Settings are always
 * valid together: a value that is out of range is refused, and changes nothing. Threads: one at a time.
 * Errors: `HS2_UNKNOWN_NAME`, `HS2_UNREADABLE` and `HS2_OUT_OF_RANGE` (`hs2_last_error` says what would do),
 * `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_config_set(hs2_config config,
                          const char *name,
                          const char *value);

/**
 * The value of one setting, as `hs2_config_set` reads it. Ownership: one reference to `value`. Threads: one at a time.
 * Errors: `HS2_UNKNOWN_NAME`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_config_get(hs2_config config,
                          const char *name,
                          hs2_buffer *value);

/**
 * The name of the setting at `index` and the range of its values, to list all from 0 on until `HS2_NOT_FOUND`.
 * Ownership: the library's, for ever; the texts have no zero byte behind them. Threads: any.
 * Errors: `HS2_NOT_FOUND` behind the last one, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_config_field(size_t index,
                            struct hs2_slice *name,
                            struct hs2_slice *range);

/* ==== Genesis documents, and the chain that begins with one. ==== */

/**
 * Makes a genesis document. `name` is for people, 1 to 64 bytes; `validators` are those of epoch 0, in any order, which
 * decide up to `last_height`; `trusting_period_ms` is 0 for a chain without one.
 * Ownership: one reference to `genesis`. Threads: any.
 * Errors: `HS2_REFUSED` where the parts make no genesis, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_genesis_new(const char *name,
                           uint64_t timestamp_ms,
                           const struct hs2_validator *members,
                           size_t member_count,
                           uint64_t last_height,
                           const struct hs2_id *state_root,
                           uint64_t trusting_period_ms,
                           uint64_t snapshot_interval,
                           hs2_genesis *genesis);

/**
 * Reads a genesis document as `hs2_genesis_encode` and the command `hs2-sync` encode it.
 * Ownership: one reference to `genesis`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_REFUSED` where it makes no sense, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_genesis_decode(struct hs2_slice encoded, hs2_genesis *genesis);

/**
 * The genesis document's canonical encoding, which the chain's id is the hash of.
 * Ownership: one reference to `encoded`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_genesis_encode(hs2_genesis genesis, hs2_buffer *encoded);

/**
 * The genesis block's header, encoded: the parent of the first block. Ownership: one reference to `header`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_genesis_header(hs2_genesis genesis,
                              hs2_buffer *header);

/**
 * Reads a genesis document. Threads: any. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_genesis_read(hs2_genesis genesis,
                            struct hs2_genesis_info *info);

/**
 * The native chain that begins with a genesis, to verify with, trusted from there on. Ownership: one reference to
 * `chain`. Threads: any. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_chain_new(hs2_genesis genesis,
                         hs2_chain *chain);

/**
 * The same, trusted from a checkpoint on: below it no certificate proves anything. `wall_ms` is the time now, in
 * milliseconds since 1970, by which the checkpoint's age is held against the chain's trusting period, unless
 * `accept_long_range` is not 0. Ownership: one reference to `chain`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_REFUSED` where the checkpoint is too old or does not fit, `HS2_STALE_HANDLE`,
 * `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_chain_from_checkpoint(hs2_genesis genesis,
                                     struct hs2_slice checkpoint,
                                     uint64_t wall_ms,
                                     int32_t accept_long_range,
                                     hs2_chain *chain);

/* ==== Where a host stands: from its genesis on, or from what it stored itself. ==== */

/**
 * A new node: it trusts the genesis block and has stored nothing. Ownership: one reference to `start`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_start_new(hs2_genesis genesis,
                         hs2_start *start);

/**
 * A node that trusts a checkpoint and has stored nothing. `wall_ms` and `accept_long_range` are as for
 * `hs2_chain_from_checkpoint`, which makes the chain that belongs to it. Ownership: one reference to `start`.
 * Threads: any. Errors: `HS2_MALFORMED`, `HS2_REFUSED` where the checkpoint is too old or does not fit,
 * `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_start_from_checkpoint(hs2_genesis genesis,
                                     struct hs2_slice checkpoint,
                                     uint64_t wall_ms,
                                     int32_t accept_long_range,
                                     hs2_start *start);

/**
 * A node of a chain of the host's own: it trusts the block `id` at `height`, which belongs to the epoch `number` with the
 * heights from `first` to `last`, encoded as the host's chain reads it. Ownership: one reference to `start`. Threads: any.
 * Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_start_own(const struct hs2_id *chain_id,
                         uint64_t height,
                         const struct hs2_id *id,
                         uint64_t number,
                         uint64_t first,
                         uint64_t last,
                         struct hs2_slice epoch,
                         hs2_start *start);

/**
 * The highest block that is stored durably: its height, id and time (0 where that is not known), and, if it was kept, the
 * tip message that proves it (else empty), which is needed only as evidence against a network that contradicts it. All
 * blocks up to here count as executed too, unless `hs2_start_applied` says less after this. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_start_stored(hs2_start start,
                            uint64_t height,
                            const struct hs2_id *id,
                            uint64_t timestamp_ms,
                            struct hs2_slice tip);

/**
 * The height that the application has executed durably: blocks above it are replayed from the host's store first
 * (`HS2_HOST_WORK_REPLAY`). Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_start_applied(hs2_start start,
                             uint64_t height);

/**
 * The chain's trusting period, in milliseconds (`hs2_genesis_info`), and the time of day, in milliseconds since 1970: a machine
 * whose trust rests on blocks that are all older is not made, and one whose trust grows that old while it runs halts with
 * `HS2_HALT_REASON_TRUST_EXPIRED`. Without this call any age will do, which accepts long-range attacks. A chain of the host's
 * own has no time at its anchor, and counts from the stored blocks. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT` for a period of 0.
 */
hs2_status hs2_start_trust(hs2_start start,
                           uint64_t trusting_period_ms,
                           uint64_t wall_ms);

/**
 * The next stored handover of a native chain, in order from the trusted epoch on, as `hs2_call_handover` gave it. The
 * host is believed. Threads: one at a time.
 * Errors: `HS2_MALFORMED`, `HS2_REFUSED` where it does not continue the one before, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`,
 * `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_start_handover(hs2_start start,
                              struct hs2_slice handover);

/**
 * The same for a chain of the host's own, with all that `hs2_call_handover` said of it. Threads: one at a time.
 * Errors: `HS2_REFUSED` where it does not continue the one before, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_start_link(hs2_start start,
                          const struct hs2_link *link);

/* ==== The machine: facts in, work out. After every input call `hs2_machine_poll` until it says `HS2_OUTPUT_WAIT`. ==== */

/**
 * A machine with these settings, at this start, not started yet. `seed` feeds its choices: random bytes, so that nobody
 * can tell them before. Settings and start are copied. Ownership: one reference to `machine`. Threads: any.
 * Errors: `HS2_REFUSED` where settings and start do not fit together, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_new(hs2_config config,
                           hs2_start start,
                           uint64_t seed,
                           uint64_t now_us,
                           hs2_machine *machine);

/**
 * Start, or go on after `hs2_machine_stop`. With a height, downloads end with the first proven segment that holds it;
 * `HS2_NEVER` follows the network for ever. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_machine_start(hs2_machine machine,
                             uint64_t now_us,
                             uint64_t until);

/**
 * Stop: requests and jobs are cancelled. Calls that are out are still to be answered. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_machine_stop(hs2_machine machine, uint64_t now_us);

/**
 * Catch up with another strategy (`HS2_SYNC_STRATEGY_TYPE_…`) from here on. Threads: one at a time.
 * Errors: `HS2_INVALID_ARGUMENT` for a number that is none, `HS2_REFUSED` for one that this host can't do,
 * `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_machine_strategy(hs2_machine machine, uint64_t now_us, uint32_t strategy);

/**
 * Time has passed: to be called at the deadline of `HS2_OUTPUT_WAIT`. Early or for nothing it does no harm.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_machine_handle_timeout(hs2_machine machine, uint64_t now_us);

/**
 * The time of day, in milliseconds since 1970, on a chain with a trusting period (`hs2_start_trust`): a host whose `now_us`
 * stands still while the machine sleeps says it now and then. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_machine_handle_wall(hs2_machine machine,
                                   uint64_t now_us,
                                   uint64_t wall_ms);

/**
 * A connection to a peer stands. `group` is what it shares with peers that may be one operator, an address prefix for
 * example: peers with the same number count as one where independence matters. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_connected(hs2_machine machine,
                                        uint64_t now_us,
                                        const struct hs2_id *peer,
                                        uint64_t group);

/**
 * The connection to a peer is gone. Its requests are asked elsewhere at once. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_disconnected(hs2_machine machine, uint64_t now_us, const struct hs2_id *peer);

/**
 * The host leaves a peer out, connected or not, for the setting `ban_duration`. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_excluded(hs2_machine machine, uint64_t now_us, const struct hs2_id *peer);

/**
 * The host lifts a ban, whatever it is for. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_pardoned(hs2_machine machine, uint64_t now_us, const struct hs2_id *peer);

/**
 * A request was answered: with the bytes of a frozen buffer, which the machine shares and does not copy. An answer to a
 * request that the machine has forgotten is counted and ignored. Threads: one at a time.
 * Errors: `HS2_WRONG_STATE` for a buffer that is not frozen, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_response(hs2_machine machine,
                                       uint64_t now_us,
                                       uint64_t request,
                                       hs2_buffer answer);

/**
 * A request won't be answered: `failure` is `HS2_REQUEST_FAILURE_OVERSIZE` where more bytes came than `hs2_output` said,
 * which is provably false, or `HS2_REQUEST_FAILURE_BROKEN` where the connection or its stream broke.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_failure(hs2_machine machine,
                                      uint64_t now_us,
                                      uint64_t request,
                                      uint32_t failure);

/**
 * A thread begins to run this job (`hs2_job_id`, or the output's `id`): from now on its time counts, not from when it was
 * given out. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_machine_handle_begun(hs2_machine machine,
                                    uint64_t now_us,
                                    uint64_t job);

/**
 * A job is done. Verdicts of jobs that the machine has forgotten are counted and ignored. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_verdict(hs2_machine machine,
                                      uint64_t now_us,
                                      hs2_verdict verdict);

/**
 * Blocks of an `HS2_HOST_WORK_APPLY` or `HS2_HOST_WORK_REPLAY` are stored and executed durably, up to the height
 * `through`. `error` is 0, or an `HS2_HOST_ERROR_…` that says why it is not the last height of the call; for
 * `HS2_HOST_ERROR_STATE_MISMATCH`, `error_height` is the block whose state has another root. A transient error makes the
 * call come again after a pause. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_applied(hs2_machine machine,
                                      uint64_t now_us,
                                      uint64_t call,
                                      uint64_t through,
                                      uint32_t error,
                                      uint64_t error_height);

/**
 * Handovers of an `HS2_HOST_WORK_STORE_HANDOVERS` are stored durably, or, with an `HS2_HOST_ERROR_…`, are not. With an
 * error it also answers any other call, of which nothing has come then. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_stored(hs2_machine machine,
                                     uint64_t now_us,
                                     uint64_t call,
                                     uint32_t error);

/**
 * This node's own consensus engine has decided the blocks from the height `first` on, within one cell of 1,024 heights and
 * one epoch: `blocks`, a frozen buffer as `hs2_blocks_new` makes it, shared and not copied. Where the last block ends its
 * epoch, `handover` is the one to the next, which is copied; else it is empty. They are proven as a peer's are, and come
 * back in an `HS2_HOST_WORK_APPLY` like those; an engine that has executed them already knows their heights. The answer is
 * one `HS2_OUTPUT_DECIDED` with the same `id`, which the host chooses: once they are stored and executed, or with the
 * reason why not, for which nobody is blamed. Threads: one at a time.
 * Errors: `HS2_WRONG_STATE` for a buffer that is not frozen, `HS2_TOO_MANY` for a handover that none can be,
 * `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_decided(hs2_machine machine,
                                      uint64_t now_us,
                                      uint64_t id,
                                      uint64_t first,
                                      hs2_buffer blocks,
                                      struct hs2_slice handover);

/**
 * The next thing to do; `HS2_OUTPUT_WAIT` comes last, and then there is nothing until the next input or the deadline.
 * Ownership: one reference to `output->object`, where it is not 0. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_poll(hs2_machine machine,
                            struct hs2_output *output);

/**
 * How far the synchronization is. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_progress(hs2_machine machine, struct hs2_progress *progress);

/**
 * The evidence of `HS2_HALT_REASON_CONFLICTING_FINALITY`: both proofs, which anyone can check. Keep it.
 * Ownership: one reference to `evidence`. Threads: one at a time.
 * Errors: `HS2_NOT_FOUND` where there is none, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_evidence(hs2_machine machine, hs2_buffer *evidence);

/* ==== Jobs: verifications, to be run on any thread. ==== */

/**
 * Does the work of a job. What it comes to, proven or false, is in the verdict, for `hs2_machine_handle_verdict`.
 * Ownership: one reference to `verdict`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_job_run(hs2_job job,
                       hs2_chain chain,
                       hs2_verdict *verdict);

/**
 * The same for a chain of the host's own. Where one of its functions could not check, nobody is blamed, and the machine
 * gives the job out again after a pause. Ownership: one reference to `verdict`. Threads: any; the functions of `chain` are
 * called on this one, and only while this runs.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`, also where a function of the table is null.
 */
hs2_status hs2_job_run_own(hs2_job job,
                           const struct hs2_chain_table *chain,
                           hs2_verdict *verdict);

/**
 * The number of a job, which `HS2_OUTPUT_CANCEL_JOB` names. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_job_id(hs2_job job, uint64_t *id);

/**
 * The job's canonical encoding, for a process or an instance of the library that shares no memory with this one and has
 * the same version. Ownership: one reference to `encoded`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_job_encode(hs2_job job,
                          hs2_buffer *encoded);

/**
 * Reads what `hs2_job_encode` wrote elsewhere. It is believed. Jobs that were read and are run with one chain share what
 * they decode of epochs and headers. Ownership: one reference to `job`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_job_decode(struct hs2_slice encoded,
                          hs2_job *job);

/**
 * The verdict's canonical encoding, to be brought back to where the machine is. Ownership: one reference to `encoded`.
 * Threads: any. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_verdict_encode(hs2_verdict verdict,
                              hs2_buffer *encoded);

/**
 * Reads what `hs2_verdict_encode` wrote elsewhere. It is believed: it must come from a process of the host's own.
 * Ownership: one reference to `verdict`. Threads: any. Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_verdict_decode(struct hs2_slice encoded,
                              hs2_verdict *verdict);

/* ==== Calls of the machine into the host: what to store and execute. Answered when it survives a crash, and not before. ==== */

/**
 * Reads the work that a call asks for. Ownership: bytes are borrowed from the call. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_call_read(hs2_call call, struct hs2_call_info *info);

/**
 * The blocks of a call to apply, from the height `first` on, as many as `capacity` has room for; `count` says how many
 * were written. `chain` is the one that the jobs ran with. Ownership: payloads are borrowed from the call. Threads: any.
 * Errors: `HS2_NOT_FOUND` where the call has no block at `first`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_call_blocks(hs2_call call,
                           hs2_chain chain,
                           uint64_t first,
                           struct hs2_block *blocks,
                           size_t capacity,
                           size_t *count);

/**
 * The same for a chain of the host's own. Ownership: payloads are borrowed from the call. Threads: any; the functions of
 * `chain` are called on this one, if at all. Errors: as for `hs2_call_blocks`, and `HS2_HOST_FAILED`.
 */
hs2_status hs2_call_blocks_own(hs2_call call,
                               const struct hs2_chain_table *chain,
                               uint64_t first,
                               struct hs2_block *blocks,
                               size_t capacity,
                               size_t *count);

/**
 * A segment whose blocks are among those to apply, to be stored beside them and served from (`hs2_reader`): the whole of
 * it, of which the call may bring the payloads of some blocks only. Segments of one call are numbered from 0 on.
 * Ownership: bytes are borrowed from the call. Threads: any.
 * Errors: `HS2_NOT_FOUND`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_call_segment(hs2_call call,
                            hs2_chain chain,
                            size_t index,
                            struct hs2_stored_segment *segment);

/**
 * The same for a chain of the host's own. Ownership: bytes are borrowed from the call. Threads: any; the functions of
 * `chain` are called on this one. Errors: `HS2_NOT_FOUND`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_call_segment_own(hs2_call call,
                                const struct hs2_chain_table *chain,
                                size_t index,
                                struct hs2_stored_segment *segment);

/**
 * A handover to store, to be given back at the next start (`hs2_start_handover`) and served. Those of one call are
 * numbered from 0 on. Ownership: bytes are borrowed from the call. Threads: any.
 * Errors: `HS2_NOT_FOUND`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_call_handover(hs2_call call,
                             size_t index,
                             struct hs2_link *link);

/* ==== Sessions: requests and answers over one stream of bytes, so that a host writes `read` and `write` and nothing else. ==== */

/**
 * The end that has opened the connection. `secret` is the node's Ed25519 secret key of 32 bytes; `expected` the key that
 * must answer, or null for any; `chain_id` the chain, as the genesis document says it; `role` `HS2_ROLE_NODE`, or
 * `HS2_ROLE_PAGE` for a client that never answers; `max_asks` how many questions the peer may have open; `seed` 32 fresh
 * random bytes, for this session alone. Ownership: one reference to `session`. Threads: any.
 * Errors: `HS2_SESSION_OVER`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_dial(const struct hs2_id *secret,
                            const struct hs2_id *expected,
                            const struct hs2_id *chain_id,
                            uint32_t role,
                            uint16_t max_asks,
                            const struct hs2_id *seed,
                            hs2_session *session);

/**
 * The end that a connection was opened to; see `hs2_session_dial`. Ownership: one reference to `session`. Threads: any.
 * Errors: `HS2_SESSION_OVER`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_accept(const struct hs2_id *secret,
                              const struct hs2_id *chain_id,
                              uint16_t max_asks,
                              const struct hs2_id *seed,
                              hs2_session *session);

/**
 * Bytes were read from the connection, as many or few as there were. Then ask for events, and for what is to be written.
 * Threads: one at a time.
 * Errors: `HS2_SESSION_OVER` from the moment on at which it is (`hs2_session_end` says why): write what is left, then
 * close the connection. `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_read(hs2_session session,
                            struct hs2_slice incoming);

/**
 * Takes out the bytes to be written to the connection next, all of it and in order. Ownership: one reference to `outgoing`.
 * Threads: one at a time.
 * Errors: `HS2_NOT_FOUND` where there is nothing, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_write(hs2_session session,
                             hs2_buffer *outgoing);

/**
 * Takes out the next event that the bytes which came in mean, with `HS2_SESSION_NONE` where there is none.
 * Ownership: one reference to `event->object`, where it is not 0. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_poll(hs2_session session, struct hs2_session_event *event);

/**
 * Puts a question. Its answer comes as an event; one of more bytes than `max_response_bytes` does not. Threads: one at a
 * time.
 * Errors: `HS2_WRONG_STATE` where it can't be put now (`hs2_last_error` says why), `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_ask(hs2_session session,
                           struct hs2_slice request,
                           uint64_t max_response_bytes,
                           uint32_t *id);

/**
 * How many more questions may be put now. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_room(hs2_session session, size_t *room);

/**
 * The answer to a question of this side is not wanted any more. Unknown questions are let pass. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_session_cancel(hs2_session session,
                              uint32_t id);

/**
 * Answers a question of the peer's, with a frozen buffer, which the session shares and does not copy. Threads: one at a
 * time. Errors: `HS2_NOT_FOUND` where the question is not open any more, `HS2_WRONG_STATE` for a buffer that is not
 * frozen, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_answer(hs2_session session,
                              uint32_t id,
                              hs2_buffer answer);

/**
 * Gives up on a question of the peer's: `code` is `HS2_STREAM_…`. Threads: one at a time.
 * Errors: `HS2_NOT_FOUND` where the question is not open any more, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_session_give_up(hs2_session session,
                               uint32_t id,
                               uint32_t code);

/**
 * Sends a sign of life, which the peer returns. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_session_ping(hs2_session session);

/**
 * Ends the session, and tells the peer why in a few words: write what is left, then close the connection. Threads: one at
 * a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_bye(hs2_session session,
                           const char *reason);

/**
 * Whether and why a session is over: `code` is 0 while it is not, and `fault` 1 where the peer is to blame by bytes that
 * only it can have sent (exclude it), else 0. `words` says it for people. Ownership: one reference to `words`, which is 0
 * while the session is not over. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_session_end(hs2_session session,
                           uint32_t *code,
                           int32_t *fault,
                           hs2_buffer *words);

/* ==== Answering requests from a host's store. ==== */

/**
 * Answers a peer's request from the host's store, with bounded work, whatever is asked. What the store doesn't hold, and
 * states, are answered with "not available". Ownership: one reference to `answer`. Threads: any; the functions of
 * `reader` are called on this one, and only while this runs.
 * Errors: `HS2_HOST_FAILED` where a function failed or gave back what can't be (answer with
 * `hs2_refusal_not_available`), `HS2_MALFORMED` for a request that can't be read, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`, also where a function of the table is null.
 */
hs2_status hs2_respond(hs2_chain chain,
                       const struct hs2_reader *reader,
                       struct hs2_slice request,
                       hs2_buffer *answer);

/**
 * The same, with the states that a store holds: pieces of its snapshots for nodes that fetch a state, and proven values for
 * light clients. `reader` and `states` show one moment, in which the tip is the highest stored block. Ownership: one reference
 * to `answer`. Threads: any; the functions of both tables are called on this one, and only while this runs.
 * Errors: as for `hs2_respond`: `HS2_HOST_FAILED`, `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_respond_with_state(hs2_chain chain,
                                  const struct hs2_reader *reader,
                                  const struct hs2_state_store *states,
                                  struct hs2_slice request,
                                  hs2_buffer *answer);

/**
 * The same without states for a chain of the host's own, whose id is `chain_id`. Ownership: one reference to `answer`. Threads: any; the
 * functions of `chain` and `reader` are called on this one, and only while this runs.
 * Errors: as for `hs2_respond`: `HS2_HOST_FAILED`, `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_respond_own(const struct hs2_chain_table *chain,
                           const struct hs2_id *chain_id,
                           const struct hs2_reader *reader,
                           struct hs2_slice request,
                           hs2_buffer *answer);

/* ==== States: kept, fetched and served from an ordered store of the host's (`hs2_state_store`). A block's changes go in with `hs2_state_apply`; calls of a machine that fetches a state are carried out by `hs2_state_carry_out`. ==== */

/**
 * The host keeps states with `hs2_state_carry_out`, so that the machine may fetch one: the strategies `fast` and `auto` do.
 * Where `lacks_state` is not 0, nothing can be executed before, as on a node that begins at a checkpoint, and a state is
 * fetched first, whatever the strategy. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_start_states(hs2_start start,
                            int32_t lacks_state);

/**
 * Carries out a call of the work `HS2_HOST_WORK_SURVEY`, `HS2_HOST_WORK_STAGE` or `HS2_HOST_WORK_ACTIVATE` with a store, and
 * writes the answer, for `hs2_machine_handle_done`. A state is made live all at once: the host keeps the base
 * (`hs2_call_base`) before, and lets its stored blocks begin above it once `hs2_state_read` says that the state stands there.
 * Ownership: one reference to `done`. Threads: any; the functions of `store` are called on this one, and only while this runs.
 * Errors: `HS2_HOST_FAILED` where a function of the table failed (`hs2_machine_handle_stored` with an error),
 * `HS2_WRONG_STATE` for a call of other work, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`, also where a
 * function of the table is null.
 */
hs2_status hs2_state_carry_out(hs2_call call,
                               const struct hs2_state_store *store,
                               hs2_buffer *done);

/**
 * A call is done: the bytes that `hs2_state_carry_out` made, here or in another process of the host's. Threads: one at a time.
 * Errors: `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_machine_handle_done(hs2_machine machine,
                                   uint64_t now_us,
                                   struct hs2_slice done);

/**
 * Reads the block of a call of the work `HS2_HOST_WORK_ACTIVATE`. Ownership: bytes are borrowed from the call. Threads: any.
 * Errors: `HS2_NOT_FOUND` for a call of other work, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_call_base(hs2_call call,
                         struct hs2_base *base);

/**
 * The call's canonical encoding, for a process or an instance of the library that shares no memory with this one and has the
 * same version. Ownership: one reference to `encoded`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_call_encode(hs2_call call,
                           hs2_buffer *encoded);

/**
 * Reads what `hs2_call_encode` wrote elsewhere. It is believed. Ownership: one reference to `call`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_call_decode(struct hs2_slice encoded,
                           hs2_call *call);

/**
 * Applies the changes of the block at `height` to the state, and writes the root after it. Heights rise; the first may be 0,
 * for what the state begins with. `expected` is the root in the block's header, or null: where it is another, nothing is
 * written, and the status is `HS2_REFUSED`. Keys have at most 1,024 bytes, values 65,536; of a key that is changed twice the
 * last change counts. The state after a block at a multiple of `interval`, which is the chain's snapshot interval or 0 for
 * none, is kept for others, and so is the one before it. Threads: any; the functions of `store` are called on this one, and
 * only while this runs. Errors: `HS2_REFUSED`, also for a key or value that is too long, `HS2_WRONG_STATE` where the state
 * stands at this height or above, `HS2_TOO_MANY` for more than a million changes, `HS2_HOST_FAILED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_state_apply(const struct hs2_state_store *store,
                           uint64_t height,
                           uint64_t interval,
                           const struct hs2_change *changes,
                           size_t change_count,
                           const struct hs2_id *expected,
                           struct hs2_id *root);

/**
 * The value of a key in the newest state. Ownership: one reference to `value`. Threads: any; the functions of `store` are
 * called on this one, and only while this runs.
 * Errors: `HS2_NOT_FOUND` where it has none, `HS2_TOO_MANY` for a key that none can be, `HS2_HOST_FAILED`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_state_get(const struct hs2_state_store *store,
                         struct hs2_slice key,
                         hs2_buffer *value);

/**
 * Where the state stands. Threads: any; the functions of `store` are called on this one, and only while this runs.
 * Errors: `HS2_NOT_FOUND` before the first block, `HS2_HOST_FAILED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_state_read(const struct hs2_state_store *store,
                          struct hs2_state_info *position);

/* ==== Admission: who is answered now, who waits, who is told to come back later. ==== */

/**
 * Decides who is served, spending at most `work_us` microseconds of CPU time a second on it: 1,000,000 for each core that
 * is given to serving; 0 for the default, half a core. Ownership: one reference to `admission`. Threads: any.
 * Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_admission_new(uint64_t work_us,
                             hs2_admission *admission);

/**
 * A request came in, from a peer of a group (a number for its network: an IPv4 /16, say). Its cost is estimated here. It
 * gets a ticket and waits for its turn, or it gets ticket 0: then the peer is told that the node is busy
 * (`hs2_refusal_busy`) for `retry_after_ms`. `now_us` is the host's monotonic time. Threads: one at a time.
 * Errors: `HS2_MALFORMED` for a request that can't be read (answer with `hs2_refusal_unsupported`, or disconnect),
 * `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_admission_ask(hs2_admission admission,
                             uint64_t now_us,
                             const struct hs2_id *peer,
                             uint64_t group,
                             struct hs2_slice request,
                             uint64_t *ticket,
                             uint32_t *retry_after_ms);

/**
 * Writes the next thing to do: call it after everything that happens, and again until it says `HS2_TURN_WAIT`.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_admission_poll(hs2_admission admission,
                              uint64_t now_us,
                              struct hs2_turn *turn);

/**
 * An answer is made and goes out: so many bytes, so many microseconds of work. Unknown tickets are let pass.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_admission_made(hs2_admission admission,
                              uint64_t now_us,
                              uint64_t ticket,
                              uint64_t answer_bytes,
                              uint64_t work_us);

/**
 * An answer was received, or its request was given up. Unknown tickets are let pass. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_admission_end(hs2_admission admission, uint64_t now_us, uint64_t ticket);

/**
 * For how many microseconds not to read further requests of a peer, because it goes on asking though it was told to
 * wait. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_admission_pause(hs2_admission admission,
                               uint64_t now_us,
                               const struct hs2_id *peer,
                               uint64_t *pause_us);

/**
 * Somebody of `group` wants to connect; `proven` is not 0 where it has proven that its address is its own, as TCP does.
 * `begin` is 1 where the handshake may begin, else 0: leave it, it tries again by itself. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_admission_handshake(hs2_admission admission,
                                   uint64_t now_us,
                                   uint64_t group,
                                   int32_t proven,
                                   int32_t *begin);

/**
 * The answer that there is no such thing here. Ownership: one reference to `answer`. Threads: any.
 * Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_refusal_not_available(hs2_buffer *answer);

/**
 * The answer that this node is busy, and that the peer may ask again after so many milliseconds.
 * Ownership: one reference to `answer`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_refusal_busy(uint32_t retry_after_ms, hs2_buffer *answer);

/**
 * The answer that this node doesn't know such a request, or its version. Ownership: one reference to `answer`.
 * Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_refusal_unsupported(hs2_buffer *answer);

/* ==== The participation gate: when a validator may take part in consensus, and with what. ==== */

/**
 * A gate that is closed. `own` is this validator's key in the set, with its `power`; null where it is none, and then there is no
 * permit before `hs2_gate_validator` says otherwise. `seed` is 32 fresh random bytes, new at each start and told to nobody: challenges follow from it. `max_behind` is how many proven
 * blocks may be ahead of this node before it leaves consensus, and `fresh_tip_ms` up to which age a proven tip shows by
 * itself that nothing newer is withheld; 0 for the defaults, 64 and 10,000. Ownership: one reference to `gate`. Threads: any.
 * Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_gate_new(const struct hs2_id *own,
                        uint64_t power,
                        const struct hs2_id *seed,
                        uint64_t max_behind,
                        uint64_t fresh_tip_ms,
                        hs2_gate *gate);

/**
 * The same for a chain of which all hosts enter a view by a certificate of the one before alone: promise 7 of the native
 * chain's voters. Only there may `HS2_VOTES_LOST` lead to a permit: the other validators show their certificates, and with them
 * the views in which this one can have voted, and its lock (`hs2_permit_lock`). On a chain whose views go by a clock it would let
 * a validator vote against a lock that it has forgotten. Ownership: one reference to `gate`. Threads: any.
 * Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_gate_new_certified(const struct hs2_id *own,
                                  uint64_t power,
                                  const struct hs2_id *seed,
                                  uint64_t max_behind,
                                  uint64_t fresh_tip_ms,
                                  hs2_gate *gate);

/**
 * Takes the host's record of its own votes, read back from its disk; again before every return to consensus. `record` is
 * `HS2_VOTES_NEVER`, `HS2_VOTES_LAST` with the highest view that it voted in or gave up on, or `HS2_VOTES_LOST`, after
 * which there is no permit but with `hs2_gate_new_certified`. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_gate_votes(hs2_gate gate,
                          uint32_t record,
                          uint64_t view);

/**
 * This validator in the set that is in force: its key with its `power`; null where it is in none, which withdraws the permit
 * until an epoch comes that has it. To be told whenever an epoch ends, before `hs2_gate_sync`. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_gate_validator(hs2_gate gate,
                              const struct hs2_id *own,
                              uint64_t power);

/**
 * Where the machine stands now, at `wall_ms` by the host's time of day. To be told after each drain of the machine.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_gate_sync(hs2_gate gate,
                         uint64_t wall_ms,
                         hs2_machine machine,
                         hs2_chain chain);

/**
 * A validator's signed word (`hs2_advert_sign`), checked here under the epoch that is in force. Threads: one at a time.
 * Errors: `HS2_FALSE`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_gate_advert(hs2_gate gate,
                           uint64_t wall_ms,
                           hs2_epoch epoch,
                           struct hs2_slice advert);

/**
 * Time has passed. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_gate_time(hs2_gate gate, uint64_t wall_ms);

/**
 * Consensus has verified that the network stands at `height` or above and misses what leads there: the permit is withdrawn
 * where that is too far. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_gate_behind(hs2_gate gate,
                           uint64_t height);

/**
 * The next order: `HS2_GATE_PAUSE` (cast no vote any more), `HS2_GATE_RESUME` (take part, with the permit in `object`),
 * `HS2_GATE_ASK` (ask every validator for its word, with the challenge in `id`), and `HS2_GATE_WAIT` last.
 * Ownership: one reference to `output->object`, where it is not 0. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_gate_poll(hs2_gate gate,
                         struct hs2_gate_output *output);

/**
 * Reads a header that is certified above the permit's block: the one at `index`, from 0 on, encoded.
 * Ownership: borrowed from the permit. Threads: any.
 * Errors: `HS2_NOT_FOUND` behind the last, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_permit_header(hs2_permit permit, size_t index, struct hs2_slice *header);

/**
 * The certificate for the last of those headers, or for the permit's block where there are none: the high certificate and
 * the lock that consensus begins with. Ownership: borrowed from the permit. Threads: any.
 * Errors: `HS2_NOT_FOUND` where nothing was shown, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_permit_certificate(hs2_permit permit,
                                  struct hs2_slice *certificate);

/**
 * The lock of a validator whose votes were restored: the view and the certificate that it is locked on, whether or not the block
 * is there. It votes for nothing with a lower justification, and writes both down with `vote_above` as its record before it signs
 * anything. Ownership: the certificate is borrowed from the permit. Threads: any.
 * Errors: `HS2_NOT_FOUND` where the votes were not restored, or nobody has seen a certificate, `HS2_STALE_HANDLE`,
 * `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_permit_lock(hs2_permit permit,
                           uint64_t *view,
                           struct hs2_slice *certificate);

/**
 * This validator's signed word on where it stands, for a peer's gate: the epoch that it is in, its highest final block, the
 * view that it is in by a record that survives a crash, the time now, and the challenge of whoever asked. Ownership: one
 * reference to `advert`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_advert_sign(const struct hs2_id *secret,
                           const struct hs2_id *chain_id,
                           uint64_t epoch,
                           uint64_t height,
                           const struct hs2_id *block,
                           uint64_t view,
                           uint64_t wall_ms,
                           const struct hs2_id *challenge,
                           hs2_buffer *advert);

/**
 * The same with what backs it, for an `HS2_GATE_ASK` that wants certificates (`reason` is 1): `high` is the highest phase-one
 * certificate of the epoch that this validator has seen, which its lock is on, and `entered_by` that by which it entered its
 * view where `high` is not the one (`hs2_timeout_new`). Either may be empty. Ownership: one reference to `advert`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_advert_sign_backed(const struct hs2_id *secret,
                                  const struct hs2_id *chain_id,
                                  uint64_t epoch,
                                  uint64_t height,
                                  const struct hs2_id *block,
                                  uint64_t view,
                                  uint64_t wall_ms,
                                  const struct hs2_id *challenge,
                                  struct hs2_slice high,
                                  struct hs2_slice entered_by,
                                  hs2_buffer *advert);

/* ==== The light client: the chain's proven tip, and values of its state, without blocks and states of one's own. Facts in, work out, as with a machine: after every input call `hs2_light_poll` until it says `HS2_LIGHT_OUTPUT_WAIT`. ==== */

/**
 * The default settings, to be changed and handed to `hs2_light_new`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_defaults(struct hs2_light_settings *settings);

/**
 * A light client of the native chain of a genesis, not started yet. `checkpoint` is empty, and the genesis block trusted, or
 * what an `HS2_LIGHT_OUTPUT_KEEP` brought at an earlier visit, whose source is believed. `settings` is null for the defaults.
 * `seed` feeds its choices: random bytes. `wall_ms` is the time of day, in milliseconds since 1970, by which the start's age
 * is held against the chain's trusting period, unless `accept_long_range` is not 0. Ownership: one reference to `light`.
 * Threads: any. Errors: `HS2_REFUSED` where the start is too old or of another chain, `HS2_MALFORMED`, `HS2_OUT_OF_RANGE`
 * for a setting (`hs2_last_error` says which), `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_new(hs2_genesis genesis,
                         struct hs2_slice checkpoint,
                         const struct hs2_light_settings *settings,
                         uint64_t seed,
                         uint64_t now_us,
                         uint64_t wall_ms,
                         int32_t accept_long_range,
                         hs2_light *light);

/**
 * The chain that jobs of a light client are run with (`hs2_job_run`): that of the genesis, trusted from the client's
 * checkpoint on, or from the genesis block where that is empty. Ownership: one reference to `chain`. Threads: any.
 * Errors: `HS2_REFUSED` for a checkpoint of another chain, `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_chain(hs2_genesis genesis,
                           struct hs2_slice checkpoint,
                           hs2_chain *chain);

/**
 * Start, or go on after `hs2_light_stop`. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_light_start(hs2_light light, uint64_t now_us);

/**
 * Stop: requests and jobs are cancelled, questions are closed with `HS2_LIGHT_ERROR_STOPPED`; what is proven stays.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_light_stop(hs2_light light,
                          uint64_t now_us);

/**
 * Time has passed: to be called at the deadline of `HS2_LIGHT_OUTPUT_WAIT`. Early or for nothing it does no harm.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_light_handle_timeout(hs2_light light,
                                    uint64_t now_us);

/**
 * The time of day, in milliseconds since 1970, where it was set or the machine has slept: the client counts on from it by
 * `now_us`. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_light_handle_wall(hs2_light light,
                                 uint64_t now_us,
                                 uint64_t wall_ms);

/**
 * A connection to a peer stands. Witnesses are counted by `group`: peers with the same number may be one operator.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_handle_connected(hs2_light light,
                                      uint64_t now_us,
                                      const struct hs2_id *peer,
                                      uint64_t group);

/**
 * The connection to a peer is gone. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_handle_disconnected(hs2_light light, uint64_t now_us, const struct hs2_id *peer);

/**
 * A request was answered, with the bytes of a frozen buffer, which the client shares and does not copy. Threads: one at a
 * time. Errors: `HS2_WRONG_STATE` for a buffer that is not frozen, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_handle_response(hs2_light light,
                                     uint64_t now_us,
                                     uint64_t request,
                                     hs2_buffer answer);

/**
 * A request won't be answered: `failure` is `HS2_REQUEST_FAILURE_OVERSIZE` or `HS2_REQUEST_FAILURE_BROKEN`, as for
 * `hs2_machine_handle_failure`. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_handle_failure(hs2_light light,
                                    uint64_t now_us,
                                    uint64_t request,
                                    uint32_t failure);

/**
 * A job is done, or was read with `hs2_verdict_decode`. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_handle_verdict(hs2_light light, uint64_t now_us, hs2_verdict verdict);

/**
 * The next thing to do; `HS2_LIGHT_OUTPUT_WAIT` comes last. Ownership: one reference to `output->object`, where it is not 0.
 * Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_poll(hs2_light light,
                          struct hs2_output *output);

/**
 * Where the client stands. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_read(hs2_light light, struct hs2_light_position *position);

/**
 * The checkpoint to start the next visit from, as `HS2_LIGHT_OUTPUT_KEEP` brings it too. Ownership: one reference to
 * `checkpoint`. Threads: one at a time. Errors: `HS2_NOT_FOUND` before a tip was proven and confirmed, `HS2_STALE_HANDLE`,
 * `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_checkpoint(hs2_light light,
                                hs2_buffer *checkpoint);

/**
 * The evidence of `HS2_LIGHT_HALT_CONFLICTING_FINALITY`: both proofs, which anyone can check. Ownership: one reference to
 * `evidence`. Threads: one at a time. Errors: `HS2_NOT_FOUND` where there is none, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_evidence(hs2_light light,
                              hs2_buffer *evidence);

/* ==== Questions to a light client, and their proven answers. An `HS2_LIGHT_OUTPUT_ANSWER` with the question's number closes each. ==== */

/**
 * Asks for the value of a key, at most 1,024 bytes: of the newest state that peers have (`HS2_LIGHT_NOW`), of the newest
 * snapshot (`HS2_LIGHT_SNAPSHOT`), or of the state after the block at `height` (`HS2_LIGHT_AT`), which no other `at` looks
 * at. Up to 64 questions may be open. The question's number goes to `question`. Threads: one at a time.
 * Errors: `HS2_TOO_MANY` for a longer key, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_get(hs2_light light,
                         uint64_t now_us,
                         struct hs2_slice key,
                         uint32_t at,
                         uint64_t height,
                         uint64_t *question);

/**
 * Asks for the block at a height, above the client's anchor and of an epoch that it knows. The question's number goes to
 * `question`. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_header(hs2_light light,
                            uint64_t now_us,
                            uint64_t height,
                            uint64_t *question);

/**
 * Asks for the payloads of the blocks from `first` to `last`, within one cell of 1,024 heights and one epoch. The question's
 * number goes to `question`. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_bodies(hs2_light light,
                            uint64_t now_us,
                            uint64_t first,
                            uint64_t last,
                            uint64_t *question);

/**
 * Nobody waits for this question any more: it is not answered. Threads: one at a time.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
 */
hs2_status hs2_light_drop(hs2_light light, uint64_t now_us, uint64_t question);

/**
 * Reads an answer. Ownership: the value is borrowed from the answer. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_answer_read(hs2_light_answer answer, struct hs2_light_found *content);

/**
 * Reads a payload of an answer of the kind `HS2_LIGHT_BODIES`: the one at `index`, from 0 on. Ownership: borrowed from the
 * answer. Threads: any. Errors: `HS2_NOT_FOUND` behind the last, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_light_answer_payload(hs2_light_answer answer,
                                    size_t index,
                                    struct hs2_slice *body);

/* ==== Epochs of a native chain: a validator set and the heights at which it decides. ==== */

/**
 * Epoch 0, as the genesis document says it. Ownership: one reference to `epoch`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_epoch_first(hs2_genesis genesis, hs2_epoch *epoch);

/**
 * An epoch that the host puts together, and trusts because it does: for an engine that begins a new one. `members` may
 * be in any order; `first_height` is 0 for epoch 0 alone. Ownership: one reference to `epoch`. Threads: any.
 * Errors: `HS2_REFUSED` where the members make no set, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_epoch_new(hs2_genesis genesis,
                         uint64_t number,
                         uint64_t first_height,
                         uint64_t last_height,
                         const struct hs2_validator *members,
                         size_t member_count,
                         hs2_epoch *epoch);

/**
 * An epoch that the host trusts because it verified it before and kept it, from `hs2_epoch_encode`.
 * Ownership: one reference to `epoch`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_epoch_decode(hs2_genesis genesis, struct hs2_slice encoded, hs2_epoch *epoch);

/**
 * Proves the epoch that follows: that `epoch` ended as the handover says, and names the next one.
 * Ownership: one reference to `next`. Threads: any.
 * Errors: `HS2_FALSE` (`hs2_last_error` says what is false), `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_epoch_next(hs2_epoch epoch, struct hs2_slice handover, hs2_epoch *next);

/**
 * The epoch's canonical encoding, to keep. Ownership: one reference to `encoded`. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_epoch_encode(hs2_epoch epoch, hs2_buffer *encoded);

/**
 * The epoch's number and heights, and how many validators it has. Threads: any.
 * Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_epoch_read(hs2_epoch epoch,
                          uint64_t *number,
                          uint64_t *first_height,
                          uint64_t *last_height,
                          size_t *member_count);

/* ==== Headers, payloads and segments of a native chain. ==== */

/**
 * The header of a proposal above `parent`, encoded, as the epoch `epoch` asks for. Nothing is signed.
 * Ownership: one reference to `header`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_TOO_MANY` for a payload above 4 MiB, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_header_new(struct hs2_slice parent,
                          hs2_epoch epoch,
                          const struct hs2_proposal *proposal,
                          hs2_buffer *header);

/**
 * The closing header in `view` above `parent`, which is an epoch's last block or another closing header: empty, and
 * there to carry the proof of that block. Ownership: one reference to `header`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_header_closing(struct hs2_slice parent,
                              uint64_t view,
                              uint16_t proposer,
                              hs2_buffer *header);

/**
 * Reads a header. It is not checked. Threads: any. Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_header_read(struct hs2_slice header, struct hs2_header_info *info);

/**
 * Checks a proposal as a voter must: that `header` follows `parent` by the rules of `epoch`. Execution, justification and
 * lock are for the engine to check. Threads: any.
 * Errors: `HS2_REFUSED` (`hs2_last_error` names the rule), `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_header_check(struct hs2_slice parent,
                            struct hs2_slice header,
                            hs2_epoch epoch);

/**
 * The hash of a payload, as headers carry it. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_payload_hash(struct hs2_slice payload, struct hs2_id *hash);

/**
 * Puts headers together to a segment, as peers are given them: consecutive headers of one epoch, within one cell of 1,024
 * heights, above `parent`. The last is proven final by `certificate` over the last of `descendants`, the headers above
 * it; without a certificate (length 0) the segment is anchored: proven by a block above.
 * Ownership: one reference to `segment`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_REFUSED` where the headers make no segment, `HS2_TOO_MANY`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_segment_new(struct hs2_slice parent,
                           const struct hs2_slice *headers,
                           size_t header_count,
                           const struct hs2_slice *descendants,
                           size_t descendant_count,
                           struct hs2_slice certificate,
                           hs2_buffer *segment);

/**
 * Puts blocks together as an engine hands them in with `hs2_machine_handle_decided`: a segment of their headers that proves
 * the last one final, the certificates of the single blocks where the machine is set to audit (else empty), and one payload
 * for each header, in order. Of a chain of the host's own the segment is what its functions read. Nothing is checked.
 * Ownership: one reference to `blocks`. Threads: any.
 * Errors: `HS2_TOO_MANY` for more than 1,024 payloads or 16 MiB, `HS2_REFUSED` where there is no payload,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_blocks_new(struct hs2_slice segment,
                          struct hs2_slice audit,
                          const struct hs2_slice *payloads,
                          size_t payload_count,
                          hs2_buffer *blocks);

/**
 * The message that proves `header` final: with a certificate over the last of `descendants`, the headers above it, or, in
 * phase two, over the header itself where there are none. Nothing is checked.
 * Ownership: one reference to `tip`. Threads: any. Errors: `HS2_MALFORMED`, `HS2_TOO_MANY`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_tip_new(struct hs2_slice header,
                       const struct hs2_slice *descendants,
                       size_t descendant_count,
                       struct hs2_slice certificate,
                       hs2_buffer *tip);

/**
 * The tip message that the end of a certified segment makes, for a store that serves it. Nothing is checked: the segment
 * was verified before. Ownership: one reference to `tip`. Threads: any.
 * Errors: `HS2_NOT_FOUND` for an anchored segment, and for bytes that are none, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_segment_tip(hs2_chain chain,
                           struct hs2_slice segment,
                           hs2_buffer *tip);

/**
 * Proves a tip message under the epoch that its block belongs to. Threads: any.
 * Errors: `HS2_FALSE` (`hs2_last_error` says what is false), `HS2_REFUSED` where the block says that it belongs to
 * another epoch, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_tip_check(struct hs2_slice tip,
                         hs2_epoch epoch,
                         struct hs2_tip *facts);

/**
 * The handover from an epoch to `next`: `header` is the epoch's last block, `descendants` the closing headers above it,
 * `certificate` over the last of them. Nothing is checked; `hs2_epoch_next` does.
 * Ownership: one reference to `handover`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_handover_new(struct hs2_slice header,
                            const struct hs2_slice *descendants,
                            size_t descendant_count,
                            struct hs2_slice certificate,
                            hs2_epoch next,
                            hs2_buffer *handover);

/* ==== Votes and certificates of a native chain. ==== */

/**
 * The bytes that a validator signs to vote for a header in a phase. `vote` has room for `HS2_VOTE_BYTES`. What must be
 * checked before, and written down so that it survives a crash, is in the chain's rules (`docs/c.md`). Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_vote_bytes(struct hs2_slice header,
                          uint32_t phase,
                          uint8_t *vote);

/**
 * Ed25519: the signature of `message` by the key whose 32 secret bytes are `secret`, and the public key. For nodes
 * without a library of their own for that; a key in a vault signs `hs2_vote_bytes` there. `signature` has room for 64
 * bytes; either result may be null where it is not wanted. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_sign(const struct hs2_id *secret,
                    struct hs2_slice message,
                    struct hs2_id *public_key,
                    uint8_t *signature);

/**
 * Puts votes for a header together to a certificate, encoded. Votes of keys outside of the epoch's set are left out; of
 * two by one key the later counts. Neither signatures nor power are checked; `hs2_certificate_check` does.
 * Ownership: one reference to `certificate`. Threads: any.
 * Errors: `HS2_MALFORMED`, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_certificate_new(struct hs2_slice header,
                               uint32_t phase,
                               hs2_epoch epoch,
                               const struct hs2_signature *votes,
                               size_t vote_count,
                               hs2_buffer *certificate);

/**
 * Checks that validators with more than two thirds of the epoch's power signed for the header in that phase. Threads: any.
 * Errors: `HS2_FALSE` (`hs2_last_error` says why), `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_certificate_check(struct hs2_slice certificate,
                                 struct hs2_slice header,
                                 uint32_t phase,
                                 hs2_epoch epoch);

/**
 * The bytes that a validator signs to give up on a view: it votes for nothing in that any more. `message` has room for
 * `HS2_TIMEOUT_BYTES`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_timeout_bytes(const struct hs2_id *chain_id,
                             uint64_t epoch,
                             uint64_t view,
                             uint8_t *message);

/**
 * Puts signatures of `hs2_timeout_bytes` together to the certificate by which validators leave a view without a block, encoded.
 * Those of keys outside of the epoch's set are left out. Neither signatures nor power are checked; `hs2_timeout_check` does.
 * Ownership: one reference to `certificate`. Threads: any.
 * Errors: `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_timeout_new(hs2_epoch epoch,
                           uint64_t view,
                           const struct hs2_signature *votes,
                           size_t vote_count,
                           hs2_buffer *certificate);

/**
 * Checks that validators with more than two thirds of the epoch's power gave up on a view, which goes to `view`. Threads: any.
 * Errors: `HS2_FALSE` (`hs2_last_error` says why), `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
 * `HS2_INVALID_ARGUMENT`.
 */
hs2_status hs2_timeout_check(struct hs2_slice certificate,
                             hs2_epoch epoch,
                             uint64_t *view);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HS2SYNC_H */
