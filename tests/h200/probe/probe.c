// Instructions of sm_90a on a GPU beside the simulator.
//
//   h200_probe [--device cuda|sim] [--rows N] [--seed S] [--only TEXT]
//
// One line a probe: how many results were compared, how many differ, the first that does. Exit 1 if one
// differs by more than the manual's stated error of an approximate function, which is 0 for all others.
// An instruction that the GPU's assembler refuses is counted apart: the simulator may know more targets.
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t probe_random(uint64_t *state) { // splitmix64
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

bool probe_wanted(const probe_run *run, const char *name) {
    return run->only == NULL || strstr(name, run->only) != NULL;
}

static const char *run_on(probe_run *run, const probe *p, int i, bool *refused) {
    machine *m = run->m[i];
    const char *wrong = m->load(m, p->ptx, p->kernel);
    *refused = wrong != NULL;
    _Alignas(64) uint8_t map[128];
    void *params[8] = {&m->in, &m->out, map};
    if (wrong == NULL && p->map != NULL) {
        sim_tensormap t = *p->map;
        t.address += p->map_out ? m->out : m->in;
        wrong = m->map(m, map, &t);
    }
    for (int j = 0; j < 5 && p->launch.params != NULL; j++) {
        params[3 + j] = p->launch.params[j];
    }
    probe_launch l = p->launch;
    l.params = params;
    memset(run->out[i], 0xEE, p->out_bytes);
    if (p->out_from_in) {
        memcpy(run->out[i], run->in, p->out_bytes);
    }
    wrong = wrong != NULL ? wrong : m->copy_to(m, m->in, run->in, p->in_bytes);
    wrong = wrong != NULL ? wrong : m->copy_to(m, m->out, run->out[i], p->out_bytes);
    wrong = wrong != NULL ? wrong : m->launch(m, &l);
    wrong = wrong != NULL ? wrong : m->copy_from(m, run->out[i], m->out, p->out_bytes);
    m->unload(m);
    return wrong;
}

static int64_t in_order(const uint8_t *at) { // floats as integers in their order
    int32_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits < 0 ? -(int64_t)(bits & 0x7FFFFFFF) : bits;
}

enum { SHOWN = 6 }; // results that differ, of one probe

static void hex(const uint8_t *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 4) {
        uint32_t word;
        memcpy(&word, at + i, sizeof word);
        printf(" %08x", word);
    }
}

static void show(const probe_run *run, const probe *p, size_t row) {
    printf("    %zu:", row);
    hex(run->out[0] + row * p->row_bytes, p->row_bytes);
    printf(" beside");
    hex(run->out[1] + row * p->row_bytes, p->row_bytes);
    if (p->from_bytes > 0) {
        printf(", from");
        hex(run->in + row * p->from_bytes, p->from_bytes);
    }
    printf("\n");
}

static void report(probe_run *run, const probe *p) {
    size_t rows = p->out_bytes / p->row_bytes;
    size_t differ = 0, shown[SHOWN];
    int64_t most = 0;
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *x = run->out[0] + r * p->row_bytes;
        const uint8_t *y = run->out[1] + r * p->row_bytes;
        if (memcmp(x, y, p->row_bytes) != 0) {
            int64_t off = llabs(in_order(x) - in_order(y));
            most = off > most ? off : most;
            if (differ < SHOWN) {
                shown[differ] = r;
            }
            differ++;
        }
    }
    bool bad = p->ulps > 0 ? most > p->ulps : differ > 0;
    run->bad += bad;
    if (run->quiet && !bad) {
        return;
    }
    printf("%-44s %9zu results, %zu differ", p->name, rows, differ);
    if (p->ulps > 0) {
        printf(" (at most %lld, allowed %d)", (long long)most, p->ulps);
    }
    printf("%s\n", bad ? "  DIFFERENT" : "");
    for (size_t i = 0; bad && i < SHOWN && i < differ; i++) {
        show(run, p, shown[i]);
    }
}

void probe_compare(probe_run *run, const probe *p) {
    bool refused[2];
    const char *wrong[2];
    char sentence[2][512];
    for (int i = 0; i < 2; i++) {
        wrong[i] = run_on(run, p, i, &refused[i]);
        snprintf(sentence[i], sizeof sentence[i], "%s", wrong[i] != NULL ? wrong[i] : "");
    }
    if (wrong[0] == NULL && wrong[1] == NULL) {
        report(run, p);
        run->done++;
        return;
    }
    bool absent = refused[0]; // its assembler does not know the instruction
    printf("%-44s %s: %.200s\n", p->name, absent ? "not on this GPU" : "FAILED",
           wrong[0] != NULL ? sentence[0] : sentence[1]);
    run->absent += absent;
    run->bad += !absent;
}

int main(int argc, char **argv) {
    probe_run run = {.seed = 1, .rows = (size_t)1 << 20};
    const char *device = "cuda";
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--device") == 0) {
            device = argv[i + 1];
        } else if (strcmp(argv[i], "--rows") == 0) {
            run.rows = (size_t)strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            run.seed = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--only") == 0) {
            run.only = argv[i + 1];
        } else {
            fprintf(stderr, "h200_probe: unknown option '%s'\n", argv[i]);
            return 2;
        }
    }
    const char *why = NULL;
    run.m[0] = strcmp(device, "cuda") == 0 ? machine_cuda(&why) : machine_sim(SIM_RANDOM);
    if (run.m[0] == NULL) {
        fprintf(stderr, "h200_probe: %s\n", why);
        return 2;
    }
    run.m[1] = machine_sim(SIM_EAGER);
    run.in = malloc(PROBE_IN);
    run.out[0] = malloc(PROBE_OUT);
    run.out[1] = malloc(PROBE_OUT);
    probe_lanes(&run);
    probe_dot(&run);
    probe_copy(&run);
    printf("%d probes compared, %d instructions not on this GPU, %d differ or failed\n", run.done, run.absent, run.bad);
    for (int i = 0; i < 2; i++) {
        run.m[i]->close(run.m[i]);
        free(run.out[i]);
    }
    free(run.in);
    return run.bad > 0 || run.done == 0 ? 1 : 0;
}
