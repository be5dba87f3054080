// A context: one open device, the memory given out on it, the modules loaded for it.
#include "rt.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void rt_log(const fp4_ctx *ctx, fp4_log_level level, const char *format, ...) {
    if (!ctx->log || level > ctx->log_level) {
        return;
    }
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ctx->log(ctx->log_user, level, text);
}

// The oldest fp4_config ended here.
#define CONFIG_OLDEST (offsetof(fp4_config, sim_seed) + sizeof(uint64_t))

static fp4_status read_config(const fp4_config *config, fp4_config *ours) {
    *ours = (fp4_config)FP4_CONFIG_INIT;
    if (config) {
        fp4_status status =
            rt_check_size("fp4_config", config->size, CONFIG_OLDEST, sizeof(fp4_config));
        if (status != FP4_OK) {
            return status;
        }
        memcpy(ours, config, config->size);
    }
    if ((unsigned)ours->sim_schedule > FP4_SCHEDULE_RANDOM) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_open(): sim_schedule %d is not a schedule",
                       (int)ours->sim_schedule);
    }
    if ((unsigned)ours->sim_hazards > FP4_HAZARDS_MANUAL) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_open(): sim_hazards %d is not a profile",
                       (int)ours->sim_hazards);
    }
    if (ours->sim_sms < 0 || ours->sim_sms > 1024) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_open(): sim_sms is %d, expected 0 .. 1024",
                       (int)ours->sim_sms);
    }
    ours->device = ours->device ? ours->device : "auto";
    return FP4_OK;
}

// "cuda" or "cuda:N"; false when it is neither.
static bool is_cuda(const char *name, int *index) {
    *index = 0;
    if (strncmp(name, "cuda", 4) != 0) {
        return false;
    }
    name += 4;
    if (*name == 0) {
        return true;
    }
    if (*name++ != ':' || *name == 0 || strlen(name) > 3) {
        return false;
    }
    for (; *name; name++) {
        if (*name < '0' || *name > '9') {
            return false;
        }
        *index = *index * 10 + (*name - '0');
    }
    return true;
}

// The first GPU of a target; FP4_ERROR_UNAVAILABLE when there is none.
static fp4_status open_gpu(fp4_ctx *ctx, const char *arch) {
    for (int index = 0;; index++) {
        fp4_status status = rt_cuda_open(&ctx->heap, index, &ctx->ops, &ctx->device);
        if (status != FP4_OK) {
            return status;
        }
        rt_properties properties;
        ctx->ops->properties(ctx->device, &properties);
        if (!arch || strcmp(arch, properties.arch) == 0) {
            return FP4_OK;
        }
        rt_log(ctx, FP4_LOG_INFO, "cuda:%d, %s, is %s, not %s", index, properties.name,
               properties.arch, arch);
        ctx->ops->close(ctx->device);
        ctx->device = NULL;
    }
}

static fp4_status open_device(fp4_ctx *ctx, const fp4_config *config) {
    int index;
    if (strcmp(config->device, "sim") == 0) {
        return rt_sim_open(&ctx->heap, config, &ctx->ops, &ctx->device);
    }
    if (is_cuda(config->device, &index)) {
        return rt_cuda_open(&ctx->heap, index, &ctx->ops, &ctx->device);
    }
    if (strcmp(config->device, "auto") != 0) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "fp4_open(): there is no device '%.40s'; known are sim, cuda:N, auto",
                       config->device);
    }
    fp4_status status = open_gpu(ctx, config->arch);
    if (status == FP4_ERROR_UNAVAILABLE) {
        rt_log(ctx, FP4_LOG_INFO, "the simulator runs the kernels: %s", fp4_last_error());
        status = rt_sim_open(&ctx->heap, config, &ctx->ops, &ctx->device);
    }
    return status;
}

fp4_status rt_context_new(const fp4_config *config, fp4_ctx **out) {
    rt_heap heap;
    rt_heap_init(&heap, config->alloc, config->alloc_user);
    fp4_ctx *ctx = rt_resize(&heap, NULL, 0, sizeof *ctx);
    if (!ctx) {
        return FP4_ERROR_MEMORY;
    }
    *ctx = (fp4_ctx){.heap = heap,
                     .log = config->log,
                     .log_user = config->log_user,
                     .log_level = config->log_level};
    if (pthread_mutex_init(&ctx->lock, NULL) != 0) {
        rt_release(&heap, ctx, sizeof *ctx);
        return rt_fail(FP4_ERROR_MEMORY, "fp4_open(): the system gives no mutex");
    }
    *out = ctx;
    return FP4_OK;
}

fp4_status fp4_open(const fp4_config *config, fp4_ctx **out) {
    if (!out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_open(): NULL argument");
    }
    *out = NULL;
    fp4_config ours;
    fp4_ctx *ctx = NULL;
    fp4_status status = read_config(config, &ours);
    if (status == FP4_OK) {
        status = rt_context_new(&ours, &ctx);
    }
    if (status == FP4_OK) {
        status = open_device(ctx, &ours);
    }
    if (status != FP4_OK) {
        fp4_close(ctx);
        return status;
    }
    ctx->ops->properties(ctx->device, &ctx->properties);
    rt_log(ctx, FP4_LOG_INFO, "device %s, %s, %d SMs", ctx->properties.name, ctx->properties.arch,
           ctx->properties.n_sms);
    *out = ctx;
    return FP4_OK;
}

void fp4_close(fp4_ctx *ctx) {
    if (!ctx) {
        return;
    }
    while (ctx->modules) {
        fp4_module_free(ctx->modules);
    }
    while (ctx->events) {
        fp4_event_free(ctx->events);
    }
    rt_workspace_close(ctx);
    for (size_t i = 0; i < ctx->n_blocks; i++) {
        ctx->ops->free(ctx->device, ctx->blocks[i].address);
    }
    if (ctx->device) {
        ctx->ops->close(ctx->device);
    }
    rt_release(&ctx->heap, ctx->blocks, ctx->cap_blocks * sizeof *ctx->blocks);
    pthread_mutex_destroy(&ctx->lock);
    rt_heap heap = ctx->heap;
    rt_release(&heap, ctx, sizeof *ctx);
}

fp4_status(fp4_get_device_info)(const fp4_ctx *ctx, fp4_device_info *info) {
    if (!ctx || !info) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_get_device_info(): NULL argument");
    }
    fp4_device_info full = {.size = sizeof full,
                            .name = ctx->properties.name,
                            .arch = ctx->properties.arch,
                            .n_sms = ctx->properties.n_sms};
    return rt_give("fp4_device_info", info, &full, sizeof full);
}

fp4_status(fp4_get_stats)(fp4_ctx *ctx, fp4_stats *stats) {
    if (!ctx || !stats) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_get_stats(): NULL argument");
    }
    fp4_stats full = {.size = sizeof full, .n_launches = atomic_load(&ctx->n_launches)};
    pthread_mutex_lock(&ctx->lock);
    full.device_bytes = ctx->device_bytes;
    pthread_mutex_unlock(&ctx->lock);
    ctx->ops->stats(ctx->device, &full);
    return rt_give("fp4_stats", stats, &full, sizeof full);
}

fp4_status fp4_sync(fp4_ctx *ctx, void *stream) {
    if (!ctx) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_sync(): NULL argument");
    }
    return ctx->ops->sync(ctx->device, stream);
}

// ---- raw device memory --------------------------------------------------------------------------

// Room for one more entry in the list of blocks; under the lock.
static fp4_status reserve_block(fp4_ctx *ctx) {
    if (ctx->n_blocks < ctx->cap_blocks) {
        return FP4_OK;
    }
    size_t cap = ctx->cap_blocks ? 2 * ctx->cap_blocks : 16;
    rt_device_block *blocks =
        rt_resize(&ctx->heap, ctx->blocks, ctx->cap_blocks * sizeof *blocks, cap * sizeof *blocks);
    if (!blocks) {
        return FP4_ERROR_MEMORY;
    }
    ctx->blocks = blocks;
    ctx->cap_blocks = cap;
    return FP4_OK;
}

fp4_status fp4_alloc(fp4_ctx *ctx, int64_t bytes, uint64_t *address) {
    if (!ctx || !address || bytes < 0) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_alloc(): %s",
                       bytes < 0 ? "a negative size" : "NULL argument");
    }
    *address = 0;
    if (bytes == 0) {
        return FP4_OK;
    }
    pthread_mutex_lock(&ctx->lock);
    fp4_status status = reserve_block(ctx);
    if (status == FP4_OK) {
        status = ctx->ops->alloc(ctx->device, (uint64_t)bytes, address);
    }
    if (status == FP4_OK) {
        ctx->blocks[ctx->n_blocks++] = (rt_device_block){*address, (uint64_t)bytes};
        ctx->device_bytes += (uint64_t)bytes;
    }
    pthread_mutex_unlock(&ctx->lock);
    return status;
}

fp4_status fp4_free(fp4_ctx *ctx, uint64_t address) {
    if (!ctx) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_free(): NULL argument");
    }
    if (address == 0) {
        return FP4_OK;
    }
    pthread_mutex_lock(&ctx->lock);
    size_t i = 0;
    while (i < ctx->n_blocks && ctx->blocks[i].address != address) {
        i++;
    }
    fp4_status status;
    if (i == ctx->n_blocks) {
        status = rt_fail(FP4_ERROR_ARGUMENT, "fp4_free(): address 0x%llx is not from fp4_alloc",
                         (unsigned long long)address);
    } else {
        ctx->device_bytes -= ctx->blocks[i].bytes;
        ctx->blocks[i] = ctx->blocks[--ctx->n_blocks];
        status = ctx->ops->free(ctx->device, address);
    }
    pthread_mutex_unlock(&ctx->lock);
    return status;
}

static fp4_status check_copy(const char *function, const fp4_ctx *ctx, const void *host,
                             int64_t bytes) {
    if (!ctx || (bytes > 0 && !host)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): NULL argument", function);
    }
    if (bytes < 0) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): a negative size", function);
    }
    return FP4_OK;
}

fp4_status fp4_copy_to(fp4_ctx *ctx, uint64_t dst, const void *src, int64_t bytes, void *stream) {
    fp4_status status = check_copy("fp4_copy_to", ctx, src, bytes);
    if (status != FP4_OK || bytes == 0) {
        return status;
    }
    return ctx->ops->copy_to(ctx->device, dst, src, (uint64_t)bytes, stream);
}

fp4_status fp4_copy_from(fp4_ctx *ctx, void *dst, uint64_t src, int64_t bytes, void *stream) {
    fp4_status status = check_copy("fp4_copy_from", ctx, dst, bytes);
    if (status != FP4_OK || bytes == 0) {
        return status;
    }
    return ctx->ops->copy_from(ctx->device, dst, src, (uint64_t)bytes, stream);
}

fp4_status fp4_fill(fp4_ctx *ctx, uint64_t dst, uint8_t byte, int64_t bytes, void *stream) {
    fp4_status status = check_copy("fp4_fill", ctx, "", bytes);
    if (status != FP4_OK || bytes == 0) {
        return status;
    }
    return ctx->ops->fill(ctx->device, dst, byte, (uint64_t)bytes, stream);
}
