// Tensors of codes: storage, decoding, reproducible random contents, comparison.
#include "eval_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t eval_code_bytes(elem_kind e) {
    int bits = elem_bits(e);
    return bits <= 8 ? 1 : bits <= 16 ? 2 : bits <= 32 ? 4 : 8;
}

int64_t eval_count(const eval_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->n_dims; i++) {
        n *= t->dims[i];
    }
    return n;
}

// Elements along an axis that share a scale.
static int64_t granule_of(const eval_tensor *t, int axis) {
    const ast_format *f = t->format;
    int at = axis - (t->n_dims - f->n_granule);
    return f->scale == ELEM_NONE || at < 0 ? 1 : f->granule[at];
}

int64_t eval_scale_dim(const eval_tensor *t, int axis) {
    int64_t g = granule_of(t, axis);
    return (t->dims[axis] + g - 1) / g;
}

int64_t eval_scale_count(const eval_tensor *t) {
    if (t->format->scale == ELEM_NONE) {
        return 0;
    }
    int64_t n = 1;
    for (int i = 0; i < t->n_dims; i++) {
        n *= eval_scale_dim(t, i);
    }
    return n;
}

int64_t eval_scale_index(const eval_tensor *t, const int64_t *coords) {
    int64_t at = 0;
    for (int i = 0; i < t->n_dims; i++) {
        at = at * eval_scale_dim(t, i) + coords[i] / granule_of(t, i);
    }
    return at;
}

// Sizes whose bytes would not fit an address are out of memory.
static bool size_fits(const eval_tensor *t) {
    int64_t n = 16; // room for any element and its share of scales
    for (int i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 0 || (t->dims[i] > 0 && __builtin_mul_overflow(n, t->dims[i], &n))) {
            return false;
        }
    }
    return true;
}

static size_t scale_bytes(const eval_tensor *t) {
    return t->format->scale == ELEM_F32 ? 4 : 1;
}

uint32_t eval_scale_code(const eval_tensor *t, int64_t i) {
    return scale_bytes(t) == 4 ? ((const uint32_t *)(const void *)t->scales)[i] : t->scales[i];
}

void eval_set_scale_code(eval_tensor *t, int64_t i, uint32_t code) {
    if (scale_bytes(t) == 4) {
        ((uint32_t *)(void *)t->scales)[i] = code;
    } else {
        t->scales[i] = (uint8_t)code;
    }
}

bool eval_tensor_alloc(eval_tensor *t) {
    t->data = NULL;
    t->scales = NULL;
    if (!size_fits(t)) {
        return false;
    }
    size_t n = (size_t)eval_count(t) * eval_code_bytes(t->format->elem);
    size_t n_scales = (size_t)eval_scale_count(t);
    t->data = calloc(n + 1, 1); // an empty tensor still has an address
    t->scales = n_scales > 0 ? calloc(n_scales, scale_bytes(t)) : NULL;
    if (t->data == NULL || (n_scales > 0 && t->scales == NULL)) {
        eval_tensor_free(t);
        return false;
    }
    return true;
}

void eval_tensor_free(eval_tensor *t) {
    free(t->data);
    free(t->scales);
    t->data = NULL;
    t->scales = NULL;
}

uint64_t eval_get_code(const eval_tensor *t, int64_t i) {
    switch (eval_code_bytes(t->format->elem)) {
    case 1: return ((const uint8_t *)t->data)[i];
    case 2: return ((const uint16_t *)t->data)[i];
    case 4: return ((const uint32_t *)t->data)[i];
    default: return ((const uint64_t *)t->data)[i];
    }
}

void eval_set_code(eval_tensor *t, int64_t i, uint64_t code) {
    switch (eval_code_bytes(t->format->elem)) {
    case 1: ((uint8_t *)t->data)[i] = (uint8_t)code; break;
    case 2: ((uint16_t *)t->data)[i] = (uint16_t)code; break;
    case 4: ((uint32_t *)t->data)[i] = (uint32_t)code; break;
    default: ((uint64_t *)t->data)[i] = code; break;
    }
}

static void coords_of(const eval_tensor *t, int64_t i, int64_t *coords) {
    for (int axis = t->n_dims - 1; axis >= 0; axis--) {
        coords[axis] = i % t->dims[axis];
        i /= t->dims[axis];
    }
}

double eval_value(const eval_tensor *t, int64_t i) {
    elem_kind e = t->format->elem;
    uint64_t code = eval_get_code(t, i);
    if (e == ELEM_I64) {
        return (double)(int64_t)code;
    }
    double v = mach_decode(e, (uint32_t)code);
    if (t->format->scale == ELEM_NONE) {
        return v;
    }
    int64_t coords[EVAL_MAX_DIMS];
    coords_of(t, i, coords);
    return v * mach_decode(t->format->scale, eval_scale_code(t, eval_scale_index(t, coords)));
}

bool storage_alloc(storage *s) {
    s->own = true;
    return eval_tensor_alloc(&s->t);
}

void storage_free(storage *s) {
    if (s->own) {
        eval_tensor_free(&s->t);
        free(s->bound);
    }
    free(s->cells);
    s->cells = NULL;
    s->bound = NULL;
}

// splitmix64: small, fixed, good enough that every bit varies.
static uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

// Any finite code of a small type; a wide one gets 2^-6 .. 2^2 with a random fraction and sign.
static uint32_t random_code(elem_kind e, uint64_t *state) {
    uint64_t r = random_next(state);
    if (elem_is_int(e) || e == ELEM_BOOL) {
        return (uint32_t)(r >> 32) & (e == ELEM_BOOL ? 1u : 7u);
    }
    if (elem_bits(e) > 8) {
        double frac = 1 + (double)(r >> 11) * 0x1p-53;
        double v = ldexp(frac, (int)(r % 8) - 6);
        return mach_encode(e, (r >> 4 & 1) != 0 ? -v : v);
    }
    uint32_t mask = (1u << elem_bits(e)) - 1;
    uint32_t code = (uint32_t)(r >> 32) & mask;
    return isfinite(mach_decode(e, code)) ? code : code & (mask >> 1 & ~8u);
}

static uint32_t random_scale(elem_kind scale, uint64_t *state) {
    uint64_t r = random_next(state);
    if (scale == ELEM_F32) { // 2^-3 .. 2^3
        return (uint32_t)(124 + r % 6) << 23 | (uint32_t)(r >> 41);
    }
    if (scale == ELEM_UE8M0) { // 2^-3 .. 2^3
        return (uint8_t)(124 + (r >> 32) % 7);
    }
    return (uint8_t)(32 + (r >> 32) % 49); // ue4m3: 2^-3 .. 2^3 with every fraction
}

void eval_random(eval_tensor *t, uint64_t seed) {
    uint64_t state = seed * UINT64_C(0xD1342543DE82EF95) + 1;
    int64_t n = eval_count(t);
    for (int64_t i = 0; i < n; i++) {
        eval_set_code(t, i, random_code(t->format->elem, &state));
    }
    int64_t n_scales = eval_scale_count(t);
    for (int64_t i = 0; i < n_scales; i++) {
        eval_set_scale_code(t, i, random_scale(t->format->scale, &state));
    }
}

// Distance of two values; equal infinities and two NaNs are no distance.
static double distance(double a, double b) {
    if (a == b || (isnan(a) && isnan(b))) {
        return 0;
    }
    double d = fabs(a - b);
    return isnan(d) ? INFINITY : d;
}

eval_difference eval_compare(const eval_tensor *exact, const double *bound,
                             const eval_tensor *got) {
    eval_difference r = {.first = -1};
    int64_t n = eval_count(exact);
    for (int64_t i = 0; i < n; i++) {
        double d = distance(eval_value(exact, i), eval_value(got, i));
        double b = bound != NULL ? bound[i] : 0;
        r.max_error = d > r.max_error ? d : r.max_error;
        r.max_bound = b > r.max_bound ? b : r.max_bound;
        if (!(d <= b)) {
            r.first = r.n_outside++ == 0 ? i : r.first;
        }
    }
    return r;
}

int64_t eval_diff_codes(const eval_tensor *a, const eval_tensor *b, int64_t *first) {
    int64_t n = eval_count(a);
    int64_t differ = 0;
    *first = -1;
    for (int64_t i = 0; i < n; i++) {
        if (eval_get_code(a, i) != eval_get_code(b, i)) {
            *first = differ++ == 0 ? i : *first;
        }
    }
    if (a->format->scale == ELEM_NONE) {
        return differ;
    }
    int64_t n_scales = eval_scale_count(a);
    for (int64_t i = 0; i < n_scales; i++) {
        differ += eval_scale_code(a, i) != eval_scale_code(b, i);
    }
    for (int64_t i = 0; i < n && *first < 0 && differ > 0; i++) {
        int64_t coords[EVAL_MAX_DIMS];
        coords_of(a, i, coords);
        int64_t at = eval_scale_index(a, coords);
        *first = eval_scale_code(a, at) != eval_scale_code(b, at) ? i : -1;
    }
    return differ;
}
