/*
 * A small network in memory, for the examples: a chain of one-KiB blocks that four validators signed, and a peer that
 * answers requests from it. Everything in here is made with the library, so it also shows an engine how headers, votes,
 * certificates, segments and tips are made, and how a store answers its peers.
 */
#ifndef NETWORK_H
#define NETWORK_H

#include "hs2sync.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct network network;

/* A chain of so many blocks; null where there is no memory or something failed. */
network *network_new(uint64_t blocks);

/* The same, with a state that its blocks change, and snapshots of it that the peer serves. */
network *network_with_state(uint64_t blocks);

void network_free(network *net);

/* Executes a block on a state: six keys get a first value and one another. `expected` is the root in its header, or null. */
hs2_status network_execute(const hs2_state_store *states, uint64_t height, hs2_slice payload, const hs2_id *expected,
                           hs2_id *root);

/* Borrowed from the network. */
hs2_genesis network_genesis(const network *net);
hs2_chain network_chain(const network *net);

/* The root of the state after its highest final block; zero where it has none. */
hs2_id network_root(const network *net);

/* The id of its highest final block. */
hs2_id network_head(const network *net);

/* What a peer answers to a request: one reference to a frozen buffer, 0 where it can't be answered. */
hs2_buffer network_answer(network *net, hs2_slice request);

#ifdef __cplusplus
}
#endif
#endif
