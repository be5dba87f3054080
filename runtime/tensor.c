// Tensors in device memory: a shape, a format, and where data and scales lie.
#include "format.h"
#include <string.h>

fp4_status fp4_tensor_storage(const fp4_tensor *tensor, fp4_storage *storage) {
    if (!tensor || !storage) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_tensor_storage(): NULL argument");
    }
    fp4_status status =
        rt_check_size("fp4_tensor", tensor->size, sizeof(fp4_tensor), sizeof(fp4_tensor));
    if (status == FP4_OK) {
        status =
            fp4_storage_of(&tensor->format, tensor->rank, tensor->dims, tensor->pitch, storage);
    }
    return status;
}

fp4_status fp4_tensor_init(fp4_tensor *tensor, const char *format, int rank, const int64_t *dims) {
    if (!tensor) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_tensor_init(): NULL argument");
    }
    fp4_format found;
    fp4_storage storage;
    fp4_status status = fp4_format_find(format, &found);
    if (status == FP4_OK) {
        status = fp4_storage_of(&found, rank, dims, 0, &storage);
    }
    if (status != FP4_OK) {
        return status;
    }
    *tensor = (fp4_tensor){.size = sizeof *tensor, .rank = rank, .format = found, .global = 1};
    for (int i = 0; i < rank; i++) {
        tensor->dims[i] = dims[i];
    }
    return FP4_OK;
}

// Memory of n bytes, all 0.
static fp4_status new_zeros(fp4_ctx *ctx, int64_t n, uint64_t *address) {
    fp4_status status = fp4_alloc(ctx, n, address);
    if (status == FP4_OK && (status = fp4_fill(ctx, *address, 0, n, NULL)) != FP4_OK) {
        fp4_free(ctx, *address);
        *address = 0;
    }
    return status;
}

fp4_status fp4_tensor_alloc(fp4_ctx *ctx, fp4_tensor *tensor) {
    fp4_storage s;
    if (!ctx) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_tensor_alloc(): NULL argument");
    }
    fp4_status status = fp4_tensor_storage(tensor, &s);
    uint64_t data = 0;
    uint64_t scale = 0;
    if (status == FP4_OK) {
        status = new_zeros(ctx, s.data_bytes, &data);
    }
    if (status == FP4_OK) {
        status = new_zeros(ctx, s.scale_bytes, &scale);
    }
    if (status != FP4_OK) {
        fp4_free(ctx, data);
        return status;
    }
    tensor->data = data;
    tensor->scale = scale;
    tensor->ctx = ctx;
    return FP4_OK;
}

fp4_status fp4_tensor_new(fp4_ctx *ctx, const char *format, int rank, const int64_t *dims,
                          fp4_tensor *tensor) {
    fp4_status status = fp4_tensor_init(tensor, format, rank, dims);
    return status == FP4_OK ? fp4_tensor_alloc(ctx, tensor) : status;
}

void fp4_tensor_free(fp4_tensor *tensor) {
    if (tensor && tensor->ctx) {
        fp4_free(tensor->ctx, tensor->data);
        fp4_free(tensor->ctx, tensor->scale);
        tensor->data = 0;
        tensor->scale = 0;
        tensor->ctx = NULL;
    }
}

// What a copy needs to know; refuses a part that the tensor does not have.
static fp4_status copy_storage(const char *function, const fp4_ctx *ctx, const fp4_tensor *tensor,
                               bool wants_scale, fp4_storage *s) {
    if (!ctx) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): NULL argument", function);
    }
    fp4_status status = fp4_tensor_storage(tensor, s);
    if (status != FP4_OK) {
        return rt_prefix(status, "%s(): ", function);
    }
    if (tensor->ctx && tensor->ctx != ctx) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): the tensor belongs to another context", function);
    }
    if (wants_scale && !rt_format_scaled(&tensor->format)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): format %s has no scales", function,
                       fp4_elem_name(tensor->format.elem));
    }
    return FP4_OK;
}

fp4_status fp4_tensor_write(fp4_ctx *ctx, const fp4_tensor *tensor, const void *data,
                            const void *scale, void *stream) {
    fp4_storage s;
    fp4_status status = copy_storage("fp4_tensor_write", ctx, tensor, scale != NULL, &s);
    if (status == FP4_OK && data) {
        status = fp4_copy_to(ctx, tensor->data, data, s.data_bytes, stream);
    }
    if (status == FP4_OK && scale) {
        status = fp4_copy_to(ctx, tensor->scale, scale, s.scale_bytes, stream);
    }
    return status;
}

fp4_status fp4_tensor_read(fp4_ctx *ctx, const fp4_tensor *tensor, void *data, void *scale,
                           void *stream) {
    fp4_storage s;
    fp4_status status = copy_storage("fp4_tensor_read", ctx, tensor, scale != NULL, &s);
    if (status == FP4_OK && data) {
        status = fp4_copy_from(ctx, data, tensor->data, s.data_bytes, stream);
    }
    if (status == FP4_OK && scale) {
        status = fp4_copy_from(ctx, scale, tensor->scale, s.scale_bytes, stream);
    }
    return status;
}
