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

void network_free(network *net);

/* Borrowed from the network. */
hs2_genesis network_genesis(const network *net);
hs2_chain network_chain(const network *net);

/* The id of its highest final block. */
hs2_id network_head(const network *net);

/* What a peer answers to a request: one reference to a frozen buffer, 0 where it can't be answered. */
hs2_buffer network_answer(network *net, hs2_slice request);

#ifdef __cplusplus
}
#endif
#endif
