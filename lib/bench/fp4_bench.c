// fp4-bench: kernels D[M, N] = A[M, K] * B[N, K] of compiled modules over a list of shapes, each beside
// cuBLASLt in the same process.
//
//   fp4-bench [options] MODULE.tkm ...
//     --shapes FILE      lines "M N K"; else --shape MxNxK (may be repeated)
//     --device cuda:0    --rounds 20    --flush MIB (256)
//     --clean MODULE.tkm a kernel of f32[M, K] that runs after each flush: see below
//     --cublas PATH|no   the library; default: where the loader finds it
//     --each 1                               every schedule by itself
//     --tune FILE        the same, and the times as text: beside the source (gemm.tk: gemm.tune) the compiler
//                        reads it and the module chooses by it (runtime/module.h, "Choice")
//     --tbs 4.2 --tflops 1979   what the floor of a shape is computed with (an H200: a copy's measured rate,
//                        the data sheet's dense FP8)
//     --json FILE        all figures, with machine and date
//     --svg FILE         a plot: share of the floor, beside cuBLASLt's
//
// A round flushes the L2 cache (a fill larger than it), then times one launch with events. What a fill leaves
// in the cache must be written back to make room for what the launch reads, which counts in its time; with
// --clean a kernel reads as much again before (tests/h200/clean.tk), and the cache holds nothing to write. Rounds go
// through all contestants, so that clocks and heat are shared. The figure is the median, the spread the
// 10th and 90th percentile. Every kernel of the modules that admits the shape runs (of several schedules the
// one that a launch chooses; with --each 1 all that admit it); the table shows the fastest. The floor is the
// larger of bytes (each operand read once, the result written once) over bandwidth and operations over the matrix rate. Results are compared with cuBLASLt's: the relative
// distance must be that of other orders of summation, or the row says so. cuBLASLt gets the kernel's own
// formats: NVFP4, MXFP8, FP8 with f32 scales of blocks, of rows (vectors sa, sb) or none; an inout D is
// added to on both sides. What the library refuses on the device at hand is said by name.
//
// Exit: 0; 1 if something failed, cuBLASLt could not be opened (unless --cublas no) or results differ.
#include "cublas.h"
#include "figures.h"
#include "module.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KERNELS = 128, MAX_ROUNDS = 1000, RANDOM_BYTES = 1 << 24 };

typedef struct {
    char label[64];
    fp4_module *module;
    fp4_kernel *kernel;
    fp4_kernel_info info;
    int n;
    fp4_param_info params[FP4_MAX_ARGS];
    double us[MAX_ROUNDS];
} contestant;

typedef struct {
    bench_options opt;
    fp4_ctx *ctx;
    cublas *lt;
    fp4_event *start, *stop;
    uint64_t flush;
    fp4_kernel *clean; // or NULL
    fp4_tensor clean_in, clean_out;
    unsigned char *noise;
    FILE *tune;       // or NULL
    char *tune_name;  // what is written until all is measured
    int n_sms;
    int n;
    contestant kernels[MAX_KERNELS];
} bench;

static bool failed(const char *what) {
    fprintf(stderr, "fp4-bench: %s: %s\n", what, fp4_last_error());
    return false;
}

// --- Operands --------------------------------------------------------------------------------------

typedef struct {
    fp4_tensor tensors[FP4_MAX_ARGS];
    fp4_arg args[FP4_MAX_ARGS];
    int64_t bytes; // read and written at least once
} operands;

// Finite codes of moderate size, whatever the element type.
static void make_noise(unsigned char *out, fp4_elem e) {
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < RANDOM_BYTES / 4; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uint32_t x = (uint32_t)(state >> 24), v = x;
        switch (e) {
        case FP4_ELEM_E4M3:
            v = (x & 0x9F9F9F9F) | 0x20202020; // 2^-3 .. 2^0
            break;
        case FP4_ELEM_E5M2:
            v = (x & 0x8F8F8F8F) | 0x30303030;
            break;
        case FP4_ELEM_BF16:
            v = (x & 0x81FF81FF) | 0x3E003E00;
            break;
        case FP4_ELEM_F16:
            v = (x & 0x8FFF8FFF) | 0x30003000;
            break;
        case FP4_ELEM_F32: // one value: see 'reference'
            v = 0x3F400000;
            break;
        case FP4_ELEM_UE4M3:
            v = (x & 0x0F0F0F0F) | 0x30303030;
            break;
        case FP4_ELEM_UE8M0:
            v = (x & 0x03030303) | 0x7C7C7C7C;
            break;
        default:
            break;
        }
        memcpy(out + 4 * i, &v, 4);
    }
}

static bool fill(bench *b, uint64_t at, int64_t bytes, fp4_elem e) {
    make_noise(b->noise, e);
    for (int64_t done = 0; done < bytes; done += RANDOM_BYTES) {
        int64_t n = bytes - done < RANDOM_BYTES ? bytes - done : RANDOM_BYTES;
        if (fp4_copy_to(b->ctx, at + (uint64_t)done, b->noise, n, NULL) != FP4_OK) {
            return failed("copy");
        }
    }
    return true;
}

static bool make_operand(bench *b, const contestant *c, int i, const bench_shape *s, operands *o) {
    fp4_dim dims[] = {{"M", s->m}, {"N", s->n}, {"K", s->k}};
    int64_t shape[FP4_MAX_RANK];
    int rank = 0;
    fp4_tensor *t = &o->tensors[i];
    fp4_storage st = {.size = sizeof st};
    if (fp4_kernel_shape(c->kernel, i, dims, 3, &rank, shape) != FP4_OK ||
        fp4_tensor_init(t, "bf16", rank, shape) != FP4_OK) {
        return failed(c->params[i].name);
    }
    t->format = c->params[i].format;
    if (fp4_tensor_alloc(b->ctx, t) != FP4_OK || fp4_tensor_storage(t, &st) != FP4_OK) {
        return failed(c->params[i].name);
    }
    o->args[i] = fp4_arg_tensor(t);
    o->bytes += (st.data_bytes + st.scale_bytes) * (c->params[i].mode == FP4_MODE_INOUT ? 2 : 1);
    if (c->params[i].mode == FP4_MODE_OUT) {
        return true;
    }
    return fill(b, t->data, st.data_bytes, t->format.elem) &&
           (st.scale_bytes == 0 || fill(b, t->scale, st.scale_bytes, t->format.scale));
}

static bool make_operands(bench *b, const contestant *c, const bench_shape *s, operands *o) {
    *o = (operands){0};
    for (int i = 0; i < c->n; i++) {
        if (c->params[i].kind == FP4_PARAM_SCALAR) {
            o->args[i] = fp4_arg_f32(1);
        } else if (!make_operand(b, c, i, s, o)) {
            return false;
        }
    }
    return true;
}

static void free_operands(const contestant *c, operands *o) {
    for (int i = 0; i < c->n; i++) {
        fp4_tensor_free(&o->tensors[i]);
    }
}

static const fp4_tensor *by_name(const contestant *c, const operands *o, const char *name) {
    for (int i = 0; i < c->n; i++) {
        if (strcmp(c->params[i].name, name) == 0) {
            return &o->tensors[i];
        }
    }
    return NULL;
}

// --- Timing ----------------------------------------------------------------------------------------

static bool flush(bench *b, int round) {
    if (fp4_fill(b->ctx, b->flush, (uint8_t)round, (int64_t)b->opt.flush_mib << 20, NULL) != FP4_OK) {
        return failed("flush");
    }
    fp4_arg args[] = {fp4_arg_tensor(&b->clean_in), fp4_arg_tensor(&b->clean_out)};
    return !b->clean || fp4_launch(b->clean, args, 2, NULL) == FP4_OK || failed(b->opt.clean);
}

static bool stop(bench *b, double *us) {
    return (fp4_event_record(b->stop, NULL) == FP4_OK && fp4_event_wait(b->stop) == FP4_OK &&
            fp4_event_elapsed(b->start, b->stop, us) == FP4_OK) ||
           failed("event");
}

static bool time_kernel(bench *b, contestant *c, const operands *o, int round) {
    if (!flush(b, round) || fp4_event_record(b->start, NULL) != FP4_OK) {
        return false;
    }
    fp4_status (*launch)(fp4_kernel *, const fp4_arg *, int, void *) = b->opt.each ? fp4_launch_variant : fp4_launch;
    if (launch(c->kernel, o->args, c->n, NULL) != FP4_OK) {
        return failed(c->label);
    }
    return stop(b, &c->us[round]);
}

static bool time_cublas(bench *b, double *us, int round) {
    if (!flush(b, round) || fp4_event_record(b->start, NULL) != FP4_OK) {
        return false;
    }
    const char *why = cublas_launch(b->lt);
    if (why) {
        fprintf(stderr, "fp4-bench: %s\n", why);
        return false;
    }
    return stop(b, us);
}

// --- Results beside cuBLASLt's -----------------------------------------------------------------------

static double distance(bench *b, const fp4_tensor *ours, uint64_t theirs) {
    fp4_tensor other = *ours;
    other.data = theirs;
    other.ctx = NULL;
    int64_t rows = ours->dims[0] < 128 ? ours->dims[0] : 128; // the first rows tell
    fp4_tensor part[2] = {*ours, other};
    size_t n = (size_t)(rows * ours->dims[1]);
    double *v[2] = {malloc(n * sizeof(double) + 1), malloc(n * sizeof(double) + 1)};
    double above = 0, below = 0;
    for (int i = 0; i < 2; i++) {
        part[i].dims[0] = rows;
        if (!v[i] || fp4_tensor_values(b->ctx, &part[i], v[i]) != FP4_OK) {
            below = NAN;
        }
    }
    for (size_t i = 0; i < n && !isnan(below); i++) {
        above += (v[0][i] - v[1][i]) * (v[0][i] - v[1][i]);
        below += v[1][i] * v[1][i];
    }
    free(v[0]);
    free(v[1]);
    return sqrt(above / (below > 0 ? below : 1));
}

// --- One shape -------------------------------------------------------------------------------------

// cuBLASLt's side: results of its own, and f32 scales of blocks in its own layouts. Those are all one value
// (make_noise), so that no layout of them matters; its largest layout has rows and granules padded to 4.
typedef struct {
    bool on;
    uint64_t d, a_scale, b_scale; // allocated here
} reference;

static bool block_scales(bench *b, const fp4_tensor *t, uint64_t *at) {
    int64_t rows = (t->dims[0] + 3) / 4 * 4, blocks = ((t->dims[1] + 127) / 128 + 3) / 4 * 4;
    return fp4_alloc(b->ctx, 4 * rows * blocks, at) == FP4_OK && fill(b, *at, 4 * rows * blocks, FP4_ELEM_F32);
}

static bool begin_reference(bench *b, const contestant *c, const bench_shape *s, const operands *o,
                            bench_row *row, reference *r) {
    const fp4_tensor *x = by_name(c, o, "A"), *w = by_name(c, o, "B"), *d = by_name(c, o, "D");
    x = x ? x : by_name(c, o, "X");
    w = w ? w : by_name(c, o, "W");
    const fp4_tensor *sa = by_name(c, o, "sa"), *sb = by_name(c, o, "sb"); // scales of rows
    *r = (reference){0};
    if (!b->lt || !x || !w || !d) {
        return true;
    }
    cublas_gemm g = {.m = s->m, .n = s->n, .k = s->k, .a = x->format, .b = w->format, .d = d->format.elem,
                     .fast = b->opt.fast, .a_at = x->data, .b_at = w->data,
                     .a_scale = sa && sb ? sa->data : x->scale, .b_scale = sa && sb ? sb->data : w->scale};
    for (int i = 0; i < c->n; i++) {
        g.add |= c->params[i].mode == FP4_MODE_INOUT && &o->tensors[i] == d;
    }
    fp4_storage st = {.size = sizeof st};
    if (fp4_tensor_storage(d, &st) != FP4_OK || fp4_alloc(b->ctx, st.data_bytes, &r->d) != FP4_OK ||
        !fill(b, r->d, st.data_bytes, g.d) ||
        (x->format.scale == FP4_ELEM_F32 && !block_scales(b, x, &r->a_scale)) ||
        (w->format.scale == FP4_ELEM_F32 && !block_scales(b, w, &r->b_scale))) {
        return failed("cuBLASLt's operands");
    }
    g.d_at = r->d;
    g.a_scale = r->a_scale ? r->a_scale : g.a_scale;
    g.b_scale = r->b_scale ? r->b_scale : g.b_scale;
    const char *why = cublas_prepare(b->lt, &g);
    figures_refused(row, why);
    r->on = !why;
    return true;
}

static void end_reference(bench *b, reference *r) {
    fp4_free(b->ctx, r->d);
    fp4_free(b->ctx, r->a_scale);
    fp4_free(b->ctx, r->b_scale);
}

// The median as a line of the file that 'fp4c' reads.
static void note_time(bench *b, const contestant *c, const bench_row *row) {
    fprintf(b->tune, FP4_MODULE_TIME, c->info.name, c->info.arch,
            fp4_module_hash(c->info.ptx, c->info.ptx_bytes), b->n_sms,
            row->results[row->n - 1].time.median * 1e3);
    fprintf(b->tune, FP4_MODULE_TIME_SIZE FP4_MODULE_TIME_SIZE FP4_MODULE_TIME_SIZE "\n", "M",
            row->shape.m, "N", row->shape.n, "K", row->shape.k);
}

// Everything that runs on the operands of one kernel: it, and cuBLASLt when that can.
static bool compare(bench *b, contestant *c, const bench_shape *s, bench_row *row) {
    static double theirs[MAX_ROUNDS];
    operands o;
    reference r;
    if (!make_operands(b, c, s, &o) || !begin_reference(b, c, s, &o, row, &r)) {
        return false;
    }
    bool ok = true;
    double warm;
    for (int i = 0; i < 3 && ok; i++) {
        ok = time_kernel(b, c, &o, 0) && (!r.on || time_cublas(b, &warm, 0));
    }
    for (int i = 0; i < b->opt.rounds && ok; i++) {
        ok = time_kernel(b, c, &o, i) && (!r.on || time_cublas(b, &theirs[i], i));
    }
    if (ok) {
        figures_add(row, c->label, c->us, b->opt.rounds, o.bytes);
    }
    if (ok && b->tune) {
        note_time(b, c, row);
    }
    if (ok && r.on) {
        figures_reference(row, theirs, b->opt.rounds, distance(b, by_name(c, &o, "D"), r.d));
    }
    end_reference(b, &r);
    free_operands(c, &o);
    return ok;
}

// Some schedule of the kernel takes the shape.
static bool admits(const bench *b, const contestant *c, const fp4_dim dims[3]) {
    if (b->opt.each) {
        return fp4_kernel_admits(c->kernel, dims, 3) == FP4_OK;
    }
    for (int i = 0; i < fp4_module_count(c->module); i++) {
        fp4_kernel *k;
        fp4_kernel_info info = {.size = sizeof info};
        if (fp4_module_kernel_at(c->module, i, &k) == FP4_OK && fp4_kernel_get_info(k, &info) == FP4_OK &&
            strcmp(info.name, c->info.name) == 0 && strcmp(info.arch, c->info.arch) == 0 &&
            fp4_kernel_admits(k, dims, 3) == FP4_OK) {
            return true;
        }
    }
    return false;
}

static bool run_shape(bench *b, const bench_shape *s, bench_row *row) {
    fp4_dim dims[] = {{"M", s->m}, {"N", s->n}, {"K", s->k}};
    *row = (bench_row){.shape = *s};
    for (int i = 0; i < b->n; i++) {
        contestant *c = &b->kernels[i];
        if (admits(b, c, dims) && !compare(b, c, s, row)) {
            return false;
        }
    }
    return true;
}

// --- Set up ----------------------------------------------------------------------------------------

static bool add_contestant(bench *b, fp4_module *m, fp4_kernel *k, const char *file, int number) {
    contestant *c = &b->kernels[b->n++];
    c->module = m;
    c->kernel = k;
    c->info.size = sizeof c->info;
    if (fp4_kernel_get_info(k, &c->info) != FP4_OK) {
        return failed(file);
    }
    if (number < 0) {
        snprintf(c->label, sizeof c->label, "%.40s", file);
    } else {
        snprintf(c->label, sizeof c->label, "%.40s#%d", file, number);
    }
    c->n = c->info.n_params;
    for (int p = 0; p < c->n; p++) {
        c->params[p].size = sizeof c->params[p];
        if (fp4_kernel_param(k, p, &c->params[p]) != FP4_OK) {
            return failed(file);
        }
    }
    return true;
}

static bool is_there(const bench *b, const fp4_module *m, const char *name) {
    for (int i = 0; i < b->n; i++) {
        if (b->kernels[i].module == m && strcmp(b->kernels[i].info.name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool load(bench *b, const char *path) {
    fp4_module *m;
    fp4_device_info device = {.size = sizeof device};
    if (fp4_module_load_file(b->ctx, path, &m) != FP4_OK || fp4_get_device_info(b->ctx, &device) != FP4_OK ||
        fp4_workspace(b->ctx, NULL, fp4_module_workspace(m)) != FP4_OK) {
        return failed(path);
    }
    const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    for (int i = 0; i < fp4_module_count(m) && b->n < MAX_KERNELS; i++) {
        fp4_kernel *k;
        fp4_kernel_info info = {.size = sizeof info};
        if (fp4_module_kernel_at(m, i, &k) != FP4_OK || fp4_kernel_get_info(k, &info) != FP4_OK) {
            return failed(path);
        }
        if (strcmp(info.arch, device.arch) != 0 && strcmp(device.arch, "any") != 0) {
            continue;
        }
        if (b->opt.each) {
            if (!add_contestant(b, m, k, file, i)) {
                return false;
            }
        } else if (!is_there(b, m, info.name) && (fp4_module_kernel(m, info.name, NULL, &k) != FP4_OK ||
                                                  !add_contestant(b, m, k, file, -1))) {
            return failed(path);
        }
    }
    return true;
}

static bool clean_tensor(bench *b, int i, const fp4_dim *dims, fp4_tensor *t) {
    int64_t shape[FP4_MAX_RANK];
    int rank = 0;
    return fp4_kernel_shape(b->clean, i, dims, 2, &rank, shape) == FP4_OK &&
           fp4_tensor_new(b->ctx, "f32", rank, shape, t) == FP4_OK;
}

// The kernel that reads a matrix as large as what the fill writes.
static bool load_clean(bench *b) {
    enum { COLUMNS = 1024 };
    fp4_module *m;
    fp4_kernel_info info = {.size = sizeof info};
    fp4_dim dims[] = {{"M", ((int64_t)b->opt.flush_mib << 20) / (COLUMNS * 4)}, {"K", COLUMNS}};
    bool ok = fp4_module_load_file(b->ctx, b->opt.clean, &m) == FP4_OK &&
              fp4_module_kernel_at(m, 0, &b->clean) == FP4_OK &&
              fp4_kernel_get_info(b->clean, &info) == FP4_OK && info.n_params == 2 &&
              clean_tensor(b, 0, dims, &b->clean_in) && clean_tensor(b, 1, dims, &b->clean_out);
    return ok ? fill(b, b->clean_in.data, (int64_t)b->opt.flush_mib << 20, FP4_ELEM_F32) : failed(b->opt.clean);
}

static bool set_up(bench *b, int n_modules, char **modules) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = b->opt.device;
    b->noise = malloc(RANDOM_BYTES);
    if (!b->noise || fp4_open(&config, &b->ctx) != FP4_OK ||
        fp4_alloc(b->ctx, (int64_t)b->opt.flush_mib << 20, &b->flush) != FP4_OK ||
        fp4_event_new(b->ctx, &b->start) != FP4_OK || fp4_event_new(b->ctx, &b->stop) != FP4_OK) {
        return failed(b->opt.device);
    }
    if (b->opt.clean && !load_clean(b)) {
        return false;
    }
    for (int i = 0; i < n_modules; i++) {
        if (!load(b, modules[i])) {
            return false;
        }
    }
    if (!b->opt.cublas || strcmp(b->opt.cublas, "no") != 0) {
        const char *why = NULL;
        b->lt = cublas_open(b->ctx, b->opt.cublas, &why);
        if (!b->lt) {
            fprintf(stderr, "fp4-bench: no cuBLASLt: %s; --cublas names it, --cublas no does without\n", why);
            return false;
        }
    }
    return true;
}

// --- The file of times -------------------------------------------------------------------------------

// It takes its name when all is measured: times that are there stay whole until then.
static bool begin_tune(bench *b, const char *device) {
    size_t n = strlen(b->opt.tune) + sizeof ".new";
    b->tune_name = malloc(n);
    if (b->tune_name) {
        snprintf(b->tune_name, n, "%s.new", b->opt.tune);
        b->tune = fopen(b->tune_name, "w");
    }
    if (!b->tune) {
        fprintf(stderr, "fp4-bench: %s cannot be written\n", b->opt.tune);
        return false;
    }
    fprintf(b->tune, "# %s: kernel, machine, code, multiprocessors, ns, sizes\n", device);
    return true;
}

static bool end_tune(bench *b, bool measured) {
    bool ok = !ferror(b->tune);
    ok &= fclose(b->tune) == 0;
    ok = ok && measured && rename(b->tune_name, b->opt.tune) == 0;
    if (!ok) {
        fprintf(stderr, "fp4-bench: %s is not written: %s\n", b->opt.tune,
                measured ? "its folder takes no more" : "not every shape was measured");
        remove(b->tune_name);
    }
    free(b->tune_name);
    return ok;
}

int main(int argc, char **argv) {
    static bench b;
    int first = options_read(argc, argv, &b.opt);
    if (first < 0) {
        return 2;
    }
    bench_row *rows = calloc((size_t)b.opt.n_shapes + 1, sizeof *rows);
    fp4_device_info info = {.size = sizeof info};
    if (!rows || !set_up(&b, argc - first, argv + first) ||
        fp4_get_device_info(b.ctx, &info) != FP4_OK) {
        return 1;
    }
    b.n_sms = info.n_sms;
    if (b.opt.tune && !begin_tune(&b, info.name)) {
        return 1;
    }
    figures_head(&b.opt, &info);
    bool measured = true;
    for (int i = 0; i < b.opt.n_shapes && measured; i++) {
        measured = run_shape(&b, &b.opt.shapes[i], &rows[i]);
        if (measured) {
            figures_print(&b.opt, &rows[i]);
        }
    }
    bool tuned = !b.tune || end_tune(&b, measured);
    if (!measured || !tuned) {
        return 1;
    }
    figures_means(rows, b.opt.n_shapes);
    bool ok = !b.opt.json || figures_json(&b.opt, &info, rows, b.opt.n_shapes);
    ok &= !b.opt.svg || figures_svg(&b.opt, &info, rows, b.opt.n_shapes);
    ok &= !figures_differ(rows, b.opt.n_shapes);
    cublas_close(b.lt);
    fp4_close(b.ctx);
    free(rows);
    free(b.noise);
    return ok ? 0 : 1;
}
