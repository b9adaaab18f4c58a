/*
 * A node in C: catches up with 2,000 blocks from two peers, verifies, applies, and ends at the right block.
 *
 *   cc -std=c99 -D_POSIX_C_SOURCE=200809L -Iinclude bindings-c/examples/node.c bindings-c/examples/network.c
 *      bindings-c/examples/store.c target/release/libhs2sync.a -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -o node
 *
 * Peers are reached over sessions, as over TCP: what one end gives to be written the other end reads. Here both ends are in
 * this process, so that nothing has to be set up; with sockets, `carry` is a `write` on one machine and a `read` on another.
 */
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCKS 2000
#define PEERS 2
#define ASKS 32

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

typedef struct peer {
    hs2_id key;
    hs2_session here;  /* The node's end. */
    hs2_session there; /* The peer's end. */
    /* The machine's number of each open question of the session. */
    struct { uint64_t request; uint32_t ask; } open[ASKS];
} peer;

typedef struct node {
    network *net;
    hs2_machine machine;
    peer peers[PEERS];
    /* What the node has stored and executed. */
    uint64_t height;
    hs2_id head;
    int reached;
} node;

static hs2_slice bytes_of(hs2_buffer buffer) {
    hs2_slice bytes;
    must(hs2_buffer_bytes(buffer, &bytes), "bytes of a buffer");
    return bytes;
}

/* Moves what one end has to write to the other end; 1 where there was something. */
static int carry(hs2_session from, hs2_session to) {
    hs2_buffer outgoing;
    hs2_status status = hs2_session_write(from, &outgoing);
    if (status == HS2_NOT_FOUND) return 0;
    must(status, "write of a session");
    must(hs2_session_read(to, bytes_of(outgoing)), "read of a session");
    must(hs2_release(outgoing), "release");
    return 1;
}

/* The peer's side: it answers what it is asked. */
static void serve(node *node, peer *peer) {
    hs2_session_event event;
    for (;;) {
        must(hs2_session_poll(peer->there, &event), "poll of a session");
        if (event.kind == HS2_SESSION_NONE) return;
        if (event.kind == HS2_SESSION_ASKED) {
            hs2_buffer answer = network_answer(node->net, bytes_of(event.object));
            must(hs2_session_answer(peer->there, event.id, answer), "answer of a session");
            must(hs2_release(answer), "release");
        }
        must(hs2_release(event.object), "release");
    }
}

/* The node's side: what the session says is told to the machine. */
static void listen_to(node *node, peer *peer) {
    hs2_session_event event;
    for (;;) {
        must(hs2_session_poll(peer->here, &event), "poll of a session");
        if (event.kind == HS2_SESSION_NONE) return;
        if (event.kind == HS2_SESSION_OPEN) {
            peer->key = event.peer;
            /* Each peer is a group of its own; over TCP this would be its address' prefix. */
            uint64_t group = (uint64_t)(peer - node->peers);
            must(hs2_machine_handle_connected(node->machine, now_us(), &peer->key, group), "connected");
        }
        for (size_t i = 0; i < ASKS; i++) {
            if (peer->open[i].ask != event.id || event.id == 0) continue;
            uint64_t request = peer->open[i].request;
            peer->open[i].ask = 0;
            if (event.kind == HS2_SESSION_ANSWER)
                must(hs2_machine_handle_response(node->machine, now_us(), request, event.object), "response");
            else
                must(hs2_machine_handle_failure(node->machine, now_us(), request,
                                                event.kind == HS2_SESSION_OVERSIZE ? HS2_REQUEST_FAILURE_OVERSIZE
                                                                                   : HS2_REQUEST_FAILURE_BROKEN),
                     "failure");
        }
        must(hs2_release(event.object), "release");
    }
}

static void ask(node *node, const hs2_output *output) {
    for (size_t i = 0; i < PEERS; i++) {
        peer *peer = &node->peers[i];
        if (memcmp(&peer->key, &output->peer, sizeof peer->key) != 0) continue;
        for (size_t place = 0; place < ASKS; place++) {
            if (peer->open[place].ask != 0) continue;
            uint32_t id;
            hs2_status status =
                hs2_session_ask(peer->here, bytes_of(output->object), output->max_response_bytes, &id);
            if (status != HS2_OK) break;
            peer->open[place].ask = id;
            peer->open[place].request = output->id;
            return;
        }
    }
    must(hs2_machine_handle_failure(node->machine, now_us(), output->id, HS2_REQUEST_FAILURE_BROKEN), "failure");
}

static void cancel(node *node, uint64_t request) {
    for (size_t i = 0; i < PEERS; i++)
        for (size_t place = 0; place < ASKS; place++)
            if (node->peers[i].open[place].ask != 0 && node->peers[i].open[place].request == request) {
                must(hs2_session_cancel(node->peers[i].here, node->peers[i].open[place].ask), "cancel");
                node->peers[i].open[place].ask = 0;
            }
}

/* Runs on this thread; a node with more to do gives jobs to a pool. */
static void verify(node *node, hs2_job job) {
    hs2_verdict verdict;
    must(hs2_job_run(job, network_chain(node->net), &verdict), "job");
    must(hs2_machine_handle_verdict(node->machine, now_us(), verdict), "verdict");
    must(hs2_release(verdict), "release");
}

/* Stores and executes blocks. They are final and verified; here, executing is noting the last one. */
static void apply(node *node, hs2_call call) {
    hs2_call_info info;
    must(hs2_call_read(call, &info), "call");
    if (info.work != HS2_HOST_WORK_APPLY) {
        must(hs2_machine_handle_stored(node->machine, now_us(), info.id, 0), "stored");
        return;
    }
    uint64_t height = info.first;
    while (height <= info.last) {
        hs2_block blocks[64];
        size_t count;
        must(hs2_call_blocks(call, network_chain(node->net), height, blocks, 64, &count), "blocks");
        for (size_t i = 0; i < count; i++) {
            if (blocks[i].height != node->height + 1) {
                fprintf(stderr, "block %llu came after %llu\n", (unsigned long long)blocks[i].height,
                        (unsigned long long)node->height);
                exit(1);
            }
            node->height = blocks[i].height;
            node->head = blocks[i].id;
        }
        height += count;
    }
    must(hs2_machine_handle_applied(node->machine, now_us(), info.id, info.last, 0, 0), "applied");
}

/* Carries out what the machine says until it waits. */
static uint64_t drain(node *node) {
    hs2_output output;
    for (;;) {
        must(hs2_machine_poll(node->machine, &output), "poll");
        switch (output.kind) {
        case HS2_OUTPUT_REQUEST: ask(node, &output); break;
        case HS2_OUTPUT_CANCEL_REQUEST: cancel(node, output.id); break;
        case HS2_OUTPUT_VERIFY: verify(node, output.object); break;
        case HS2_OUTPUT_CALL: apply(node, output.object); break;
        case HS2_OUTPUT_PENALIZE: printf("a peer is penalized\n"); break;
        case HS2_OUTPUT_EVENT: {
            hs2_slice words = bytes_of(output.object);
            printf("%.*s\n", (int)words.len, (const char *)words.data);
            if (output.code == HS2_EVENT_REACHED && output.height == BLOCKS) node->reached = 1;
            break;
        }
        case HS2_OUTPUT_WAIT: return output.deadline_us;
        default: break;
        }
        must(hs2_release(output.object), "release");
    }
}

static void connect_to(node *node, size_t index) {
    hs2_genesis_info genesis;
    hs2_id own, theirs, seed, seed_there;
    /* Real keys and seeds are random. */
    memset(&own, 100, sizeof own);
    memset(&theirs, (int)(101 + index), sizeof theirs);
    memset(&seed, (int)(150 + index), sizeof seed);
    memset(&seed_there, (int)(200 + index), sizeof seed_there);
    must(hs2_genesis_read(network_genesis(node->net), &genesis), "genesis");
    peer *peer = &node->peers[index];
    must(hs2_session_dial(&own, NULL, &genesis.chain_id, HS2_ROLE_NODE, ASKS, &seed, &peer->here), "dial");
    must(hs2_session_accept(&theirs, &genesis.chain_id, ASKS, &seed_there, &peer->there), "accept");
}

/* Catches up from where the node stands. */
static void catch_up(node *node) {
    hs2_config config;
    hs2_start start;
    hs2_slice no_proof = { NULL, 0 };
    node->reached = 0;
    must(hs2_config_new(&config), "config");
    must(hs2_config_set(config, "memory_budget", "16 MiB"), "memory_budget");
    must(hs2_start_new(network_genesis(node->net), &start), "start");
    /* What a store keeps beside the blocks: where it stands. The handovers of past epochs would go in here too. */
    if (node->height > 0) must(hs2_start_stored(start, node->height, &node->head, 0, no_proof), "stored");
    must(hs2_machine_new(config, start, 7, now_us(), &node->machine), "machine");
    must(hs2_release(config), "release");
    must(hs2_release(start), "release");
    memset(node->peers, 0, sizeof node->peers);
    for (size_t i = 0; i < PEERS; i++) connect_to(node, i);
    must(hs2_machine_start(node->machine, now_us(), HS2_NEVER), "start");

    uint64_t deadline = drain(node);
    while (!node->reached) {
        int moved = 0;
        for (size_t i = 0; i < PEERS; i++) {
            peer *peer = &node->peers[i];
            moved |= carry(peer->here, peer->there);
            serve(node, peer);
            moved |= carry(peer->there, peer->here);
            listen_to(node, peer);
        }
        if (!moved) {
            /* Nothing on its way: with sockets, this is a `poll` until the deadline. */
            struct timespec pause = { 0, 1000000 };
            nanosleep(&pause, NULL);
            if (now_us() >= deadline) must(hs2_machine_handle_timeout(node->machine, now_us()), "timeout");
        }
        deadline = drain(node);
    }
    for (size_t i = 0; i < PEERS; i++) {
        must(hs2_release(node->peers[i].here), "release");
        must(hs2_release(node->peers[i].there), "release");
    }
    must(hs2_release(node->machine), "release");
}

int main(void) {
    node node;
    memset(&node, 0, sizeof node);
    if (hs2_abi() != HS2_ABI) {
        fprintf(stderr, "the library has interface %u, the header %u\n", (unsigned)hs2_abi(), (unsigned)HS2_ABI);
        return 1;
    }
    node.net = network_new(BLOCKS);
    if (!node.net) {
        fprintf(stderr, "no network: %s\n", hs2_last_error());
        return 1;
    }
    catch_up(&node);
    hs2_id expected = network_head(node.net);
    int right = node.height == BLOCKS && memcmp(&expected, &node.head, sizeof expected) == 0;
    printf("%llu blocks applied, head %s\n", (unsigned long long)node.height, right ? "as expected" : "WRONG");
    /* Again, as after a restart: everything is there, and nothing is applied twice. */
    catch_up(&node);
    right = right && node.height == BLOCKS;
    network_free(node.net);
    size_t left;
    must(hs2_object_count(&left), "count");
    if (left != 0) fprintf(stderr, "%lu objects were forgotten\n", (unsigned long)left);
    return right && left == 0 ? 0 : 1;
}
