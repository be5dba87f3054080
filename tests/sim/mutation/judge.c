// Judges mutants of one kernel's PTX, all in one process: what the static verifier says of a text, and
// what the simulator with the strict hazard detector makes of it in several launches (roads).
//
//   judge FILE.tk ARCH KERNEL VARIANT MODULE.tkm [roads]
//
// In: on standard input, a line 'v|d ID START END LENGTH' and LENGTH bytes: the variant's PTX with bytes
// START to END replaced by these, for the verifier (v) or the detector (d).
// Out: a line 'ID<tab>VERDICT<tab>ROAD<tab>SENTENCE' each. 'roads' prints the roads and ends.
// The operands are those of 'fp4c run', whose files are linked here; the PTX comes from the module, so
// no LLVM is needed. Results are compared with the unchanged kernel's: that these are right is what
// other tests show.
#include "run.h"
#include "v_module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// MANY: several tiles a cluster, and every ring goes round. ODD: three tiles, so that of two groups that
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
    {"eager", FP4_SCHEDULE_EAGER, 1, MANY, 1},   {"lazy", FP4_SCHEDULE_LAZY, 1, MANY, 1},
    {"lazy", FP4_SCHEDULE_LAZY, 2, ODD, 1},      {"random", FP4_SCHEDULE_RANDOM, 2, MANY, 1},
    {"random", FP4_SCHEDULE_RANDOM, 3, MANY, 2}, {"lazy", FP4_SCHEDULE_LAZY, 4, DRAWN, 1},
    {"random", FP4_SCHEDULE_RANDOM, 5, DRAWN, 1}, {"random", FP4_SCHEDULE_RANDOM, 7, DRAWN, 2},
};
enum { N_ROADS = sizeof roads / sizeof roads[0] };

typedef struct {
    unit u;
    run_state run;
    const char *meta;
    facts_kernel *facts;
    int64_t dims[N_ROADS][RUN_MAX_DIMS];
    bool ready[N_ROADS]; // sizes and result of the unchanged kernel are known
    uint64_t result[N_ROADS];
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

// Along a 'for' loop two steps more than the deepest ring has slots, for each CTA that shares it; without
// one, tiles are all that goes round.
static int64_t large(const tir_kernel *k, int dim, sizes_kind kind) {
    int depth = 1;
    int64_t size = 0;
    for (int i = 0; i < k->n_channels; i++) {
        depth = k->channels[i].depth > depth ? k->channels[i].depth : depth;
    }
    for (int i = 0; i < k->n_loops; i++) {
        int64_t n = kind == ODD ? (i + 1 == k->n_loops ? 3 : 1) : k->n_fors > 0 ? 2 : 4;
        n = mentions(k->loops[i].dim, dim) ? tiles(k->loops[i].tile, n) : 0;
        size = n > size ? n : size;
    }
    for (int i = 0; i < k->n_fors; i++) {
        int64_t steps = (int64_t)(depth + 2) * (k->fors[i].split > 1 ? k->fors[i].split : 1);
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

// ---- a launch -----------------------------------------------------------------------------------
static uint64_t hashed(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ p[i]) * 1099511628211u;
    }
    return h;
}

static uint64_t hash_results(const run_state *r) {
    uint64_t h = 14695981039346656037u;
    for (int i = 0; i < r->n_params; i++) {
        const ast_sym *p = r->b->ast->params[i];
        const eval_tensor *t = &r->tensors[i].codes;
        if (p->n_dims > 0 && (p->mode == MODE_OUT || p->mode == MODE_INOUT)) {
            h = hashed(h, t->data, (size_t)eval_count(t) * eval_code_bytes(t->format->elem));
            size_t scale = t->format->scale == ELEM_NONE ? 0 : t->format->scale == ELEM_F32 ? 4 : 1;
            h = t->scales == NULL ? h : hashed(h, t->scales, (size_t)eval_scale_count(t) * scale);
        }
    }
    return h ^ (uint64_t)r->result.guards_hurt ^ (uint64_t)(r->result.padding_hurt > 0) << 1;
}

// The module of a text on a device of its own. False: the verdict is "malformed" or an error.
static bool load(judge *j, ptx p, const road *w, fp4_module **module) {
    run_state *r = &j->run;
    module_kernel kernel = {.meta = j->meta, .ptx = p.text, .ptx_len = p.len};
    module_image image;
    fp4_config c = FP4_CONFIG_INIT;
    c.device = "sim";
    c.sim_sms = (r->b->tir->cluster > 1 ? r->b->tir->cluster : 1) * w->clusters;
    c.sim_schedule = w->order;
    c.sim_seed = w->seed;
    c.sim_hazards = FP4_HAZARDS_STRICT;
    module_source source = {.name = "judge"};
    arena *mem = arena_new();
    bool ok = module_build(&source, &kernel, 1, mem, &image) == NULL && fp4_open(&c, &r->ctx) == FP4_OK &&
              fp4_module_load_memory(r->ctx, image.bytes, image.len, module) == FP4_OK &&
              fp4_module_kernel(*module, r->b->tir->name, arch_infos[r->b->tir->arch].name, &r->kernel) == FP4_OK;
    arena_free(mem);
    return ok;
}

static const char *failure(const char *said) {
    return strstr(said, "hazard ") != NULL    ? "reported"
           : strstr(said, "deadlock") != NULL ? "hang"
                                              : "fault";
}

// Sizes of a road, once. The seed of operands is the road's as well.
static bool sizes(judge *j, int n) {
    run_state *r = &j->run;
    uint64_t seed = roads[n].seed;
    if (!j->ready[n]) {
        if (!(roads[n].kind == DRAWN ? run_draw_sizes(r, &seed) : large_sizes(r, roads[n].kind))) {
            return false;
        }
        memcpy(j->dims[n], r->dims, sizeof r->dims);
    }
    memcpy(r->dims, j->dims[n], sizeof r->dims);
    return true;
}

// One launch. NULL: the same result as the unchanged kernel's.
static const char *launch(judge *j, ptx p, int n, bool unchanged, char said[600]) {
    run_state *r = &j->run;
    fp4_module *module = NULL;
    const char *verdict = NULL;
    r->ctx = NULL;
    if (!load(j, p, &roads[n], &module)) {
        verdict = "malformed";
    } else if (!sizes(j, n)) {
        verdict = "nosizes";
    } else if (!run_launch(r, roads[n].seed)) {
        verdict = failure(fp4_last_error());
    }
    snprintf(said, 600, "%s", verdict == NULL ? "" : fp4_last_error());
    if (verdict == NULL && unchanged) {
        j->result[n] = hash_results(r);
        j->ready[n] = true;
    } else if (verdict == NULL && hash_results(r) != j->result[n]) {
        verdict = "wrong";
    }
    if (r->ctx != NULL) {
        run_free(r);
        if (module != NULL) {
            fp4_module_free(module);
        }
        fp4_close(r->ctx);
    }
    return verdict;
}

static void answer(const char *id, const char *verdict, const char *road_name, const char *said) {
    printf("%s\t%s\t%s\t", id, verdict, road_name);
    for (const char *c = said; *c != '\0'; c++) {
        putchar(*c == '\n' || *c == '\t' ? ' ' : *c);
    }
    putchar('\n');
    fflush(stdout);
}

// The unchanged kernel's result on a road. NULL: there is one.
static const char *prepare(judge *j, int n, char said[600]) {
    ptx good = {j->facts->ptx, j->facts->len};
    return j->ready[n] ? NULL : launch(j, good, n, true, said);
}

static void detect(judge *j, const char *id, ptx p) {
    char said[600] = "";
    for (int n = 0; n < N_ROADS; n++) {
        const char *wrong = prepare(j, n, said);
        if (wrong != NULL) {
            answer(id, "broken", roads[n].name, said);
            return;
        }
        const char *verdict = launch(j, p, n, false, said);
        if (verdict != NULL) {
            char name[40];
            snprintf(name, sizeof name, "%d %s", n + 1, roads[n].name);
            answer(id, verdict, name, said);
            return;
        }
    }
    answer(id, "survived", "-", "");
}

static void prove(judge *j, const char *id, ptx p) {
    static verify_report reports[4];
    verify_job job = {.ptx = p.text, .len = p.len, .facts = &j->facts->facts};
    int n = verify_ptx(&job, reports, 4);
    bool accepted = n == 1 && reports[0].accepted;
    answer(id, accepted ? "survived" : n == 1 && reports[0].kernel[0] == '\0' ? "malformed" : "refused", "-",
           n == 1 ? reports[0].sentence : "");
}

// ---- set-up -------------------------------------------------------------------------------------
static int serve(judge *j) {
    char line[200];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char what, id[64];
        size_t start, end, length;
        const facts_kernel *f = j->facts;
        if (sscanf(line, "%c %63s %zu %zu %zu", &what, id, &start, &end, &length) != 5 || start > end || end > f->len) {
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
        (what == 'v' ? prove : detect)(j, id, (ptx){text, len});
        free(text);
    }
    return 0;
}

static bool open_kernel(judge *j, int variant, int n) {
    static builds all;
    unit *u = &j->u;
    if (!u->checked || build_all(u, STOP_TIR, &all) != EXIT_DONE || all.n != n) {
        fprintf(stderr, "judge: '%s' makes %d schedules, its module has %d\n", u->opt->kernel, all.n, n);
        return false;
    }
    run_state *r = &j->run;
    built *b = &all.at[variant];
    *r = (run_state){.u = u, .b = b, .n_params = b->ast->n_params};
    r->tparams = ARENA_ARRAY(u->mem, int64_t, b->ast->n_tparams + 1);
    lang_tparam_values(b->ast, b->sched, r->tparams);
    const char *wrong = meta_kernel(b->tir, NULL, u->mem, &j->meta);
    if (wrong != NULL) {
        fprintf(stderr, "judge: %s\n", wrong);
    }
    return wrong == NULL && r->n_params <= RUN_MAX_PARAMS && b->ast->n_dims <= RUN_MAX_DIMS;
}

static int show_roads(judge *j) {
    for (int n = 0; n < N_ROADS; n++) {
        char said[600] = "";
        double start = now_seconds();
        const char *wrong = prepare(j, n, said);
        printf("%d %s:", n + 1, roads[n].name);
        for (int i = 0; i < j->run.b->ast->n_dims; i++) {
            const ast_sym *d = j->run.b->ast->dims[i];
            printf(" %s=%lld", d->name, (long long)j->dims[n][d->id]);
        }
        printf("  %.3f s %s %s\n", now_seconds() - start, wrong == NULL ? "silent" : wrong, said);
    }
    return 0;
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
    int code = 2;
    if (unit_open(&j.u, &opt) && open_kernel(&j, variant, n)) {
        code = argc > 6 ? show_roads(&j) : serve(&j);
    }
    unit_report(&j.u);
    unit_close(&j.u);
    arena_free(mem);
    return code;
}
