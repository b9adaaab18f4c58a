/*
 * A chain of the host's own, synchronized from an honest peer, from one that lies, and with checks that fail here now and
 * then. The chain is a toy: a header is 80 bytes (height, length of the payload, parent, hash of the payload), its id their
 * hash, and "final" is whatever carries the hash of its id.
 */
#include "hs2sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCKS 1500
#define HEADER 80
#define PAYLOAD 100
#define CELL 1024

static uint8_t headers[BLOCKS + 1][HEADER];
static hs2_id ids[BLOCKS + 1];
static uint8_t payloads[BLOCKS + 1][PAYLOAD];
static const char epoch_name[] = "the only epoch";
/* Where functions put what they give back. */
static uint8_t made[HEADER * CELL + 64];
static unsigned checks, failing, faults, bans;

static void must(hs2_status status, const char *what) {
    if (status == HS2_OK) return;
    fprintf(stderr, "%s: %s\n", what, hs2_last_error());
    exit(1);
}

static hs2_id hash_of(const void *data, size_t len) {
    hs2_slice bytes = { data, len };
    hs2_id hash;
    must(hs2_payload_hash(bytes, &hash), "hash");
    return hash;
}

static uint64_t height_of(const uint8_t *header) {
    uint64_t height;
    memcpy(&height, header, 8);
    return height;
}

static void make(void) {
    for (uint64_t height = 0; height <= BLOCKS; height++) {
        uint64_t len = height ? PAYLOAD : 0;
        memset(payloads[height], (int)(height % 251), PAYLOAD);
        hs2_id hash = hash_of(payloads[height], (size_t)len);
        memcpy(headers[height], &height, 8);
        memcpy(headers[height] + 8, &len, 8);
        if (height) memcpy(headers[height] + 16, &ids[height - 1], 32);
        memcpy(headers[height] + 48, &hash, 32);
        ids[height] = hash_of(headers[height], HEADER);
    }
}

/* A segment: its headers, and behind them the seal of the last. */
static size_t segment_count(hs2_slice segment) {
    return segment.len >= HEADER + 32 && (segment.len - 32) % HEADER == 0 ? (segment.len - 32) / HEADER : 0;
}

static int32_t own_epoch(void *context, hs2_slice epoch) {
    (void)context;
    return epoch.len == sizeof epoch_name && memcmp(epoch.data, epoch_name, epoch.len) == 0 ? HS2_HOST_OK
                                                                                             : (int32_t)HS2_FAULT_BAD_EPOCH;
}

static int32_t own_handover(void *context, hs2_slice epoch, hs2_slice handover, hs2_link *link) {
    (void)context, (void)epoch, (void)handover, (void)link;
    return (int32_t)HS2_FAULT_MALFORMED;
}

static int32_t own_tip(void *context, hs2_slice epoch, hs2_slice tip, hs2_tip *facts) {
    (void)context, (void)epoch;
    if (tip.len != HEADER + 32) return (int32_t)HS2_FAULT_MALFORMED;
    hs2_id id = hash_of(tip.data, HEADER), seal = hash_of(&id, 32);
    if (memcmp(&seal, tip.data + HEADER, 32) != 0) return (int32_t)HS2_FAULT_BAD_CERTIFICATE;
    facts->height = height_of(tip.data);
    facts->id = id;
    facts->epoch = 0;
    facts->timestamp_ms = 0;
    return HS2_HOST_OK;
}

static int32_t own_stored(void *context, hs2_slice segment, hs2_segment_facts *facts) {
    (void)context;
    size_t count = segment_count(segment);
    if (count == 0 || count > facts->capacity) return (int32_t)HS2_FAULT_MALFORMED;
    facts->count = count;
    facts->first = height_of(segment.data);
    memcpy(&facts->parent_id, segment.data + 16, 32);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *header = segment.data + i * HEADER;
        uint64_t len;
        memcpy(&len, header + 8, 8);
        if (height_of(header) != facts->first + i) return (int32_t)HS2_FAULT_MALFORMED;
        if (i && memcmp(header + 16, &facts->headers[i - 1].id, 32) != 0) return 1000;
        facts->headers[i].id = hash_of(header, HEADER);
        facts->headers[i].payload_len = (uint32_t)len;
    }
    facts->quorum_checks = 1;
    return HS2_HOST_OK;
}

static int32_t own_segment(void *context, hs2_slice epoch, const hs2_claim *claim, hs2_slice segment, hs2_slice audit,
                           hs2_segment_facts *facts) {
    (void)epoch, (void)audit;
    /* A library of the host's that is not there for a moment. */
    if (checks++ < 2) {
        failing++;
        return -7;
    }
    int32_t result = own_stored(context, segment, facts);
    if (result != HS2_HOST_OK) return result;
    const hs2_id *last = &facts->headers[facts->count - 1].id;
    if (claim->end == HS2_END_ANCHORED)
        return memcmp(last, &claim->anchor, 32) == 0 ? HS2_HOST_OK : (int32_t)HS2_FAULT_WRONG_ANCHOR;
    hs2_id seal = hash_of(last, 32);
    return memcmp(&seal, segment.data + segment.len - 32, 32) == 0 ? HS2_HOST_OK : (int32_t)HS2_FAULT_BAD_CERTIFICATE;
}

static int32_t own_payload(void *context, hs2_slice segment, uint64_t height, hs2_slice payload) {
    (void)context;
    const uint8_t *header = segment.data + (height - height_of(segment.data)) * HEADER;
    hs2_id hash = hash_of(payload.data, payload.len);
    return memcmp(&hash, header + 48, 32) == 0 ? HS2_HOST_OK : (int32_t)HS2_FAULT_BAD_PAYLOAD;
}

static int32_t own_assemble(void *context, const hs2_slice *parts, size_t count, const hs2_claim *claim, hs2_slice *segment) {
    (void)context;
    size_t at = 0;
    hs2_id last;
    memset(&last, 0, sizeof last);
    for (size_t part = 0; part < count; part++)
        for (size_t i = 0; i < segment_count(parts[part]); i++) {
            const uint8_t *header = parts[part].data + i * HEADER;
            if (height_of(header) < claim->first || height_of(header) > claim->last) continue;
            memcpy(made + at, header, HEADER);
            last = hash_of(header, HEADER);
            at += HEADER;
        }
    hs2_id seal = hash_of(&last, 32);
    memcpy(made + at, &seal, 32);
    segment->data = made;
    segment->len = at + 32;
    return HS2_HOST_OK;
}

static int32_t own_tip_of(void *context, hs2_slice segment, hs2_slice *tip) {
    (void)context;
    size_t count = segment_count(segment);
    if (count == 0) return HS2_HOST_NONE;
    tip->data = segment.data + (count - 1) * HEADER;
    tip->len = HEADER + 32;
    return HS2_HOST_OK;
}

static const hs2_chain_table chain = { NULL, own_epoch, own_handover, own_handover, own_tip, own_segment, own_stored,
                                       own_payload, own_assemble, own_tip_of };

static int32_t read_status(void *context, hs2_peer_status *status) {
    (void)context;
    status->earliest = 1;
    status->tip = BLOCKS;
    return HS2_HOST_OK;
}
static int32_t read_handover(void *context, uint64_t epoch, hs2_slice *handover) {
    (void)context, (void)epoch, (void)handover;
    return HS2_HOST_NONE;
}
static int32_t read_tip(void *context, hs2_slice *tip) {
    (void)context;
    hs2_id seal = hash_of(&ids[BLOCKS], 32);
    memcpy(made, headers[BLOCKS], HEADER);
    memcpy(made + HEADER, &seal, 32);
    tip->data = made;
    tip->len = HEADER + 32;
    return HS2_HOST_OK;
}
static int32_t read_segment(void *context, uint64_t height, hs2_stored_segment *segment) {
    static uint8_t whole[HEADER * CELL + 32];
    int lies = context != NULL;
    if (height == 0 || height > BLOCKS) return HS2_HOST_NONE;
    segment->first = height < CELL ? 1 : height / CELL * CELL;
    segment->last = (height / CELL + 1) * CELL - 1 < BLOCKS ? (height / CELL + 1) * CELL - 1 : BLOCKS;
    size_t count = (size_t)(segment->last - segment->first + 1);
    memcpy(whole, headers[segment->first], count * HEADER);
    /* The liar bends the parent of the second header. */
    if (lies) whole[HEADER + 20] ^= 1;
    hs2_id seal = hash_of(&ids[segment->last], 32);
    memcpy(whole + count * HEADER, &seal, 32);
    segment->certified = 1;
    segment->segment.data = whole;
    segment->segment.len = count * HEADER + 32;
    return HS2_HOST_OK;
}
static int32_t read_payload(void *context, uint64_t height, hs2_slice *payload) {
    (void)context;
    payload->data = payloads[height];
    payload->len = height ? PAYLOAD : 0;
    return height > BLOCKS ? HS2_HOST_NONE : HS2_HOST_OK;
}

struct told { int kind; uint64_t id, through; hs2_handle object; };
static struct told queue[4096];
static size_t queue_head, queue_tail;

static void tell(int kind, uint64_t id, uint64_t through, hs2_handle object) {
    struct told told = { kind, id, through, object };
    queue[queue_tail++ % 4096] = told;
}

int main(void) {
    hs2_id chain_id, honest, liar, head;
    hs2_slice epoch = { (const uint8_t *)epoch_name, sizeof epoch_name };
    hs2_config config;
    hs2_start start;
    hs2_machine machine;
    uint64_t now = 1, height = 0, deadline = 0;
    int reached = 0;
    make();
    memset(&chain_id, 9, sizeof chain_id);
    memset(&honest, 1, sizeof honest);
    memset(&liar, 2, sizeof liar);
    memset(&head, 0, sizeof head);
    must(hs2_config_new(&config), "config");
    must(hs2_start_own(&chain_id, 0, &ids[0], 0, 0, 1000000, epoch, &start), "start");
    must(hs2_machine_new(config, start, 3, now, &machine), "machine");
    must(hs2_machine_handle_connected(machine, now, &liar, 2), "connected");
    must(hs2_machine_handle_connected(machine, now, &honest, 1), "connected");
    must(hs2_machine_start(machine, now, HS2_NEVER), "start");
    for (unsigned round = 0; !reached; round++) {
        if (round > 100000) {
            fprintf(stderr, "no end at height %lu\n", (unsigned long)height);
            return 1;
        }
        for (;;) {
            hs2_output output;
            must(hs2_machine_poll(machine, &output), "poll");
            if (output.kind == HS2_OUTPUT_WAIT) {
                deadline = output.deadline_us;
                break;
            }
            if (output.kind == HS2_OUTPUT_REQUEST) {
                hs2_slice request;
                hs2_buffer answer;
                int lies = memcmp(&output.peer, &liar, sizeof liar) == 0;
                hs2_reader reader = { lies ? &liar : NULL, read_status, read_handover, read_tip, read_segment, read_payload };
                must(hs2_buffer_bytes(output.object, &request), "request");
                if (hs2_respond_own(&chain, &chain_id, &reader, request, &answer) != HS2_OK)
                    must(hs2_refusal_not_available(&answer), "refusal");
                tell(1, output.id, 0, answer);
            } else if (output.kind == HS2_OUTPUT_VERIFY) {
                hs2_verdict verdict;
                must(hs2_job_run_own(output.object, &chain, &verdict), "job");
                tell(2, output.id, 0, verdict);
            } else if (output.kind == HS2_OUTPUT_CALL) {
                hs2_call_info info;
                must(hs2_call_read(output.object, &info), "call");
                for (uint64_t next = info.first; info.work == HS2_HOST_WORK_APPLY && next <= info.last;) {
                    static hs2_block blocks[100];
                    size_t count;
                    must(hs2_call_blocks_own(output.object, &chain, next, blocks, 100, &count), "blocks");
                    for (size_t i = 0; i < count; i++) {
                        if (blocks[i].height != height + 1) return 1;
                        height = blocks[i].height;
                        head = blocks[i].id;
                    }
                    next += count;
                }
                tell(3, info.id, info.last, 0);
            } else if (output.kind == HS2_OUTPUT_PENALIZE) {
                bans += output.code == HS2_PENALTY_BAN;
                faults += output.detail == HS2_FAULT_HOST && memcmp(&output.peer, &liar, sizeof liar) == 0;
            } else if (output.kind == HS2_OUTPUT_EVENT) {
                reached |= output.code == HS2_EVENT_REACHED && output.height == BLOCKS;
            }
            must(hs2_release(output.object), "release");
        }
        now += 100;
        if (queue_head == queue_tail) {
            if (!reached && deadline != HS2_NEVER && deadline > now) now = deadline;
            must(hs2_machine_handle_timeout(machine, now), "timeout");
            continue;
        }
        struct told told = queue[queue_head++ % 4096];
        if (told.kind == 1) must(hs2_machine_handle_response(machine, now, told.id, told.object), "response");
        if (told.kind == 2) must(hs2_machine_handle_verdict(machine, now, told.object), "verdict");
        if (told.kind == 3) must(hs2_machine_handle_applied(machine, now, told.id, told.through, 0, 0), "applied");
        must(hs2_release(told.object), "release");
    }
    while (queue_head != queue_tail) must(hs2_release(queue[queue_head++ % 4096].object), "release");
    must(hs2_release(machine), "release");
    must(hs2_release(start), "release");
    must(hs2_release(config), "release");
    int right = height == BLOCKS && memcmp(&head, &ids[BLOCKS], sizeof head) == 0;
    printf("%lu blocks, head %s, %u checks failed here, %u bans, %u of the liar\n", (unsigned long)height,
           right ? "as expected" : "WRONG", failing, bans, faults);
    return right && failing == 2 && bans <= 1 && bans == faults ? 0 : 1;
}
