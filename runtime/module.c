// Modules and kernels as the caller sees them: loading, looking up, asking.
#include "kernel.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

fp4_status fp4_module_load_memory(fp4_ctx *ctx, const void *bytes, size_t n_bytes,
                                  fp4_module **out) {
    if (!ctx || !bytes || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_module_load_memory(): NULL argument");
    }
    *out = NULL;
    rt_pool pool;
    rt_pool_init(&pool, &ctx->heap);
    fp4_module *module = rt_pool_new(&pool, sizeof *module);
    if (!module) {
        return FP4_ERROR_MEMORY;
    }
    module->ctx = ctx;
    module->pool = pool;
    fp4_status status = rt_module_read(module, bytes, n_bytes);
    if (status != FP4_OK) {
        pool = module->pool; // the pool holds the module itself
        rt_pool_free(&pool);
        return status;
    }
    pthread_mutex_lock(&ctx->lock);
    module->next = ctx->modules;
    ctx->modules = module;
    pthread_mutex_unlock(&ctx->lock);
    *out = module;
    return FP4_OK;
}

// Reads all of a file into a block of *cap bytes that the caller releases, whatever is returned.
static fp4_status read_stream(rt_heap *heap, FILE *stream, uint8_t **bytes, size_t *n,
                              size_t *cap) {
    for (;;) {
        size_t room = *cap ? 2 * *cap : 1 << 16;
        uint8_t *more = rt_resize(heap, *bytes, *cap, room);
        if (!more) {
            return FP4_ERROR_MEMORY;
        }
        *bytes = more;
        *cap = room;
        *n += fread(*bytes + *n, 1, room - *n, stream);
        if (ferror(stream)) {
            return rt_fail(FP4_ERROR_FILE, "cannot be read: %s", strerror(errno));
        }
        if (*n < room) {
            return FP4_OK;
        }
    }
}

fp4_status fp4_module_load_file(fp4_ctx *ctx, const char *path, fp4_module **out) {
    if (!ctx || !path || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_module_load_file(): NULL argument");
    }
    *out = NULL;
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        return rt_fail(FP4_ERROR_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    }
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    size_t cap = 0;
    fp4_status status = read_stream(&ctx->heap, stream, &bytes, &n_bytes, &cap);
    fclose(stream);
    if (status == FP4_OK) {
        status = fp4_module_load_memory(ctx, bytes, n_bytes, out);
    }
    rt_release(&ctx->heap, bytes, cap);
    return status == FP4_OK ? status : rt_prefix(status, "%s: ", path);
}

// Whether the context's device can run anything of the module.
static bool fits_device(const fp4_module *module) {
    const rt_properties *device = &module->ctx->properties;
    bool fits = device->runs_any_arch;
    for (int i = 0; i < module->n_kernels && !fits; i++) {
        fits = strcmp(module->kernels[i].arch, device->arch) == 0;
    }
    return fits;
}

static fp4_status open_and_load(const fp4_config *config, const char *path, fp4_ctx **ctx,
                                fp4_module **module) {
    fp4_status status = fp4_open(config, ctx);
    if (status == FP4_OK) {
        status = fp4_module_load_file(*ctx, path, module);
    }
    if (status != FP4_OK) {
        fp4_close(*ctx);
        *ctx = NULL;
        *module = NULL;
    }
    return status;
}

fp4_status fp4_open_module(const fp4_config *config, const char *path, fp4_ctx **ctx,
                           fp4_module **module) {
    if (!path || !ctx || !module) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_open_module(): NULL argument");
    }
    *ctx = NULL;
    *module = NULL;
    fp4_status status = open_and_load(config, path, ctx, module);
    bool is_auto = !config || !config->device || strcmp(config->device, "auto") == 0;
    if (status != FP4_OK || !is_auto || fits_device(*module)) {
        return status;
    }
    rt_log(*ctx, FP4_LOG_INFO, "%s has no code for %s (%s), the simulator runs the kernels", path,
           (*ctx)->properties.name, (*ctx)->properties.arch);
    fp4_config simulator = config ? *config : (fp4_config)FP4_CONFIG_INIT;
    simulator.device = "sim";
    fp4_close(*ctx);
    return open_and_load(&simulator, path, ctx, module);
}

fp4_ctx *fp4_module_ctx(const fp4_module *module) {
    return module ? module->ctx : NULL;
}

void fp4_module_free(fp4_module *module) {
    if (!module) {
        return;
    }
    fp4_ctx *ctx = module->ctx;
    pthread_mutex_lock(&ctx->lock);
    fp4_module **link = &ctx->modules;
    while (*link != module) {
        link = &(*link)->next;
    }
    *link = module->next;
    for (int i = 0; i < module->n_kernels; i++) {
        if (module->kernels[i].image) {
            ctx->ops->image_unload(ctx->device, module->kernels[i].image);
        }
    }
    pthread_mutex_unlock(&ctx->lock);
    rt_pool pool = module->pool;
    rt_pool_free(&pool);
}

const char *fp4_module_source(const fp4_module *module) {
    return module ? module->source : "";
}

int fp4_module_count(const fp4_module *module) {
    return module ? module->n_kernels : 0;
}

fp4_status fp4_module_kernel_at(fp4_module *module, int index, fp4_kernel **out) {
    if (!module || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_module_kernel_at(): NULL argument");
    }
    *out = NULL;
    if (index < 0 || index >= module->n_kernels) {
        return rt_fail(FP4_ERROR_NOT_FOUND, "fp4_module_kernel_at(): index %d, the module has %d",
                       index, module->n_kernels);
    }
    *out = &module->kernels[index];
    return FP4_OK;
}

fp4_status rt_kernel_load(fp4_kernel *kernel) {
    if (atomic_load(&kernel->function)) {
        return FP4_OK;
    }
    fp4_ctx *ctx = kernel->module->ctx;
    pthread_mutex_lock(&ctx->lock);
    fp4_status status = FP4_OK;
    if (!kernel->image) {
        rt_code code = {kernel->ptx,         kernel->ptx_bytes, kernel->cubin,
                        kernel->cubin_bytes, kernel->arch,      kernel->name};
        status = ctx->ops->image_load(ctx->device, &code, &kernel->image);
    }
    rt_function *function = NULL;
    if (status == FP4_OK) {
        const uint32_t *cluster = kernel->cluster;
        rt_entry entry = {kernel->entry, kernel->smem_bytes, cluster[0] * cluster[1] * cluster[2]};
        status = ctx->ops->function_find(ctx->device, kernel->image, &entry, &function);
    }
    if (status == FP4_OK) {
        atomic_store(&kernel->function, function);
    }
    pthread_mutex_unlock(&ctx->lock);
    return status;
}

// "nvfp4_gemm for sm_100a, ...": what the module offers, for refusals.
static const char *offers(const fp4_module *module, char *text, size_t bytes) {
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < module->n_kernels && used < bytes - 1; i++) {
        int n = snprintf(text + used, bytes - used, "%s%s for %s", i ? ", " : "",
                         module->kernels[i].name, module->kernels[i].arch);
        used += n > 0 ? (size_t)n : 0;
    }
    return text;
}

// The kernel's code for every variant of (name, arch).
static fp4_status load_variants(fp4_module *module, const fp4_kernel *first) {
    for (int i = 0; i < module->n_kernels; i++) {
        fp4_kernel *k = &module->kernels[i];
        if (strcmp(k->name, first->name) == 0 && strcmp(k->arch, first->arch) == 0) {
            fp4_status status = rt_kernel_load(k);
            if (status != FP4_OK) {
                return status;
            }
        }
    }
    return FP4_OK;
}

fp4_status fp4_module_kernel(fp4_module *module, const char *name, const char *arch,
                             fp4_kernel **out) {
    if (!module || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_module_kernel(): NULL argument");
    }
    *out = NULL;
    const rt_properties *device = &module->ctx->properties;
    if (!arch && !device->runs_any_arch) {
        arch = device->arch;
    }
    fp4_kernel *found = NULL;
    for (int i = 0; i < module->n_kernels; i++) {
        fp4_kernel *k = &module->kernels[i];
        if ((name && strcmp(k->name, name) != 0) || (arch && strcmp(k->arch, arch) != 0)) {
            continue;
        }
        if (found && !name && strcmp(found->name, k->name) != 0) {
            return rt_fail(FP4_ERROR_NOT_FOUND,
                           "fp4_module_kernel(): the module has several kernels, name one of them");
        }
        found = found ? found : k;
    }
    if (!found) {
        char text[400];
        return rt_fail(FP4_ERROR_NOT_FOUND, "no kernel %.60s%s%.20s in %s; it has %s",
                       name ? name : "", arch ? " for " : "", arch ? arch : "", module->source,
                       offers(module, text, sizeof text));
    }
    fp4_status status = load_variants(module, found);
    if (status == FP4_OK) {
        *out = found;
    }
    return status;
}

fp4_status(fp4_kernel_get_info)(const fp4_kernel *kernel, fp4_kernel_info *info) {
    if (!kernel || !info) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_kernel_get_info(): NULL argument");
    }
    fp4_kernel_info full = {
        .size = sizeof full,
        .name = kernel->name,
        .arch = kernel->arch,
        .entry = kernel->entry,
        .n_params = kernel->n_params,
        .n_dims = kernel->n_dims,
        .n_where = kernel->n_where,
        .threads = (int32_t)kernel->threads,
        .cluster = (int32_t)(kernel->cluster[0] * kernel->cluster[1] * kernel->cluster[2]),
        .smem_bytes = kernel->smem_bytes,
        .persistent = kernel->persistent,
        .regs = kernel->regs,
        .spill_bytes = kernel->spill_bytes,
        .stack_bytes = kernel->stack_bytes,
        .ptx = kernel->ptx,
        .ptx_bytes = kernel->ptx_bytes,
    };
    return rt_give("fp4_kernel_info", info, &full, sizeof full);
}

fp4_status(fp4_kernel_param)(const fp4_kernel *kernel, int index, fp4_param_info *info) {
    if (!kernel || !info) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_kernel_param(): NULL argument");
    }
    if (index < 0 || index >= kernel->n_params) {
        return rt_fail(FP4_ERROR_NOT_FOUND, "%s() has %d parameters, there is no number %d",
                       kernel->name, kernel->n_params, index);
    }
    const rt_param *p = &kernel->params[index];
    fp4_param_info full = {.size = sizeof full,
                           .name = p->name,
                           .kind = p->kind,
                           .mode = p->mode,
                           .format = p->format,
                           .rank = p->rank,
                           .align = p->align};
    return rt_give("fp4_param_info", info, &full, sizeof full);
}

const char *fp4_kernel_dim(const fp4_kernel *kernel, int index) {
    return kernel && index >= 0 && index < kernel->n_dims ? kernel->dims[index] : NULL;
}

const char *fp4_kernel_where(const fp4_kernel *kernel, int index) {
    return kernel && index >= 0 && index < kernel->n_where ? kernel->where[index].text : NULL;
}
