// Every kernel of the given modules on a GPU and on the simulator, over random shapes, random operands
// and random scales: the results must be the same bits.
//
//   h200_check [--device cuda:0] [--shapes N] [--seed S] [--most SIZE] [--sms N] [--tell] MODULE.tkm ...
//
// Needs no LLVM and no CUDA toolkit: the modules are compiled elsewhere and carried to the machine.
// Shapes: every run-time size is drawn from few, odd, around the multiples of tiles, and large; what
// the kernel's where clauses refuse is rounded up until they admit it. One line a kernel; exit 1 if a
// bit differed. --sms: multiprocessors of the simulator, else as many as the GPU has. --tell names each shape and
// machine on stderr before the launch, so that one that never ends is known.
#include "fp4rt.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, POISON = 0xA5, MOST_ELEMENTS = 2 << 20, MOST_WIDE = 8 << 20, MOST_WILD = 1 << 26, WIDER = 32 };

static bool tells;

typedef struct {
    const char *name;
    fp4_ctx *ctx;
    fp4_module *module;
    fp4_kernel *kernel;
} machine;

typedef struct {
    fp4_kernel_info info;
    int n;
    fp4_param_info params[FP4_MAX_ARGS];
    fp4_dim dims[FP4_MAX_DIMS];
    fp4_arg scalars[FP4_MAX_ARGS];
    bool wide;        // one size far beyond the others
    int64_t n_bounds; // numbers in the longest const i32 tensor: offsets of groups, if the kernel has some
    unsigned char *data[FP4_MAX_ARGS], *scale[FP4_MAX_ARGS]; // what both machines start from
} job;

static uint64_t next_random(uint64_t *state) { // splitmix64
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void check(fp4_status s, const char *what) {
    if (s != FP4_OK) {
        fprintf(stderr, "h200_check: %s: %s\n", what, fp4_last_error());
        exit(2);
    }
}

// --- Shapes ----------------------------------------------------------------------------------------

static int64_t draw_size(uint64_t *seed, int64_t most) {
    uint64_t x = next_random(seed), y = next_random(seed);
    switch (x % 5) {
    case 0:
        return 1 + (int64_t)(y % 17);
    case 1: // beside a multiple of 64
        return 64 * (1 + (int64_t)(y % (uint64_t)(most / 64))) + (int64_t)(y >> 40) % 3 - 1;
    case 2:
        return y % 4 == 0 ? 0 : 8 * (1 + (int64_t)(y % 40));
    default:
        break;
    }
    return 1 + (int64_t)(y % (uint64_t)most);
}

// Elements of all tensors together; many sizes in one tensor soon are too many.
static int64_t count_elements(const fp4_kernel *k, const job *j) {
    int64_t sum = 0;
    for (int i = 0; i < j->n; i++) {
        int64_t shape[FP4_MAX_RANK], n = 1;
        int rank = 0;
        check(fp4_kernel_shape(k, i, j->dims, j->info.n_dims, &rank, shape), "shape");
        for (int a = 0; a < rank; a++) {
            n *= shape[a];
        }
        sum += j->params[i].kind == FP4_PARAM_TENSOR ? n : 0;
    }
    return sum;
}

// Schedules for long rows or many columns take none of the usual sizes: after a while one dimension is drawn from
// a wider range and the others, so that the simulator's share stays small, from a narrow one.
static bool draw_shape(const fp4_kernel *k, job *j, uint64_t *seed, int64_t most) {
    for (int attempt = 0; attempt < (j->info.n_dims > 0 ? 4000 : 1); attempt++) {
        j->wide = attempt >= 2000;
        int wide = !j->wide ? -1 : (int)(next_random(seed) % (uint64_t)j->info.n_dims);
        for (int i = 0; i < j->info.n_dims; i++) {
            int64_t limit = wide < 0 ? most : i == wide ? WIDER * most : most / 3;
            static const int64_t multiples[] = {1, 8, 16, 32, 64, 128, 256};
            int64_t m = multiples[next_random(seed) % 7];
            int64_t v = draw_size(seed, limit);
            // No rows or columns means no launch: only what is summed over may be nothing.
            v = v == 0 && strcmp(fp4_kernel_dim(k, i), "K") != 0 ? 1 : v;
            j->dims[i] = (fp4_dim){fp4_kernel_dim(k, i), (v + m - 1) / m * m};
        }
        if (fp4_kernel_admits(k, j->dims, j->info.n_dims) == FP4_OK &&
            count_elements(k, j) < (j->wide ? MOST_WIDE : MOST_ELEMENTS)) {
            return true;
        }
    }
    return false;
}

// --- Operands --------------------------------------------------------------------------------------

// A code of the element type. Wild ones are any bits; others are finite and of moderate size.
static uint32_t draw_code(fp4_elem e, bool wild, uint64_t x) {
    uint32_t bits = (uint32_t)(x >> 20), sign = (uint32_t)(x & 1);
    switch (e) {
    case FP4_ELEM_E4M3:
        return wild ? bits & 0xFF : (bits & 0x7F) == 0x7F ? 0 : bits & 0xFF;
    case FP4_ELEM_E5M2:
        return wild ? bits & 0xFF : (bits & 0x7C) == 0x7C ? 0x3C : bits & 0xFF;
    case FP4_ELEM_BF16:
        return wild ? bits & 0xFFFF : sign << 15 | (120 + (bits >> 8) % 16) << 7 | (bits & 0x7F);
    case FP4_ELEM_F16:
        return wild ? bits & 0xFFFF : sign << 15 | (10 + (bits >> 12) % 9) << 10 | (bits & 0x3FF);
    case FP4_ELEM_TF32: // the 13 low bits are not looked at
    case FP4_ELEM_F32: // of wild ones every fourth is subnormal
        return wild ? (x >> 2 & 3 ? (uint32_t)(x >> 8) : (uint32_t)(x >> 8) & 0x807FFFFF)
                    : sign << 31 | (123 + (bits >> 24) % 8) << 23 | (bits & 0x7FFFFF);
    case FP4_ELEM_UE4M3:
        return 0x20 + bits % 0x38;
    case FP4_ELEM_UE8M0:
        return 121 + bits % 13;
    default:
        break;
    }
    return bits & 0xFF; // two codes of four bits
}

static unsigned char *draw_bytes(fp4_elem e, int64_t bytes, bool wild, uint64_t *seed) {
    unsigned char *out = malloc((size_t)bytes + 8);
    int step = fp4_elem_bits(e) < 8 ? 1 : fp4_elem_bits(e) / 8;
    bool some = wild && next_random(seed) % 2; // wild everywhere, or here and there
    for (int64_t i = 0; out && i < bytes; i += step) {
        uint64_t x = next_random(seed);
        uint32_t code = draw_code(e, wild && (!some || (x >> 8) % 997 == 0), x);
        memcpy(out + i, &code, (size_t)step);
    }
    return out;
}

// Const whole numbers bound loops: ascending ones, which serve as offsets and as counts alike. The first one
// may be above 0 and the last one beyond the rows there are.
static void draw_bounds(const job *j, void *data, int64_t n, uint64_t *seed) {
    int64_t most = 0;
    for (int d = 0; d < j->info.n_dims; d++) {
        most = j->dims[d].value > most ? j->dims[d].value : most;
    }
    int32_t *v = data, at = (int32_t)(next_random(seed) % 3);
    for (int64_t i = 0; i < n; i++) {
        v[i] = at;
        uint64_t x = next_random(seed);
        at += x % 3 == 0 ? 0 : (int32_t)((x >> 8) % (uint64_t)(2 * most / n + 2));
    }
}

static bool is_output(const fp4_param_info *p) {
    return p->mode == FP4_MODE_OUT || p->mode == FP4_MODE_INOUT;
}

static void describe_tensor(const fp4_kernel *k, const job *j, int i, fp4_tensor *t, fp4_storage *s) {
    int64_t shape[FP4_MAX_RANK];
    int rank = 0;
    char name[FP4_MAX_NAME];
    check(fp4_kernel_shape(k, i, j->dims, j->info.n_dims, &rank, shape), "shape");
    *t = (fp4_tensor){.size = sizeof *t};
    check(fp4_tensor_init(t, "bf16", rank, shape), fp4_format_name(&j->params[i].format, name));
    t->format = j->params[i].format;
    *s = (fp4_storage){.size = sizeof *s};
    check(fp4_tensor_storage(t, s), "storage");
    if (j->n_bounds > 1 && rank == 2 && t->format.layout == FP4_SF_128X4) { // its rows may be ragged
        int64_t bytes = fp4_ragged_scale_bytes(&t->format, shape[0], shape[1], j->n_bounds - 1);
        s->scale_bytes = bytes > s->scale_bytes ? bytes : s->scale_bytes;
    }
}

static int64_t count_bounds(const fp4_kernel *k, job *j) {
    int64_t most = 0;
    for (int i = 0; i < j->n; i++) {
        fp4_tensor t;
        fp4_storage s;
        if (j->params[i].kind == FP4_PARAM_TENSOR && j->params[i].mode == FP4_MODE_CONST) {
            describe_tensor(k, j, i, &t, &s);
            int64_t n = t.format.elem == FP4_ELEM_I32 ? s.data_bytes / 4 : 0;
            most = n > most ? n : most;
        }
    }
    return most;
}

// Whole numbers are bounds of loops or counts: inside of a dimension, or beyond its ends.
static fp4_arg draw_scalar(fp4_elem e, uint64_t x) {
    int32_t count = (int32_t)((x >> 8) % 300) - 20;
    switch (e) {
    case FP4_ELEM_I32:
        return fp4_arg_i32(count);
    case FP4_ELEM_I64:
        return fp4_arg_i64(count);
    default:
        return fp4_arg_f32(0.25f + (float)(x >> 40) / 16777216.0f);
    }
}

// An upper bound of the launch's multiply-adds: the simulator takes sums of wild codes one by one.
static double most_products(const job *j) {
    double n = 1;
    for (int i = 0; i < j->info.n_dims; i++) {
        n *= (double)j->dims[i].value;
    }
    return n;
}

static void draw_operands(const fp4_kernel *k, job *j, uint64_t *seed) {
    bool wild = next_random(seed) % 6 == 0 && most_products(j) < MOST_WILD;
    j->n_bounds = 0;
    j->n_bounds = count_bounds(k, j);
    for (int i = 0; i < j->n; i++) {
        fp4_tensor t;
        fp4_storage s;
        if (j->params[i].kind != FP4_PARAM_TENSOR) {
            j->scalars[i] = draw_scalar(j->params[i].format.elem, next_random(seed));
            continue;
        }
        describe_tensor(k, j, i, &t, &s);
        bool poison = j->params[i].mode == FP4_MODE_OUT;
        j->data[i] = draw_bytes(t.format.elem, s.data_bytes, wild, seed);
        j->scale[i] = s.scale_bytes ? draw_bytes(t.format.scale, s.scale_bytes, false, seed) : NULL;
        if (j->params[i].mode == FP4_MODE_CONST && t.format.elem == FP4_ELEM_I32 && s.data_bytes > 0) {
            draw_bounds(j, j->data[i], s.data_bytes / 4, seed);
        }
        if (poison) {
            memset(j->data[i], POISON, (size_t)s.data_bytes);
        }
        if (poison && j->scale[i]) { // padding rows are nobody's: the same on both machines
            memset(j->scale[i], POISON, (size_t)s.scale_bytes);
        }
    }
}

static void free_operands(job *j) {
    for (int i = 0; i < j->n; i++) {
        free(j->data[i]);
        free(j->scale[i]);
        j->data[i] = j->scale[i] = NULL;
    }
}

// --- One launch ------------------------------------------------------------------------------------

typedef struct {
    unsigned char *data[FP4_MAX_ARGS], *scale[FP4_MAX_ARGS];
    int64_t data_bytes[FP4_MAX_ARGS], scale_bytes[FP4_MAX_ARGS];
    bool guard_hurt;
} outcome;

static uint64_t place(const machine *m, const void *bytes, int64_t n, uint64_t *base) {
    check(fp4_alloc(m->ctx, n + 2 * GUARD, base), "memory");
    check(fp4_fill(m->ctx, *base, POISON, n + 2 * GUARD, NULL), "fill");
    if (n > 0) {
        check(fp4_copy_to(m->ctx, *base + GUARD, bytes, n, NULL), "copy");
    }
    return *base + GUARD;
}

static unsigned char *take(const machine *m, uint64_t base, int64_t n, outcome *out) {
    unsigned char *all = malloc((size_t)n + 2 * GUARD);
    check(fp4_copy_from(m->ctx, all, base, n + 2 * GUARD, NULL), "copy back");
    for (int i = 0; i < GUARD; i++) {
        out->guard_hurt |= all[i] != POISON || all[GUARD + n + i] != POISON;
    }
    memmove(all, all + GUARD, (size_t)n);
    return all;
}

static void launch(const machine *m, const job *j, outcome *out) {
    fp4_tensor tensors[FP4_MAX_ARGS];
    uint64_t bases[FP4_MAX_ARGS][2] = {{0}};
    fp4_arg args[FP4_MAX_ARGS];
    fp4_storage s;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < j->n; i++) {
        if (j->params[i].kind != FP4_PARAM_TENSOR) {
            args[i] = j->scalars[i];
            continue;
        }
        describe_tensor(m->kernel, j, i, &tensors[i], &s);
        tensors[i].data = place(m, j->data[i], s.data_bytes, &bases[i][0]);
        out->data_bytes[i] = s.data_bytes;
        out->scale_bytes[i] = s.scale_bytes;
        if (s.scale_bytes) {
            tensors[i].scale = place(m, j->scale[i], s.scale_bytes, &bases[i][1]);
        }
        args[i] = fp4_arg_tensor(&tensors[i]);
    }
    char what[256];
    size_t at = (size_t)snprintf(what, sizeof what, "%s", j->info.name);
    for (int d = 0; d < j->info.n_dims && at < sizeof what - 60; d++) {
        at += (size_t)snprintf(what + at, sizeof what - at, " %s=%lld", j->dims[d].name,
                               (long long)j->dims[d].value);
    }
    if (tells) {
        fprintf(stderr, "%s:%s\n", m->name, what);
    }
    check(fp4_launch_variant(m->kernel, args, j->n, NULL), what);
    check(fp4_sync(m->ctx, NULL), what);
    for (int i = 0; i < j->n; i++) {
        if (j->params[i].kind == FP4_PARAM_TENSOR) {
            out->data[i] = take(m, bases[i][0], out->data_bytes[i], out);
            out->scale[i] = bases[i][1] ? take(m, bases[i][1], out->scale_bytes[i], out) : NULL;
            check(fp4_free(m->ctx, bases[i][0]), "free");
            check(fp4_free(m->ctx, bases[i][1]), "free");
        }
    }
}

static void free_outcome(outcome *o) {
    for (int i = 0; i < FP4_MAX_ARGS; i++) {
        free(o->data[i]);
        free(o->scale[i]);
    }
}

// --- Comparison ------------------------------------------------------------------------------------

static int64_t differing(const unsigned char *a, const unsigned char *b, int64_t n, int64_t *first) {
    int64_t count = 0;
    if (!a != !b) { // a side that is not there
        *first = 0;
        return n > 0 ? n : 1;
    }
    for (int64_t i = 0; a && b && i < n; i++) {
        if (a[i] != b[i]) {
            *first = count == 0 ? i : *first;
            count++;
        }
    }
    return count;
}

static bool same(const job *j, const outcome *gpu, const outcome *sim) {
    bool ok = !gpu->guard_hurt && !sim->guard_hurt;
    if (!ok) {
        printf("  %s: wrote outside of its tensors\n", j->info.name);
    }
    for (int i = 0; i < j->n; i++) {
        int64_t at = 0;
        int64_t n = differing(gpu->data[i], sim->data[i], gpu->data_bytes[i], &at) +
                    differing(gpu->scale[i], sim->scale[i], gpu->scale_bytes[i], &at);
        if (n == 0) {
            continue;
        }
        ok = false;
        printf("  %s: '%s' differs in %lld bytes of %lld, first at %lld;", j->info.name, j->params[i].name,
               (long long)n, (long long)(gpu->data_bytes[i] + gpu->scale_bytes[i]), (long long)at);
        for (int b = 0; b < 8 && gpu->data[i] && at / 4 * 4 + b < gpu->data_bytes[i]; b++) {
            printf(" %02x/%02x", gpu->data[i][at / 4 * 4 + b], sim->data[i][at / 4 * 4 + b]);
        }
        for (int d = 0; d < j->info.n_dims; d++) {
            printf(" %s=%lld", j->dims[d].name, (long long)j->dims[d].value);
        }
        printf("\n");
    }
    return ok;
}

static int n_launched; // a run that compares nothing is no success

// The kernel's name, and the schedule's number where it has several.
static void name_schedule(const machine *m, int index, char *label, size_t size) {
    fp4_kernel_info own = {.size = sizeof own};
    check(fp4_kernel_get_info(m->kernel, &own), "info");
    int before = 0, all = 0;
    for (int i = 0; i < fp4_module_count(m->module); i++) {
        fp4_kernel *k;
        fp4_kernel_info info = {.size = sizeof info};
        check(fp4_module_kernel_at(m->module, i, &k), "kernel");
        check(fp4_kernel_get_info(k, &info), "info");
        bool same_name = strcmp(info.name, own.name) == 0;
        before += same_name && i <= index;
        all += same_name;
    }
    if (all > 1) {
        snprintf(label, size, "%s %d", own.name, before);
    } else {
        snprintf(label, size, "%s", own.name);
    }
}

static bool check_kernel(const machine *gpu, const machine *sim, int index, int shapes, uint64_t seed,
                         int64_t most) {
    job j = {.info.size = sizeof j.info};
    char label[80];
    name_schedule(gpu, index, label, sizeof label);
    check(fp4_kernel_get_info(gpu->kernel, &j.info), "info");
    j.n = j.info.n_params;
    for (int i = 0; i < j.n; i++) {
        j.params[i].size = sizeof j.params[i];
        check(fp4_kernel_param(gpu->kernel, i, &j.params[i]), "parameter");
    }
    int right = 0, done = 0;
    int64_t bytes = 0;
    for (int i = 0; i < shapes && done - right < 5; i++) {
        if (!draw_shape(gpu->kernel, &j, &seed, most)) {
            printf("%-24s takes no sizes up to %lld\n", label, (long long)(WIDER * most));
            return false;
        }
        outcome on_gpu, on_sim;
        draw_operands(gpu->kernel, &j, &seed);
        launch(gpu, &j, &on_gpu);
        launch(sim, &j, &on_sim);
        right += same(&j, &on_gpu, &on_sim);
        done++;
        n_launched++;
        for (int p = 0; p < j.n; p++) {
            bytes += is_output(&j.params[p]) ? on_gpu.data_bytes[p] : 0;
        }
        free_outcome(&on_gpu);
        free_outcome(&on_sim);
        free_operands(&j);
    }
    printf("%-24s %d of %d shapes equal, %lld bytes of results\n", label, right, done,
           (long long)bytes);
    fflush(stdout);
    return right == done;
}

// The simulator has as many multiprocessors as the GPU: sums may be divided over them.
static void open_machine(machine *m, const char *device, int sms, const char *path) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = device;
    config.sim_sms = sms;
    m->name = device;
    config.sim_schedule = FP4_SCHEDULE_RANDOM;
    config.sim_seed = 1;
    check(fp4_open(&config, &m->ctx), device);
    check(fp4_module_load_file(m->ctx, path, &m->module), path);
    check(fp4_workspace(m->ctx, NULL, fp4_module_workspace(m->module)), path);
}

int main(int argc, char **argv) {
    const char *device = "cuda:0";
    int shapes = 60;
    uint64_t seed = 1;
    int64_t most = 700;
    int sms = 0;
    bool ok = true;
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--device") == 0) {
            device = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--shapes") == 0) {
            shapes = atoi(argv[++i]);
        } else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--most") == 0) {
            most = atoll(argv[++i]);
        } else if (i + 1 < argc && strcmp(argv[i], "--sms") == 0) {
            sms = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--tell") == 0) {
            tells = true;
        } else {
            machine gpu, sim;
            fp4_device_info info = {.size = sizeof info};
            open_machine(&gpu, device, 0, argv[i]);
            check(fp4_get_device_info(gpu.ctx, &info), device);
            open_machine(&sim, "sim", sms > 0 ? sms : info.n_sms, argv[i]);
            for (int k = 0; k < fp4_module_count(gpu.module); k++) {
                check(fp4_module_kernel_at(gpu.module, k, &gpu.kernel), argv[i]);
                check(fp4_module_kernel_at(sim.module, k, &sim.kernel), argv[i]);
                printf("%s: ", argv[i]);
                ok &= check_kernel(&gpu, &sim, k, shapes, seed, most);
            }
            fp4_close(gpu.ctx);
            fp4_close(sim.ctx);
        }
    }
    return ok && n_launched > 0 ? 0 : 1;
}
