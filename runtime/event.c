// Events: marks of the device, owned by their context.
#include "rt.h"

struct fp4_event {
    fp4_ctx *ctx;
    fp4_event *next; // in the context's list, under its lock
    rt_mark *mark;
    bool recorded;
};

static fp4_status check_event(const char *function, const void *event) {
    return event ? FP4_OK : rt_fail(FP4_ERROR_ARGUMENT, "%s(): NULL argument", function);
}

fp4_status fp4_event_new(fp4_ctx *ctx, fp4_event **out) {
    if (!ctx || !out) {
        return check_event("fp4_event_new", NULL);
    }
    *out = NULL;
    fp4_event *event = rt_resize(&ctx->heap, NULL, 0, sizeof *event);
    if (!event) {
        return FP4_ERROR_MEMORY;
    }
    *event = (fp4_event){.ctx = ctx};
    fp4_status status = ctx->ops->mark_new(ctx->device, &event->mark);
    if (status != FP4_OK) {
        rt_release(&ctx->heap, event, sizeof *event);
        return status;
    }
    pthread_mutex_lock(&ctx->lock);
    event->next = ctx->events;
    ctx->events = event;
    pthread_mutex_unlock(&ctx->lock);
    *out = event;
    return FP4_OK;
}

void fp4_event_free(fp4_event *event) {
    if (!event) {
        return;
    }
    fp4_ctx *ctx = event->ctx;
    pthread_mutex_lock(&ctx->lock);
    fp4_event **link = &ctx->events;
    while (*link != event) {
        link = &(*link)->next;
    }
    *link = event->next;
    pthread_mutex_unlock(&ctx->lock);
    ctx->ops->mark_free(ctx->device, event->mark);
    rt_release(&ctx->heap, event, sizeof *event);
}

fp4_status fp4_event_record(fp4_event *event, void *stream) {
    fp4_status status = check_event("fp4_event_record", event);
    if (status == FP4_OK) {
        status = event->ctx->ops->mark_record(event->ctx->device, event->mark, stream);
    }
    if (status == FP4_OK) {
        event->recorded = true;
    }
    return status;
}

fp4_status fp4_event_wait(fp4_event *event) {
    fp4_status status = check_event("fp4_event_wait", event);
    return status == FP4_OK ? event->ctx->ops->mark_wait(event->ctx->device, event->mark) : status;
}

fp4_status fp4_event_elapsed(const fp4_event *from, const fp4_event *to, double *us) {
    if (!from || !to || !us) {
        return check_event("fp4_event_elapsed", NULL);
    }
    if (from->ctx != to->ctx) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_event_elapsed(): events of two contexts");
    }
    if (!from->recorded || !to->recorded) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_event_elapsed(): the event '%s' was never recorded",
                       from->recorded ? "to" : "from");
    }
    return from->ctx->ops->mark_elapsed(from->ctx->device, from->mark, to->mark, us);
}
