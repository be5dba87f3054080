#include "core_util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

uint64_t rng_next(struct rng *r) { // splitmix64
    uint64_t z = r->s += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

uint32_t rng_below(struct rng *r, uint32_t n) {
    return (uint32_t)(rng_next(r) >> 32) % n;
}

void rng_bytes(struct rng *r, void *to, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)to)[i] = (uint8_t)(rng_next(r) >> 40);
    }
}

char *read_text(const char *path, size_t *length) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return NULL;
    }
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *text = malloc((size_t)n + 1);
    *length = fread(text, 1, (size_t)n, f);
    text[*length] = '\0';
    fclose(f);
    return text;
}

char *replaced(const char *text, const char *what, const char *with) {
    const char *at = strstr(text, what);
    assert_non_null(at);
    size_t before = (size_t)(at - text);
    char *out = malloc(strlen(text) + strlen(with) + 1);
    memcpy(out, text, before);
    strcpy(out + before, with);
    strcat(out, at + strlen(what));
    return out;
}

sim *open_with(const char *text, sim_module **m) {
    sim *s = sim_open(NULL);
    assert_non_null(s);
    if (sim_module_load(s, text, strlen(text), m) != SIM_OK) {
        fail_msg("%s", sim_last_error(s));
    }
    return s;
}

sim *open_file(const char *path, sim_module **m) {
    size_t n;
    char *text = read_text(path, &n);
    if (text == NULL) {
        fail_msg("no file %s", path);
    }
    sim *s = open_with(text, m);
    free(text);
    return s;
}

uint64_t upload(sim *s, const void *data, size_t bytes) {
    uint64_t a = sim_alloc(s, bytes);
    assert_true(a != 0);
    assert_int_equal(sim_copy_to(s, a, data, bytes), SIM_OK);
    return a;
}

void launch(sim *s, const sim_module *m, const char *kernel, const sim_launch_config *c) {
    const sim_kernel *k = sim_kernel_find(m, kernel);
    assert_non_null(k);
    if (sim_launch(s, k, c) != SIM_OK) {
        fail_msg("%s", sim_last_error(s));
    }
}

void run_all(const char *ptx, const struct io *io) {
    uint8_t *first = malloc(io->out_bytes);
    for (int policy = SIM_EAGER; policy <= SIM_RANDOM; policy++) {
        sim_module *m;
        sim *s = open_with(ptx, &m);
        uint64_t in = upload(s, io->in, io->in_bytes);
        uint64_t out = sim_alloc(s, io->out_bytes);
        assert_int_equal(sim_fill(s, out, 0, io->out_bytes), SIM_OK);
        void *params[] = {&in, &out};
        launch(s, m, "k",
               &(sim_launch_config){.block = {io->threads},
                                    .grid = {io->grid},
                                    .cluster = {io->cluster},
                                    .dynamic_smem = io->smem,
                                    .params = params,
                                    .policy = (sim_policy)policy,
                                    .seed = 7});
        assert_int_equal(sim_copy_from(s, io->out, out, io->out_bytes), SIM_OK);
        if (policy == SIM_EAGER) {
            memcpy(first, io->out, io->out_bytes);
        }
        assert_memory_equal(first, io->out, io->out_bytes);
        sim_close(s);
    }
    free(first);
}
