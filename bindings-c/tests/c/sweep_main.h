/* The last part of the sweep: real bytes to begin with, then sequences of calls. */

static void sample_of(hs2_buffer buffer) {
    hs2_slice bytes;
    if (hs2_buffer_bytes(buffer, &bytes) == HS2_OK && bytes.len <= PLACE_BYTES) {
        size_t at = (size_t)(next() % PLACES);
        memcpy(sample[at], bytes.data, bytes.len);
        sample_len[at] = bytes.len;
    }
}

/* A small chain, so that calls meet bytes that mean something. */
static void plant(void) {
    hs2_validator member = { { { 0 } }, 1 };
    hs2_id secret = { { 7 } }, root = { { 0 } };
    hs2_slice nothing = { NULL, 0 };
    hs2_genesis genesis;
    hs2_epoch epoch;
    hs2_chain chain;
    hs2_buffer header;
    if (hs2_sign(&secret, nothing, &member.key, NULL) != HS2_OK) abort();
    if (hs2_genesis_new("sweep", 1, &member, 1, 1000, &root, 0, 1000, &genesis) != HS2_OK) abort();
    if (hs2_epoch_first(genesis, &epoch) != HS2_OK || hs2_chain_new(genesis, &chain) != HS2_OK) abort();
    if (hs2_genesis_header(genesis, &header) != HS2_OK) abort();
    sample_of(header);
    hs2_config config;
    hs2_start start;
    hs2_machine machine;
    if (hs2_config_new(&config) != HS2_OK || hs2_start_new(genesis, &start) != HS2_OK) abort();
    if (hs2_machine_new(config, start, next(), 0, &machine) != HS2_OK) abort();
    if (hs2_machine_handle_connected(machine, 0, &member.key, 1) != HS2_OK) abort();
    if (hs2_machine_start(machine, 0, HS2_NEVER) != HS2_OK) abort();
    hs2_light light;
    if (hs2_light_new(genesis, nothing, NULL, next(), 0, 1000, 0, &light) != HS2_OK) abort();
    if (hs2_light_handle_connected(light, 0, &member.key, 1) != HS2_OK || hs2_light_start(light, 0) != HS2_OK) abort();
    keep(config), keep(start), keep(machine), keep(light);
    keep(genesis), keep(epoch), keep(chain), keep(header);
}

int main(int argc, char **argv) {
    unsigned long sequences = argc > 1 ? strtoul(argv[1], NULL, 10) : 1, calls = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    size_t count = sizeof all / sizeof *all, called = 0;
    static unsigned char seen[sizeof all / sizeof *all];
    if (hs2_abi() != HS2_ABI) abort();
    nulls();
    for (unsigned long sequence = 0; sequence < sequences; sequence++) {
        if (pooled == 0 || sequence % 100 == 0) plant();
        for (unsigned long i = 0; i < calls; i++) {
            size_t which = (size_t)(next() % count);
            called += !seen[which];
            seen[which] = 1;
            all[which]();
            if (pooled && next() % 8 == 0) sample_of(pool[next() % pooled]);
            /* What random releases took away is not held any more. */
            if (pooled && next() % 4 == 0) {
                size_t at = (size_t)(next() % pooled);
                released[next() % POOL] = pool[at];
                (void)hs2_release(pool[at]);
                pool[at] = pool[--pooled];
            }
        }
    }
    while (pooled) (void)hs2_release(pool[--pooled]);
    for (size_t status = 0; status < 64; status++)
        if (given[status]) printf("%s: %lu\n", hs2_status_words((hs2_status)status), (unsigned long)given[status]);
    if (called == count) printf("every function was called\n");
    return called == count ? 0 : 1;
}
