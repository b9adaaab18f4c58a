/*
 * A validator in C that decides alone: its engine makes blocks, votes for them, and hands each in with the proof that it is
 * final. The library proves it as it would prove a peer's, has it stored and executed, and answers once that is done.
 *
 *   cc -std=c99 -D_POSIX_C_SOURCE=200809L -Iinclude bindings-c/examples/validator.c
 *      target/release/libhs2sync.a -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -o validator
 *
 * A real engine has other validators, and its node peers, from which it takes what it missed (node.c); both use one machine.
 */
#include "hs2sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 60
#define EPOCH_BLOCKS 20
#define EPOCHS (BLOCKS / EPOCH_BLOCKS)
#define PAYLOAD 200
/* How many blocks the engine is ahead of its disk at most. */
#define AHEAD 8

static void must(hs2_status status, const char *what) {
    if (status == HS2_OK) return;
    fprintf(stderr, "%s: %s (%s)\n", what, hs2_last_error(), hs2_status_words(status));
    exit(1);
}

typedef struct validator {
    hs2_id secret, key;
    hs2_genesis genesis;
    hs2_chain chain;
    hs2_epoch epochs[EPOCHS + 1];
    hs2_machine machine;
    uint64_t now_us;
    /* The highest block that the engine has decided, encoded. */
    hs2_buffer header;
    uint64_t decided;
    /* What is stored and executed, and up to where the engine was told so. */
    uint64_t height, answered;
    hs2_id head;
    /* The last answer that was a refusal. */
    uint32_t refused, fault;
} validator;

static hs2_slice bytes_of(hs2_buffer buffer) {
    hs2_slice bytes = { NULL, 0 };
    if (buffer != 0) must(hs2_buffer_bytes(buffer, &bytes), "bytes of a buffer");
    return bytes;
}

static const hs2_slice nothing = { NULL, 0 };

/* The certificate that this validator alone makes: it has all of the power. */
static hs2_buffer certify(validator *own, hs2_buffer header, hs2_epoch epoch) {
    uint8_t vote[HS2_VOTE_BYTES];
    hs2_slice message = { vote, sizeof vote };
    hs2_signature signature;
    hs2_buffer certificate;
    must(hs2_vote_bytes(bytes_of(header), HS2_PHASE_TWO, vote), "vote");
    must(hs2_sign(&own->secret, message, &signature.key, signature.bytes), "signature");
    must(hs2_certificate_new(bytes_of(header), HS2_PHASE_TWO, epoch, &signature, 1, &certificate), "certificate");
    return certificate;
}

/* Decides the next block and hands it in. With `bend`, its proof is that of the block before. */
static void decide(validator *own, int bend) {
    uint64_t height = own->decided + 1;
    uint8_t payload[PAYLOAD];
    hs2_proposal proposal;
    hs2_buffer header, certificate, segment, blocks, handover = 0;
    hs2_epoch epoch = own->epochs[(height - 1) / EPOCH_BLOCKS];
    hs2_epoch next = height % EPOCH_BLOCKS == 0 ? own->epochs[height / EPOCH_BLOCKS] : 0;
    memset(payload, (int)height, sizeof payload);
    memset(&proposal, 0, sizeof proposal);
    proposal.view = height;
    proposal.timestamp_ms = 1700000000000 + height;
    proposal.payload.data = payload;
    proposal.payload.len = sizeof payload;
    proposal.next_epoch = next;
    must(hs2_header_new(bytes_of(own->header), epoch, &proposal, &header), "header");
    certificate = certify(own, bend ? own->header : header, epoch);
    hs2_slice only = bytes_of(header);
    must(hs2_segment_new(bytes_of(own->header), &only, 1, NULL, 0, bytes_of(certificate), &segment), "segment");
    must(hs2_blocks_new(bytes_of(segment), nothing, &proposal.payload, 1, &blocks), "blocks");
    if (next != 0) must(hs2_handover_new(only, NULL, 0, bytes_of(certificate), next, &handover), "handover");
    /* The height names the submission: it is one block each. */
    must(hs2_machine_handle_decided(own->machine, own->now_us++, height, height, blocks, bytes_of(handover)), "decided");
    must(hs2_release(blocks), "release");
    must(hs2_release(handover), "release");
    must(hs2_release(segment), "release");
    must(hs2_release(certificate), "release");
    if (bend) {
        must(hs2_release(header), "release");
        return;
    }
    must(hs2_release(own->header), "release");
    own->header = header;
    own->decided = height;
}

static void verify(validator *own, hs2_job job) {
    hs2_verdict verdict;
    must(hs2_job_run(job, own->chain, &verdict), "job");
    must(hs2_machine_handle_verdict(own->machine, own->now_us++, verdict), "verdict");
    must(hs2_release(verdict), "release");
}

/* Stores and executes. An engine that has executed its blocks before it decides would only store them here. */
static void apply(validator *own, hs2_call call) {
    hs2_call_info info;
    must(hs2_call_read(call, &info), "call");
    if (info.work != HS2_HOST_WORK_APPLY) {
        must(hs2_machine_handle_stored(own->machine, own->now_us++, info.id, 0), "stored");
        return;
    }
    for (uint64_t height = info.first; height <= info.last;) {
        hs2_block blocks[AHEAD];
        size_t count;
        must(hs2_call_blocks(call, own->chain, height, blocks, AHEAD, &count), "blocks");
        for (size_t i = 0; i < count; i++) {
            if (blocks[i].height != own->height + 1) exit(1);
            own->height = blocks[i].height;
            own->head = blocks[i].id;
        }
        height += count;
    }
    must(hs2_machine_handle_applied(own->machine, own->now_us++, info.id, info.last, 0, 0), "applied");
}

static void drain(validator *own) {
    hs2_output output;
    do {
        must(hs2_machine_poll(own->machine, &output), "poll");
        switch (output.kind) {
        case HS2_OUTPUT_VERIFY: verify(own, output.object); break;
        case HS2_OUTPUT_CALL: apply(own, output.object); break;
        case HS2_OUTPUT_DECIDED:
            own->refused = output.code;
            own->fault = output.detail;
            if (output.code == 0) {
                own->answered = output.height;
            } else {
                hs2_slice words = bytes_of(output.object);
                printf("block %lu was not taken in: %.*s\n", (unsigned long)output.id, (int)words.len,
                       (const char *)words.data);
            }
            break;
        default: break;
        }
        must(hs2_release(output.object), "release");
    } while (output.kind != HS2_OUTPUT_WAIT);
}

static void begin(validator *own) {
    hs2_validator member = { { { 0 } }, 1 };
    hs2_id root = { { 0 } };
    hs2_config config;
    hs2_start start;
    /* A real secret is random, and kept where nobody else reads it. */
    memset(&own->secret, 7, sizeof own->secret);
    must(hs2_sign(&own->secret, nothing, &own->key, NULL), "key");
    member.key = own->key;
    must(hs2_genesis_new("one validator", 1700000000000, &member, 1, EPOCH_BLOCKS, &root, 0, 1000, &own->genesis),
         "genesis");
    must(hs2_genesis_header(own->genesis, &own->header), "genesis header");
    must(hs2_chain_new(own->genesis, &own->chain), "chain");
    must(hs2_epoch_first(own->genesis, &own->epochs[0]), "epoch");
    for (uint64_t number = 1; number <= EPOCHS; number++)
        must(hs2_epoch_new(own->genesis, number, number * EPOCH_BLOCKS + 1, (number + 1) * EPOCH_BLOCKS, &member, 1,
                           &own->epochs[number]),
             "epoch");
    must(hs2_config_new(&config), "config");
    must(hs2_start_new(own->genesis, &start), "start");
    must(hs2_machine_new(config, start, 7, own->now_us++, &own->machine), "machine");
    must(hs2_release(config), "release");
    must(hs2_release(start), "release");
    must(hs2_machine_start(own->machine, own->now_us++, HS2_NEVER), "start");
    drain(own);
}

static void end(validator *own) {
    must(hs2_release(own->machine), "release");
    must(hs2_release(own->header), "release");
    must(hs2_release(own->chain), "release");
    must(hs2_release(own->genesis), "release");
    for (size_t i = 0; i <= EPOCHS; i++) must(hs2_release(own->epochs[i]), "release");
}

int main(void) {
    validator own;
    memset(&own, 0, sizeof own);
    if (hs2_abi() != HS2_ABI) {
        fprintf(stderr, "the library has interface %u, the header %u\n", (unsigned)hs2_abi(), (unsigned)HS2_ABI);
        return 1;
    }
    begin(&own);
    while (own.answered < BLOCKS) {
        while (own.decided < BLOCKS && own.decided < own.answered + AHEAD) decide(&own, 0);
        drain(&own);
        if (own.refused != 0) return 1;
    }
    hs2_header_info last;
    must(hs2_header_read(bytes_of(own.header), &last), "header");
    int right = own.height == BLOCKS && memcmp(&last.id, &own.head, sizeof last.id) == 0;
    /* A block whose proof does not hold is refused, and nothing of it is stored. */
    decide(&own, 1);
    drain(&own);
    right = right && own.refused == HS2_DECIDED_ERROR_FALSE && own.fault == HS2_FAULT_BAD_CERTIFICATE;
    right = right && own.height == BLOCKS;
    end(&own);
    size_t left;
    must(hs2_object_count(&left), "count");
    printf("%lu blocks decided and applied, %s, %lu objects left\n", (unsigned long)own.answered,
           right ? "as expected" : "WRONG", (unsigned long)left);
    return right && left == 0 ? 0 : 1;
}
