// One launch of 'fp4c run': random operands up, poisoned outputs with guards, results down. Uses
// libfp4rt as any C program does.
#include "run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t run_random(uint64_t *state) { // splitmix64
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static bool failed(const char *doing) {
    fprintf(stderr, "fp4c: %s: %s\n", doing, fp4_last_error());
    return false;
}

// --- Codes <-> bytes -----------------------------------------------------------------------------------

static int64_t rows_of(const run_tensor *t) {
    return t->storage.n_matrices * t->storage.rows;
}

// Number of the scale of an element, 'row' counting through the matrices.
static int64_t scale_at(const run_tensor *t, int64_t row, int64_t col) {
    const fp4_storage *s = &t->storage;
    const fp4_format *f = &t->host.format;
    int64_t scale_row = s->rows > 0 ? row / s->rows * s->scale_rows + row % s->rows / f->granule_rows : 0;
    return scale_row * s->scale_cols + col / f->granule_cols;
}

static void pack(const run_tensor *t, const eval_tensor *codes) {
    int64_t cols = t->storage.cols;
    int granule = t->host.format.granule_cols;
    for (int64_t row = 0; row < rows_of(t); row++) {
        for (int64_t col = 0; col < cols; col++) {
            fp4_host_set_code(&t->host, row, col, eval_get_code(codes, row * cols + col));
        }
        for (int64_t col = 0; codes->scales != NULL && col < cols; col += granule) {
            fp4_host_set_scale_code(&t->host, row, col, eval_scale_code(codes, scale_at(t, row, col)));
        }
    }
}

static void unpack(const run_tensor *t, eval_tensor *codes) {
    int64_t cols = t->storage.cols;
    int granule = t->host.format.granule_cols;
    for (int64_t row = 0; row < rows_of(t); row++) {
        for (int64_t col = 0; col < cols; col++) {
            eval_set_code(codes, row * cols + col, fp4_host_code(&t->host, row, col));
        }
        for (int64_t col = 0; codes->scales != NULL && col < cols; col += granule) {
            eval_set_scale_code(codes, scale_at(t, row, col),
                                (uint32_t)fp4_host_scale_code(&t->host, row, col));
        }
    }
}

// --- Tensors -------------------------------------------------------------------------------------------

static bool alloc_codes(const run_state *r, const ast_sym *sym, eval_tensor *codes) {
    *codes = (eval_tensor){.format = sym->format, .n_dims = sym->n_dims};
    for (int i = 0; i < sym->n_dims; i++) {
        if (!eval_size(sym->dims[i], r->tparams, r->dims, &codes->dims[i]) || codes->dims[i] < 0) {
            fprintf(stderr, "fp4c: axis %d of '%s' has no size for these dims\n", i, sym->name);
            return false;
        }
    }
    if (!eval_tensor_alloc(codes)) {
        fprintf(stderr, "fp4c: out of memory for '%s'\n", sym->name);
        return false;
    }
    return true;
}

static bool alloc_guarded(fp4_ctx *ctx, int64_t bytes, uint64_t *base, uint64_t *address) {
    if (fp4_alloc(ctx, bytes + 2 * RUN_GUARD, base) != FP4_OK ||
        fp4_fill(ctx, *base, RUN_POISON, bytes + 2 * RUN_GUARD, NULL) != FP4_OK) {
        return failed("device memory");
    }
    *address = *base + RUN_GUARD;
    return true;
}

// The scales of a format by its parts: programs may declare formats of their own.
static bool set_scales(fp4_format *out, const ast_format *f) {
    if (f->scale == ELEM_NONE) {
        return f->layout == NULL || fp4_sf_layout_find(f->layout, &out->layout) == FP4_OK;
    }
    out->granule_cols = (int32_t)f->granule[f->n_granule - 1];
    out->granule_rows = f->n_granule > 1 ? (int32_t)f->granule[f->n_granule - 2] : 1;
    out->layout = FP4_SF_LINEAR;
    return fp4_elem_find(elem_name(f->scale), &out->scale) == FP4_OK &&
           (f->layout == NULL || fp4_sf_layout_find(f->layout, &out->layout) == FP4_OK);
}

// Rows begin where TMA can address them (multiples of 16 or 32 bytes), and in one tensor of four further
// apart than they need: nothing may be read or written between them.
static int64_t draw_pitch(const run_state *r, const fp4_storage *dense, int align, uint64_t seed) {
    int64_t pitch = (dense->pitch + align - 1) / align * align;
    uint64_t x = run_random(&seed);
    return x % 4 == 0 && !r->dense ? pitch + align * (1 + (int64_t)(x >> 8) % 5) : pitch;
}

static bool init_tensor(run_state *r, int param, uint64_t seed) {
    const ast_sym *sym = r->b->ast->params[param];
    run_tensor *t = &r->tensors[param];
    t->device.size = sizeof t->device;
    t->storage.size = sizeof t->storage;
    t->host.size = sizeof t->host;
    if (fp4_tensor_init(&t->device, elem_name(sym->format->elem), sym->n_dims, t->codes.dims) != FP4_OK ||
        !set_scales(&t->device.format, sym->format) ||
        fp4_tensor_storage(&t->device, &t->storage) != FP4_OK) {
        return false;
    }
    if (sym->n_dims > 1 && (sym->format->layout == NULL || sym->format->scale != ELEM_NONE)) {
        t->device.pitch = draw_pitch(r, &t->storage, r->b->tir->params[param].align, seed);
    }
    if (fp4_tensor_storage(&t->device, &t->storage) != FP4_OK ||
        fp4_host_init(&t->host, &t->device.format, sym->n_dims, t->codes.dims) != FP4_OK) {
        return false;
    }
    t->host.pitch = t->device.pitch;
    t->host.data = malloc((size_t)t->storage.data_bytes + 1);
    t->host.scale = calloc(1, (size_t)t->storage.scale_bytes + 1);
    memset(t->host.data, RUN_POISON, (size_t)t->storage.data_bytes);
    return true;
}

// Codes of an output as they are before the launch: poison, which stays where nothing is stored.
static bool note_poison(run_state *r, const ast_sym *sym, run_tensor *t) {
    if (!alloc_codes(r, sym, &t->before)) {
        return false;
    }
    memset(t->host.scale, RUN_POISON, (size_t)t->storage.scale_bytes);
    unpack(t, &t->before);
    return true;
}

// Of no rows too: ragged scales are padded group by group.
static bool is_scaled(const run_tensor *t) {
    return t->host.format.scale != FP4_ELEM_NONE;
}

static bool write_tensor(run_state *r, run_tensor *t) {
    bool scaled = is_scaled(t);
    if (t->first == NULL) {
        return fp4_tensor_write(r->ctx, &t->device, t->host.data, scaled ? t->host.scale : NULL, NULL) == FP4_OK;
    }
    return fp4_tensor_write(r->ctx, &t->device, t->host.data, NULL, NULL) == FP4_OK &&
           fp4_ragged_pack(&t->host, t->first, t->groups, t->ragged) == FP4_OK &&
           fp4_copy_to(r->ctx, t->device.scale, t->ragged, t->scale_bytes, NULL) == FP4_OK;
}

static bool read_tensor(run_state *r, run_tensor *t) {
    bool scaled = is_scaled(t);
    if (t->first == NULL) {
        return fp4_tensor_read(r->ctx, &t->device, t->host.data, scaled ? t->host.scale : NULL, NULL) == FP4_OK;
    }
    memset(t->host.scale, RUN_POISON, (size_t)t->storage.scale_bytes); // rows of no group have none
    return fp4_tensor_read(r->ctx, &t->device, t->host.data, NULL, NULL) == FP4_OK &&
           fp4_copy_from(r->ctx, t->ragged, t->device.scale, t->scale_bytes, NULL) == FP4_OK &&
           fp4_ragged_unpack(t->ragged, t->first, t->groups, &t->host) == FP4_OK;
}

// Offsets of a ragged tensor come from another parameter, which is made first.
static bool make_ragged(run_state *r, int i) {
    const ast_ragged *ragged = run_ragged_of(r, i);
    run_tensor *t = &r->tensors[i];
    t->scale_bytes = t->storage.scale_bytes;
    if (ragged == NULL) {
        return true;
    }
    t->first = r->tensors[ragged->at->sym->id].codes.data;
    t->groups = r->tensors[ragged->at->sym->id].codes.dims[0] - 1;
    t->scale_bytes = fp4_ragged_scale_bytes(&t->device.format, t->codes.dims[0], t->codes.dims[1], t->groups);
    t->ragged = malloc((size_t)t->scale_bytes + 1);
    return t->ragged != NULL;
}

static bool make_tensor(run_state *r, int i, uint64_t seed) {
    const ast_sym *sym = r->b->ast->params[i];
    run_tensor *t = &r->tensors[i];
    if (!alloc_codes(r, sym, &t->codes)) {
        return false;
    }
    if (!init_tensor(r, i, seed) || !make_ragged(r, i)) {
        return failed(sym->name);
    }
    if (!alloc_guarded(r->ctx, t->storage.data_bytes, &t->data_base, &t->device.data)) {
        return false;
    }
    bool scaled = is_scaled(t);
    if (scaled && !alloc_guarded(r->ctx, t->scale_bytes, &t->scale_base, &t->device.scale)) {
        return false;
    }
    if (sym->mode == MODE_OUT) {
        return note_poison(r, sym, t);
    }
    eval_random(&t->codes, seed);
    if (!run_draw_index(r, sym, &t->codes, seed)) {
        return false;
    }
    pack(t, &t->codes);
    if (sym->mode == MODE_INOUT) {
        t->before = t->codes;
        if (!alloc_codes(r, sym, &t->codes)) {
            return false;
        }
    }
    return write_tensor(r, t) || failed(sym->name);
}

// The parameters that others depend on come first: const tensors of offsets.
static bool make_tensors(run_state *r, uint64_t *seed) {
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < r->n_params; i++) {
            const ast_sym *sym = r->b->ast->params[i];
            bool first = sym->mode == MODE_CONST;
            if (sym->n_dims > 0 && first == (pass == 0) && !make_tensor(r, i, run_random(seed))) {
                return false;
            }
        }
    }
    return true;
}

static void make_scalar(run_state *r, int i, uint64_t *seed) {
    const ast_sym *sym = r->b->ast->params[i];
    double drawn = 0.25 + 1.75 * (double)(run_random(seed) >> 11) / 9007199254740992.0;
    double v = elem_is_int(sym->format->elem) ? 1 + floor(drawn * 4) : drawn;
    for (int a = 0; a < r->n_assigns; a++) {
        if (strcmp(r->assigns[a].name, sym->name) == 0) {
            v = r->assigned[a];
        }
    }
    r->scalars[i] = (eval_scalar){.f = (double)(float)v, .i = (int64_t)v};
}

static fp4_arg argument(const run_state *r, int i) {
    const ast_sym *sym = r->b->ast->params[i];
    if (sym->n_dims > 0) {
        return fp4_arg_tensor(&r->tensors[i].device);
    }
    if (sym->format->elem == ELEM_I32) {
        return fp4_arg_i32((int32_t)r->scalars[i].i);
    }
    return sym->format->elem == ELEM_I64 ? fp4_arg_i64(r->scalars[i].i)
                                         : fp4_arg_f32((float)r->scalars[i].f);
}

// --- After the launch ----------------------------------------------------------------------------------

static bool guard_intact(run_state *r, uint64_t base, int64_t bytes, bool *hurt) {
    uint8_t guard[2 * RUN_GUARD];
    if (fp4_copy_from(r->ctx, guard, base, RUN_GUARD, NULL) != FP4_OK ||
        fp4_copy_from(r->ctx, guard + RUN_GUARD, base + RUN_GUARD + (uint64_t)bytes, RUN_GUARD, NULL) !=
            FP4_OK) {
        return failed("guards");
    }
    for (size_t i = 0; i < sizeof guard; i++) {
        *hurt |= guard[i] != RUN_POISON;
    }
    return true;
}

// The row of the scales of a row; -1: it is of no group and has none.
static int64_t padded_row(const run_tensor *t, int64_t row) {
    if (t->first == NULL) {
        return row;
    }
    int64_t g = 0;
    while (g < t->groups && row >= t->first[g + 1]) {
        g++;
    }
    return g < t->groups && row >= t->first[g] ? fp4_ragged_row(t->first[g], g) + row - t->first[g] : -1;
}

// Scales behind a row's last one share their 128x4 tile with it. The next product over these columns
// multiplies them by zeros, so they must be finite: fp4c writes 0. Padding rows reach no result; rows that
// the program does not store keep their poison.
static void check_padding(run_state *r, const run_tensor *t) {
    const fp4_storage *st = &t->storage;
    fp4_sf_layout layout = t->device.format.layout;
    if (layout != FP4_SF_128X4) {
        return;
    }
    const uint8_t *bytes = t->first != NULL ? t->ragged : t->host.scale;
    int64_t padded = (st->scale_cols + 3) / 4 * 4;
    int64_t rows = t->scale_bytes / (padded > 0 ? padded : 1); // of all matrices
    for (int64_t b = 0; b < st->n_matrices; b++) {
        for (int64_t row = 0; row < st->scale_rows; row++) {
            int64_t to = padded_row(t, row);
            for (int64_t kb = st->scale_cols; kb < padded && to >= 0; kb++) {
                int64_t first = fp4_scale_offset(layout, rows, padded, to, 0);
                int64_t at = fp4_scale_offset(layout, rows, padded, to, kb);
                bool stored = bytes[b * st->scale_matrix_bytes + first] != RUN_POISON;
                r->result.padding_hurt += stored && bytes[b * st->scale_matrix_bytes + at] != 0;
            }
        }
    }
}

// Bytes between the elements of plain matrices in a padded layout: 0, as fp4_relayout leaves them.
static void check_laid_padding(run_state *r, const run_tensor *t) {
    const fp4_storage *s = &t->storage;
    int64_t bytes = fp4_elem_bits(t->host.format.elem) / 8;
    uint8_t *taken = calloc((size_t)s->data_bytes + 1, 1);
    for (int64_t b = 0; taken != NULL && b < s->n_matrices && s->rows > 0 && s->cols > 0; b++) {
        for (int64_t i = 0; i < s->rows * s->cols; i++) {
            int64_t at = fp4_scale_offset(t->host.format.layout, s->rows, s->cols, i / s->cols, i % s->cols);
            memset(taken + (b * (s->data_bytes / s->n_matrices) + at * bytes), 1, (size_t)bytes);
        }
    }
    for (int64_t i = 0; i < s->data_bytes && taken != NULL; i++) {
        r->result.padding_hurt += !taken[i] && ((const uint8_t *)t->host.data)[i] != 0;
    }
    free(taken);
}

static bool is_laid(const run_tensor *t) {
    return t->host.format.scale == FP4_ELEM_NONE && t->host.format.layout > FP4_SF_LINEAR;
}

static bool gaps_intact(const run_tensor *t) {
    const fp4_storage *s = &t->storage;
    const uint8_t *bytes = t->host.data;
    for (int64_t row = 0; row < rows_of(t); row++) {
        for (int64_t at = s->row_bytes; at < s->pitch; at++) {
            if (bytes[row * s->pitch + at] != RUN_POISON) {
                return false;
            }
        }
    }
    return true;
}

static bool fetch(run_state *r, int i) {
    run_tensor *t = &r->tensors[i];
    bool scaled = is_scaled(t);
    const ast_sym *sym = r->b->ast->params[i];
    if (!guard_intact(r, t->data_base, t->storage.data_bytes, &r->result.guards_hurt) ||
        (scaled && !guard_intact(r, t->scale_base, t->scale_bytes, &r->result.guards_hurt))) {
        return false;
    }
    if (sym->mode != MODE_OUT && sym->mode != MODE_INOUT) {
        return true;
    }
    if (!read_tensor(r, t)) {
        return failed(sym->name);
    }
    unpack(t, &t->codes);
    r->result.guards_hurt |= !gaps_intact(t);
    if (scaled) {
        check_padding(r, t);
    } else if (is_laid(t)) {
        check_laid_padding(r, t);
    }
    r->result.elements += eval_count(&t->codes);
    return true;
}

bool run_prepare(run_state *r, uint64_t seed) {
    double start = now_seconds();
    r->result = (run_result){.first = -1};
    if (!make_tensors(r, &seed)) {
        return false;
    }
    for (int i = 0; i < r->n_params; i++) {
        if (r->b->ast->params[i]->n_dims == 0) {
            make_scalar(r, i, &seed);
        }
    }
    r->times.upload += now_seconds() - start;
    return true;
}

void run_arguments(const run_state *r, fp4_arg *args) {
    for (int i = 0; i < r->n_params; i++) {
        args[i] = argument(r, i);
    }
}

bool run_start(run_state *r) {
    fp4_arg args[RUN_MAX_PARAMS];
    double start = now_seconds();
    run_arguments(r, args);
    if (fp4_launch(r->kernel, args, r->n_params, NULL) != FP4_OK || fp4_sync(r->ctx, NULL) != FP4_OK) {
        return false;
    }
    r->times.simulate += now_seconds() - start;
    return true;
}

bool run_launch(run_state *r, uint64_t seed) {
    if (!run_prepare(r, seed)) {
        return false;
    }
    if (!run_start(r)) {
        return failed("launch");
    }
    for (int i = 0; i < r->n_params; i++) {
        if (r->b->ast->params[i]->n_dims > 0 && !fetch(r, i)) {
            return false;
        }
    }
    return true;
}

void run_free(run_state *r) {
    for (int i = 0; i < r->n_params; i++) {
        run_tensor *t = &r->tensors[i];
        eval_tensor_free(&t->codes);
        eval_tensor_free(&t->before);
        free(t->host.data);
        free(t->host.scale);
        free(t->ragged);
        fp4_free(r->ctx, t->data_base);
        fp4_free(r->ctx, t->scale_base);
        *t = (run_tensor){0};
    }
}

// --- Sizes ----------------------------------------------------------------------------------------------

bool run_admits(const run_state *r) {
    fp4_dim dims[RUN_MAX_DIMS];
    int n = r->b->ast->n_dims;
    for (int i = 0; i < n; i++) {
        dims[i] = (fp4_dim){r->b->ast->dims[i]->name, r->dims[r->b->ast->dims[i]->id]};
    }
    return fp4_kernel_admits(r->kernel, dims, n) == FP4_OK;
}

// The tile that walks a size, for sizes just below and above its multiples.
static int64_t tile_of(const run_state *r, const ast_sym *dim) {
    const tir_kernel *k = r->b->tir;
    for (int i = 0; i < k->n_loops; i++) {
        if (k->loops[i].dim->op == SZ_DIM && strcmp(k->dims[k->loops[i].dim->dim], dim->name) == 0) {
            return k->loops[i].tile;
        }
    }
    for (int i = 0; i < k->n_fors; i++) {
        if (k->fors[i].extent->op == SZ_DIM && strcmp(k->dims[k->fors[i].extent->dim], dim->name) == 0) {
            return k->fors[i].step;
        }
    }
    return 16;
}

// 'where DIM % c == 0' tells what a size is a multiple of.
static int64_t multiple_of(const run_state *r, const ast_sym *dim) {
    int64_t m = 1;
    for (int i = 0; i < r->b->ast->n_where; i++) {
        const ast_expr *e = r->b->ast->where[i];
        int64_t c = 0;
        if (e->kind == EX_BINARY && e->op == OP_EQ && e->a->kind == EX_BINARY && e->a->op == OP_MOD &&
            e->a->a->kind == EX_NAME && e->a->a->sym == dim && lang_const_int(e->a->b, r->tparams, &c) && c > 0) {
            m = c > m ? c : m;
        }
    }
    return m;
}

static int64_t draw_size(const run_state *r, const ast_sym *dim, uint64_t *seed) {
    int64_t tile = tile_of(r, dim);
    uint64_t x = run_random(seed);
    int64_t v = 1 + (int64_t)(x >> 8) % (2 * tile + tile / 2);
    switch (x % 4) {
    case 0: // few
        v = 1 + (int64_t)(x >> 8) % 17;
        break;
    case 1: // around a multiple of the tile
        v = tile * (1 + (int64_t)(x >> 8) % 2) + (int64_t)(x >> 16) % 3 - 1;
        break;
    default:
        break;
    }
    int64_t m = multiple_of(r, dim);
    return (v + m - 1) / m * m;
}

bool run_draw_sizes(run_state *r, uint64_t *seed) {
    for (int attempt = 0; attempt < 1000; attempt++) {
        for (int i = 0; i < r->b->ast->n_dims; i++) {
            const ast_sym *dim = r->b->ast->dims[i];
            if (!r->given[dim->id]) {
                r->dims[dim->id] = draw_size(r, dim, seed);
            }
        }
        if (run_admits(r)) {
            return true;
        }
    }
    return failed("no sizes were found that the kernel admits");
}
