// Workspaces: device memory in which the thread blocks of a launch hand partial results to each other, one for
// each stream that was given one (module.h, Workspace). Launches on a stream come one behind the other, so they
// share it; launches on two streams never do. Nothing is allocated by a launch.
#include "kernel.h"
#include "module.h"
#include <stdio.h>

#define STREAM_PER_THREAD ((void *)2) // cuda.h, CU_STREAM_PER_THREAD

struct rt_workspace {
    rt_workspace *next;
    void *stream;
    uint64_t address;
    int64_t bytes;
};

int64_t rt_workspace_of(fp4_ctx *ctx, const void *stream, uint64_t *address) {
    pthread_mutex_lock(&ctx->lock);
    const rt_workspace *w = ctx->workspaces;
    while (w && w->stream != stream) {
        w = w->next;
    }
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

// Puts 'w' in the place of the stream's entry, unless that one has become as large; NULL: takes the entry out. What
// has no place any more, or NULL.
static rt_workspace *swap(fp4_ctx *ctx, const void *stream, rt_workspace *w) {
    pthread_mutex_lock(&ctx->lock);
    rt_workspace **at = &ctx->workspaces;
    while (*at && (*at)->stream != stream) {
        at = &(*at)->next;
    }
    rt_workspace *old = *at;
    if (w && old && old->bytes >= w->bytes) {
        old = w;
    } else {
        rt_workspace *next = old ? old->next : NULL;
        if (w) {
            w->next = next;
        }
        *at = w ? w : next;
    }
    pthread_mutex_unlock(&ctx->lock);
    return old;
}

static fp4_status discard(fp4_ctx *ctx, rt_workspace *w) {
    fp4_status status = w ? fp4_free(ctx, w->address) : FP4_OK;
    if (w) {
        rt_release(&ctx->heap, w, sizeof *w);
    }
    return status;
}

// Zeros; the first sentence stays, whatever giving it back says.
static fp4_status make(fp4_ctx *ctx, void *stream, int64_t bytes, rt_workspace **out) {
    rt_workspace *w = rt_resize(&ctx->heap, NULL, 0, sizeof *w);
    if (!w) {
        return FP4_ERROR_MEMORY;
    }
    *w = (rt_workspace){.stream = stream, .bytes = bytes};
    fp4_status status = fp4_alloc(ctx, bytes, &w->address);
    if (status == FP4_OK) {
        status = fp4_fill(ctx, w->address, 0, bytes, stream);
    }
    if (status == FP4_OK) {
        status = fp4_sync(ctx, stream); // then nothing uses the one before it either
    }
    *out = w;
    if (status != FP4_OK) {
        char sentence[800];
        snprintf(sentence, sizeof sentence, "%s", fp4_last_error());
        discard(ctx, w);
        return rt_fail(status, "%s", sentence);
    }
    return status;
}

fp4_status fp4_workspace(fp4_ctx *ctx, void *stream, int64_t bytes) {
    if (!ctx || bytes < 0) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_workspace(): %s", ctx ? "a negative size" : "NULL argument");
    }
    if (stream == STREAM_PER_THREAD) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_workspace(): CU_STREAM_PER_THREAD is another stream in each thread, and "
                                           "streams do not share a workspace: make a stream");
    }
    uint64_t address;
    int64_t have = rt_workspace_of(ctx, stream, &address);
    if (bytes > 0 && have >= bytes) {
        return FP4_OK;
    }
    fp4_status status = ctx->ops->not_captured(ctx->device, stream, "fp4_workspace()");
    rt_workspace *w = NULL;
    if (status == FP4_OK && bytes > 0) {
        status = make(ctx, stream, bytes, &w);
    } else if (status == FP4_OK && have > 0) {
        status = fp4_sync(ctx, stream);
    }
    return status == FP4_OK ? discard(ctx, swap(ctx, stream, w)) : status;
}

void rt_workspace_close(fp4_ctx *ctx) {
    while (ctx->workspaces) {
        rt_workspace *w = ctx->workspaces;
        ctx->workspaces = w->next;
        rt_release(&ctx->heap, w, sizeof *w);
    }
}
