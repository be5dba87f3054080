// Tensors from and to host values: a checkpoint's packed bytes, floats to be quantised, values
// back. Everything is staged in host memory of the context's allocator and then copied in one piece
// a part.
#include "format.h"
#include <string.h>

// Host memory for a dense tensor's storage; the first n_data bytes are the elements.
typedef struct {
    fp4_host host;
    fp4_storage storage;
    size_t bytes;
    void *memory;
} staging;

static fp4_status stage(fp4_ctx *ctx, const fp4_format *format, int rank, const int64_t *dims,
                        staging *s) {
    s->memory = NULL;
    fp4_status status = fp4_host_init(&s->host, format, rank, dims);
    if (status == FP4_OK) {
        status = fp4_storage_of(format, rank, dims, 0, &s->storage);
    }
    int64_t total;
    if (status == FP4_OK && !rt_add(s->storage.data_bytes, s->storage.scale_bytes, &total)) {
        status = rt_fail(FP4_ERROR_ARGUMENT, "the tensor's size in bytes does not fit 63 bits");
    }
    if (status != FP4_OK) {
        return status;
    }
    s->bytes = (size_t)total + 1;
    s->memory = rt_resize(&ctx->heap, NULL, 0, s->bytes);
    if (!s->memory) {
        return FP4_ERROR_MEMORY;
    }
    s->host.data = s->memory;
    s->host.scale = (uint8_t *)s->memory + s->storage.data_bytes;
    return FP4_OK;
}

static void unstage(fp4_ctx *ctx, staging *s) {
    rt_release(&ctx->heap, s->memory, s->bytes);
}

// A device tensor with the staged bytes.
static fp4_status upload(fp4_ctx *ctx, const staging *s, float global, fp4_tensor *tensor) {
    fp4_tensor made = {
        .size = sizeof made, .rank = s->host.rank, .format = s->host.format, .global = global};
    memcpy(made.dims, s->host.dims, sizeof made.dims);
    fp4_status status = fp4_tensor_alloc(ctx, &made);
    if (status != FP4_OK) {
        return status;
    }
    bool scaled = rt_format_scaled(&made.format);
    status = fp4_tensor_write(ctx, &made, s->host.data, scaled ? s->host.scale : NULL, NULL);
    if (status != FP4_OK) {
        fp4_tensor_free(&made);
        return status;
    }
    *tensor = made;
    return FP4_OK;
}

static fp4_status check_call(const char *function, bool complete) {
    return complete ? FP4_OK : rt_fail(FP4_ERROR_ARGUMENT, "%s(): NULL argument", function);
}

fp4_status fp4_tensor_import(fp4_ctx *ctx, const fp4_host *host, float global, fp4_global_rule rule,
                             fp4_tensor *tensor) {
    fp4_status status = check_call("fp4_tensor_import", ctx && host && tensor);
    if (status == FP4_OK && rule == FP4_GLOBAL_DIVIDE && global == 0) {
        status =
            rt_fail(FP4_ERROR_ARGUMENT, "fp4_tensor_import(): a division by a global scale of 0");
    }
    fp4_storage theirs;
    if (status == FP4_OK) {
        status = rt_host_check(host, "fp4_tensor_import", &theirs);
    }
    if (status != FP4_OK) {
        return status;
    }
    fp4_format format = host->format;
    if (rt_format_scaled(&format)) {
        format.layout = format.scale == FP4_ELEM_F32 ? FP4_SF_LINEAR : FP4_SF_128X4;
    }
    staging s = {.memory = NULL};
    status = stage(ctx, &format, host->rank, host->dims, &s);
    if (status == FP4_OK) {
        status = fp4_host_repack(host, &s.host);
    }
    if (status == FP4_OK) {
        status = upload(ctx, &s, rule == FP4_GLOBAL_DIVIDE ? 1 / global : global, tensor);
    }
    unstage(ctx, &s);
    return status;
}

static void encode_plain(const staging *s, const float *values) {
    for (int64_t row = 0; row < s->storage.n_matrices * s->storage.rows; row++) {
        for (int64_t col = 0; col < s->storage.cols; col++) {
            float x = values[row * s->storage.cols + col];
            fp4_host_set_code(&s->host, row, col, fp4_encode(s->host.format.elem, x));
        }
    }
}

fp4_status fp4_tensor_quantize(fp4_ctx *ctx, const char *format, int rank, const int64_t *dims,
                               const float *values, fp4_tensor *tensor) {
    fp4_status status = check_call("fp4_tensor_quantize", ctx && values && tensor);
    fp4_format found;
    staging s = {.memory = NULL};
    float global = 1;
    if (status == FP4_OK) {
        status = fp4_format_find(format, &found);
    }
    if (status == FP4_OK) {
        status = stage(ctx, &found, rank, dims, &s);
    }
    if (status == FP4_OK && rt_format_scaled(&found)) {
        status = fp4_quantize(&s.host, values, NULL, &global);
    } else if (status == FP4_OK) {
        encode_plain(&s, values);
    }
    if (status == FP4_OK) {
        status = upload(ctx, &s, 1 / global, tensor);
    }
    unstage(ctx, &s);
    return status;
}

fp4_status fp4_tensor_values(fp4_ctx *ctx, const fp4_tensor *tensor, double *values) {
    fp4_status status = check_call("fp4_tensor_values", ctx && tensor && values);
    fp4_storage theirs;
    if (status == FP4_OK) {
        status = fp4_tensor_storage(tensor, &theirs);
    }
    if (status != FP4_OK) {
        return status;
    }
    fp4_host host = {.size = sizeof host,
                     .rank = tensor->rank,
                     .format = tensor->format,
                     .pitch = tensor->pitch};
    memcpy(host.dims, tensor->dims, sizeof host.dims);
    int64_t total;
    if (!rt_add(theirs.data_bytes, theirs.scale_bytes + 1, &total)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "the tensor's size in bytes does not fit 63 bits");
    }
    host.data = rt_resize(&ctx->heap, NULL, 0, (size_t)total);
    if (!host.data) {
        return FP4_ERROR_MEMORY;
    }
    host.scale = (uint8_t *)host.data + theirs.data_bytes;
    status = fp4_tensor_read(ctx, tensor, host.data,
                             rt_format_scaled(&tensor->format) ? host.scale : NULL, NULL);
    if (status == FP4_OK) {
        status = fp4_host_decode(&host, values);
    }
    for (int64_t i = 0; status == FP4_OK && i < theirs.n_matrices * theirs.rows * theirs.cols;
         i++) {
        values[i] *= tensor->global;
    }
    rt_release(&ctx->heap, host.data, (size_t)total);
    return status;
}
