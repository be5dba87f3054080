// fp4_prepack: finds out by names and types who wrote a layer, checks its parts against each other, and
// imports them. Nothing is read but what the safetensors reader has proved to lie in the file.
#include "fp4_prepack.h"
#include "prepack_names.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = FP4_PREPACK_NAME };

// One way to write a layer. Names follow the layer's.
typedef struct {
    const char *writer;
    const char *data, *data_dtype;
    const char *scale, *scale_dtype;
    const char *global; // F32, one number; NULL: none
    fp4_global_rule rule;
    const char *format;
    int packed; // elements in an entry of the data tensor
    bool split; // its last axis is that of a granule's bytes, the one before counts granules
    bool ready; // scales lie as the kernels read them, [matrices, bytes]
} convention;

static const convention conventions[] = {
    {"ModelOpt NVFP4", ".weight", "U8", ".weight_scale", "F8_E4M3", ".weight_scale_2", FP4_GLOBAL_MULTIPLY,
     "nvfp4", 2, false, false},
    {"compressed-tensors NVFP4", ".weight_packed", "U8", ".weight_scale", "F8_E4M3", ".weight_global_scale",
     FP4_GLOBAL_DIVIDE, "nvfp4", 2, false, false},
    {"compressed-tensors MXFP4", ".weight_packed", "U8", ".weight_scale", "U8", NULL, FP4_GLOBAL_MULTIPLY,
     "mxfp4", 2, false, false},
    {"gpt-oss MXFP4", "_blocks", "U8", "_scales", "U8", NULL, FP4_GLOBAL_MULTIPLY, "mxfp4", 2, true, false},
    {"DeepSeek FP8", ".weight", "F8_E4M3", ".weight_scale_inv", "F32", NULL, FP4_GLOBAL_MULTIPLY,
     "e4m3*f32/128x128", 1, false, false},
    {"DeepSeek FP8 of powers of two", ".weight", "F8_E4M3", ".scale", "F8_E8M0", NULL,
     FP4_GLOBAL_MULTIPLY, "e4m3*ue8m0/128x128", 1, false, false},
    {"DeepSeek MXFP4", ".weight", "I8", ".scale", "F8_E8M0", NULL, FP4_GLOBAL_MULTIPLY, "mxfp4", 2, false,
     false},
    {"fp4-prepack NVFP4", FP4_PREPACK_DATA, "F4", FP4_PREPACK_SCALE, "F8_E4M3", FP4_PREPACK_GLOBAL,
     FP4_GLOBAL_MULTIPLY, "nvfp4", 1, false, true},
    {"fp4-prepack MXFP4", FP4_PREPACK_DATA, "F4", FP4_PREPACK_SCALE, "F8_E8M0", FP4_PREPACK_GLOBAL,
     FP4_GLOBAL_MULTIPLY, "mxfp4", 1, false, true},
    {"fp4-prepack FP8", FP4_PREPACK_DATA, "F8_E4M3", FP4_PREPACK_SCALE, "F32", FP4_PREPACK_GLOBAL,
     FP4_GLOBAL_MULTIPLY, "e4m3*f32/128x128", 1, false, true},
    {"fp4-prepack FP8 of powers of two", FP4_PREPACK_DATA, "F8_E4M3", FP4_PREPACK_SCALE, "F8_E8M0",
     FP4_PREPACK_GLOBAL, FP4_GLOBAL_MULTIPLY, "e4m3*ue8m0/128x128", 1, false, true},
};

typedef struct {
    const char *layer;
    const convention *c;
    fp4_safetensor data, scale;
    float global;
} parts;

static fp4_status refuse(const parts *p, const char *sentence) {
    char text[2 * NAME_BYTES];
    snprintf(text, sizeof text, "fp4_prepack(): %s, %s: %s", p->layer, p->c->writer, sentence);
    return fp4_fail(FP4_ERROR_MISMATCH, text);
}

// The part of that ending, if the file has it.
static bool find(const fp4_safetensors *file, const char *layer, const char *ending, fp4_safetensor *out) {
    char name[NAME_BYTES];
    int n = snprintf(name, sizeof name, "%s%s", layer, ending);
    return n > 0 && n < NAME_BYTES && fp4_safetensors_find(file, name, out) == FP4_OK;
}

static bool matches(const fp4_safetensors *file, const convention *c, parts *p) {
    fp4_safetensor global;
    return find(file, p->layer, c->data, &p->data) && strcmp(p->data.dtype, c->data_dtype) == 0 &&
           find(file, p->layer, c->scale, &p->scale) && strcmp(p->scale.dtype, c->scale_dtype) == 0 &&
           (!c->global || find(file, p->layer, c->global, &global));
}

static fp4_status find_parts(const fp4_safetensors *file, parts *p) {
    for (size_t i = 0; i < sizeof conventions / sizeof *conventions; i++) {
        if (matches(file, &conventions[i], p)) {
            p->c = &conventions[i];
            return FP4_OK;
        }
    }
    char text[2 * NAME_BYTES];
    int n = snprintf(text, sizeof text, "fp4_prepack(): '%s' is not written as", p->layer);
    for (size_t i = 0; i < sizeof conventions / sizeof *conventions && n < (int)sizeof text; i++) {
        const convention *c = &conventions[i];
        n += snprintf(text + n, sizeof text - (size_t)n, "%s %s (%s of %s, %s of %s%s%s)", i > 0 ? "," : "",
                      c->writer, c->data, c->data_dtype, c->scale, c->scale_dtype, c->global ? ", " : "",
                      c->global ? c->global : "");
    }
    return fp4_fail(FP4_ERROR_NOT_FOUND, text);
}

static fp4_status find_global(const fp4_safetensors *file, parts *p) {
    fp4_safetensor t;
    p->global = 1;
    if (!p->c->global || !find(file, p->layer, p->c->global, &t)) {
        return FP4_OK;
    }
    if (strcmp(t.dtype, "F32") != 0 || t.bytes != sizeof p->global) {
        return refuse(p, "its global scale is not one F32 number");
    }
    memcpy(&p->global, t.data, sizeof p->global);
    return isfinite(p->global) && p->global > 0
               ? FP4_OK
               : refuse(p, "its global scale is not a positive finite number");
}

// Elements along each axis.
static fp4_status shape_of(const parts *p, const fp4_format *f, int *rank, int64_t dims[FP4_MAX_RANK]) {
    const fp4_safetensor *d = &p->data;
    *rank = d->rank - (p->c->split ? 1 : 0);
    if (*rank < 2 || *rank > FP4_MAX_RANK) {
        return refuse(p, "its data have too few axes, or more than 5");
    }
    for (int i = 0; i < *rank; i++) {
        dims[i] = d->dims[i];
    }
    if (p->c->split && d->dims[*rank] * p->c->packed != f->granule_cols) {
        return refuse(p, "the last axis of its data is not that of a granule's 16 bytes");
    }
    int64_t unit = p->c->split ? f->granule_cols : p->c->packed;
    if (dims[*rank - 1] > INT64_MAX / unit) {
        return refuse(p, "its last axis is too long");
    }
    dims[*rank - 1] *= unit;
    bool whole = f->granule_rows > 1 || dims[*rank - 1] % f->granule_cols == 0;
    return whole ? FP4_OK : refuse(p, "its rows do not end with a whole granule");
}

static fp4_status check_ready(const parts *p, const fp4_format *f, int rank, const int64_t *dims) {
    fp4_storage s = {.size = sizeof s};
    fp4_status status = fp4_storage_of(f, rank, dims, 0, &s);
    if (status != FP4_OK) {
        return status;
    }
    bool fits = p->scale.bytes == s.scale_bytes && p->data.bytes == s.data_bytes;
    return fits ? FP4_OK : refuse(p, "its scales are not those of its elements, padding included");
}

static fp4_status check_scales(const parts *p, const fp4_format *f, int rank, const int64_t *dims) {
    if (p->c->ready) {
        return check_ready(p, f, rank, dims);
    }
    bool fits = p->scale.rank == rank;
    for (int i = 0; i < rank && fits; i++) {
        int64_t by = i == rank - 1 ? f->granule_cols : i == rank - 2 ? f->granule_rows : 1;
        fits = p->scale.dims[i] == dims[i] / by + (dims[i] % by != 0);
    }
    char text[NAME_BYTES];
    snprintf(text, sizeof text, "its scales are not one for each %d x %d elements of [.., %lld, %lld]",
             (int)f->granule_rows, (int)f->granule_cols, (long long)dims[rank - 2], (long long)dims[rank - 1]);
    return fits ? FP4_OK : refuse(p, text);
}

fp4_status fp4_prepack_find(const fp4_safetensors *file, const char *layer, fp4_prepack_layer *out) {
    if (!file || !layer || !out) {
        return fp4_fail(FP4_ERROR_ARGUMENT, "fp4_prepack_find(): NULL argument");
    }
    parts p = {.layer = layer};
    fp4_format f;
    int rank = 0;
    int64_t dims[FP4_MAX_RANK];
    fp4_status status = find_parts(file, &p);
    if (status == FP4_OK) {
        status = find_global(file, &p);
    }
    if (status == FP4_OK) {
        status = fp4_format_find(p.c->format, &f);
    }
    if (status == FP4_OK) {
        status = shape_of(&p, &f, &rank, dims);
    }
    if (status == FP4_OK) {
        status = check_scales(&p, &f, rank, dims);
    }
    if (status == FP4_OK) {
        f.layout = p.c->ready ? f.layout : FP4_SF_LINEAR;
        status = fp4_host_init(&out->host, &f, rank, dims);
    }
    if (status != FP4_OK) {
        return status;
    }
    out->writer = p.c->writer;
    out->host.data = (void *)p.data.data; // only read
    out->host.scale = (void *)p.scale.data;
    out->global = p.c->rule == FP4_GLOBAL_DIVIDE ? 1 / p.global : p.global;
    if (!isfinite(out->global)) {
        return refuse(&p, "the reciprocal of its global scale is not finite");
    }
    return FP4_OK;
}

fp4_status fp4_prepack(fp4_ctx *ctx, const fp4_safetensors *file, const char *layer, fp4_tensor *tensor) {
    if (!ctx || !file || !layer || !tensor) {
        return fp4_fail(FP4_ERROR_ARGUMENT, "fp4_prepack(): NULL argument");
    }
    fp4_prepack_layer l;
    fp4_status status = fp4_prepack_find(file, layer, &l);
    if (status != FP4_OK) {
        return status;
    }
    bool rows = l.host.format.scale == FP4_ELEM_UE8M0 && l.host.format.granule_rows > 1;
    return rows ? fp4_prepack_import(ctx, &l, "e4m3*ue8m0/1x128", tensor)
                : fp4_tensor_import(ctx, &l.host, l.global, FP4_GLOBAL_MULTIPLY, tensor);
}

fp4_status fp4_prepack_import(fp4_ctx *ctx, const fp4_prepack_layer *layer, const char *format,
                              fp4_tensor *tensor) {
    if (!ctx || !layer || !format || !tensor) {
        return fp4_fail(FP4_ERROR_ARGUMENT, "fp4_prepack_import(): NULL argument");
    }
    const fp4_host *from = &layer->host;
    fp4_host to = {.size = sizeof to};
    fp4_format f;
    fp4_storage s = {.size = sizeof s};
    fp4_status status = fp4_format_find(format, &f);
    if (status == FP4_OK) {
        status = fp4_host_init(&to, &f, from->rank, from->dims);
    }
    if (status == FP4_OK) {
        status = fp4_storage_of(&f, from->rank, from->dims, 0, &s);
    }
    if (status != FP4_OK) {
        return status;
    }
    to.data = malloc((size_t)s.data_bytes + 1);
    to.scale = malloc((size_t)s.scale_bytes + 1);
    status = to.data && to.scale
                 ? fp4_host_repack(from, &to)
                 : fp4_fail(FP4_ERROR_MEMORY, "fp4_prepack_import(): no memory left");
    if (status == FP4_OK) {
        status = fp4_tensor_import(ctx, &to, layer->global, FP4_GLOBAL_MULTIPLY, tensor);
    }
    free(to.data);
    free(to.scale);
    return status;
}

// The layer of a name with that ending.
static bool cut_ending(const char *name, const char *ending, char layer[NAME_BYTES]) {
    size_t n = strlen(name);
    size_t cut = ending ? strlen(ending) : n;
    if (cut >= n || n - cut >= NAME_BYTES || strcmp(name + n - cut, ending) != 0) {
        return false;
    }
    memcpy(layer, name, n - cut);
    layer[n - cut] = 0;
    return true;
}

// How many of a convention's parts the layer has, and the ending of the first that it has not.
static int count_parts(const fp4_safetensors *file, const convention *c, const char *layer, const char **missing,
                       const char **dtype) {
    const char *const endings[] = {c->data, c->scale, c->global};
    const char *const dtypes[] = {c->data_dtype, c->scale_dtype, "F32"};
    int n = 0;
    *missing = *dtype = NULL;
    for (int e = 0; e < 3 && endings[e]; e++) {
        fp4_safetensor part;
        if (find(file, layer, endings[e], &part) && strcmp(part.dtype, dtypes[e]) == 0) {
            n++;
        } else if (!*missing) {
            *missing = endings[e];
            *dtype = dtypes[e];
        }
    }
    return n;
}

// A tensor of no layer: perhaps the elements or the scales of one that lacks something. The sentence is
// about the convention of which most is there.
static fp4_status lone(const fp4_safetensors *file, const fp4_safetensor *t) {
    char text[2 * NAME_BYTES], layer[NAME_BYTES];
    int most = 0;
    for (size_t i = 0; i < sizeof conventions / sizeof *conventions; i++) {
        const convention *c = &conventions[i];
        bool data = strcmp(t->dtype, c->data_dtype) == 0 && cut_ending(t->name, c->data, layer);
        bool scale = !data && strcmp(t->dtype, c->scale_dtype) == 0 && cut_ending(t->name, c->scale, layer);
        const char *missing, *dtype;
        int n = data || scale ? count_parts(file, c, layer, &missing, &dtype) : 0;
        if (n > most && missing) {
            most = n;
            snprintf(text, sizeof text,
                     "fp4_prepack_part(): '%.400s' of %s would be a part of what %s writes, but there is no "
                     "'%.400s%s' of %s",
                     t->name, t->dtype, c->writer, layer, missing, dtype);
        }
    }
    return most > 0 ? fp4_fail(FP4_ERROR_MISMATCH, text)
                    : fp4_fail(FP4_ERROR_NOT_FOUND, "fp4_prepack_part(): the tensor is no part of a layer");
}

// Endings of different conventions may be the end of one name: the layer is one whose part this is.
fp4_status fp4_prepack_part(const fp4_safetensors *file, int index, char layer[FP4_PREPACK_NAME], int *is_data) {
    fp4_safetensor t;
    fp4_status status = layer && is_data ? fp4_safetensors_at(file, index, &t)
                                         : fp4_fail(FP4_ERROR_ARGUMENT, "fp4_prepack_part(): NULL argument");
    for (size_t i = 0; i < sizeof conventions / sizeof *conventions && status == FP4_OK; i++) {
        const char *endings[] = {conventions[i].data, conventions[i].scale, conventions[i].global};
        for (int e = 0; e < 3; e++) {
            parts p = {.layer = layer};
            if (cut_ending(t.name, endings[e], layer) && find_parts(file, &p) == FP4_OK && p.c == &conventions[i]) {
                *is_data = e == 0;
                return FP4_OK;
            }
        }
    }
    return status == FP4_OK ? lone(file, &t) : status;
}
