/*
 * A node in C over TCP: catches up from the peers that are named, and serves whoever connects until its input is closed.
 *
 *   cc -std=c99 -D_POSIX_C_SOURCE=200809L -Iinclude bindings-c/examples/tcp.c
 *      target/release/libhs2sync.a -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -o tcp
 *   ./tcp genesis.bin 1500 honest 7001 7002        (the ports of peers on this machine, as `hs2-sync serve --tcp` has them)
 *
 * `genesis.bin` is the encoded document (hs2_genesis_encode). Blocks stay in memory. A node that strangers connect to also
 * bounds its connections, and asks hs2_admission whom to serve when. `lies` in the place of `honest` bends the proof in each
 * tip that it gives, for tests.
 */
#include "hs2sync.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 16
#define ASKS 32
#define SEGMENTS 4096
#define HANDOVERS 64
#define BANS 16
#define PING_US 3000000

typedef struct connection {
    int socket; /* -1: free */
    hs2_session session;
    hs2_id key;
    int is_open;
    /* The machine's number of each question that is out. */
    struct { uint64_t request; uint32_t ask; } out[ASKS];
    /* Bytes on their way, and how many of them are gone. */
    hs2_buffer outgoing;
    size_t sent;
} connection;

typedef struct node {
    hs2_genesis genesis;
    hs2_chain chain;
    hs2_genesis_info info;
    hs2_machine machine;
    hs2_id secret;
    int listener, lies, reached;
    uint64_t until, pinged;
    connection connections[CONNECTIONS];
    hs2_id banned[BANS];
    size_t ban_count;
    /* What is stored: payloads by height, headers, handovers, the newest proof. */
    hs2_buffer *payloads;
    hs2_stored_segment segments[SEGMENTS];
    hs2_buffer segment_bytes[SEGMENTS];
    size_t segment_count;
    hs2_buffer handovers[HANDOVERS];
    uint64_t handover_count, height, epoch;
    hs2_id head, root;
    hs2_buffer tip;
} node;

/* A failure ends the program, with the library's words. */
static void must(hs2_status status, const char *what) {
    if (status == HS2_OK) return;
    fprintf(stderr, "%s: %s (%s)\n", what, hs2_last_error(), hs2_status_words(status));
    exit(1);
}

static void need(int yes, const char *what) {
    if (yes) return;
    perror(what);
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static hs2_id random_id(void) {
    hs2_id id;
    FILE *source = fopen("/dev/urandom", "rb");
    need(source && fread(&id, sizeof id, 1, source) == 1, "/dev/urandom");
    fclose(source);
    return id;
}

static void print_id(const hs2_id *id) {
    for (size_t i = 0; i < sizeof id->bytes; i++) printf("%02x", id->bytes[i]);
}

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

/* The store, as the library reads it to answer peers. */

static int32_t read_status(void *context, hs2_peer_status *status) {
    const node *node = context;
    status->earliest = 1;
    status->tip = node->height;
    status->epoch = node->epoch;
    return HS2_HOST_OK;
}

static int32_t read_handover(void *context, uint64_t epoch, hs2_slice *handover) {
    const node *node = context;
    if (epoch >= node->handover_count) return HS2_HOST_NONE;
    *handover = bytes_of(node->handovers[epoch]);
    return HS2_HOST_OK;
}

static int32_t read_tip(void *context, hs2_slice *tip) {
    const node *node = context;
    if (!node->tip) return HS2_HOST_NONE;
    *tip = bytes_of(node->tip);
    return HS2_HOST_OK;
}

static int32_t read_segment(void *context, uint64_t height, hs2_stored_segment *found) {
    const node *node = context;
    for (size_t i = 0; i < node->segment_count; i++) {
        if (height < node->segments[i].first || height > node->segments[i].last) continue;
        *found = node->segments[i];
        found->segment = bytes_of(node->segment_bytes[i]);
        found->audit.len = 0;
        return HS2_HOST_OK;
    }
    return HS2_HOST_NONE;
}

static int32_t read_payload(void *context, uint64_t height, hs2_slice *payload) {
    const node *node = context;
    if (height == 0 || height > node->height) return HS2_HOST_NONE;
    *payload = bytes_of(node->payloads[height]);
    return HS2_HOST_OK;
}

static hs2_buffer answer(node *node, hs2_slice request) {
    hs2_reader reader = { node, read_status, read_handover, read_tip, read_segment, read_payload };
    hs2_buffer made, bent;
    if (hs2_respond(node->chain, &reader, request, &made) != HS2_OK) must(hs2_refusal_not_available(&made), "refusal");
    hs2_slice bytes = bytes_of(made);
    if (!node->lies || request.len != 2 || request.data[1] != 2 || bytes.len < 100) return made;
    uint8_t *copy;
    size_t capacity;
    must(hs2_buffer_new(bytes.len, &bent), "buffer");
    must(hs2_buffer_memory(bent, &copy, &capacity), "memory");
    memcpy(copy, bytes.data, bytes.len);
    copy[bytes.len - 1] ^= 1;
    must(hs2_buffer_freeze(bent, bytes.len), "freeze");
    must(hs2_release(made), "release");
    return bent;
}

/* Connections. */

static void end(node *node, connection *at) {
    for (size_t i = 0; i < ASKS; i++)
        if (at->out[i].ask)
            must(hs2_machine_handle_failure(node->machine, now_us(), at->out[i].request, HS2_REQUEST_FAILURE_BROKEN), "failure");
    if (at->is_open) must(hs2_machine_handle_disconnected(node->machine, now_us(), &at->key), "disconnected");
    must(hs2_release(at->session), "release");
    must(hs2_release(at->outgoing), "release");
    close(at->socket);
    memset(at, 0, sizeof *at);
    at->socket = -1;
}

static connection *begin(node *node, int socket) {
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (node->connections[i].socket >= 0) continue;
        need(fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK) == 0, "fcntl");
        node->connections[i].socket = socket;
        return &node->connections[i];
    }
    close(socket);
    return NULL;
}

static void dial(node *node, uint16_t port) {
    struct sockaddr_in to;
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int made = socket(AF_INET, SOCK_STREAM, 0);
    need(made >= 0 && connect(made, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    connection *at = begin(node, made);
    hs2_id seed = random_id();
    if (at)
        must(hs2_session_dial(&node->secret, NULL, &node->info.chain_id, HS2_ROLE_NODE, ASKS, &seed, &at->session), "dial");
}

static void greet(node *node) {
    int made = accept(node->listener, NULL, NULL);
    connection *at = made < 0 ? NULL : begin(node, made);
    hs2_id seed = random_id();
    if (at) must(hs2_session_accept(&node->secret, &node->info.chain_id, ASKS, &seed, &at->session), "accept");
}

static void took(node *node, connection *at, const hs2_session_event *event) {
    for (size_t i = 0; i < ASKS; i++) {
        if (at->out[i].ask != event->id || event->id == 0) continue;
        at->out[i].ask = 0;
        if (event->kind == HS2_SESSION_ANSWER)
            must(hs2_machine_handle_response(node->machine, now_us(), at->out[i].request, event->object), "response");
        else
            must(hs2_machine_handle_failure(node->machine, now_us(), at->out[i].request,
                                            event->kind == HS2_SESSION_OVERSIZE ? HS2_REQUEST_FAILURE_OVERSIZE
                                                                                : HS2_REQUEST_FAILURE_BROKEN), "failure");
    }
}

/* What the session says is told to the machine; 0 where the peer is kept out. */
static int events(node *node, connection *at) {
    hs2_session_event event;
    for (;;) {
        must(hs2_session_poll(at->session, &event), "poll of a session");
        switch (event.kind) {
        case HS2_SESSION_NONE: return 1;
        case HS2_SESSION_OPEN:
            for (size_t i = 0; i < node->ban_count; i++)
                if (memcmp(&node->banned[i], &event.peer, sizeof event.peer) == 0) return 0;
            at->key = event.peer;
            at->is_open = 1;
            /* Over the internet the group is the address' prefix; here each peer is one. */
            must(hs2_machine_handle_connected(node->machine, now_us(), &at->key, event.peer.bytes[0]), "connected");
            break;
        case HS2_SESSION_ASKED: {
            hs2_buffer made = answer(node, bytes_of(event.object));
            must(hs2_session_answer(at->session, event.id, made), "answer");
            must(hs2_release(made), "release");
            break;
        }
        case HS2_SESSION_ANSWER:
        case HS2_SESSION_OVERSIZE:
        case HS2_SESSION_RESET: took(node, at, &event); break;
        default: break;
        }
        must(hs2_release(event.object), "release");
    }
}

/* Reads what is there; 0 where the connection is over. */
static int incoming(node *node, connection *at) {
    uint8_t bytes[65536];
    ssize_t count = recv(at->socket, bytes, sizeof bytes, 0);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return 0;
    hs2_slice slice = { bytes, (size_t)count };
    if (hs2_session_read(at->session, slice) != HS2_OK) return 0;
    return events(node, at);
}

/* Writes what there is; 0 where the connection is over. */
static int outgoing(connection *at) {
    for (;;) {
        if (!at->outgoing) {
            at->sent = 0;
            hs2_status status = hs2_session_write(at->session, &at->outgoing);
            if (status != HS2_OK) return status == HS2_NOT_FOUND;
        }
        hs2_slice bytes = bytes_of(at->outgoing);
        ssize_t count = send(at->socket, bytes.data + at->sent, bytes.len - at->sent, MSG_NOSIGNAL);
        if (count < 0) return errno == EAGAIN || errno == EINTR;
        at->sent += (size_t)count;
        if (at->sent < bytes.len) continue;
        must(hs2_release(at->outgoing), "release");
        at->outgoing = 0;
    }
}

/* The machine. */

static void ask(node *node, const hs2_output *output) {
    for (size_t i = 0; i < CONNECTIONS; i++) {
        connection *at = &node->connections[i];
        if (at->socket < 0 || !at->is_open || memcmp(&at->key, &output->peer, sizeof at->key) != 0) continue;
        for (size_t place = 0; place < ASKS; place++) {
            uint32_t id;
            if (at->out[place].ask) continue;
            if (hs2_session_ask(at->session, bytes_of(output->object), output->max_response_bytes, &id) != HS2_OK) break;
            at->out[place].ask = id;
            at->out[place].request = output->id;
            return;
        }
    }
    must(hs2_machine_handle_failure(node->machine, now_us(), output->id, HS2_REQUEST_FAILURE_BROKEN), "failure");
}

static void cancel(node *node, uint64_t request) {
    for (size_t i = 0; i < CONNECTIONS; i++)
        for (size_t place = 0; place < ASKS; place++) {
            connection *at = &node->connections[i];
            if (at->socket < 0 || !at->out[place].ask || at->out[place].request != request) continue;
            must(hs2_session_cancel(at->session, at->out[place].ask), "cancel");
            at->out[place].ask = 0;
        }
}

static void event(const hs2_output *output) {
    hs2_slice reason, words = bytes_of(output->object);
    if (output->code != HS2_EVENT_BANNED) return;
    must(hs2_code_name(output->detail, &reason), "name of a code");
    printf("banned ");
    print_id(&output->peer);
    printf(" %.*s %.*s\n", (int)reason.len, (const char *)reason.data, (int)words.len, (const char *)words.data);
}

static void penalize(node *node, const hs2_output *output) {
    if (output->code != HS2_PENALTY_BAN) return;
    if (node->ban_count < BANS) node->banned[node->ban_count++] = output->peer;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        connection *at = &node->connections[i];
        if (at->socket >= 0 && at->is_open && memcmp(&at->key, &output->peer, sizeof at->key) == 0) end(node, at);
    }
}

static void keep_segment(node *node, const hs2_stored_segment *plain) {
    need(node->segment_count < SEGMENTS, "room for headers");
    node->segments[node->segment_count] = *plain;
    node->segment_bytes[node->segment_count++] = copy_of(plain->segment);
    node->epoch = plain->epoch;
}

static void apply(node *node, hs2_call call, const hs2_call_info *info) {
    hs2_block blocks[64];
    size_t count;
    for (uint64_t height = info->first; height <= info->last; height += count) {
        must(hs2_call_blocks(call, node->chain, height, blocks, 64, &count), "blocks");
        node->payloads = realloc(node->payloads, (size_t)(height + count) * sizeof *node->payloads);
        need(node->payloads != NULL, "memory");
        for (size_t i = 0; i < count; i++) node->payloads[height + i] = copy_of(blocks[i].payload);
        node->head = blocks[count - 1].id;
        node->root = blocks[count - 1].state_root;
    }
    node->height = info->last;
    hs2_buffer tip = info->tip.len ? copy_of(info->tip) : 0;
    for (size_t i = 0; i < info->segment_count; i++) {
        hs2_stored_segment plain;
        must(hs2_call_segment(call, node->chain, i, &plain), "segment");
        keep_segment(node, &plain);
        if (!tip && plain.certified && plain.last == info->last)
            must(hs2_segment_tip(node->chain, plain.segment, &tip), "tip of a segment");
    }
    if (tip) {
        must(hs2_release(node->tip), "release");
        node->tip = tip;
    }
    must(hs2_machine_handle_applied(node->machine, now_us(), info->id, info->last, 0, 0), "applied");
}

static void carry_out(node *node, hs2_call call) {
    hs2_call_info info;
    must(hs2_call_read(call, &info), "call");
    if (info.work == HS2_HOST_WORK_APPLY) {
        apply(node, call, &info);
        return;
    }
    for (size_t i = 0; i < info.handover_count; i++) {
        hs2_link link;
        must(hs2_call_handover(call, i, &link), "handover");
        need(link.ended == node->handover_count && node->handover_count < HANDOVERS, "room for handovers");
        node->handovers[node->handover_count++] = copy_of(link.handover);
    }
    must(hs2_machine_handle_stored(node->machine, now_us(), info.id, 0), "stored");
}

static void verify(node *node, hs2_job job) {
    hs2_verdict verdict;
    must(hs2_job_run(job, node->chain, &verdict), "job");
    must(hs2_machine_handle_verdict(node->machine, now_us(), verdict), "verdict");
    must(hs2_release(verdict), "release");
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
        case HS2_OUTPUT_CALL: carry_out(node, output.object); break;
        case HS2_OUTPUT_PENALIZE: penalize(node, &output); break;
        case HS2_OUTPUT_EVENT: event(&output); break;
        case HS2_OUTPUT_WAIT: return output.deadline_us;
        default: break;
        }
        must(hs2_release(output.object), "release");
        if (!node->reached && node->height >= node->until) {
            node->reached = 1;
            printf("reached %llu ", (unsigned long long)node->height);
            print_id(&node->head);
            printf(" ");
            print_id(&node->root);
            printf("\n");
        }
        fflush(stdout);
    }
}

static void listen_at_any_port(node *node) {
    struct sockaddr_in at;
    socklen_t length = sizeof at;
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    node->listener = socket(AF_INET, SOCK_STREAM, 0);
    need(node->listener >= 0 && bind(node->listener, (struct sockaddr *)&at, sizeof at) == 0 &&
         listen(node->listener, CONNECTIONS) == 0 && getsockname(node->listener, (struct sockaddr *)&at, &length) == 0, "listen");
    hs2_id key;
    hs2_slice nothing = { NULL, 0 };
    must(hs2_sign(&node->secret, nothing, &key, NULL), "key");
    printf("listening %u ", (unsigned)ntohs(at.sin_port));
    print_id(&key);
    printf("\n");
    fflush(stdout);
}

/* Waits for sockets, or until the deadline; 0 where the input is closed. */
static int turn(node *node, uint64_t deadline) {
    struct pollfd waits[CONNECTIONS + 2];
    memset(waits, 0, sizeof waits);
    waits[0].fd = 0;
    waits[1].fd = node->listener;
    waits[0].events = waits[1].events = POLLIN;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        waits[i + 2].fd = node->connections[i].socket;
        waits[i + 2].events = (short)(node->connections[i].outgoing ? POLLIN | POLLOUT : POLLIN);
    }
    uint64_t now = now_us(), pause = deadline <= now ? 0 : deadline - now;
    (void)poll(waits, CONNECTIONS + 2, (int)(pause > 1000000 ? 1000 : (pause + 999) / 1000));
    if (waits[0].revents) return 0;
    if (waits[1].revents) greet(node);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        connection *at = &node->connections[i];
        if (waits[i + 2].fd < 0 || at->socket != waits[i + 2].fd) continue;
        if (waits[i + 2].revents && !incoming(node, at)) end(node, at);
    }
    if (now_us() >= deadline) must(hs2_machine_handle_timeout(node->machine, now_us()), "timeout");
    return 1;
}

static void start(node *node, const char *genesis) {
    static uint8_t document[1 << 20];
    FILE *file = fopen(genesis, "rb");
    need(file != NULL, genesis);
    hs2_slice encoded = { document, fread(document, 1, sizeof document, file) };
    fclose(file);
    hs2_config config;
    hs2_start from;
    hs2_id seed = random_id();
    must(hs2_genesis_decode(encoded, &node->genesis), "genesis");
    must(hs2_genesis_read(node->genesis, &node->info), "genesis");
    must(hs2_chain_new(node->genesis, &node->chain), "chain");
    must(hs2_config_new(&config), "config");
    must(hs2_start_new(node->genesis, &from), "start");
    must(hs2_machine_new(config, from, seed.bytes[0], now_us(), &node->machine), "machine");
    must(hs2_release(config), "release");
    must(hs2_release(from), "release");
    must(hs2_machine_start(node->machine, now_us(), HS2_NEVER), "start");
}

int main(int argc, char **argv) {
    static node node;
    if (argc < 4 || hs2_abi() != HS2_ABI) {
        fprintf(stderr, "usage: tcp GENESIS HEIGHT honest|lies PORT...\n");
        return 1;
    }
    node.until = strtoull(argv[2], NULL, 10);
    node.lies = strcmp(argv[3], "lies") == 0;
    node.secret = random_id();
    for (size_t i = 0; i < CONNECTIONS; i++) node.connections[i].socket = -1;
    start(&node, argv[1]);
    listen_at_any_port(&node);
    for (int i = 4; i < argc; i++) dial(&node, (uint16_t)strtoul(argv[i], NULL, 10));
    uint64_t deadline;
    do {
        deadline = drain(&node);
        int pings = now_us() - node.pinged >= PING_US;
        if (pings) node.pinged = now_us();
        for (size_t i = 0; i < CONNECTIONS; i++) {
            connection *at = &node.connections[i];
            if (at->socket < 0) continue;
            if (pings && at->is_open) (void)hs2_session_ping(at->session);
            if (!outgoing(at)) end(&node, at);
        }
    } while (turn(&node, deadline));
    return 0;
}
