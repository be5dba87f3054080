// Judges mutants of one kernel's PTX, all in one process: what the static verifier says of a text, and
// what the simulator with the strict hazard detector makes of it in several launches (roads).
//
//   judge FILE.tk ARCH KERNEL VARIANT MODULE.tkm [roads]
//
// In: on standard input, a line 'v|w|d START END LENGTH' and LENGTH bytes: the variant's PTX with bytes START to
// END replaced by these, for the verifier or the detector (d). v: with the sizes that could be followed in the last
// text; w: as the verifier is, which tries larger ones first and refuses what it meets on their way.
// Out: a line 'VERDICT<tab>ROAD<tab>SENTENCE' each. 'roads' prints the roads and ends.
// The operands are those of 'fp4c run', whose files are linked here; the PTX comes from the module, so
// no LLVM is needed. A road's operands are made once: every launch is a child process, to which they belong
// as they were. What it leaves in memory is compared with what the unchanged kernel leaves: that this is right is
// what other tests show.
#include "run.h"
#include "v_module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// MANY: several tiles a cluster, and every ring goes round. ODD: three tiles, or seven, so that of two groups that
// take turns one has more.
typedef enum { MANY, ODD, DRAWN } sizes_kind;

typedef struct {
    const char *name;
    fp4_schedule order;
    uint64_t seed;
    sizes_kind kind;
    int clusters;
} road;

// The first finds nearly everything; the others stand behind it for what depends on order or size.
static const road roads[] = {
    {"eager", FP4_SCHEDULE_EAGER, 1, MANY, 1},    {"lazy", FP4_SCHEDULE_LAZY, 2, ODD, 1},
    {"lazy", FP4_SCHEDULE_LAZY, 1, MANY, 1},      {"random", FP4_SCHEDULE_RANDOM, 5, DRAWN, 1},
    {"random", FP4_SCHEDULE_RANDOM, 7, DRAWN, 2}, {"lazy", FP4_SCHEDULE_LAZY, 4, DRAWN, 1},
    {"random", FP4_SCHEDULE_RANDOM, 3, MANY, 2},
};
enum { N_ROADS = sizeof roads / sizeof roads[0] };

// What a launch came to. The verdict is "" where its result is the unchanged kernel's, or where it is that.
typedef struct {
    char verdict[16];
    uint64_t result;
    char said[600];
} outcome;

// A device with the operands of a road on it.
typedef struct {
    run_state run;
    bool ready;      // and the result of the unchanged kernel is known
    uint64_t result;
} stage;

typedef struct {
    unit u;
    const built *b;
    int variant, n_variants;
    const char *meta;
    facts_kernel *facts;
    stage stages[N_ROADS];
    uint8_t halved[VERIFY_MOST_CASES];
} judge;

typedef struct {
    const char *text;
    size_t len;
} ptx;

// The code generator's place: here PTX comes from a module.
const char *cg_compile(const tir_kernel *k, const cg_options *opt, arena *mem, cg_result *out) {
    (void)k, (void)opt, (void)mem, (void)out;
    return "there is no code generator here";
}

// ---- sizes --------------------------------------------------------------------------------------
static bool mentions(const tir_size *s, int dim) {
    return s != NULL && ((s->op == SZ_DIM && s->dim == dim) || mentions(s->a, dim) || mentions(s->b, dim));
}

// Tiles of a loop, the last one cut off.
static int64_t tiles(int64_t tile, int64_t n) {
    return tile == 1 ? n + 1 : n * tile - tile / 4 - 1;
}

// Groups of warps take tiles by turns: each is to hand over so often that a count of arrivals which is wrong by one
// in four has moved by a phase.
static bool takes_turns(const tir_kernel *k) {
    for (int r = 0; r < k->n_roles; r++) {
        if (k->roles[r].turns > 1) {
            return true;
        }
    }
    return false;
}

// Along a 'for' loop two steps more than the deepest ring has slots, for each CTA that shares it; over a part of
// a dimension, which is one of two, twice that: one of them then goes round. Without such a loop, tiles are all
// that goes round. One over single elements stands around others, which do that.
static int64_t large(const tir_kernel *k, int dim, sizes_kind kind) {
    int depth = 1;
    int64_t size = 0;
    for (int i = 0; i < k->n_channels; i++) {
        depth = k->channels[i].depth > depth ? k->channels[i].depth : depth;
    }
    for (int i = 0; i < k->n_loops; i++) {
        bool last = i + 1 == k->n_loops;
        int64_t odd = !last ? 1 : takes_turns(k) ? 7 : 3;
        int64_t n = kind == ODD ? odd : k->n_fors > 0 ? 2 : 4;
        if (kind == MANY && i + 1 == k->n_loops && k->walk.kind == WALK_ONE) { // and that ring goes round
            n = k->walk.depth + 2;
        }
        n = k->loops[i].tile == 1 && k->n_loops > 1 ? 1 : n; // matrices: their own tiles go round
        n = mentions(k->loops[i].dim, dim) ? tiles(k->loops[i].tile, n) : 0;
        size = n > size ? n : size;
    }
    for (int i = 0; i < k->n_fors; i++) {
        int64_t one = k->n_fors > 1 && k->fors[i].step == 1 ? 1 : depth + 2;
        int64_t steps = one * (k->fors[i].split > 1 ? k->fors[i].split : 1) * (k->fors[i].lo != NULL ? 2 : 1);
        int64_t n = mentions(k->fors[i].extent, dim) ? tiles(k->fors[i].step, steps) : 0;
        size = n > size ? n : size;
    }
    return size > 0 ? size : 3;
}

// The least rounding of every size with which the kernel admits them.
static bool large_sizes(run_state *r, sizes_kind kind) {
    const ast_kernel *k = r->b->ast;
    const tir_kernel *t = r->b->tir;
    enum { COARSEST = 1024 };
    int64_t want[RUN_MAX_DIMS];
    for (int i = 0; i < k->n_dims; i++) {
        int id = k->dims[i]->id;
        want[id] = 3;
        for (int d = 0; d < t->n_dims; d++) {
            want[id] = strcmp(t->dims[d], k->dims[i]->name) == 0 ? large(t, d, kind) : want[id];
        }
        r->dims[id] = (want[id] + COARSEST - 1) / COARSEST * COARSEST;
    }
    for (int i = 0; i < k->n_dims; i++) {
        int id = k->dims[i]->id;
        int64_t q = 1;
        do {
            r->dims[id] = (want[id] + q - 1) / q * q;
            q *= 2;
        } while (!run_admits(r) && q <= COARSEST);
    }
    return run_admits(r);
}

// As 'fp4c run' draws them, but of few matrices.
static bool drawn_sizes(run_state *r, uint64_t seed) {
    const ast_kernel *k = r->b->ast;
    const tir_kernel *t = r->b->tir;
    for (int i = 0; i < k->n_dims; i++) {
        for (int l = 0; l < t->n_loops && t->n_loops > 1; l++) {
            const tir_size *d = t->loops[l].dim;
            if (t->loops[l].tile == 1 && d->op == SZ_DIM && strcmp(t->dims[d->dim], k->dims[i]->name) == 0) {
                r->dims[k->dims[i]->id] = 3;
                r->given[k->dims[i]->id] = true;
            }
        }
    }
    return run_draw_sizes(r, &seed);
}

// ---- a launch -----------------------------------------------------------------------------------
static uint64_t hashed(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    uint64_t word;
    for (; n >= sizeof word; n -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        h = (h ^ word ^ h >> 29) * 0x9E3779B97F4A7C15u;
    }
    for (size_t i = 0; i < n; i++) {
        h = (h ^ p[i]) * 1099511628211u;
    }
    return h;
}

static bool hash_memory(const run_state *r, uint64_t base, int64_t bytes, uint64_t *h) {
    size_t n = (size_t)bytes + 2 * RUN_GUARD;
    void *copy = malloc(n);
    bool ok = copy != NULL && fp4_copy_from(r->ctx, copy, base, (int64_t)n, NULL) == FP4_OK;
    *h = ok ? hashed(*h, copy, n) : 0;
    free(copy);
    return ok;
}

// Of every tensor with its guards: what a launch must leave alone is compared as well.
static bool hash_tensors(const run_state *r, uint64_t *h) {
    bool ok = true;
    *h = 14695981039346656037u;
    for (int i = 0; i < r->n_params; i++) {
        const run_tensor *t = &r->tensors[i];
        ok &= t->data_base == 0 || hash_memory(r, t->data_base, t->storage.data_bytes, h);
        ok &= t->scale_base == 0 || hash_memory(r, t->scale_base, t->scale_bytes, h);
    }
    return ok;
}

static bool load(const judge *j, run_state *r, ptx p) {
    module_kernel kernel = {.meta = j->meta, .ptx = p.text, .ptx_len = p.len};
    module_image image;
    module_source source = {.name = "judge"};
    fp4_module *module;
    arena *mem = arena_new();
    bool ok = module_build(&source, &kernel, 1, mem, &image) == NULL &&
              fp4_module_load_memory(r->ctx, image.bytes, image.len, &module) == FP4_OK &&
              fp4_module_kernel(module, r->b->tir->name, arch_infos[r->b->tir->arch].name, &r->kernel) == FP4_OK;
    arena_free(mem);
    return ok;
}

// In a process of its own: a launch of the text on a device that is prepared.
static outcome judged(const judge *j, run_state *r, ptx p) {
    outcome o = {0};
    if (!load(j, r, p)) {
        snprintf(o.verdict, sizeof o.verdict, "malformed");
    } else if (!run_start(r) || !hash_tensors(r, &o.result)) {
        const char *said = fp4_last_error();
        snprintf(o.verdict, sizeof o.verdict, "%s",
                 strstr(said, "hazard ") != NULL    ? "reported"
                 : strstr(said, "deadlock") != NULL ? "hang"
                                                    : "fault");
    }
    snprintf(o.said, sizeof o.said, "%s", o.verdict[0] == '\0' ? "" : fp4_last_error());
    return o;
}

static outcome launch(const judge *j, stage *s, ptx p) {
    outcome o;
    int ends[2];
    pid_t child = pipe(ends) == 0 ? fork() : -1;
    if (child < 0) {
        return (outcome){.verdict = "CRASHED", .said = "no process could be started"};
    }
    if (child == 0) {
        o = judged(j, &s->run, p);
        _exit(write(ends[1], &o, sizeof o) == sizeof o ? 0 : 1);
    }
    close(ends[1]);
    size_t got = 0;
    for (ssize_t n = 1; n > 0 && got < sizeof o; got += (size_t)n) {
        n = read(ends[0], (char *)&o + got, sizeof o - got);
        n = n < 0 ? 0 : n;
    }
    close(ends[0]);
    waitpid(child, NULL, 0);
    return got == sizeof o ? o : (outcome){.verdict = "CRASHED", .said = "the launch ended without an answer"};
}

// The device of a road, once: its operands and the result of the unchanged kernel. The seed of operands is the
// road's as well.
static outcome prepare(judge *j, int n) {
    stage *s = &j->stages[n];
    run_state *r = &s->run;
    const road *w = &roads[n];
    ptx good = {j->facts->ptx, j->facts->len};
    if (s->ready) {
        return (outcome){0};
    }
    *r = (run_state){.u = &j->u, .b = j->b, .n_params = j->b->ast->n_params};
    r->tparams = ARENA_ARRAY(j->u.mem, int64_t, j->b->ast->n_tparams + 1);
    lang_tparam_values(j->b->ast, j->b->sched, r->tparams);
    fp4_config c = FP4_CONFIG_INIT;
    c.device = "sim";
    c.sim_sms = (j->b->tir->cluster > 1 ? j->b->tir->cluster : 1) * w->clusters;
    c.sim_schedule = w->order;
    c.sim_seed = w->seed;
    c.sim_hazards = FP4_HAZARDS_STRICT;
    outcome o = {.verdict = "broken"};
    if (fp4_open(&c, &r->ctx) != FP4_OK || !load(j, r, good) ||
        !(w->kind == DRAWN ? drawn_sizes(r, w->seed) : large_sizes(r, w->kind)) || !run_prepare(r, w->seed)) {
        snprintf(o.said, sizeof o.said, "%s", fp4_last_error());
        return o;
    }
    o = launch(j, s, good);
    s->ready = o.verdict[0] == '\0';
    s->result = o.result;
    return o;
}

static void answer(const char *verdict, const char *road_name, const char *said) {
    printf("%s\t%s\t", verdict, road_name);
    for (const char *c = said; *c != '\0'; c++) {
        putchar(*c == '\n' || *c == '\t' ? ' ' : *c);
    }
    putchar('\n');
    fflush(stdout);
}

static void detect(judge *j, ptx p) {
    for (int n = 0; n < N_ROADS; n++) {
        char name[40];
        snprintf(name, sizeof name, "%d %s", n + 1, roads[n].name);
        outcome o = prepare(j, n);
        if (o.verdict[0] != '\0') {
            answer("broken", name, o.said);
            return;
        }
        o = launch(j, &j->stages[n], p);
        if (o.verdict[0] == '\0' && o.result != j->stages[n].result) {
            snprintf(o.verdict, sizeof o.verdict, "wrong");
        }
        if (o.verdict[0] != '\0') {
            answer(o.verdict, name, o.said);
            return;
        }
    }
    answer("survived", "-", "");
}

static void prove(judge *j, ptx p, bool whole) {
    static verify_report reports[4];
    verify_job job = {.ptx = p.text, .len = p.len, .facts = &j->facts->facts, .halved = whole ? NULL : j->halved};
    int n = verify_ptx(&job, reports, 4);
    bool accepted = n == 1 && reports[0].accepted;
    answer(accepted ? "survived" : n == 1 && reports[0].kernel[0] == '\0' ? "malformed" : "refused", "-",
           n == 1 ? reports[0].sentence : "");
}

// ---- set-up -------------------------------------------------------------------------------------
static bool open_kernel(judge *j) {
    static builds all;
    unit *u = &j->u;
    if (j->b != NULL) {
        return true;
    }
    if (!u->checked || build_all(u, STOP_TIR, &all) != EXIT_DONE || all.n != j->n_variants) {
        fprintf(stderr, "judge: '%s' makes %d schedules, its module has %d\n", u->opt->kernel, all.n, j->n_variants);
        return false;
    }
    j->b = &all.at[j->variant];
    const char *wrong = meta_kernel(j->b->tir, NULL, u->mem, &j->meta);
    if (wrong != NULL) {
        fprintf(stderr, "judge: %s\n", wrong);
    }
    return wrong == NULL && j->b->ast->n_params <= RUN_MAX_PARAMS && j->b->ast->n_dims <= RUN_MAX_DIMS;
}

static int serve(judge *j) {
    char line[200];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char what;
        size_t start, end, length;
        const facts_kernel *f = j->facts;
        if (sscanf(line, "%c %zu %zu %zu", &what, &start, &end, &length) != 4 || start > end || end > f->len ||
            (what == 'd' && !open_kernel(j))) {
            fprintf(stderr, "judge: a line that is no request: %s", line);
            return 2;
        }
        size_t len = f->len - (end - start) + length;
        char *text = malloc(len + 1);
        memcpy(text, f->ptx, start);
        if (fread(text + start, 1, length, stdin) != length) {
            free(text);
            return 2;
        }
        memcpy(text + start + length, f->ptx + end, f->len - end);
        text[len] = '\0';
        if (what == 'd') {
            detect(j, (ptx){text, len});
        } else {
            prove(j, (ptx){text, len}, what == 'w');
        }
        free(text);
    }
    return 0;
}

static int show_roads(judge *j) {
    for (int n = 0; n < N_ROADS && open_kernel(j); n++) {
        double start = now_seconds();
        outcome o = prepare(j, n);
        printf("%d %s:", n + 1, roads[n].name);
        for (int i = 0; i < j->b->ast->n_dims; i++) {
            const ast_sym *d = j->b->ast->dims[i];
            printf(" %s=%lld", d->name, (long long)j->stages[n].run.dims[d->id]);
        }
        printf("  %.3f s %s %s\n", now_seconds() - start, o.verdict[0] == '\0' ? "silent" : o.verdict, o.said);
        fflush(stdout);
    }
    return j->b == NULL;
}

static void free_stages(judge *j) {
    for (int n = 0; n < N_ROADS; n++) {
        if (j->stages[n].run.ctx != NULL) {
            run_free(&j->stages[n].run);
            fp4_close(j->stages[n].run.ctx);
        }
    }
}

int main(int argc, char **argv) {
    static judge j;
    static facts_kernel facts[MAX_KERNELS];
    if (argc < 6) {
        fprintf(stderr, "usage: judge FILE.tk ARCH KERNEL VARIANT MODULE.tkm [roads]\n");
        return 2;
    }
    options opt = {.cmd = CMD_RUN, .file = argv[1], .n_archs = 1, .kernel = argv[3], .seed = 1, .device = "sim"};
    arena *mem = arena_new();
    char *bytes;
    const char *why = NULL;
    size_t len;
    int n = 0;
    int variant = atoi(argv[4]);
    int arch = arch_find(argv[2]);
    opt.archs[0] = (tir_arch)(arch < 0 ? 0 : arch);
    if (arch < 0 || !read_whole(argv[5], mem, &bytes, &len, &why) ||
        (why = facts_of_module(bytes, len, facts, MAX_KERNELS, &n)) != NULL || variant < 0 || variant >= n) {
        fprintf(stderr, "judge: %s: %s\n", argv[5], why != NULL ? why : "no such target or variant");
        return 2;
    }
    j.facts = &facts[variant];
    j.variant = variant;
    j.n_variants = n;
    int code = 2;
    if (unit_open(&j.u, &opt)) {
        code = argc > 6 ? show_roads(&j) : serve(&j);
    }
    free_stages(&j);
    unit_report(&j.u);
    unit_close(&j.u);
    arena_free(mem);
    return code;
}
