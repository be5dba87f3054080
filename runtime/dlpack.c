// DLPack tensors to tensors of ours and back. In: structs that another library filled; everything
// that ours cannot express (strides, devices, types) is refused. Memory is borrowed both ways.
#include "dlpack.h"
#include "format.h"
#include "fp4rt_dlpack.h"
#include <string.h>

static const dl_type own_types[FP4_ELEM_COUNT] = {
    [FP4_ELEM_E2M1] = {DL_E2M1FN, 4, 1},   [FP4_ELEM_E2M3] = {DL_E2M3FN, 6, 1},
    [FP4_ELEM_E3M2] = {DL_E3M2FN, 6, 1},   [FP4_ELEM_E4M3] = {DL_E4M3FN, 8, 1},
    [FP4_ELEM_E5M2] = {DL_E5M2, 8, 1},     [FP4_ELEM_BF16] = {DL_BFLOAT, 16, 1},
    [FP4_ELEM_F16] = {DL_FLOAT, 16, 1},    [FP4_ELEM_TF32] = {DL_FLOAT, 32, 1},
    [FP4_ELEM_F32] = {DL_FLOAT, 32, 1},    [FP4_ELEM_UE4M3] = {DL_E4M3FN, 8, 1},
    [FP4_ELEM_UE8M0] = {DL_E8M0FNU, 8, 1}, [FP4_ELEM_I32] = {DL_INT, 32, 1},
    [FP4_ELEM_I64] = {DL_INT, 64, 1},
};

static bool is_type(const dl_type *a, const dl_type *b) {
    return a->code == b->code && a->bits == b->bits && a->lanes == b->lanes;
}

// Bytes that hold packed elements of 4 or 8 bits.
static bool is_bytes(const dl_type *type) {
    return (type->code == DL_UINT || type->code == DL_INT) && type->bits == 8 && type->lanes == 1;
}

// How many elements one of theirs holds; 0: it is no such type.
static int64_t elements_each(const dl_type *theirs, fp4_elem elem) {
    dl_type pair = own_types[elem];
    pair.lanes = 2;
    if (is_type(theirs, &own_types[elem])) {
        return 1;
    }
    int bits = fp4_elem_bits(elem);
    if (bits == 4 && (is_type(theirs, &pair) || is_bytes(theirs))) {
        return 2;
    }
    return bits == 8 && is_bytes(theirs) ? 1 : 0;
}

// Whether axis i is followed by the whole of the axes behind it.
static bool is_dense(const dl_tensor *t, int i) {
    if (!t->strides || t->shape[i] <= 1) {
        return true;
    }
    int j = i + 1;
    while (j < t->ndim && t->shape[j] == 1) {
        j++;
    }
    int64_t inner = 1;
    return (j == t->ndim || rt_mul(t->strides[j], t->shape[j], &inner)) && t->strides[i] == inner;
}

static fp4_status check_tensor(const char *what, const dl_tensor *t, bool on_host) {
    if (t->ndim < 0 || t->ndim > FP4_MAX_RANK || (t->ndim > 0 && !t->shape)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s: a DLPack tensor of %d dimensions, at most %d", what,
                       (int)t->ndim, FP4_MAX_RANK);
    }
    bool host = t->device_type == DL_CPU || t->device_type == DL_CUDA_HOST;
    bool gpu = t->device_type == DL_CUDA || t->device_type == DL_CUDA_MANAGED;
    if (on_host ? !host : !gpu) {
        return rt_fail(FP4_ERROR_MISMATCH, "%s: lies on DLPack device type %d, expected %s", what,
                       (int)t->device_type, on_host ? "host memory" : "a CUDA device");
    }
    for (int i = 0; i < t->ndim; i++) {
        if (t->shape[i] < 0) {
            return rt_fail(FP4_ERROR_ARGUMENT, "%s: dimension %d is %lld", what, i,
                           (long long)t->shape[i]);
        }
    }
    for (int i = 0; i < t->ndim; i++) {
        // the rows (the last axis but one) may have a pitch
        bool rows = t->ndim >= 2 && i == t->ndim - 2;
        if (!rows && !is_dense(t, i)) {
            return rt_fail(FP4_ERROR_UNSUPPORTED,
                           "%s: axis %d has stride %lld; all axes but the rows must be dense", what,
                           i, (long long)t->strides[i]);
        }
    }
    return FP4_OK;
}

// Dimensions in elements and the rows' pitch in bytes, of the tensor's elements.
static fp4_status read_shape(const dl_tensor *t, fp4_elem elem, int64_t dims[FP4_MAX_RANK],
                             int64_t *pitch) {
    int64_t each = elements_each(&t->dtype, elem);
    if (each == 0) {
        return rt_fail(FP4_ERROR_MISMATCH,
                       "data: DLPack type (code %d, %d bits, %d lanes) does not hold %s",
                       t->dtype.code, t->dtype.bits, t->dtype.lanes, fp4_elem_name(elem));
    }
    for (int i = 0; i < t->ndim; i++) {
        dims[i] = t->shape[i];
    }
    *pitch = 0;
    if (t->ndim > 0 && !rt_mul(dims[t->ndim - 1], each, &dims[t->ndim - 1])) {
        return rt_fail(FP4_ERROR_ARGUMENT, "data: its size does not fit 63 bits");
    }
    if (t->ndim < 2 || !t->strides || t->shape[t->ndim - 2] <= 1) {
        return FP4_OK;
    }
    int64_t bits;
    if (!rt_mul(t->strides[t->ndim - 2], each * fp4_elem_bits(elem), &bits) || bits < 0 ||
        bits % 8 != 0) {
        return rt_fail(FP4_ERROR_UNSUPPORTED, "data: a row stride of %lld is no pitch in bytes",
                       (long long)t->strides[t->ndim - 2]);
    }
    *pitch = bits / 8;
    return FP4_OK;
}

// The scales: of the type, dense, as many bytes as the layout takes.
static fp4_status check_scale(const dl_tensor *t, const fp4_format *format, int64_t want) {
    int64_t bits = t->dtype.bits;
    if (elements_each(&t->dtype, format->scale) != 1) {
        return rt_fail(FP4_ERROR_MISMATCH,
                       "scale: DLPack type (code %d, %d bits, %d lanes) does not hold %s",
                       t->dtype.code, t->dtype.bits, t->dtype.lanes, fp4_elem_name(format->scale));
    }
    bool fits = true;
    for (int i = 0; i < t->ndim && fits; i++) {
        fits = rt_mul(bits, t->shape[i], &bits);
        if (!is_dense(t, i)) {
            return rt_fail(FP4_ERROR_UNSUPPORTED, "scale: axis %d has stride %lld, expected dense",
                           i, (long long)t->strides[i]);
        }
    }
    if (!fits || bits / 8 != want) {
        return rt_fail(FP4_ERROR_MISMATCH, "scale: it has %lld bytes, layout %s takes %lld",
                       fits ? (long long)(bits / 8) : -1LL, fp4_sf_layout_name(format->layout),
                       (long long)want);
    }
    return FP4_OK;
}

typedef struct {
    int64_t dims[FP4_MAX_RANK];
    int64_t pitch;
} shape;

static fp4_status read_both(const fp4_format *format, const dl_tensor *data, const dl_tensor *scale,
                            bool on_host, shape *out) {
    fp4_storage s;
    fp4_status status = rt_format_check(format);
    bool scaled = status == FP4_OK && rt_format_scaled(format);
    if (scaled && format->layout == FP4_SF_GGUF) {
        return rt_fail(FP4_ERROR_UNSUPPORTED, "ggml's blocks have no DLPack type");
    }
    if (status == FP4_OK && rt_format_laid(format)) {
        char name[FP4_MAX_NAME];
        return rt_fail(FP4_ERROR_UNSUPPORTED, "a DLPack tensor lies row by row, not as %s",
                       rt_format_text(format, name));
    }
    if (status == FP4_OK && scaled != (scale != NULL)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "format %s has %s scales", fp4_elem_name(format->elem),
                       scaled ? "block" : "no");
    }
    if (status == FP4_OK) {
        status = check_tensor("data", data, on_host);
    }
    if (status == FP4_OK && scaled) {
        status = check_tensor("scale", scale, on_host);
    }
    if (status == FP4_OK) {
        status = read_shape(data, format->elem, out->dims, &out->pitch);
    }
    if (status == FP4_OK) {
        status = fp4_storage_of(format, data->ndim, out->dims, out->pitch, &s);
    }
    return status == FP4_OK && scaled ? check_scale(scale, format, s.scale_bytes) : status;
}

static void *address_of(const dl_tensor *t) {
    return t->data ? (char *)t->data + t->byte_offset : NULL;
}

fp4_status fp4_dlpack_tensor(const void *managed, const void **tensor) {
    const dl_managed *m = managed;
    if (!m || !tensor) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_dlpack_tensor(): NULL argument");
    }
    if (m->major != DL_MAJOR) {
        return rt_fail(FP4_ERROR_UNSUPPORTED, "a DLPack tensor of version %u.%u, expected 1.x",
                       (unsigned)m->major, (unsigned)m->minor);
    }
    if (m->flags & DL_FLAG_SUBBYTE_PADDED && m->tensor.dtype.bits < 8) {
        return rt_fail(FP4_ERROR_UNSUPPORTED,
                       "a DLPack tensor whose elements of %d bits take a byte each",
                       m->tensor.dtype.bits);
    }
    *tensor = &m->tensor;
    return FP4_OK;
}

fp4_status fp4_tensor_from_dlpack(fp4_ctx *ctx, const fp4_format *format, const void *data,
                                  const void *scale, fp4_tensor *tensor) {
    const dl_tensor *t = data;
    shape s;
    if (!ctx || !format || !data || !tensor) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_tensor_from_dlpack(): NULL argument");
    }
    fp4_status status = read_both(format, t, scale, false, &s);
    if (status == FP4_OK &&
        (!ctx->properties.is_cuda || t->device_id != ctx->properties.index ||
         (scale && ((const dl_tensor *)scale)->device_id != ctx->properties.index))) {
        status = rt_fail(FP4_ERROR_MISMATCH, "memory of cuda:%d, but the context's device is %s",
                         (int)t->device_id, ctx->properties.name);
    }
    if (status != FP4_OK) {
        return rt_prefix(status, "fp4_tensor_from_dlpack(): ");
    }
    *tensor = (fp4_tensor){.size = sizeof *tensor,
                           .rank = t->ndim,
                           .format = *format,
                           .pitch = s.pitch,
                           .data = (uint64_t)(uintptr_t)address_of(t),
                           .scale = scale ? (uint64_t)(uintptr_t)address_of(scale) : 0,
                           .global = 1};
    memcpy(tensor->dims, s.dims, (size_t)t->ndim * sizeof *s.dims);
    return FP4_OK;
}

fp4_status fp4_host_from_dlpack(const fp4_format *format, const void *data, const void *scale,
                                fp4_host *host) {
    const dl_tensor *t = data;
    shape s;
    if (!format || !data || !host) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_host_from_dlpack(): NULL argument");
    }
    fp4_status status = read_both(format, t, scale, true, &s);
    if (status != FP4_OK) {
        return rt_prefix(status, "fp4_host_from_dlpack(): ");
    }
    *host = (fp4_host){.size = sizeof *host,
                       .rank = t->ndim,
                       .format = *format,
                       .pitch = s.pitch,
                       .data = address_of(t),
                       .scale = scale ? address_of(scale) : NULL};
    memcpy(host->dims, s.dims, (size_t)t->ndim * sizeof *s.dims);
    return FP4_OK;
}

// ---- ours for others ----------------------------------------------------------------------------

typedef struct {
    dl_managed managed; // first: the deleter gets its address
    rt_heap heap;
    int64_t shape[FP4_MAX_RANK], strides[FP4_MAX_RANK];
} exported;

static void delete_exported(dl_managed *self) {
    exported *e = (exported *)self;
    rt_heap heap = e->heap;
    rt_release(&heap, e, sizeof *e);
}

// Strides of a dense array whose rows are 'pitch' elements apart.
static void set_strides(exported *e, int64_t pitch) {
    int64_t stride = 1;
    for (int i = e->managed.tensor.ndim - 1; i >= 0; i--) {
        e->strides[i] = stride;
        stride = i == e->managed.tensor.ndim - 1 ? pitch : stride * e->shape[i];
    }
}

static fp4_status export_data(exported *e, const fp4_host *host, const fp4_storage *s,
                              fp4_dlpack_view view) {
    dl_tensor *t = &e->managed.tensor;
    int bits = fp4_elem_bits(host->format.elem);
    bool blocks = rt_format_scaled(&host->format) && host->format.layout == FP4_SF_GGUF;
    int64_t last = view == FP4_DLPACK_BYTES   ? s->row_bytes
                   : view == FP4_DLPACK_PAIRS ? s->cols / 2
                                              : s->cols;
    if (view == FP4_DLPACK_PAIRS && (bits != 4 || s->cols % 2 != 0)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "a row of %lld %s does not consist of pairs",
                       (long long)s->cols, fp4_elem_name(host->format.elem));
    }
    if (view != FP4_DLPACK_BYTES && blocks) {
        return rt_fail(FP4_ERROR_UNSUPPORTED, "ggml's blocks go out as bytes only");
    }
    int64_t unit = view == FP4_DLPACK_BYTES ? 8 : view == FP4_DLPACK_PAIRS ? 8 : bits;
    if (s->pitch * 8 % unit != 0) {
        return rt_fail(FP4_ERROR_UNSUPPORTED, "a pitch of %lld bytes is no stride in elements",
                       (long long)s->pitch);
    }
    t->ndim = host->rank;
    memcpy(e->shape, host->dims, sizeof e->shape);
    t->dtype = view == FP4_DLPACK_BYTES ? (dl_type){DL_UINT, 8, 1} : own_types[host->format.elem];
    t->dtype.lanes = view == FP4_DLPACK_PAIRS ? 2 : 1;
    if (t->ndim == 0 && view == FP4_DLPACK_BYTES) {
        t->ndim = 1;
    }
    if (t->ndim > 0) {
        e->shape[t->ndim - 1] = last;
    }
    set_strides(e, s->pitch * 8 / unit);
    t->data = host->data;
    return FP4_OK;
}

static fp4_status export_scale(exported *e, const fp4_host *host, const fp4_storage *s) {
    dl_tensor *t = &e->managed.tensor;
    if (s->scale_bytes == 0 && !rt_format_scaled(&host->format)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "format %s has no scales",
                       fp4_elem_name(host->format.elem));
    }
    if (host->format.layout == FP4_SF_GGUF) {
        return rt_fail(FP4_ERROR_UNSUPPORTED, "the scales of ggml's blocks lie inside of them");
    }
    int64_t width = fp4_elem_bits(host->format.scale) / 8;
    t->dtype = own_types[host->format.scale];
    t->data = host->scale;
    if (host->format.layout != FP4_SF_LINEAR) {
        t->ndim = 2;
        e->shape[0] = s->n_matrices;
        e->shape[1] = s->scale_matrix_bytes / width;
    } else {
        t->ndim = host->rank < 1 ? 1 : host->rank;
        memcpy(e->shape, host->dims, sizeof e->shape);
        e->shape[t->ndim - 1] = s->scale_cols;
        if (t->ndim > 1) {
            e->shape[t->ndim - 2] = s->scale_rows;
        }
    }
    set_strides(e, e->shape[t->ndim - 1]);
    return FP4_OK;
}

static fp4_status export_view(rt_heap *heap, const fp4_host *host, fp4_dlpack_view view,
                              exported **out) {
    fp4_storage s;
    fp4_status status = fp4_storage_of(&host->format, host->rank, host->dims, host->pitch, &s);
    if (status == FP4_OK && rt_format_laid(&host->format)) {
        status = rt_fail(FP4_ERROR_UNSUPPORTED, "a DLPack tensor lies row by row, not as layout %s",
                         fp4_sf_layout_name(host->format.layout));
    }
    if (status == FP4_OK && (unsigned)view > FP4_DLPACK_SCALE) {
        status = rt_fail(FP4_ERROR_ARGUMENT, "there is no view %d", (int)view);
    }
    exported *e = status == FP4_OK ? rt_resize(heap, NULL, 0, sizeof *e) : NULL;
    if (!e) {
        return status == FP4_OK ? FP4_ERROR_MEMORY : status;
    }
    *e = (exported){.heap = *heap};
    e->managed.major = DL_MAJOR;
    e->managed.minor = DL_MINOR;
    e->managed.deleter = delete_exported;
    e->managed.tensor.shape = e->shape;
    e->managed.tensor.strides = e->strides;
    status = view == FP4_DLPACK_SCALE ? export_scale(e, host, &s) : export_data(e, host, &s, view);
    if (status != FP4_OK) {
        delete_exported(&e->managed);
        return status;
    }
    *out = e;
    return FP4_OK;
}

fp4_status fp4_tensor_to_dlpack(fp4_ctx *ctx, const fp4_tensor *tensor, fp4_dlpack_view view,
                                void **managed) {
    if (!ctx || !tensor || !managed) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_tensor_to_dlpack(): NULL argument");
    }
    *managed = NULL;
    fp4_status status =
        rt_check_size("fp4_tensor", tensor->size, sizeof(fp4_tensor), sizeof(fp4_tensor));
    if (status == FP4_OK && !ctx->properties.is_cuda) {
        status = rt_fail(FP4_ERROR_UNSUPPORTED,
                         "memory of the device %s has no address that others can use; "
                         "fp4_tensor_read gives a copy",
                         ctx->properties.name);
    }
    exported *e = NULL;
    if (status == FP4_OK) {
        fp4_host host = {.size = sizeof host,
                         .rank = tensor->rank,
                         .format = tensor->format,
                         .pitch = tensor->pitch,
                         .data = (void *)(uintptr_t)tensor->data,
                         .scale = (void *)(uintptr_t)tensor->scale};
        memcpy(host.dims, tensor->dims, sizeof host.dims);
        status = export_view(&ctx->heap, &host, view, &e);
    }
    if (status != FP4_OK) {
        return rt_prefix(status, "fp4_tensor_to_dlpack(): ");
    }
    e->managed.tensor.device_type = DL_CUDA;
    e->managed.tensor.device_id = ctx->properties.index;
    *managed = &e->managed;
    return FP4_OK;
}

fp4_status fp4_host_to_dlpack(const fp4_config *config, const fp4_host *host, fp4_dlpack_view view,
                              void **managed) {
    rt_heap heap;
    rt_heap_init(&heap, config ? config->alloc : NULL, config ? config->alloc_user : NULL);
    exported *e = NULL;
    fp4_storage s;
    if (!managed) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_host_to_dlpack(): NULL argument");
    }
    *managed = NULL;
    fp4_status status = rt_host_check(host, "fp4_host_to_dlpack", &s);
    if (status == FP4_OK && (status = export_view(&heap, host, view, &e)) != FP4_OK) {
        rt_prefix(status, "fp4_host_to_dlpack(): ");
    }
    if (status != FP4_OK) {
        return status;
    }
    e->managed.tensor.device_type = DL_CPU;
    *managed = &e->managed;
    return FP4_OK;
}
