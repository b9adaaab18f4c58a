/*
 * A node that fetches a state instead of all blocks: of 2,050 blocks it takes the state after block 2,000, some 12,000 keys,
 * and executes the last fifty on it. Then it serves what it has, and a second node does the same from it.
 *
 *   cc -std=c99 -D_POSIX_C_SOURCE=200809L -Iinclude bindings-c/examples/states.c bindings-c/examples/network.c
 *      bindings-c/examples/store.c target/release/libhs2sync.a -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -o states
 *
 * Requests are answered at once, in this process; node.c shows sessions.
 */
#include "network.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCKS 2050
#define BASE 2000
#define SEGMENTS 64
#define PAYLOAD 1024

/* A failure ends the program, with the library's words. */
static void must(hs2_status status, const char *what) {
    if (status == HS2_OK) return;
    fprintf(stderr, "%s: %s (%s)\n", what, hs2_last_error(), hs2_status_words(status));
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Headers as they are stored and served. */
typedef struct segment {
    hs2_stored_segment plain;
    hs2_buffer bytes;
} segment;

/* Whoever answers requests. */
typedef hs2_buffer (*answerer)(void *context, hs2_slice request);

typedef struct node {
    network *net;
    hs2_machine machine;
    store *states;
    /* The block whose state was fetched, and blocks above it. */
    uint64_t base, height;
    hs2_id head;
    segment segments[SEGMENTS];
    size_t segment_count;
    uint8_t payloads[BLOCKS - BASE][PAYLOAD];
    hs2_buffer tip;
    int reached;
} node;

static hs2_slice bytes_of(hs2_buffer buffer) {
    hs2_slice bytes = { NULL, 0 };
    if (buffer) must(hs2_buffer_bytes(buffer, &bytes), "bytes of a buffer");
    return bytes;
}

static hs2_buffer copy_of(hs2_slice bytes) {
    hs2_buffer copy;
    must(hs2_buffer_copy(bytes, &copy), "copy");
    return copy;
}

static void keep_segment(node *node, hs2_stored_segment plain) {
    if (node->segment_count == SEGMENTS) exit(1);
    segment *kept = &node->segments[node->segment_count++];
    kept->plain = plain;
    kept->bytes = copy_of(plain.segment);
}

static void keep_tip(node *node, hs2_slice tip) {
    if (tip.len == 0) return;
    (void)hs2_release(node->tip);
    node->tip = copy_of(tip);
}

/* Blocks above the fetched state: kept, and executed on it. */
static void apply(node *node, hs2_call call, const hs2_call_info *info) {
    hs2_block blocks[64];
    size_t count;
    hs2_state_store states = store_table(node->states);
    for (uint64_t height = info->first; height <= info->last; height += count) {
        must(hs2_call_blocks(call, network_chain(node->net), height, blocks, 64, &count), "blocks");
        for (size_t i = 0; i < count; i++) {
            hs2_id root;
            hs2_slice payload = blocks[i].payload;
            memcpy(node->payloads[blocks[i].height - BASE - 1], payload.data, payload.len);
            must(network_execute(&states, blocks[i].height, payload, &blocks[i].state_root, &root), "execute");
            node->height = blocks[i].height;
            node->head = blocks[i].id;
        }
    }
    for (size_t i = 0; i < info->segment_count; i++) {
        hs2_stored_segment plain;
        must(hs2_call_segment(call, network_chain(node->net), i, &plain), "segment");
        keep_segment(node, plain);
        if (plain.certified && plain.last == info->last) {
            hs2_buffer tip;
            must(hs2_segment_tip(network_chain(node->net), plain.segment, &tip), "tip of a segment");
            keep_tip(node, bytes_of(tip));
            must(hs2_release(tip), "release");
        }
    }
    keep_tip(node, info->tip);
    must(hs2_machine_handle_applied(node->machine, now_us(), info->id, info->last, 0, 0), "applied");
}

/* Pieces of a state are put together in the store, and the whole is made live. */
static void fetch(node *node, hs2_call call, const hs2_call_info *info) {
    hs2_state_store states = store_table(node->states);
    hs2_buffer done;
    must(hs2_state_carry_out(call, &states, &done), "a part of a state");
    if (info->work == HS2_HOST_WORK_ACTIVATE) {
        hs2_base base;
        hs2_state_info stands;
        must(hs2_call_base(call, &base), "base");
        must(hs2_state_read(&states, &stands), "state");
        if (stands.height == base.height) {
            node->base = node->height = base.height;
            node->head = base.id;
            keep_segment(node, base.segment);
            printf("the state after block %llu is here: %llu keys\n", (unsigned long long)base.height,
                   (unsigned long long)stands.keys);
        }
    }
    must(hs2_machine_handle_done(node->machine, now_us(), bytes_of(done)), "done");
    must(hs2_release(done), "release");
}

static void carry_out(node *node, hs2_call call) {
    hs2_call_info info;
    must(hs2_call_read(call, &info), "call");
    switch (info.work) {
    case HS2_HOST_WORK_APPLY: apply(node, call, &info); break;
    case HS2_HOST_WORK_SURVEY:
    case HS2_HOST_WORK_STAGE:
    case HS2_HOST_WORK_ACTIVATE: fetch(node, call, &info); break;
    default: must(hs2_machine_handle_stored(node->machine, now_us(), info.id, 0), "stored");
    }
}

/* Carries out what the machine says until it waits. */
static uint64_t drain(node *node, answerer answer, void *context) {
    hs2_output output;
    for (;;) {
        must(hs2_machine_poll(node->machine, &output), "poll");
        switch (output.kind) {
        case HS2_OUTPUT_REQUEST: {
            hs2_buffer made = answer(context, bytes_of(output.object));
            must(hs2_machine_handle_response(node->machine, now_us(), output.id, made), "response");
            must(hs2_release(made), "release");
            break;
        }
        case HS2_OUTPUT_VERIFY: {
            hs2_verdict verdict;
            must(hs2_job_run(output.object, network_chain(node->net), &verdict), "job");
            must(hs2_machine_handle_verdict(node->machine, now_us(), verdict), "verdict");
            must(hs2_release(verdict), "release");
            break;
        }
        case HS2_OUTPUT_CALL: carry_out(node, output.object); break;
        case HS2_OUTPUT_PENALIZE:
            fprintf(stderr, "a peer is penalized\n");
            exit(1);
        case HS2_OUTPUT_EVENT:
            if (output.code == HS2_EVENT_REACHED && output.height == BLOCKS) node->reached = 1;
            break;
        case HS2_OUTPUT_WAIT: return output.deadline_us;
        default: break;
        }
        must(hs2_release(output.object), "release");
    }
}

static void catch_up(node *node, answerer answer, void *context) {
    hs2_config config;
    hs2_start start;
    hs2_id peer;
    memset(&peer, 1, sizeof peer);
    must(hs2_config_new(&config), "config");
    must(hs2_config_set(config, "default_strategy", "fast"), "default_strategy");
    must(hs2_config_set(config, "strategy_switch_threshold", "100"), "strategy_switch_threshold");
    must(hs2_start_new(network_genesis(node->net), &start), "start");
    must(hs2_start_states(start, 0), "states");
    must(hs2_machine_new(config, start, 7, now_us(), &node->machine), "machine");
    must(hs2_release(config), "release");
    must(hs2_release(start), "release");
    must(hs2_machine_handle_connected(node->machine, now_us(), &peer, 1), "connected");
    must(hs2_machine_start(node->machine, now_us(), HS2_NEVER), "start");
    uint64_t deadline = drain(node, answer, context);
    while (!node->reached) {
        struct timespec pause = { 0, 1000000 };
        nanosleep(&pause, NULL);
        if (now_us() >= deadline) must(hs2_machine_handle_timeout(node->machine, now_us()), "timeout");
        deadline = drain(node, answer, context);
    }
    must(hs2_release(node->machine), "release");
}

/* What the node holds, for the next one. */

static int32_t read_status(void *context, hs2_peer_status *status) {
    const node *node = context;
    status->earliest = node->base + 1;
    status->tip = node->height;
    return HS2_HOST_OK;
}

static int32_t read_handover(void *context, uint64_t epoch, hs2_slice *handover) {
    (void)context, (void)epoch, (void)handover;
    return HS2_HOST_NONE;
}

static int32_t read_tip(void *context, hs2_slice *tip) {
    const node *node = context;
    *tip = bytes_of(node->tip);
    return HS2_HOST_OK;
}

static int32_t read_segment(void *context, uint64_t height, hs2_stored_segment *found) {
    const node *node = context;
    for (size_t i = 0; i < node->segment_count; i++) {
        const segment *kept = &node->segments[i];
        if (height < kept->plain.first || height > kept->plain.last) continue;
        *found = kept->plain;
        found->segment = bytes_of(kept->bytes);
        found->audit.len = 0;
        return HS2_HOST_OK;
    }
    return HS2_HOST_NONE;
}

static int32_t read_payload(void *context, uint64_t height, hs2_slice *payload) {
    const node *node = context;
    if (height <= node->base || height > node->height) return HS2_HOST_NONE;
    payload->data = node->payloads[height - BASE - 1];
    payload->len = PAYLOAD;
    return HS2_HOST_OK;
}

static hs2_buffer answer_from_node(void *context, hs2_slice request) {
    node *node = context;
    hs2_reader reader = { node, read_status, read_handover, read_tip, read_segment, read_payload };
    hs2_state_store states = store_table(node->states);
    hs2_buffer answer;
    must(hs2_respond_with_state(network_chain(node->net), &reader, &states, request, &answer), "respond");
    return answer;
}

static hs2_buffer answer_from_network(void *context, hs2_slice request) { return network_answer(context, request); }

/* The root that the store's tree has, and the head, are the network's. */
static int is_right(node *node) {
    hs2_state_store states = store_table(node->states);
    hs2_state_info stands;
    hs2_id head = network_head(node->net), root = network_root(node->net);
    must(hs2_state_read(&states, &stands), "state");
    return node->base == BASE && stands.height == BLOCKS && memcmp(&stands.root, &root, sizeof root) == 0 &&
           memcmp(&node->head, &head, sizeof head) == 0;
}

static void end(node *node) {
    for (size_t i = 0; i < node->segment_count; i++) must(hs2_release(node->segments[i].bytes), "release");
    must(hs2_release(node->tip), "release");
    store_free(node->states);
}

int main(void) {
    static node first, second;
    network *net = network_with_state(BLOCKS);
    if (!net) {
        fprintf(stderr, "no network: %s\n", hs2_last_error());
        return 1;
    }
    first.net = second.net = net;
    first.states = store_new();
    second.states = store_new();
    if (!first.states || !second.states) return 1;
    catch_up(&first, answer_from_network, net);
    catch_up(&second, answer_from_node, &first);
    int right = is_right(&first) && is_right(&second);
    printf("two nodes at block %d, root and head %s, ", BLOCKS, right ? "as expected" : "WRONG");
    end(&first);
    end(&second);
    network_free(net);
    size_t left;
    must(hs2_object_count(&left), "count");
    printf("%lu objects left\n", (unsigned long)left);
    return right && left == 0 ? 0 : 1;
}
