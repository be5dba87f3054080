// fp4c run FILE -arch A M=300 N=264 K=512 [--check]: compiles in memory, launches through libfp4rt on
// random operands and random scale factors, reports.
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- Progress: one line on a terminal, nothing elsewhere ------------------------------------------------

static void progress(const options *o, int done, int all, const char *doing) {
    if (!isatty(STDERR_FILENO) || o->json) {
        return;
    }
    int filled = all > 0 ? 30 * done / all : 0;
    fprintf(stderr, "\r\033[K[%.*s%.*s] %s", filled, "##############################", 30 - filled,
            "..............................", doing);
    if (done == all) {
        fprintf(stderr, "\r\033[K");
    }
    fflush(stderr);
}

// --- Set-up ----------------------------------------------------------------------------------------------

static bool failed(const char *doing) {
    fprintf(stderr, "fp4c: %s: %s\n", doing, fp4_last_error());
    return false;
}

bool run_open_device(run_state *r) {
    fp4_config c = FP4_CONFIG_INIT;
    const options *o = r->u->opt;
    c.device = o->device;
    c.sim_sms = o->sms;
    c.sim_schedule = o->order == ORDER_LAZY     ? FP4_SCHEDULE_LAZY
                     : o->order == ORDER_RANDOM ? FP4_SCHEDULE_RANDOM
                                                : FP4_SCHEDULE_EAGER;
    c.sim_seed = o->seed;
    c.sim_hazards = (fp4_hazards)o->hazards;
    fp4_device_info info = {.size = sizeof info};
    if (fp4_open(&c, &r->ctx) != FP4_OK || fp4_get_device_info(r->ctx, &info) != FP4_OK) {
        return failed("device");
    }
    r->sms = info.n_sms;
    return true;
}

bool run_give_workspace(run_state *r, const fp4_module *module) {
    int64_t bytes = fp4_module_workspace(module);
    return bytes <= 0 || fp4_workspace(r->ctx, NULL, bytes) == FP4_OK || failed("workspace");
}

// A module of this variant alone, on a device of its own.
static int load(run_state *r, fp4_module **module) {
    unit *u = r->u;
    builds one = {.n = 1, .at = {*r->b}};
    if (u->opt->use_ptx != NULL) {
        char *text = NULL;
        const char *why = NULL;
        size_t len = 0;
        if (!read_whole(u->opt->use_ptx, u->mem, &text, &len, &why)) {
            fprintf(stderr, "fp4c: cannot read %s: %s\n", u->opt->use_ptx, why);
            return EXIT_MISTAKE;
        }
        one.at[0].code.ptx = text;
        one.at[0].code.ptx_len = len;
        one.at[0].assembled = false;
    }
    module_image image;
    int code = build_module(u, &one, &image);
    if (code != EXIT_DONE) {
        return code;
    }
    if (!run_open_device(r)) {
        return EXIT_MISTAKE;
    }
    if (fp4_module_load_memory(r->ctx, image.bytes, image.len, module) != FP4_OK ||
        fp4_module_kernel(*module, r->b->tir->name, arch_infos[r->b->tir->arch].name, &r->kernel) != FP4_OK) {
        failed("module");
        return EXIT_MISTAKE;
    }
    return run_give_workspace(r, *module) ? EXIT_DONE : EXIT_MISTAKE;
}

// Every NAME=VALUE must be a size or a scalar of the kernel.
static bool take_sizes(run_state *r) {
    const ast_kernel *k = r->b->ast;
    for (int a = 0; a < r->n_assigns; a++) {
        const char *name = r->assigns[a].name;
        bool known = false;
        for (int b = 0; b < a; b++) {
            if (strcmp(r->assigns[b].name, name) == 0) {
                fprintf(stderr, "fp4c: %s is given twice: several values are %s=NUMBER,NUMBER\n", name, name);
                return false;
            }
        }
        for (int i = 0; i < k->n_dims; i++) {
            if (strcmp(k->dims[i]->name, name) == 0) {
                double v = r->assigned[a];
                if (v < 0 || v > 1e9 || v != (double)(int64_t)v) {
                    fprintf(stderr, "fp4c: size %s = %g is not a whole number from 0 to 10^9\n", name, v);
                    return false;
                }
                r->dims[k->dims[i]->id] = (int64_t)v;
                r->given[k->dims[i]->id] = known = true;
            }
        }
        for (int i = 0; i < k->n_params; i++) {
            known |= k->params[i]->n_dims == 0 && strcmp(k->params[i]->name, name) == 0;
        }
        if (!known) {
            fprintf(stderr, "fp4c: kernel '%s' has no size or scalar called '%s'\n", k->name, name);
            return false;
        }
    }
    const options *o = r->u->opt;
    for (int i = 0; i < k->n_dims && o->shapes == 0; i++) {
        if (!r->given[k->dims[i]->id]) {
            fprintf(stderr, "fp4c: size %s of kernel '%s' was not given: %s=NUMBER, or --shapes %s\n",
                    k->dims[i]->name, k->name, k->dims[i]->name, o->cmd == CMD_TUNE ? "FILE" : "N");
            return false;
        }
    }
    return true;
}

// --- Report ------------------------------------------------------------------------------------------------

static void print_sizes(FILE *out, const run_state *r) {
    for (int i = 0; i < r->b->ast->n_dims; i++) {
        fprintf(out, "%s%s=%lld", i > 0 ? " " : "", r->b->ast->dims[i]->name,
                (long long)r->dims[r->b->ast->dims[i]->id]);
    }
}

static bool is_good(const run_result *s) {
    return s->n_differ == 0 && s->n_outside == 0 && !s->guards_hurt && s->padding_hurt == 0;
}

static void print_mismatch(FILE *out, const run_state *r) {
    const run_result *s = &r->result;
    print_sizes(out, r);
    fprintf(out, ": ");
    if (s->n_differ > 0) {
        fprintf(out, "%lld codes differ from the composition, the first at element %lld of '%s'; ",
                (long long)s->n_differ, (long long)s->first, s->tensor);
    }
    if (s->n_outside > 0) {
        fprintf(out, "%lld elements are off by more than the bound; ", (long long)s->n_outside);
    }
    if (s->padding_hurt > 0) {
        fprintf(out, "%lld bytes of scale padding are not 0; ", (long long)s->padding_hurt);
    }
    fprintf(out, "guards %s\n", s->guards_hurt ? "were overwritten" : "are intact");
}

// "31.4 k": three digits and the power of a thousand.
static const char *counted(char text[16], double x) {
    static const char *const units[] = {"", " k", " M", " G", " T"};
    int power = 0;
    while (x >= 999.5 && power < 4) {
        x /= 1000;
        power++;
    }
    snprintf(text, 16, "%.3g%s", x, units[power]);
    return text;
}

static void print_counts(const fp4_stats *st, double seconds) {
    char a[16];
    char b[16];
    printf("   (%s warp instructions, %s/s;", counted(a, (double)st->warp_instructions),
           counted(b, (double)st->warp_instructions / seconds));
    printf(" %s multiply-adds, %s/s)\n", counted(a, (double)st->macs),
           counted(b, (double)st->macs / seconds));
}

static void print_text(const run_state *r, int n_shapes, int n_bad) {
    const options *o = r->u->opt;
    const run_result *s = &r->result;
    const built *b = r->b;
    fp4_stats st = {.size = sizeof st};
    fp4_get_stats(r->ctx, &st);
    printf("%s on %s (%s)", b->tir->name, arch_infos[b->tir->arch].name, o->device);
    if (n_shapes == 1) {
        printf("  ");
        print_sizes(stdout, r);
        printf("  %lld results", (long long)s->elements);
    }
    printf("  seed %llu\n", (unsigned long long)o->seed);
    printf("  front end %7.1f ms   plan %5.1f ms   code %6.1f ms   ptxas %6.1f ms\n", 1e3 * r->u->front_seconds,
           1e3 * b->plan_seconds, 1e3 * b->code_seconds, 1e3 * b->ptxas_seconds);
    printf("  operands  %7.1f ms   run  %5.0f ms", 1e3 * r->times.upload, 1e3 * r->times.simulate);
    print_counts(&st, r->times.simulate);
    if (o->check) {
        printf("  composition %5.0f ms   evaluation %.0f ms\n", 1e3 * r->times.compose, 1e3 * r->times.evaluate);
        if (n_shapes == 1) {
            printf("  bits: %lld of %lld differ    error %.3g, bound %.3g    guards %s\n",
                   (long long)s->n_differ, (long long)s->elements, s->max_error, s->max_bound,
                   s->guards_hurt ? "OVERWRITTEN" : "intact");
        }
        printf("  %s\n", n_bad == 0 ? n_shapes == 1 ? "bit-exact" : "all shapes bit-exact" : "WRONG");
    }
    if (n_shapes > 1) {
        printf("  %d shapes, %d wrong\n", n_shapes, n_bad);
    }
}

static void print_json(const run_state *r, int n_shapes, int n_bad) {
    const run_result *s = &r->result;
    fp4_stats st = {.size = sizeof st};
    fp4_get_stats(r->ctx, &st);
    printf("{\"kernel\": \"%s\", \"arch\": \"%s\", \"device\": \"%s\", \"seed\": %llu, \"sizes\": {", r->b->tir->name,
           arch_infos[r->b->tir->arch].name, r->u->opt->device, (unsigned long long)r->u->opt->seed);
    for (int i = 0; i < r->b->ast->n_dims; i++) {
        printf("%s\"%s\": %lld", i > 0 ? ", " : "", r->b->ast->dims[i]->name,
               (long long)r->dims[r->b->ast->dims[i]->id]);
    }
    printf("}, \"ms\": {\"front\": %.3f, \"plan\": %.3f, \"code\": %.3f, \"ptxas\": %.3f, \"operands\": %.3f, "
           "\"run\": %.3f, \"compose\": %.3f, \"evaluate\": %.3f}, ",
           1e3 * r->u->front_seconds, 1e3 * r->b->plan_seconds, 1e3 * r->b->code_seconds,
           1e3 * r->b->ptxas_seconds, 1e3 * r->times.upload, 1e3 * r->times.simulate, 1e3 * r->times.compose,
           1e3 * r->times.evaluate);
    printf("\"warp_instructions\": %llu, \"macs\": %llu, \"sim_ns\": %llu, \"checked\": %s, \"shapes\": %d, "
           "\"wrong\": %d, \"differ\": %lld, \"max_error\": %g, \"bound\": %g, \"guards_intact\": %s}\n",
           (unsigned long long)st.warp_instructions, (unsigned long long)st.macs,
           (unsigned long long)st.sim_ns, r->u->opt->check ? "true" : "false", n_shapes, n_bad,
           (long long)s->n_differ, s->max_error, s->max_bound, s->guards_hurt ? "false" : "true");
}

// --- Shapes -------------------------------------------------------------------------------------------------

typedef struct {
    int done, bad;
    uint64_t seed;
} tally;

// Shapes of one combination of the values that were given.
static int run_combination(run_state *r, void *data) {
    tally *t = data;
    const options *o = r->u->opt;
    for (int i = 0; i < (o->shapes > 0 ? o->shapes : 1); i++) {
        progress(o, i, o->shapes > 0 ? o->shapes : 1, "running");
        if (o->shapes > 0 ? !run_draw_sizes(r, &t->seed) : !run_admits(r)) {
            if (o->shapes == 0) {
                failed("sizes");
            }
            return EXIT_MISTAKE;
        }
        bool ok = run_launch(r, run_random(&t->seed)) && (!o->check || run_check(r));
        run_free(r);
        if (!ok) {
            fprintf(stderr, "fp4c: at ");
            print_sizes(stderr, r);
            fprintf(stderr, "\n");
            return EXIT_MISTAKE;
        }
        t->done++;
        if (!is_good(&r->result)) {
            t->bad++;
            print_mismatch(stderr, r);
        }
    }
    return EXIT_DONE;
}

int run_combinations(run_state *r, int (*one)(run_state *r, void *data), void *data) {
    int at[MAX_ASSIGNS] = {0};
    int code = EXIT_DONE;
    int moved = 0;
    while (code == EXIT_DONE && moved >= 0) {
        for (int a = 0; a < r->n_assigns; a++) {
            r->assigned[a] = r->assigns[a].values[at[a]];
        }
        code = take_sizes(r) ? one(r, data) : EXIT_MISTAKE;
        for (moved = r->n_assigns - 1; moved >= 0 && ++at[moved] == r->assigns[moved].n; moved--) {
            at[moved] = 0;
        }
    }
    return code;
}

static int run_shapes(run_state *r) {
    const options *o = r->u->opt;
    tally t = {.seed = o->seed};
    int code = run_combinations(r, run_combination, &t);
    progress(o, 1, 1, "done");
    if (code == EXIT_DONE) {
        (o->json ? print_json : print_text)(r, t.done, t.bad);
    }
    return code != EXIT_DONE || t.bad > 0 ? EXIT_MISTAKE : EXIT_DONE;
}

run_state *run_new(unit *u, const built *b) {
    if (b->ast->n_params > RUN_MAX_PARAMS || b->ast->n_dims > RUN_MAX_DIMS) {
        fprintf(stderr, "fp4c: kernel '%s' has too many parameters to be run here\n", b->ast->name);
        return NULL;
    }
    run_state *r = ARENA_NEW(u->mem, run_state);
    *r = (run_state){.u = u, .b = b, .n_params = b->ast->n_params};
    r->n_assigns = u->opt->n_assigns;
    r->assigns = u->opt->assigns;
    r->tparams = ARENA_ARRAY(u->mem, int64_t, b->ast->n_tparams + 1);
    lang_tparam_values(b->ast, b->sched, r->tparams);
    return r;
}

static int run_variant(unit *u, const built *b) {
    run_state *r = run_new(u, b);
    if (r == NULL) {
        return EXIT_MISTAKE;
    }
    fp4_module *module = NULL;
    int code = load(r, &module);
    if (code == EXIT_DONE) {
        code = run_shapes(r);
    }
    if (module != NULL) {
        fp4_module_free(module);
    }
    fp4_close(r->ctx);
    return code;
}

bool run_one_kernel(const unit *u, const builds *b) {
    for (int i = 1; i < b->n; i++) {
        if (b->at[i].ast != b->at[0].ast) {
            fprintf(stderr, "fp4c: kernels '%s' and '%s' match: name one with --kernel\n",
                    b->at[0].ast->name, b->at[i].ast->name);
            return false;
        }
    }
    if (b->n > 1 && u->opt->use_ptx != NULL) {
        fprintf(stderr, "fp4c: --use-ptx replaces one schedule's code, kernel '%s' has %d\n",
                b->at[0].ast->name, b->n);
        return false;
    }
    return true;
}

static int run_unit(unit *u) {
    const options *o = u->opt;
    if (u->file == NULL) {
        fprintf(stderr, "fp4c: 'run' evaluates the program too: it takes a .tk file\n");
        return EXIT_MISTAKE;
    }
    if (o->n_archs != 1) {
        fprintf(stderr, "fp4c: 'run' takes one target\n");
        return EXIT_MISTAKE;
    }
    builds *b = ARENA_NEW(u->mem, builds);
    progress(o, 0, 3, "compiling");
    int code = u->checked ? build_all(u, STOP_CUBIN, b) : EXIT_MISTAKE;
    progress(o, 3, 3, "compiling");
    int reported = unit_report(u);
    code = reported > code ? reported : code;
    if (code == EXIT_DONE && !run_one_kernel(u, b)) {
        code = EXIT_MISTAKE;
    }
    for (int i = 0; i < b->n && code == EXIT_DONE; i++) {
        code = run_variant(u, &b->at[i]);
    }
    return code;
}

int command_run(const options *opt) {
    unit u;
    int code = unit_open(&u, opt) ? run_unit(&u) : EXIT_MISTAKE;
    unit_close(&u);
    return code;
}
