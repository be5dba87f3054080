// Sentences about what went wrong: faults at an instruction, deadlocks, too many steps.
#include "exec.h"
#include "haz.h"
#include <stdio.h>

const char *sim_order_text(int bit) {
    static const char *const text[SIM_ORDER_KINDS] = {
        "atomic operations that return the old value",
        "floating-point sums in memory",
        "requests of cluster launch control",
        "clocks",
        "the number of its SM",
        "polls of mbarriers that were not complete",
        "synchronising loads of global memory",
        "active lanes of a warp",
    };
    for (int n = 0; n < SIM_ORDER_KINDS; n++) {
        if (bit == 1 << n) {
            return text[n];
        }
    }
    return "";
}

int sim_set_error(struct sim *s, int status, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(s->error, sizeof s->error, format, ap);
    va_end(ap);
    return status;
}

// The text of a line of the module, blanks cut, at most 'most' characters.
static void line_text(const struct sim_module *m, uint32_t line, char *out, size_t most) {
    const char *s = m->text;
    const char *end = m->text + m->length;
    for (uint32_t n = 1; n < line && s < end; s++) {
        n += *s == '\n';
    }
    while (s < end && (*s == ' ' || *s == '\t')) {
        s++;
    }
    size_t n = 0;
    for (; s < end && *s != '\n' && *s != '\r' && n + 1 < most; s++) {
        out[n++] = *s == '\t' ? ' ' : *s;
    }
    out[n] = '\0';
}

static void append(struct exec *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(struct exec *x, const char *format, ...) {
    size_t n = strlen(x->message);
    va_list ap;
    va_start(ap, format);
    vsnprintf(x->message + n, sizeof x->message - n, format, ap);
    va_end(ap);
}

static bool begin(struct exec *x, int status) {
    if (x->failed) {
        return false;
    }
    x->failed = true;
    x->status = status;
    x->message[0] = '\0';
    return true;
}

static void append_place(struct exec *x, const struct uop *u) {
    char text[160];
    uint32_t index = (uint32_t)(u - x->k->code);
    line_text(x->k->module, u->line, text, sizeof text);
    append(x, "\n  %s", text);
    if (x->k->source[index] != 0) {
        append(x, "\n  source line %u", x->k->source[index]);
    }
}

const struct uop *sim_fault(struct warp *w, const struct uop *u, const char *format, ...) {
    struct exec *x = w->x;
    if (!begin(x, SIM_ERROR_FAULT)) {
        return STOP;
    }
    append(x, "ptx:%u: ", u->line);
    size_t n = strlen(x->message);
    va_list ap;
    va_start(ap, format);
    vsnprintf(x->message + n, sizeof x->message - n, format, ap);
    va_end(ap);
    append(x, " (kernel %.100s, CTA %u,%u,%u, warp %u, lanes 0x%08x)", x->k->name, w->cta->ctaid[0],
           w->cta->ctaid[1], w->cta->ctaid[2], w->index, w->active);
    append_place(x, u);
    return STOP;
}

void sim_fault_op(const struct async_op *op, const char *format, ...) {
    struct exec *x = op->cta->x;
    if (!begin(x, SIM_ERROR_FAULT)) {
        return;
    }
    append(x, "ptx:%u: ", op->u->line);
    size_t n = strlen(x->message);
    va_list ap;
    va_start(ap, format);
    vsnprintf(x->message + n, sizeof x->message - n, format, ap);
    va_end(ap);
    append(x, " (kernel %.100s, CTA %u,%u,%u, warp %u)", x->k->name, op->cta->ctaid[0],
           op->cta->ctaid[1], op->cta->ctaid[2], op->warp->index);
    append_place(x, op->u);
}

static void describe_mbar(struct exec *x, const struct cta *c, const struct split *s) {
    const struct mbar *b = mbar_find(c, s->what);
    if (b == NULL) {
        append(x, "waits on an mbarrier at 0x%x that is gone", s->what);
        return;
    }
    append(x,
           "waits on mbarrier 0x%x (init line %u) for parity %u; phase %llu is running, %u of %u "
           "arrivals "
           "and %d bytes are missing",
           s->what, b->line, s->value, (unsigned long long)b->phase, b->pending, b->expected,
           b->tx);
    if (x->haz != NULL) {
        char who[400];
        haz_explain(c, b, who, sizeof who);
        append(x, "%s", who);
    }
}

static void describe(struct exec *x, const struct warp *w, const struct split *s) {
    const struct cta *c = w->cta;
    switch (s->state) {
    case SPLIT_MBAR:
        describe_mbar(x, c, s);
        break;
    case SPLIT_BAR:
        append(x, "waits at barrier %u: %u threads have arrived, %u are expected", s->what,
               c->bar[s->what].arrived, s->value != 0 ? s->value : c->warps_alive * LANES);
        break;
    case SPLIT_CLUSTER:
        append(x, "waits at the cluster barrier: %u threads have arrived", c->cluster->arrived);
        break;
    case SPLIT_CONVERGE:
        append(x, "waits for lanes 0x%08x of its warp to reach the same instruction",
               s->value & ~s->mask);
        break;
    case SPLIT_TMEM_ALLOC:
        append(x, "waits for %u columns of tensor memory on SM %u", s->value, c->sm->id);
        break;
    case SPLIT_REGS:
        append(x, "setmaxnreg.inc waits for %u registers a thread, %u are free", s->value,
               c->free_regs);
        break;
    case SPLIT_WGMMA:
        append(x, "waits for wgmma groups: not all four warps of its warpgroup have issued them");
        break;
    default:
        append(x, "waits for its copies");
        break;
    }
}

void report_deadlock(struct exec *x) {
    if (!begin(x, SIM_ERROR_DEADLOCK)) {
        return;
    }
    append(x, "deadlock in kernel %.100s: every warp waits and no asynchronous operation is left",
           x->k->name);
    uint32_t shown = 0;
    uint32_t more = 0;
    for (struct cluster *cl = x->live; cl != NULL; cl = cl->next) {
        for (uint32_t r = 0; r < cl->size; r++) {
            for (uint32_t n = 0; n < cl->cta[r].n_warps; n++) {
                const struct warp *w = &cl->cta[r].warp[n];
                for (int s = 0; s < w->n_splits; s++) {
                    if (shown == 8) {
                        more++;
                        continue;
                    }
                    shown++;
                    const struct split *p = &w->split[s];
                    uint32_t at = p->state == SPLIT_BAR ? p->pc - 1 : p->pc;
                    append(x, "\n  ptx:%u: CTA %u,%u,%u warp %u lanes 0x%08x ", w->code[at].line,
                           w->cta->ctaid[0], w->cta->ctaid[1], w->cta->ctaid[2], n, p->mask);
                    describe(x, w, p);
                }
            }
        }
    }
    if (more > 0) {
        append(x, "\n  and %u more", more);
    }
}

void report_steps(struct exec *x) {
    if (begin(x, SIM_ERROR_STEPS)) {
        append(x, "kernel %.100s has executed %llu warp instructions, the launch allows %llu",
               x->k->name, (unsigned long long)x->steps, (unsigned long long)x->max_steps);
    }
}
