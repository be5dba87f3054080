// fp4c tune FILE -arch A M=1,16,4096 N=4096 K=7168 [--shapes FILE] [-o FILE.tune]: measures every
// schedule of a kernel at every combination of sizes, on the device that will launch it, and writes
// the file of times beside the source that compiling reads (measured.c; how a module chooses by it:
// runtime/module.h, "Choice").
//
// A round flushes the L2 cache and times one launch; rounds go through all schedules, so that
// clocks and heat are shared, and a line says the median. Operands are random. Lines of other
// kernels, targets and devices stay.
#include "run.h"

#include "../../runtime/module.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 11, WARM = 2, FLUSH_BYTES = 256 << 20 };

typedef struct {
    run_state *r;
    const builds *b;
    fp4_module *module;
    fp4_event *from, *to;
    uint64_t flush; // 0: no cache to flush
    uint64_t seed;
    fp4_arg args[RUN_MAX_PARAMS];
    FILE *out;
    double us[MAX_KERNELS][ROUNDS];
} tuner;

static bool failed(const char *doing) {
    fprintf(stderr, "fp4c: %s: %s\n", doing, fp4_last_error());
    return false;
}

// --- One shape -----------------------------------------------------------------------------------

static bool admits(const tuner *t, fp4_kernel *variant) {
    run_state one = *t->r;
    one.kernel = variant;
    return run_admits(&one);
}

static bool time_launch(tuner *t, fp4_kernel *variant, int round, double *us) {
    const run_state *r = t->r;
    return (t->flush == 0 || fp4_fill(r->ctx, t->flush, (uint8_t)round, FLUSH_BYTES, NULL) == FP4_OK) &&
           fp4_event_record(t->from, NULL) == FP4_OK &&
           fp4_launch_variant(variant, t->args, r->n_params, NULL) == FP4_OK &&
           fp4_event_record(t->to, NULL) == FP4_OK && fp4_event_wait(t->to) == FP4_OK &&
           fp4_event_elapsed(t->from, t->to, us) == FP4_OK;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

// The line of one schedule, and what the user sees of it.
static void note_time(tuner *t, int i) {
    const run_state *r = t->r;
    const built *k = &t->b->at[i];
    qsort(t->us[i], ROUNDS, sizeof t->us[i][0], by_size);
    double us = t->us[i][ROUNDS / 2];
    fprintf(t->out, FP4_MODULE_TIME, k->tir->name, arch_infos[k->tir->arch].name,
            module_code_hash(k->code.ptx, k->code.ptx_len), r->sms, us * 1e3);
    for (int d = 0; d < k->ast->n_dims; d++) {
        const ast_sym *dim = k->ast->dims[d];
        fprintf(t->out, FP4_MODULE_TIME_SIZE, dim->name, r->dims[dim->id]);
        printf("%s=%" PRId64 " ", dim->name, r->dims[dim->id]);
    }
    fputc('\n', t->out);
    int line;
    int column;
    src_place(r->u->src, k->sched->span.file, k->sched->span.off, &line, &column);
    printf(" schedule of line %d%s%s: %.2f us\n", line, k->sched->of != NULL ? ", " : "",
           k->sched->of != NULL ? k->sched->tuned : "", us);
}

static int tune_shape(run_state *r, void *data) {
    tuner *t = data;
    fp4_kernel *variant[MAX_KERNELS];
    bool any = false;
    for (int i = 0; i < t->b->n; i++) {
        if (fp4_module_kernel_at(t->module, i, &variant[i]) != FP4_OK) {
            failed("module");
            return EXIT_MISTAKE;
        }
        bool takes = admits(t, variant[i]);
        variant[i] = takes ? variant[i] : NULL;
        any |= takes;
    }
    if (!any) {
        failed("sizes");
        return EXIT_MISTAKE;
    }
    bool ok = run_prepare(r, run_random(&t->seed));
    run_arguments(r, t->args);
    for (int round = -WARM; round < ROUNDS && ok; round++) {
        for (int i = 0; i < t->b->n && ok; i++) {
            ok = variant[i] == NULL || time_launch(t, variant[i], round, &t->us[i][round < 0 ? 0 : round]) ||
                 failed("launch");
        }
    }
    for (int i = 0; i < t->b->n && ok; i++) {
        if (variant[i] != NULL) {
            note_time(t, i);
        }
    }
    run_free(r);
    return ok ? EXIT_DONE : EXIT_MISTAKE;
}

// --- The file ------------------------------------------------------------------------------------

// Lines of the file that is there and that are not measured now.
static bool keep_lines(tuner *t, const char *path) {
    unit *u = t->r->u;
    char *text = NULL;
    const char *why = NULL;
    size_t len = 0;
    if (access(path, F_OK) != 0) {
        return true;
    }
    if (!read_whole(path, u->mem, &text, &len, &why)) {
        fprintf(stderr, "fp4c: cannot read %s: %s\n", path, why);
        return false;
    }
    const tir_kernel *k = t->b->at[0].tir;
    const char *head = arena_printf(u->mem, "%s %s ", k->name, arch_infos[k->arch].name);
    const char *sms = arena_printf(u->mem, "%d", t->r->sms);
    for (const char *at = text; at < text + len;) {
        size_t width = strcspn(at, "\n");
        char *line = arena_strndup(u->mem, at, width);
        at += width + (at[width] == '\n');
        char *rest = NULL;
        bool ours = strncmp(line, head, strlen(head)) == 0;
        char *code = ours ? arena_strndup(u->mem, line, width) + strlen(head) : NULL;
        char *had = code != NULL && strtok_r(code, " ", &rest) != NULL ? strtok_r(NULL, " ", &rest) : NULL;
        if (had == NULL || strcmp(had, sms) != 0) {
            fprintf(t->out, "%s\n", line);
        }
    }
    return true;
}

// --- Shapes --------------------------------------------------------------------------------------

// Operands serve every schedule: rows begin where the strictest of them wants them.
static void align_operands(const builds *b) {
    for (int i = 0; i < b->at[0].ast->n_params; i++) {
        tir_param *p = &b->at[0].tir->params[i];
        for (int j = 1; j < b->n; j++) {
            int align = b->at[j].tir->params[i].align;
            p->align = align > p->align ? align : p->align;
        }
    }
}

// One line of the list: sizes beside those of the command line.
static int tune_line(tuner *t, char *line) {
    run_state *r = t->r;
    const options *o = r->u->opt;
    assign all[MAX_ASSIGNS];
    int code = EXIT_DONE;
    memcpy(all, o->assigns, sizeof all);
    r->assigns = all;
    r->n_assigns = o->n_assigns;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL && code == EXIT_DONE;
         word = strtok_r(NULL, " \t\r", &rest)) {
        code = r->n_assigns < MAX_ASSIGNS && options_assign(word, &all[r->n_assigns]) ? EXIT_DONE : EXIT_MISTAKE;
        r->n_assigns += code == EXIT_DONE;
    }
    if (code == EXIT_DONE && r->n_assigns > o->n_assigns) {
        code = run_combinations(r, tune_shape, t);
    }
    for (int i = o->n_assigns; i < r->n_assigns; i++) {
        free((char *)all[i].name);
    }
    return code;
}

static int tune_list(tuner *t, const char *path) {
    char *text = NULL;
    const char *why = NULL;
    size_t len = 0;
    if (!read_whole(path, t->r->u->mem, &text, &len, &why)) {
        fprintf(stderr, "fp4c: cannot read %s: %s\n", path, why);
        return EXIT_MISTAKE;
    }
    text = arena_strndup(t->r->u->mem, text, len);
    int code = EXIT_DONE;
    int number = 0;
    for (char *at = text; code == EXIT_DONE && *at != '\0';) {
        size_t width = strcspn(at, "\n");
        char *next = at + width + (at[width] == '\n');
        at[strcspn(at, "#\n")] = '\0';
        number++;
        code = tune_line(t, at);
        at = next;
    }
    if (code != EXIT_DONE) {
        fprintf(stderr, "fp4c: in line %d of %s\n", number, path);
    }
    return code;
}

static bool set_up(tuner *t, const module_image *image) {
    run_state *r = t->r;
    if (!run_open_device(r)) {
        fprintf(stderr, "fp4c: times are taken where the kernel will run; '--device sim' takes the simulator's, to "
                        "try this command\n");
        return false;
    }
    if (fp4_event_new(r->ctx, &t->from) != FP4_OK || fp4_event_new(r->ctx, &t->to) != FP4_OK ||
        fp4_module_load_memory(r->ctx, image->bytes, image->len, &t->module) != FP4_OK) {
        return failed("device");
    }
    if (!run_give_workspace(r, t->module)) {
        return false;
    }
    bool cached = strncmp(r->u->opt->device, "sim", 3) != 0;
    return !cached || fp4_alloc(r->ctx, FLUSH_BYTES, &t->flush) == FP4_OK || failed("device");
}

// Everything once the module is made; the file is written when all is measured.
static int tune_module(unit *u, const builds *b, const module_image *image, const char *path) {
    tuner *t = ARENA_NEW(u->mem, tuner);
    *t = (tuner){.r = run_new(u, &b->at[0]), .b = b, .seed = u->opt->seed};
    if (t->r == NULL) {
        return EXIT_MISTAKE;
    }
    t->r->dense = true;
    align_operands(b);
    char *text = NULL;
    size_t len = 0;
    t->out = open_memstream(&text, &len);
    int code = set_up(t, image) && keep_lines(t, path) ? EXIT_DONE : EXIT_MISTAKE;
    if (code == EXIT_DONE) {
        const char *list = u->opt->shape_list;
        code = list != NULL ? tune_list(t, list) : run_combinations(t->r, tune_shape, t);
    }
    fclose(t->out);
    if (code == EXIT_DONE) {
        code = write_out(u, path, text, len);
    }
    free(text);
    fp4_close(t->r->ctx);
    return code;
}

static int tune_unit(unit *u) {
    const options *o = u->opt;
    const char *path = o->output != NULL ? o->output : measured_beside(u);
    if (u->file == NULL || o->n_archs != 1 || path == NULL) {
        fprintf(stderr, "fp4c: 'tune' takes one .tk file and one target\n");
        return EXIT_MISTAKE;
    }
    builds *b = ARENA_NEW(u->mem, builds);
    int code = u->checked ? build_all(u, STOP_CUBIN, b) : EXIT_MISTAKE;
    int reported = unit_report(u);
    code = reported > code ? reported : code;
    if (code == EXIT_DONE && !run_one_kernel(u, b)) {
        code = EXIT_MISTAKE;
    }
    module_image image;
    if (code == EXIT_DONE) {
        code = build_module(u, b, &image);
    }
    return code == EXIT_DONE ? tune_module(u, b, &image, path) : code;
}

int command_tune(const options *opt) {
    unit u;
    int code = unit_open(&u, opt) ? tune_unit(&u) : EXIT_MISTAKE;
    unit_close(&u);
    return code;
}
