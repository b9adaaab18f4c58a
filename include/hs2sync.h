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


/**
 * The result of a host's function: it did what it was asked.
 */
#define HS2_HOST_OK 0

/**
 * The result of a host's function: there is no such thing, which is no failure.
 */
#define HS2_HOST_NONE 1

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
 * A time or a height that never comes.
 */
#define HS2_NEVER 18446744073709551615ull

/**
 * Largest buffer in bytes: more than any answer of the protocol takes.
 */
#define HS2_MAX_BUFFER_BYTES (128 << 20)

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
 * Version of this interface. It rises with every change that a program compiled before would not survive.
 */
#define HS2_ABI 1

/**
 * What every function returns: 0 where it did what it says, else why it did nothing.
 */
typedef int32_t hs2_status;

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
 * What a genesis document says, and what follows from it.
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
 * A trusted epoch of a native chain. Immutable.
 */
typedef hs2_handle hs2_epoch;

/**
 * What a proposer chooses of a header.
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
 * What a header says.
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
 * A validator's signature on a vote.
 */
typedef struct hs2_signature {
  /**
   * Who signed.
   */
  struct hs2_id key;
  /**
   * The Ed25519 signature: R and s.
   */
  uint8_t bytes[64];
} hs2_signature;

/**
 * What a node that serves holds.
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
 * What `hs2_respond` reads from: the host's store. Functions are called while `hs2_respond` runs, on its thread, and not
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
   * What this node holds.
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
 * The decision who is served when.
 */
typedef hs2_handle hs2_admission;

/**
 * What admission says next.
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
 * What exactly was wrong with the last call on this thread that failed, in English; empty before the first. Calls that
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
 * What a genesis document says. Threads: any. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
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
 * What a header says. It is not checked. Threads: any. Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
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
 * What to do next: call it after everything that happens, and again until it says `HS2_TURN_WAIT`. Threads: one at a
 * time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
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

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HS2SYNC_H */
