/* The first part of the sweep: where arguments come from. tests/sweep.rs puts the calls behind it. */
#include "hs2sync.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL 64
#define PLACES 16
#define PLACE_BYTES 4096
#define OUT_BYTES 512
#define ARRAY 8

static uint64_t seed = 88172645463325252ull;

/* xorshift64: the same sequences in every run. */
static uint64_t next(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static hs2_handle pool[POOL];
static size_t pooled;
static hs2_handle released[POOL];

/* Memory that is shown to the library, and where it writes. */
static union { uint64_t align; uint8_t bytes[PLACE_BYTES]; } shown;
static union { uint64_t align; uint8_t bytes[OUT_BYTES]; } places[PLACES];
static void *out[PLACES];
static hs2_slice slices[ARRAY];
static uint8_t untouched[OUT_BYTES];
static uint8_t sample[PLACES][PLACE_BYTES];
static size_t sample_len[PLACES];
static size_t count_shown;
static int array_is_null;

static void begin(void) {
    memset(places, 0xa5, sizeof places);
    memset(untouched, 0xa5, sizeof untouched);
    memset(out, 0, sizeof out);
    count_shown = (size_t)(next() % (ARRAY + 1));
    array_is_null = next() % 8 == 0;
}

static void keep(hs2_handle handle) {
    if (pooled < POOL) {
        pool[pooled++] = handle;
    } else {
        size_t at = (size_t)(next() % POOL);
        released[next() % POOL] = pool[at];
        (void)hs2_release(pool[at]);
        pool[at] = handle;
    }
}

/* The reference that an output or an event brings. */
static void keep_output(const void *place) {
    hs2_output output;
    memcpy(&output, place, sizeof output);
    if (output.object != 0) keep(output.object);
}

static void keep_event(const void *place) {
    hs2_session_event event;
    memcpy(&event, place, sizeof event);
    if (event.object != 0) keep(event.object);
}

static void keep_order(const void *place) {
    hs2_gate_output order;
    memcpy(&order, place, sizeof order);
    if (order.object != 0) keep(order.object);
}

static hs2_handle any_handle(void) {
    switch (next() % 8) {
    case 0: return 0;
    case 1: return next();
    case 2: return released[next() % POOL];
    default: return pooled ? pool[next() % pooled] : 0;
    }
}

static uint64_t any_number(void) {
    static const uint64_t some[] = { 0, 1, 2, 7, 1000, 1024, 65536, UINT32_MAX, UINT64_MAX };
    return next() % 4 ? some[next() % (sizeof some / sizeof *some)] : next();
}

static uint64_t any_count(void) { return array_is_null && next() % 2 ? any_number() : count_shown; }

static const char *any_text(void) {
    static const char *const some[] = { NULL, "", "memory_budget", "16 MiB", "peer_timeout", "3 s", "no such", "\xff" };
    return some[next() % (sizeof some / sizeof *some)];
}

static hs2_slice any_slice(void) {
    hs2_slice slice = { NULL, 0 };
    switch (next() % 4) {
    case 0: slice.len = (size_t)(next() % 2 * 5); break;
    case 1: slice.data = shown.bytes; slice.len = (size_t)(next() % PLACE_BYTES); break;
    default: {
        size_t at = (size_t)(next() % PLACES);
        slice.data = sample[at];
        slice.len = sample_len[at];
        /* Sometimes bent by a byte. */
        if (slice.len && next() % 4 == 0) sample[at][next() % slice.len] ^= 1;
    }
    }
    return slice;
}

static const hs2_slice *any_slices(void) {
    if (array_is_null) return NULL;
    for (size_t i = 0; i < ARRAY; i++) slices[i] = any_slice();
    return slices;
}

static const void *any_memory(void) {
    if (array_is_null) return NULL;
    for (size_t i = 0; i < 64; i++) shown.bytes[next() % PLACE_BYTES] = (uint8_t)next();
    if (next() % 2) memset(shown.bytes, (int)(next() % 3), PLACE_BYTES);
    return next() % 16 ? (const void *)shown.bytes : (const void *)(shown.bytes + 1);
}

static void *any_place(size_t index) {
    switch (next() % 16) {
    case 0: return NULL;
    case 1: return places[index].bytes + 1;
    default: return places[index].bytes;
    }
}

static int32_t some_status(void *context, hs2_peer_status *status) {
    (void)context;
    status->tip = next() % 2000;
    return (int32_t)(next() % 3);
}
static int32_t some_bytes(void *context, uint64_t key, hs2_slice *bytes) {
    (void)context, (void)key;
    *bytes = any_slice();
    return (int32_t)(next() % 3);
}
static int32_t some_tip(void *context, hs2_slice *bytes) { return some_bytes(context, 0, bytes); }
static int32_t some_segment(void *context, uint64_t height, hs2_stored_segment *segment) {
    (void)context;
    segment->first = height - next() % 3;
    segment->last = height + next() % 5;
    segment->certified = next() % 2;
    segment->segment = any_slice();
    segment->audit = any_slice();
    return (int32_t)(next() % 3);
}

static const hs2_reader *any_reader(void) {
    static hs2_reader reader;
    hs2_reader whole = { NULL, some_status, some_bytes, some_tip, some_segment, some_bytes };
    reader = whole;
    switch (next() % 8) {
    case 0: return NULL;
    case 1: reader.segment = NULL; break;
    case 2: reader.payload = NULL; break;
    default: break;
    }
    return &reader;
}

/* A chain of the host's own that says anything. */
static int32_t some_result(void) {
    static const int32_t some[] = { 0, 0, 0, 0, HS2_HOST_NONE, HS2_FAULT_BAD_CERTIFICATE, 77, -5 };
    return some[next() % (sizeof some / sizeof *some)];
}
static int32_t own_epoch(void *context, hs2_slice epoch) { (void)context, (void)epoch; return some_result(); }
static int32_t own_handover(void *context, hs2_slice epoch, hs2_slice handover, hs2_link *link) {
    (void)context, (void)epoch, (void)handover;
    link->epoch = next() % 3;
    link->first = next() % 100;
    link->last = next() % 200;
    link->encoded_epoch = any_slice();
    return some_result();
}
static int32_t own_tip(void *context, hs2_slice epoch, hs2_slice tip, hs2_tip *facts) {
    (void)context, (void)epoch, (void)tip;
    facts->height = next() % 100;
    return some_result();
}
static int32_t own_headers(hs2_segment_facts *facts) {
    facts->count = next() % 8 ? (size_t)(next() % 100) : (size_t)next();
    for (size_t i = 0; i < facts->count && i < facts->capacity; i++) facts->headers[i].payload_len = (uint32_t)next() % 5000;
    facts->first = any_number();
    return some_result();
}
static int32_t own_segment(void *context, hs2_slice epoch, const hs2_claim *claim, hs2_slice segment, hs2_slice audit,
                           hs2_segment_facts *facts) {
    (void)context, (void)epoch, (void)claim, (void)segment, (void)audit;
    return own_headers(facts);
}
static int32_t own_stored(void *context, hs2_slice segment, hs2_segment_facts *facts) {
    (void)context, (void)segment;
    return own_headers(facts);
}
static int32_t own_payload(void *context, hs2_slice segment, uint64_t height, hs2_slice payload) {
    (void)context, (void)segment, (void)height, (void)payload;
    return some_result();
}
static int32_t own_assemble(void *context, const hs2_slice *parts, size_t count, const hs2_claim *claim, hs2_slice *out_segment) {
    (void)context, (void)parts, (void)count, (void)claim;
    *out_segment = any_slice();
    return some_result();
}
static int32_t own_tip_of(void *context, hs2_slice segment, hs2_slice *tip) {
    (void)context, (void)segment;
    *tip = any_slice();
    return some_result();
}

static const hs2_chain_table *any_chain(void) {
    static hs2_chain_table chain;
    hs2_chain_table whole = { NULL, own_epoch, own_handover, own_handover, own_tip, own_segment, own_stored,
                              own_payload, own_assemble, own_tip_of };
    chain = whole;
    switch (next() % 8) {
    case 0: return NULL;
    case 1: chain.tip_of = NULL; break;
    case 2: chain.link = NULL; break;
    default: break;
    }
    return &chain;
}

/* Structs with slices in them: those lead somewhere. */
static const hs2_proposal *any_proposal(void) {
    static hs2_proposal proposal;
    memset(&proposal, (int)(next() % 3), sizeof proposal);
    proposal.payload = any_slice();
    proposal.next_epoch = any_handle();
    return next() % 8 ? &proposal : NULL;
}

static const hs2_link *any_link(void) {
    static hs2_link link;
    memset(&link, 0, sizeof link);
    link.ended = next() % 3;
    link.boundary = any_number();
    link.epoch = link.ended + next() % 2;
    link.first = link.boundary + 1;
    link.last = any_number();
    link.encoded_epoch = any_slice();
    link.handover = any_slice();
    return next() % 8 ? &link : NULL;
}

static const hs2_change *any_changes(void) {
    static hs2_change changes[ARRAY];
    if (array_is_null) return NULL;
    for (size_t i = 0; i < ARRAY; i++) {
        changes[i].key = any_slice();
        if (changes[i].key.len > 40) changes[i].key.len = (size_t)(next() % 40);
        changes[i].value = any_slice();
        changes[i].deleted = next() % 2;
    }
    return changes;
}

/* A store that says anything, and keeps one thing: where the state stands. */
static int32_t some_entry(void *context, hs2_slice from, hs2_slice to, hs2_entry *entry) {
    (void)context;
    entry->key = next() % 2 ? from : next() % 2 ? to : any_slice();
    entry->value = any_slice();
    return next() % 4 ? HS2_HOST_NONE : (int32_t)(next() % 3);
}
static uint8_t kept[4096];
static size_t kept_len;
static int32_t some_value(void *context, hs2_slice key, hs2_slice *value) {
    (void)context;
    if (key.len == 1 && kept_len && next() % 8) {
        value->data = kept;
        value->len = kept_len;
        return HS2_HOST_OK;
    }
    *value = any_slice();
    return next() % 4 ? HS2_HOST_NONE : (int32_t)(next() % 3);
}
static int32_t some_writes(void *context, const hs2_change *changes, size_t count) {
    (void)context;
    if (next() % 4 == 0) return (int32_t)(next() % 3);
    for (size_t i = 0; i < count; i++)
        if (changes[i].key.len == 1 && changes[i].value.len <= sizeof kept) {
            memcpy(kept, changes[i].value.data, changes[i].value.len);
            kept_len = next() % 16 ? changes[i].value.len : 0;
        }
    return HS2_HOST_OK;
}

static const hs2_state_store *any_states(void) {
    static hs2_state_store store;
    hs2_state_store whole = { NULL, some_value, some_entry, some_writes };
    store = whole;
    switch (next() % 8) {
    case 0: return NULL;
    case 1: store.next = NULL; break;
    case 2: store.write = NULL; break;
    default: break;
    }
    return &store;
}

static hs2_block *any_blocks(void) {
    static hs2_block blocks[ARRAY];
    return array_is_null ? NULL : blocks;
}

static size_t given[64];

/* A status that exists, and nothing written where it is not HS2_OK. */
static void looked_at(const char *name, hs2_status status) {
    if (status < 0 || status >= 64 || status == HS2_PANICKED || status == HS2_POISONED) {
        fprintf(stderr, "%s: %d, %s\n", name, (int)status, hs2_last_error());
        abort();
    }
    given[status]++;
    if (status == HS2_OK) return;
    if (*hs2_last_error() == 0) {
        fprintf(stderr, "%s: %d without words\n", name, (int)status);
        abort();
    }
    for (size_t place = 0; place < PLACES; place++)
        if (memcmp(places[place].bytes, untouched, OUT_BYTES) != 0) {
            fprintf(stderr, "%s: wrote a result although it failed with %d\n", name, (int)status);
            abort();
        }
}

static void refuse(const char *name, hs2_status status) {
    if (status == HS2_OK) {
        fprintf(stderr, "%s takes nulls\n", name);
        abort();
    }
}
