#include "store.h"

#include <stdlib.h>
#include <string.h>

#define KEY 64

/* A treap: a search tree by key, and a heap by priorities that are random, so that it stays low. */
typedef struct entry {
    struct entry *left, *right;
    uint32_t priority;
    size_t key_len, value_len;
    uint8_t key[KEY];
    uint8_t value[];
} entry;

struct store {
    entry *root;
    uint32_t seed;
};

static int compare(const uint8_t *one, size_t one_len, const uint8_t *other, size_t other_len) {
    int order = memcmp(one, other, one_len < other_len ? one_len : other_len);
    if (order != 0) return order;
    return one_len < other_len ? -1 : one_len > other_len;
}

static int order(const entry *at, hs2_slice key) { return compare(at->key, at->key_len, key.data, key.len); }

/* Parts a tree in the entries below a key, the entry with it, and those above. */
static void split(entry *tree, hs2_slice key, entry **below, entry **same, entry **above) {
    *below = *same = *above = NULL;
    while (tree) {
        int at = order(tree, key);
        if (at < 0) {
            *below = tree;
            below = &tree->right;
            tree = tree->right;
            *below = NULL;
        } else if (at > 0) {
            *above = tree;
            above = &tree->left;
            tree = tree->left;
            *above = NULL;
        } else {
            *same = tree;
            *below = tree->left;
            *above = tree->right;
            tree->left = tree->right = NULL;
            return;
        }
    }
}

/* Puts two trees together; all keys of the first are below those of the second. */
static entry *join(entry *below, entry *above) {
    entry *top = NULL, **place = &top;
    while (below && above) {
        if (below->priority > above->priority) {
            *place = below;
            place = &below->right;
            below = below->right;
        } else {
            *place = above;
            place = &above->left;
            above = above->left;
        }
    }
    *place = below ? below : above;
    return top;
}

static int32_t get(void *context, hs2_slice key, hs2_slice *value) {
    const store *of = context;
    for (entry *at = of->root; at;) {
        int where = order(at, key);
        if (where == 0) {
            value->data = at->value;
            value->len = at->value_len;
            return HS2_HOST_OK;
        }
        at = where < 0 ? at->right : at->left;
    }
    return HS2_HOST_NONE;
}

static int32_t next_entry(void *context, hs2_slice from, hs2_slice to, hs2_entry *found) {
    const store *of = context;
    entry *lowest = NULL;
    for (entry *at = of->root; at;) {
        if (order(at, from) >= 0) {
            lowest = at;
            at = at->left;
        } else {
            at = at->right;
        }
    }
    if (!lowest || order(lowest, to) > 0) return HS2_HOST_NONE;
    found->key.data = lowest->key;
    found->key.len = lowest->key_len;
    found->value.data = lowest->value;
    found->value.len = lowest->value_len;
    return HS2_HOST_OK;
}

static int32_t write_all(void *context, const hs2_change *changes, size_t count) {
    store *of = context;
    entry **made = calloc(count, sizeof *made);
    if (!made) return -1;
    /* All memory first: where there is none, nothing has changed. */
    for (size_t i = 0; i < count; i++) {
        const hs2_change *change = &changes[i];
        if (change->deleted) continue;
        entry *at = malloc(sizeof *at + change->value.len);
        if (!at) {
            for (size_t j = 0; j < i; j++) free(made[j]);
            free(made);
            return -1;
        }
        of->seed = of->seed * 1664525u + 1013904223u;
        at->left = at->right = NULL;
        at->priority = of->seed;
        at->key_len = change->key.len;
        at->value_len = change->value.len;
        memcpy(at->key, change->key.data, change->key.len);
        if (change->value.len) memcpy(at->value, change->value.data, change->value.len);
        made[i] = at;
    }
    for (size_t i = 0; i < count; i++) {
        entry *below, *same, *above;
        split(of->root, changes[i].key, &below, &same, &above);
        free(same);
        of->root = join(join(below, made[i]), above);
    }
    free(made);
    return HS2_HOST_OK;
}

store *store_new(void) {
    store *made = calloc(1, sizeof *made);
    if (made) made->seed = 7;
    return made;
}

void store_free(store *of) {
    if (!of) return;
    /* Turned to the right again and again, the tree becomes a list. */
    for (entry *at = of->root; at;) {
        if (at->left) {
            entry *left = at->left;
            at->left = left->right;
            left->right = at;
            at = left;
        } else {
            entry *right = at->right;
            free(at);
            at = right;
        }
    }
    free(of);
}

hs2_state_store store_table(store *of) {
    hs2_state_store table = { of, get, next_entry, write_all };
    return table;
}
