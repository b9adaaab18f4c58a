//go:build hs2cgo

package hs2sync

// Every line of cgo and unsafe is in this file. The library is found by CGO_CFLAGS and CGO_LDFLAGS, for example
//
//	export CGO_CFLAGS="$(pkg-config --cflags hs2sync)" CGO_LDFLAGS="$(pkg-config --libs hs2sync)"
//
// Addresses cross as numbers: all of them are of memory that C or the library has allocated, and none is of Go's.

// #include <hs2sync.h>
// #include <stdlib.h>
// #include <string.h>
//
// #cgo LDFLAGS: -lhs2sync
//
// extern int32_t hs2goAsked(uint64_t context, uint32_t function, uint64_t arguments);
//
// static void *at(uint64_t address) { return (void *)(uintptr_t)address; }
// static uint64_t of(const void *place) { return (uint64_t)(uintptr_t)place; }
//
// // A function by its number in functions.go; a slice is passed by its address.
// static hs2_status run(uint32_t function, const uint64_t *w) {
//	switch (function) {
//	case 0: return hs2_buffer_new(w[0], at(w[1]));
//	case 1: return hs2_buffer_memory(w[0], at(w[1]), at(w[2]));
//	case 2: return hs2_buffer_freeze(w[0], w[1]);
//	case 3: return hs2_buffer_bytes(w[0], at(w[1]));
//	case 4: return hs2_release(w[0]);
//	case 5: return hs2_code_name(w[0], at(w[1]));
//	case 6: return hs2_config_new(at(w[0]));
//	case 7: return hs2_config_set(w[0], at(w[1]), at(w[2]));
//	case 8: return hs2_genesis_new(at(w[0]), w[1], at(w[2]), w[3], w[4], at(w[5]), w[6], w[7], at(w[8]));
//	case 9: return hs2_genesis_decode(*(const hs2_slice *)at(w[0]), at(w[1]));
//	case 10: return hs2_genesis_encode(w[0], at(w[1]));
//	case 11: return hs2_genesis_header(w[0], at(w[1]));
//	case 12: return hs2_genesis_read(w[0], at(w[1]));
//	case 13: return hs2_chain_new(w[0], at(w[1]));
//	case 14: return hs2_start_new(w[0], at(w[1]));
//	case 15: return hs2_start_own(at(w[0]), w[1], at(w[2]), w[3], w[4], w[5], *(const hs2_slice *)at(w[6]), at(w[7]));
//	case 16: return hs2_start_stored(w[0], w[1], at(w[2]), w[3], *(const hs2_slice *)at(w[4]));
//	case 17: return hs2_start_applied(w[0], w[1]);
//	case 18: return hs2_start_link(w[0], at(w[1]));
//	case 19: return hs2_machine_new(w[0], w[1], w[2], w[3], at(w[4]));
//	case 20: return hs2_machine_start(w[0], w[1], w[2]);
//	case 21: return hs2_machine_stop(w[0], w[1]);
//	case 22: return hs2_machine_handle_connected(w[0], w[1], at(w[2]), w[3]);
//	case 23: return hs2_machine_handle_disconnected(w[0], w[1], at(w[2]));
//	case 24: return hs2_machine_handle_pardoned(w[0], w[1], at(w[2]));
//	case 25: return hs2_machine_handle_response(w[0], w[1], w[2], w[3]);
//	case 26: return hs2_machine_handle_failure(w[0], w[1], w[2], w[3]);
//	case 27: return hs2_machine_handle_begun(w[0], w[1], w[2]);
//	case 28: return hs2_machine_handle_verdict(w[0], w[1], w[2]);
//	case 29: return hs2_machine_handle_applied(w[0], w[1], w[2], w[3], w[4], w[5]);
//	case 30: return hs2_machine_handle_stored(w[0], w[1], w[2], w[3]);
//	case 31: return hs2_machine_handle_timeout(w[0], w[1]);
//	case 32: return hs2_machine_poll(w[0], at(w[1]));
//	case 33: return hs2_machine_progress(w[0], at(w[1]));
//	case 34: return hs2_machine_evidence(w[0], at(w[1]));
//	case 35: return hs2_job_run(w[0], w[1], at(w[2]));
//	case 36: return hs2_job_run_own(w[0], at(w[1]), at(w[2]));
//	case 37: return hs2_job_encode(w[0], at(w[1]));
//	case 38: return hs2_job_decode(*(const hs2_slice *)at(w[0]), at(w[1]));
//	case 39: return hs2_verdict_encode(w[0], at(w[1]));
//	case 40: return hs2_verdict_decode(*(const hs2_slice *)at(w[0]), at(w[1]));
//	case 41: return hs2_call_read(w[0], at(w[1]));
//	case 42: return hs2_call_blocks(w[0], w[1], w[2], at(w[3]), w[4], at(w[5]));
//	case 43: return hs2_call_blocks_own(w[0], at(w[1]), w[2], at(w[3]), w[4], at(w[5]));
//	case 44: return hs2_call_segment(w[0], w[1], w[2], at(w[3]));
//	case 45: return hs2_call_segment_own(w[0], at(w[1]), w[2], at(w[3]));
//	case 46: return hs2_call_handover(w[0], w[1], at(w[2]));
//	case 47: return hs2_respond(w[0], at(w[1]), *(const hs2_slice *)at(w[2]), at(w[3]));
//	case 48: return hs2_respond_own(at(w[0]), at(w[1]), at(w[2]), *(const hs2_slice *)at(w[3]), at(w[4]));
//	case 49: return hs2_admission_new(w[0], at(w[1]));
//	case 50: return hs2_admission_ask(w[0], w[1], at(w[2]), w[3], *(const hs2_slice *)at(w[4]), at(w[5]), at(w[6]));
//	case 51: return hs2_admission_poll(w[0], w[1], at(w[2]));
//	case 52: return hs2_admission_made(w[0], w[1], w[2], w[3], w[4]);
//	case 53: return hs2_admission_end(w[0], w[1], w[2]);
//	case 54: return hs2_refusal_not_available(at(w[0]));
//	case 55: return hs2_refusal_busy(w[0], at(w[1]));
//	case 56: return hs2_refusal_unsupported(at(w[0]));
//	case 57: return hs2_epoch_first(w[0], at(w[1]));
//	case 58: return hs2_header_new(*(const hs2_slice *)at(w[0]), w[1], at(w[2]), at(w[3]));
//	case 59: return hs2_header_read(*(const hs2_slice *)at(w[0]), at(w[1]));
//	case 60: return hs2_vote_bytes(*(const hs2_slice *)at(w[0]), w[1], at(w[2]));
//	case 61: return hs2_certificate_new(*(const hs2_slice *)at(w[0]), w[1], w[2], at(w[3]), w[4], at(w[5]));
//	case 62: return hs2_segment_new(*(const hs2_slice *)at(w[0]), at(w[1]), w[2], at(w[3]), w[4], *(const hs2_slice *)at(w[5]), at(w[6]));
//	case 63: return hs2_tip_new(*(const hs2_slice *)at(w[0]), at(w[1]), w[2], *(const hs2_slice *)at(w[3]), at(w[4]));
//	case 64: return hs2_segment_tip(w[0], *(const hs2_slice *)at(w[1]), at(w[2]));
//	case 65: return hs2_blocks_new(*(const hs2_slice *)at(w[0]), *(const hs2_slice *)at(w[1]), at(w[2]), w[3], at(w[4]));
//	case 66: return hs2_machine_handle_decided(w[0], w[1], w[2], w[3], w[4], *(const hs2_slice *)at(w[5]));
//	case 67: return hs2_epoch_new(w[0], w[1], w[2], w[3], at(w[4]), w[5], at(w[6]));
//	case 68: return hs2_epoch_decode(w[0], *(const hs2_slice *)at(w[1]), at(w[2]));
//	case 69: return hs2_epoch_encode(w[0], at(w[1]));
//	case 70: return hs2_epoch_read(w[0], at(w[1]), at(w[2]), at(w[3]), at(w[4]));
//	case 71: return hs2_epoch_next(w[0], *(const hs2_slice *)at(w[1]), at(w[2]));
//	case 72: return hs2_header_closing(*(const hs2_slice *)at(w[0]), w[1], w[2], at(w[3]));
//	case 73: return hs2_header_check(*(const hs2_slice *)at(w[0]), *(const hs2_slice *)at(w[1]), w[2]);
//	case 74: return hs2_certificate_check(*(const hs2_slice *)at(w[0]), *(const hs2_slice *)at(w[1]), w[2], w[3]);
//	case 75: return hs2_handover_new(*(const hs2_slice *)at(w[0]), at(w[1]), w[2], *(const hs2_slice *)at(w[3]), w[4], at(w[5]));
//	case 76: return hs2_gate_new(at(w[0]), w[1], at(w[2]), w[3], w[4], at(w[5]));
//	case 77: return hs2_gate_votes(w[0], w[1], w[2]);
//	case 78: return hs2_gate_sync(w[0], w[1], w[2], w[3]);
//	case 79: return hs2_gate_advert(w[0], w[1], w[2], *(const hs2_slice *)at(w[3]));
//	case 80: return hs2_gate_time(w[0], w[1]);
//	case 81: return hs2_gate_behind(w[0], w[1]);
//	case 82: return hs2_gate_poll(w[0], at(w[1]));
//	case 83: return hs2_permit_header(w[0], w[1], at(w[2]));
//	case 84: return hs2_permit_certificate(w[0], at(w[1]));
//	case 85: return hs2_advert_sign(at(w[0]), at(w[1]), w[2], w[3], at(w[4]), w[5], w[6], at(w[7]), at(w[8]));
//	case 86: return hs2_gate_new_certified(at(w[0]), w[1], at(w[2]), w[3], w[4], at(w[5]));
//	case 87: return hs2_permit_lock(w[0], at(w[1]), at(w[2]));
//	case 88: return hs2_advert_sign_backed(at(w[0]), at(w[1]), w[2], w[3], at(w[4]), w[5], w[6], at(w[7]), *(const hs2_slice *)at(w[8]), *(const hs2_slice *)at(w[9]), at(w[10]));
//	case 89: return hs2_timeout_bytes(at(w[0]), w[1], w[2], at(w[3]));
//	case 90: return hs2_timeout_new(w[0], w[1], at(w[2]), w[3], at(w[4]));
//	case 91: return hs2_timeout_check(*(const hs2_slice *)at(w[0]), w[1], at(w[2]));
//	case 92: return hs2_start_states(w[0], w[1]);
//	case 93: return hs2_start_trust(w[0], w[1], w[2]);
//	case 94: return hs2_machine_handle_wall(w[0], w[1], w[2]);
//	case 95: return hs2_machine_handle_done(w[0], w[1], *(const hs2_slice *)at(w[2]));
//	case 96: return hs2_call_encode(w[0], at(w[1]));
//	case 97: return hs2_call_decode(*(const hs2_slice *)at(w[0]), at(w[1]));
//	case 98: return hs2_call_base(w[0], at(w[1]));
//	case 99: return hs2_state_carry_out(w[0], at(w[1]), at(w[2]));
//	case 100: return hs2_state_apply(at(w[0]), w[1], w[2], at(w[3]), w[4], at(w[5]), at(w[6]));
//	case 101: return hs2_state_get(at(w[0]), *(const hs2_slice *)at(w[1]), at(w[2]));
//	case 102: return hs2_state_read(at(w[0]), at(w[1]));
//	case 103: return hs2_respond_with_state(w[0], at(w[1]), at(w[2]), *(const hs2_slice *)at(w[3]), at(w[4]));
//	case 104: return hs2_light_defaults(at(w[0]));
//	case 105: return hs2_light_new(w[0], *(const hs2_slice *)at(w[1]), at(w[2]), w[3], w[4], w[5], w[6], at(w[7]));
//	case 106: return hs2_light_chain(w[0], *(const hs2_slice *)at(w[1]), at(w[2]));
//	case 107: return hs2_light_start(w[0], w[1]);
//	case 108: return hs2_light_stop(w[0], w[1]);
//	case 109: return hs2_light_handle_timeout(w[0], w[1]);
//	case 110: return hs2_light_handle_wall(w[0], w[1], w[2]);
//	case 111: return hs2_light_handle_connected(w[0], w[1], at(w[2]), w[3]);
//	case 112: return hs2_light_handle_disconnected(w[0], w[1], at(w[2]));
//	case 113: return hs2_light_handle_response(w[0], w[1], w[2], w[3]);
//	case 114: return hs2_light_handle_failure(w[0], w[1], w[2], w[3]);
//	case 115: return hs2_light_handle_verdict(w[0], w[1], w[2]);
//	case 116: return hs2_light_poll(w[0], at(w[1]));
//	case 117: return hs2_light_read(w[0], at(w[1]));
//	case 118: return hs2_light_checkpoint(w[0], at(w[1]));
//	case 119: return hs2_light_evidence(w[0], at(w[1]));
//	case 120: return hs2_light_get(w[0], w[1], *(const hs2_slice *)at(w[2]), w[3], w[4], at(w[5]));
//	case 121: return hs2_light_header(w[0], w[1], w[2], at(w[3]));
//	case 122: return hs2_light_bodies(w[0], w[1], w[2], w[3], at(w[4]));
//	case 123: return hs2_light_drop(w[0], w[1], w[2]);
//	case 124: return hs2_light_answer_read(w[0], at(w[1]));
//	case 125: return hs2_light_answer_payload(w[0], w[1], at(w[2]));
//	case 126: return hs2_gate_validator(w[0], at(w[1]), w[2]);
//	default: return HS2_INVALID_ARGUMENT;
//	}
// }
//
// // The same, and the words for what was wrong: they are the thread's, which a goroutine may leave after the call.
// static hs2_status hs2go_call(uint32_t function, uint64_t words, char *text, size_t room) {
//	hs2_status status = run(function, at(words));
//	if (status != HS2_OK) { strncpy(text, hs2_last_error(), room - 1); text[room - 1] = 0; }
//	return status;
// }
//
// static int32_t ask(void *context, uint32_t function, const uint64_t *arguments) {
//	return hs2goAsked(of(context), function, of(arguments));
// }
// static int32_t r_status(void *c, hs2_peer_status *o) { uint64_t w[] = { of(o) }; return ask(c, 1, w); }
// static int32_t r_handover(void *c, uint64_t e, hs2_slice *o) { uint64_t w[] = { e, of(o) }; return ask(c, 2, w); }
// static int32_t r_tip(void *c, hs2_slice *o) { uint64_t w[] = { of(o) }; return ask(c, 3, w); }
// static int32_t r_segment(void *c, uint64_t h, hs2_stored_segment *o) { uint64_t w[] = { h, of(o) }; return ask(c, 4, w); }
// static int32_t r_payload(void *c, uint64_t h, hs2_slice *o) { uint64_t w[] = { h, of(o) }; return ask(c, 5, w); }
// static int32_t c_epoch(void *c, hs2_slice e) { uint64_t w[] = { of(&e) }; return ask(c, 6, w); }
// static int32_t c_link(void *c, hs2_slice e, hs2_slice h, hs2_link *o) {
//	uint64_t w[] = { of(&e), of(&h), of(o) };
//	return ask(c, 7, w);
// }
// static int32_t c_handover(void *c, hs2_slice e, hs2_slice h, hs2_link *o) {
//	uint64_t w[] = { of(&e), of(&h), of(o) };
//	return ask(c, 8, w);
// }
// static int32_t c_tip(void *c, hs2_slice e, hs2_slice t, hs2_tip *o) {
//	uint64_t w[] = { of(&e), of(&t), of(o) };
//	return ask(c, 9, w);
// }
// static int32_t c_segment(void *c, hs2_slice e, const hs2_claim *k, hs2_slice s, hs2_slice a, hs2_segment_facts *o) {
//	uint64_t w[] = { of(&e), of(k), of(&s), of(&a), of(o) };
//	return ask(c, 10, w);
// }
// static int32_t c_stored(void *c, hs2_slice s, hs2_segment_facts *o) {
//	uint64_t w[] = { of(&s), of(o) };
//	return ask(c, 11, w);
// }
// static int32_t c_payload(void *c, hs2_slice s, uint64_t h, hs2_slice p) {
//	uint64_t w[] = { of(&s), h, of(&p) };
//	return ask(c, 12, w);
// }
// static int32_t c_assemble(void *c, const hs2_slice *p, size_t n, const hs2_claim *k, hs2_slice *o) {
//	uint64_t w[] = { of(p), n, of(k), of(o) };
//	return ask(c, 13, w);
// }
// static int32_t c_tip_of(void *c, hs2_slice s, hs2_slice *o) {
//	uint64_t w[] = { of(&s), of(o) };
//	return ask(c, 14, w);
// }
//
// static int32_t s_get(void *c, hs2_slice k, hs2_slice *o) { uint64_t w[] = { of(&k), of(o) }; return ask(c, 15, w); }
// static int32_t s_next(void *c, hs2_slice f, hs2_slice t, hs2_entry *o) {
//	uint64_t w[] = { of(&f), of(&t), of(o) };
//	return ask(c, 16, w);
// }
// static int32_t s_write(void *c, const hs2_change *k, size_t n) { uint64_t w[] = { of(k), n }; return ask(c, 17, w); }
//
// static void hs2go_table(uint32_t kind, uint64_t context, uint64_t out) {
//	if (kind == 0) {
//		hs2_reader table = { at(context), r_status, r_handover, r_tip, r_segment, r_payload };
//		memcpy(at(out), &table, sizeof table);
//	} else if (kind == 2) {
//		hs2_state_store table = { at(context), s_get, s_next, s_write };
//		memcpy(at(out), &table, sizeof table);
//	} else {
//		hs2_chain_table table = { at(context), c_epoch, c_link, c_handover, c_tip, c_segment, c_stored, c_payload,
//			c_assemble, c_tip_of };
//		memcpy(at(out), &table, sizeof table);
//	}
// }
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Engine names the engine that this build has.
const Engine = "cgo"

// textBytes is the room for the words of a failure, and wordsBytes for a call's arguments.
const textBytes, wordsBytes = 512, 16 * 8

// instance is memory for the arguments of one goroutine at a time; the library itself is the process's.
type instance struct {
	number uint64
	place  unsafe.Pointer
	words  []uint64
	text   *C.char
}

// frames are those that functions of the host may be asked for, by their numbers.
var (
	frames     sync.Map
	lastNumber atomic.Uint64
)

func openFrame() (*frame, error) {
	if found := C.hs2_abi(); found != C.HS2_ABI {
		return nil, fmt.Errorf("hs2sync: the library has interface %d, the header %d", found, C.HS2_ABI)
	}
	place := C.calloc(1, scratchBytes+wordsBytes+textBytes)
	if place == nil {
		return nil, errors.New("hs2sync: no memory")
	}
	made := &instance{
		number: lastNumber.Add(1),
		place:  place,
		words:  unsafe.Slice((*uint64)(unsafe.Add(place, scratchBytes)), wordsBytes/8),
		text:   (*C.char)(unsafe.Add(place, scratchBytes+wordsBytes)),
	}
	f := &frame{memory: made, scratch: uint64(C.of(place))}
	frames.Store(made.number, f)
	return f, nil
}

func (i *instance) word() uint64 { return 8 }

func (i *instance) view(address, length uint64) []byte {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(C.at(C.uint64_t(address))), length)
}

func (i *instance) call(f function, words []uint64) int32 {
	// A function of the host's that runs within a call may use the same words: the outer ones were read before it began.
	copy(i.words, words)
	return int32(C.hs2go_call(C.uint32_t(f), C.of(unsafe.Pointer(&i.words[0])), i.text, textBytes))
}

func (i *instance) lastError() string { return C.GoString(i.text) }

func (i *instance) table(kind tableKind, out uint64) {
	C.hs2go_table(C.uint32_t(kind), C.uint64_t(i.number), C.uint64_t(out))
}

func (i *instance) usable() bool { return true }

func (i *instance) close() {
	frames.Delete(i.number)
	C.free(i.place)
}

//export hs2goAsked
func hs2goAsked(context C.uint64_t, function C.uint32_t, arguments C.uint64_t) C.int32_t {
	found, ok := frames.Load(uint64(context))
	if !ok {
		return hostFailed
	}
	return C.int32_t(found.(*frame).asked(uint32(function), uint64(arguments)))
}
