// Workspaces: device memory in which the thread blocks of a launch hand partial results to each other, one for
// each stream that was given one (module.h, Workspace). Launches on a stream come one behind the other, so they
// share it; launches on two streams never do. Nothing is allocated by a launch.
#include "kernel.h"
#include "module.h"

struct rt_workspace {
    rt_workspace *next;
    void *stream;
    uint64_t address;
    int64_t bytes;
};

// The stream's entry, or NULL; under the lock.
static rt_workspace *find(const fp4_ctx *ctx, const void *stream) {
    rt_workspace *w = ctx->workspaces;
    while (w && w->stream != stream) {
        w = w->next;
    }
    return w;
}

int64_t rt_workspace_of(fp4_ctx *ctx, const void *stream, uint64_t *address) {
    pthread_mutex_lock(&ctx->lock);
    const rt_workspace *w = find(ctx, stream);
    *address = w ? w->address : 0;
    int64_t bytes = w ? w->bytes : 0;
    pthread_mutex_unlock(&ctx->lock);
    return bytes;
}

int64_t rt_workspace_need(const fp4_kernel *k) {
    int64_t cluster = k->cluster[0];
    int64_t blocks = k->module->ctx->properties.n_sms / cluster * cluster;
    blocks = blocks > cluster ? blocks : cluster;
    return k->workspace ? (int64_t)FP4_MODULE_FLAG_BYTES + blocks * k->workspace : 0;
}

int64_t fp4_module_workspace(const fp4_module *module) {
    int64_t most = 0;
    for (int i = 0; module && i < module->n_kernels; i++) {
        int64_t need = rt_workspace_need(&module->kernels[i]);
        most = need > most ? need : most;
    }
    return most;
}

static void put(fp4_ctx *ctx, rt_workspace *w) {
    pthread_mutex_lock(&ctx->lock);
    w->next = ctx->workspaces;
    ctx->workspaces = w;
    pthread_mutex_unlock(&ctx->lock);
}

static rt_workspace *take(fp4_ctx *ctx, const void *stream) {
    pthread_mutex_lock(&ctx->lock);
    rt_workspace *w = find(ctx, stream);
    for (rt_workspace **at = &ctx->workspaces; w && *at; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    pthread_mutex_unlock(&ctx->lock);
    return w;
}

// The stream's work that uses it is over.
static fp4_status drop(fp4_ctx *ctx, void *stream) {
    rt_workspace *w = take(ctx, stream);
    if (!w) {
        return FP4_OK;
    }
    fp4_status status = fp4_sync(ctx, stream);
    if (status == FP4_OK) {
        status = fp4_free(ctx, w->address);
    }
    rt_release(&ctx->heap, w, sizeof *w);
    return status;
}

fp4_status fp4_workspace(fp4_ctx *ctx, void *stream, int64_t bytes) {
    if (!ctx || bytes < 0) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_workspace(): %s", ctx ? "a negative size" : "NULL argument");
    }
    uint64_t address;
    if (bytes > 0 && rt_workspace_of(ctx, stream, &address) >= bytes) {
        return FP4_OK;
    }
    fp4_status status = ctx->ops->not_captured(ctx->device, stream, "fp4_workspace()");
    if (status == FP4_OK) {
        status = drop(ctx, stream);
    }
    if (status != FP4_OK || bytes == 0) {
        return status;
    }
    rt_workspace *w = rt_resize(&ctx->heap, NULL, 0, sizeof *w);
    if (!w) {
        return FP4_ERROR_MEMORY;
    }
    *w = (rt_workspace){.stream = stream, .bytes = bytes};
    status = fp4_alloc(ctx, bytes, &w->address);
    if (status == FP4_OK) {
        status = fp4_fill(ctx, w->address, 0, bytes, stream);
    }
    if (status != FP4_OK) {
        rt_release(&ctx->heap, w, sizeof *w);
        return status;
    }
    put(ctx, w);
    return FP4_OK;
}

void rt_workspace_close(fp4_ctx *ctx) {
    while (ctx->workspaces) {
        rt_workspace *w = ctx->workspaces;
        ctx->workspaces = w->next;
        rt_release(&ctx->heap, w, sizeof *w);
    }
}
