/*
 * An ordered store in memory, behind the three functions in which the library keeps a state. A node that lasts has a database
 * here: LMDB, RocksDB or SQLite have all three.
 */
#ifndef STORE_H
#define STORE_H

#include "hs2sync.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct store store;

/* An empty store; null where there is no memory. */
store *store_new(void);

void store_free(store *of);

/* The functions, for as long as the store is there. */
hs2_state_store store_table(store *of);

#ifdef __cplusplus
}
#endif
#endif
