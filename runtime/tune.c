// Measured times of a kernel's variants, and the choice among them. A module carries them in its
// TUNE section (module.h); fp4_tune measures, fp4_tune_save writes them into the module's file.
//
// The choice is module.h's: each variant whose 'when' holds is judged by its measurement at the nearest
// place; the nearest wins, of equally near ones the fastest, then the cheapest, then the first of the file.
#include "cache.h"
#include "kernel.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 64 + 21 * FP4_MAX_DIMS };
static const float MEASURED_NEAR = 1;

struct rt_tune_point {
    rt_tune_point *next;
    int sms;
    int64_t ns;
    int64_t *sizes; // in the order of the kernel's dims
    float *place;   // log2(1 + size), behind them of sms
};

static float place_of(int64_t size) {
    return log2f(1 + (float)size);
}

static fp4_status add_point(fp4_kernel *k, int sms, int64_t ns, const int64_t *sizes) {
    rt_pool *pool = &k->module->pool;
    rt_tune_point *p = rt_pool_new(pool, sizeof *p);
    int64_t *copy = rt_pool_new(pool, (size_t)k->n_dims * sizeof *copy);
    float *place = rt_pool_new(pool, ((size_t)k->n_dims + 1) * sizeof *place);
    if (!p || !copy || !place) {
        return FP4_ERROR_MEMORY;
    }
    for (int i = 0; i < k->n_dims; i++) {
        copy[i] = sizes[i];
        place[i] = place_of(sizes[i]);
    }
    place[k->n_dims] = place_of(sms);
    *p = (rt_tune_point){NULL, sms, ns, copy, place};
    rt_tune_point **link = &k->points;
    while (*link) {
        link = &(*link)->next;
    }
    *link = p;
    k->module->tuned = true;
    return FP4_OK;
}

// Fills in the best measurement; one that is too far from a module's costs to be believed does not count.
void rt_tune_judge(const fp4_kernel *k, const int64_t *sizes, int sms, rt_rank *rank) {
    float place[FP4_MAX_DIMS + 1];
    float most = k->module->costed ? MEASURED_NEAR : INFINITY;
    for (int i = 0; i < k->n_dims; i++) {
        place[i] = place_of(sizes[i]);
    }
    place[k->n_dims] = place_of(sms);
    for (const rt_tune_point *p = k->points; p; p = p->next) {
        float distance = 0;
        for (int i = 0; i <= k->n_dims; i++) {
            distance += fabsf(place[i] - p->place[i]);
        }
        rt_rank measured = {distance, p->ns, rank->cost};
        if (distance <= most && rt_rank_better(&measured, rank)) {
            *rank = measured;
        }
    }
}

bool rt_rank_better(const rt_rank *a, const rt_rank *b) {
    if (a->distance != b->distance) {
        return a->distance < b->distance;
    }
    return a->ns != b->ns ? a->ns < b->ns : a->cost < b->cost;
}

// ---- the section --------------------------------------------------------------------------------

// The next number of a line, 0 .. most; false when there is none.
static bool get_number(const char **at, int64_t most, int64_t *out) {
    const char *p = *at;
    if (*p < '0' || *p > '9') {
        return false;
    }
    int64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (!rt_mul(value, 10, &value) || !rt_add(value, *p - '0', &value)) {
            return false;
        }
    }
    *at = p + (*p == ' ');
    *out = value;
    return value <= most;
}

static fp4_status read_line(fp4_module *module, const char **at, int line) {
    int64_t index;
    int64_t sms;
    int64_t ns;
    int64_t sizes[FP4_MAX_DIMS];
    bool good = get_number(at, module->n_kernels - 1, &index) && get_number(at, 65535, &sms) &&
                get_number(at, INT64_MAX, &ns);
    for (int i = 0; good && i < module->kernels[index].n_dims; i++) {
        good = get_number(at, INT64_MAX, &sizes[i]);
    }
    if (!good || *(*at)++ != '\n') {
        return rt_fail(FP4_ERROR_MODULE,
                       "line %d of TUNE is not 'kernel multiprocessors ns sizes...'", line);
    }
    return add_point(&module->kernels[index], (int)sms, ns, sizes);
}

fp4_status rt_tune_read(fp4_module *module, const char *text, size_t bytes) {
    const char *at = rt_pool_text(&module->pool, text, bytes);
    if (!at) {
        return FP4_ERROR_MEMORY;
    }
    const char *end = at + bytes;
    fp4_status status = FP4_OK;
    for (int line = 1; at < end && status == FP4_OK; line++) {
        status = read_line(module, &at, line);
    }
    return status;
}

// A point's line; returns its bytes.
static size_t format_line(char line[LINE_BYTES], int index, const fp4_kernel *k,
                          const rt_tune_point *p) {
    int n = snprintf(line, LINE_BYTES, "%d %d %lld", index, p->sms, (long long)p->ns);
    for (int i = 0; i < k->n_dims; i++) {
        n += snprintf(line + n, (size_t)(LINE_BYTES - n), " %lld", (long long)p->sizes[i]);
    }
    n += snprintf(line + n, (size_t)(LINE_BYTES - n), "\n");
    return (size_t)n;
}

// All points as text; NULL: memory is used up.
static char *write_text(const fp4_module *module, rt_pool *pool) {
    char line[LINE_BYTES];
    size_t bytes = 0;
    char *text = NULL;
    for (int pass = 0; pass < 2; pass++) {
        size_t at = 0;
        for (int i = 0; i < module->n_kernels; i++) {
            const fp4_kernel *k = &module->kernels[i];
            for (const rt_tune_point *p = k->points; p; p = p->next) {
                size_t n = format_line(line, i, k, p);
                if (text) {
                    memcpy(text + at, line, n);
                }
                at += n;
            }
        }
        bytes = at;
        if (pass == 0 && !(text = rt_pool_new(pool, bytes + 1))) {
            return NULL;
        }
    }
    return text;
}

// ---- measuring ----------------------------------------------------------------------------------

typedef struct {
    const fp4_arg *args;
    int n_args;
    int runs;
    void *stream;
    fp4_event *from, *to;
} measurement;

static fp4_status measure(const measurement *m, fp4_kernel *variant, rt_outcome *outcome) {
    fp4_status status = rt_launch_one(variant, m->args, m->n_args, m->stream, outcome);
    if (status != FP4_OK || !outcome->holds) {
        return status;
    }
    double us = 0;
    status = fp4_event_record(m->from, m->stream);
    for (int i = 0; i < m->runs && status == FP4_OK; i++) {
        status = rt_launch_one(variant, m->args, m->n_args, m->stream, outcome);
    }
    if (status == FP4_OK) {
        status = fp4_event_record(m->to, m->stream);
    }
    if (status == FP4_OK) {
        status = fp4_event_wait(m->to);
    }
    if (status == FP4_OK) {
        status = fp4_event_elapsed(m->from, m->to, &us);
    }
    if (status == FP4_OK) {
        int sms = variant->module->ctx->properties.n_sms;
        status = add_point(variant, sms, (int64_t)(us * 1e3 / m->runs + 0.5), outcome->sizes);
    }
    return status;
}

fp4_status fp4_tune(fp4_kernel *kernel, const fp4_arg *args, int n_args, int runs, void *stream) {
    if (!kernel || n_args < 0 || (n_args > 0 && !args) || runs < 1) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_tune(): %s",
                       runs < 1 ? "at least one run is needed" : "NULL argument");
    }
    measurement m = {.args = args, .n_args = n_args, .runs = runs, .stream = stream};
    fp4_ctx *ctx = kernel->module->ctx;
    fp4_status status = fp4_event_new(ctx, &m.from);
    if (status == FP4_OK) {
        status = fp4_event_new(ctx, &m.to);
    }
    bool any = false;
    for (fp4_kernel *v = kernel; v && status == FP4_OK; v = rt_next_variant(v)) {
        rt_outcome outcome;
        status = measure(&m, v, &outcome);
        any = any || (status == FP4_OK && outcome.holds);
    }
    fp4_event_free(m.from);
    fp4_event_free(m.to);
    return status == FP4_OK && !any
               ? rt_fail(FP4_ERROR_MISMATCH, "%s(): no variant for %s admits these sizes",
                         kernel->name, kernel->arch)
               : status;
}

// ---- into the file ------------------------------------------------------------------------------

// Whether the file holds the module that was measured.
static fp4_status check_same(const fp4_module *ours, const rt_mapping *file) {
    fp4_module *theirs;
    fp4_status status = fp4_module_load_memory(ours->ctx, file->bytes, file->n, &theirs);
    if (status != FP4_OK) {
        return status;
    }
    bool same = ours->n_kernels == theirs->n_kernels;
    for (int i = 0; i < ours->n_kernels && same; i++) {
        const fp4_kernel *a = &ours->kernels[i];
        const fp4_kernel *b = &theirs->kernels[i];
        same = strcmp(a->name, b->name) == 0 && strcmp(a->arch, b->arch) == 0 &&
               a->n_dims == b->n_dims && a->ptx_bytes == b->ptx_bytes &&
               (!a->ptx || (b->ptx && strcmp(a->ptx, b->ptx) == 0));
    }
    fp4_module_free(theirs);
    return same ? FP4_OK : rt_fail(FP4_ERROR_MISMATCH, "holds other kernels than those measured");
}

static fp4_status save(const fp4_module *module, const char *path, rt_mapping *file,
                       rt_pool *pool) {
    fp4_status status = rt_map_file(path, file);
    if (status == FP4_OK) {
        status = check_same(module, file);
    }
    uint8_t *out = NULL;
    size_t n_out = 0;
    char *text = status == FP4_OK ? write_text(module, pool) : NULL;
    char *scratch = text ? rt_pool_printf(pool, "%s.new", path) : NULL;
    if (status == FP4_OK) {
        status = scratch ? rt_module_retune(pool, file, text, &out, &n_out) : FP4_ERROR_MEMORY;
    }
    if (status == FP4_OK && (!rt_write_file(scratch, out, n_out) || rename(scratch, path) != 0)) {
        status = rt_fail(FP4_ERROR_FILE, "cannot be written: %s", strerror(errno));
        remove(scratch);
    }
    return status;
}

fp4_status fp4_tune_save(const fp4_module *module, const char *path) {
    if (!module || !path) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_tune_save(): NULL argument");
    }
    rt_pool pool;
    rt_mapping file = {NULL, 0};
    rt_pool_init(&pool, &module->ctx->heap);
    fp4_status status = save(module, path, &file, &pool);
    rt_unmap(&file);
    rt_pool_free(&pool);
    return status == FP4_OK ? status : rt_prefix(status, "%s: ", path);
}
