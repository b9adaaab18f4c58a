#include "network.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALIDATORS 4
#define CELL 1024
#define PAYLOAD 1024
#define INTERVAL 1000
#define CHANGES 7

struct network {
    uint64_t blocks;
    hs2_id secrets[VALIDATORS];
    hs2_genesis genesis;
    hs2_epoch epoch;
    hs2_chain chain;
    /* Encoded headers from the genesis block to the one above the last final block. */
    hs2_buffer *headers;
    uint8_t (*payloads)[PAYLOAD];
    /* One certified segment for each cell of 1,024 heights. */
    hs2_buffer *segments;
    size_t segment_count;
    hs2_buffer tip;
    /* Null on a chain without a state. */
    store *states;
    /* Up to which height the state is executed: the block above the last final one is not. */
    hs2_id root;
};

static hs2_slice bytes_of(hs2_buffer buffer) {
    hs2_slice bytes = { NULL, 0 };
    (void)hs2_buffer_bytes(buffer, &bytes);
    return bytes;
}

static uint64_t cell_first(size_t cell) { return cell == 0 ? 1 : (uint64_t)cell * CELL; }

static uint64_t cell_last(const network *net, size_t cell) {
    uint64_t last = (uint64_t)(cell + 1) * CELL - 1;
    return last < net->blocks ? last : net->blocks;
}

/* Four validators of equal power, and epoch 0, in which they decide. */
static hs2_status make_genesis(network *net) {
    hs2_validator members[VALIDATORS];
    hs2_slice nothing = { NULL, 0 };
    hs2_id root = { { 0 } };
    hs2_status status;
    if (net->states) {
        /* The state before the first block has no keys. */
        hs2_state_store states = store_table(net->states);
        if ((status = hs2_state_apply(&states, 0, INTERVAL, NULL, 0, NULL, &root)) != HS2_OK) return status;
    }
    for (size_t i = 0; i < VALIDATORS; i++) {
        memset(&net->secrets[i], (int)(i + 1), sizeof net->secrets[i]);
        members[i].power = 1;
        if ((status = hs2_sign(&net->secrets[i], nothing, &members[i].key, NULL)) != HS2_OK) return status;
    }
    status = hs2_genesis_new("example", 1700000000000, members, VALIDATORS, 1000000, &root, 0, INTERVAL, &net->genesis);
    if (status == HS2_OK) status = hs2_epoch_first(net->genesis, &net->epoch);
    if (status == HS2_OK) status = hs2_chain_new(net->genesis, &net->chain);
    if (status == HS2_OK) status = hs2_genesis_header(net->genesis, &net->headers[0]);
    return status;
}

hs2_status network_execute(const hs2_state_store *states, uint64_t height, hs2_slice payload, const hs2_id *expected,
                           hs2_id *root) {
    char keys[CHANGES][32];
    hs2_change changes[CHANGES];
    for (uint64_t i = 0; i < CHANGES; i++) {
        uint64_t number = i + 1 < CHANGES ? height * (CHANGES - 1) + i : height % 977 + CHANGES;
        int len = snprintf(keys[i], sizeof keys[i], "key %llu", (unsigned long long)number);
        changes[i].key.data = (const uint8_t *)keys[i];
        changes[i].key.len = (size_t)len;
        changes[i].value.data = payload.data + i * 16;
        changes[i].value.len = 16 + (size_t)(height % 48);
        changes[i].deleted = 0;
    }
    return hs2_state_apply(states, height, INTERVAL, changes, CHANGES, expected, root);
}

static hs2_status make_header(network *net, uint64_t height) {
    hs2_proposal proposal;
    memset(&proposal, 0, sizeof proposal);
    uint8_t *payload = net->payloads[height];
    for (size_t i = 0; i < PAYLOAD; i++) payload[i] = (uint8_t)((height * 31 + i * i) >> (i % 7));
    proposal.view = height;
    proposal.timestamp_ms = 1700000000000 + height;
    proposal.payload.data = payload;
    proposal.payload.len = PAYLOAD;
    proposal.proposer = (uint16_t)(height % VALIDATORS);
    if (net->states && height <= net->blocks) {
        hs2_state_store states = store_table(net->states);
        hs2_status status = network_execute(&states, height, proposal.payload, NULL, &net->root);
        if (status != HS2_OK) return status;
    }
    proposal.state_root = net->root;
    return hs2_header_new(bytes_of(net->headers[height - 1]), net->epoch, &proposal, &net->headers[height]);
}

/* The votes of three of the four validators for a header, put together. */
static hs2_status certify(network *net, uint64_t height, hs2_buffer *certificate) {
    hs2_slice header = bytes_of(net->headers[height]);
    hs2_signature votes[VALIDATORS - 1];
    uint8_t vote[HS2_VOTE_BYTES];
    hs2_slice signed_bytes = { vote, sizeof vote };
    hs2_status status = hs2_vote_bytes(header, HS2_PHASE_ONE, vote);
    for (size_t i = 0; i < VALIDATORS - 1 && status == HS2_OK; i++)
        status = hs2_sign(&net->secrets[i], signed_bytes, &votes[i].key, votes[i].bytes);
    if (status != HS2_OK) return status;
    return hs2_certificate_new(header, HS2_PHASE_ONE, net->epoch, votes, VALIDATORS - 1, certificate);
}

/* A block is final with a child in the very next view that a quorum voted for. */
static hs2_status prove(network *net, size_t cell) {
    hs2_slice headers[CELL], child;
    uint64_t first = cell_first(cell), last = cell_last(net, cell);
    hs2_buffer certificate;
    hs2_status status = certify(net, last + 1, &certificate);
    if (status != HS2_OK) return status;
    for (uint64_t height = first; height <= last; height++) headers[height - first] = bytes_of(net->headers[height]);
    child = bytes_of(net->headers[last + 1]);
    status = hs2_segment_new(bytes_of(net->headers[first - 1]), headers, (size_t)(last - first + 1), &child, 1,
                             bytes_of(certificate), &net->segments[cell]);
    if (status == HS2_OK && last == net->blocks)
        status = hs2_tip_new(bytes_of(net->headers[last]), &child, 1, bytes_of(certificate), &net->tip);
    (void)hs2_release(certificate);
    return status;
}

static network *network_make(uint64_t blocks, int with_state) {
    network *net = calloc(1, sizeof *net);
    if (!net) return NULL;
    net->states = with_state ? store_new() : NULL;
    net->blocks = blocks;
    net->segment_count = (size_t)(blocks / CELL + 1);
    net->headers = calloc((size_t)blocks + 2, sizeof *net->headers);
    net->payloads = calloc((size_t)blocks + 2, sizeof *net->payloads);
    net->segments = calloc(net->segment_count, sizeof *net->segments);
    hs2_status status = HS2_TOO_MANY;
    if (net->headers && net->payloads && net->segments && (net->states || !with_state)) status = make_genesis(net);
    for (uint64_t height = 1; height <= blocks + 1 && status == HS2_OK; height++) status = make_header(net, height);
    for (size_t cell = 0; cell < net->segment_count && status == HS2_OK; cell++) status = prove(net, cell);
    if (status == HS2_OK) return net;
    network_free(net);
    return NULL;
}

network *network_new(uint64_t blocks) { return network_make(blocks, 0); }

network *network_with_state(uint64_t blocks) { return network_make(blocks, 1); }

void network_free(network *net) {
    if (!net) return;
    for (uint64_t i = 0; net->headers && i < net->blocks + 2; i++) (void)hs2_release(net->headers[i]);
    for (size_t i = 0; net->segments && i < net->segment_count; i++) (void)hs2_release(net->segments[i]);
    (void)hs2_release(net->tip);
    (void)hs2_release(net->chain);
    (void)hs2_release(net->epoch);
    (void)hs2_release(net->genesis);
    free(net->headers);
    free(net->payloads);
    free(net->segments);
    store_free(net->states);
    free(net);
}

hs2_genesis network_genesis(const network *net) { return net->genesis; }

hs2_chain network_chain(const network *net) { return net->chain; }

hs2_id network_root(const network *net) { return net->root; }

hs2_id network_head(const network *net) {
    hs2_header_info info;
    memset(&info, 0, sizeof info);
    (void)hs2_header_read(bytes_of(net->headers[net->blocks]), &info);
    return info.id;
}

/* The store of a peer, as the library reads it to answer requests. */

static int32_t read_status(void *context, hs2_peer_status *status) {
    const network *net = context;
    status->earliest = 1;
    status->tip = net->blocks;
    status->epoch = 0;
    return HS2_HOST_OK;
}

static int32_t read_handover(void *context, uint64_t epoch, hs2_slice *handover) {
    (void)context, (void)epoch, (void)handover;
    return HS2_HOST_NONE;
}

static int32_t read_tip(void *context, hs2_slice *tip) {
    const network *net = context;
    *tip = bytes_of(net->tip);
    return HS2_HOST_OK;
}

static int32_t read_segment(void *context, uint64_t height, hs2_stored_segment *segment) {
    const network *net = context;
    if (height == 0 || height > net->blocks) return HS2_HOST_NONE;
    size_t cell = (size_t)(height / CELL);
    segment->first = cell_first(cell);
    segment->last = cell_last(net, cell);
    segment->certified = 1;
    segment->segment = bytes_of(net->segments[cell]);
    return HS2_HOST_OK;
}

static int32_t read_payload(void *context, uint64_t height, hs2_slice *payload) {
    network *net = context;
    if (height == 0 || height > net->blocks) return HS2_HOST_NONE;
    payload->data = net->payloads[height];
    payload->len = PAYLOAD;
    return HS2_HOST_OK;
}

hs2_buffer network_answer(network *net, hs2_slice request) {
    hs2_reader reader = { net, read_status, read_handover, read_tip, read_segment, read_payload };
    hs2_buffer answer = 0;
    hs2_status status;
    if (net->states) {
        hs2_state_store states = store_table(net->states);
        status = hs2_respond_with_state(net->chain, &reader, &states, request, &answer);
    } else {
        status = hs2_respond(net->chain, &reader, request, &answer);
    }
    if (status != HS2_OK) (void)hs2_refusal_not_available(&answer);
    return answer;
}
