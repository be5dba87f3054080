// Findings: one for each pair of instructions and kind, with both places, the address and the
// reason, kept on the simulator until the next launch.
#include "haz.h"
#include <stdio.h>
#include <stdlib.h>

#define MOST_FINDINGS 256

static const struct {
    const char *name, *text;
    sim_severity severity;
} kinds[HAZ_COUNT] = {
#define HAZARD(ID, name, severity, text) {name, text, SIM_SEVERITY_##severity},
#include "haz_kinds.def"
#undef HAZARD
};

void haz_free_findings(struct sim *s) {
    free(s->finding);
    s->finding = NULL;
    s->n_findings = s->finding_capacity = 0;
}

// The finding of this kind at these places; NULL when it is new and there is no more room.
static sim_finding *find(struct haz *h, enum haz_kind kind, uint32_t line, uint32_t other) {
    struct sim *s = h->sim;
    for (size_t i = 0; i < s->n_findings; i++) {
        sim_finding *f = &s->finding[i];
        if (f->kind == kinds[kind].name && f->line[0] == line && f->line[1] == other) {
            return f;
        }
    }
    if (s->n_findings == MOST_FINDINGS) {
        return NULL;
    }
    if (s->n_findings == s->finding_capacity) {
        size_t more = s->finding_capacity == 0 ? 16 : s->finding_capacity * 2;
        sim_finding *list = realloc(s->finding, more * sizeof *list);
        if (list == NULL) {
            h->failed = true;
            return NULL;
        }
        s->finding = list;
        s->finding_capacity = more;
    }
    sim_finding *f = &s->finding[s->n_findings++];
    *f = (sim_finding){.kind = kinds[kind].name,
                       .severity = kinds[kind].severity,
                       .line = {line, other}};
    return f;
}

sim_severity sim_hazards_least(sim_hazards profile) {
    static const sim_severity least[] = {SIM_SEVERITY_ERROR, SIM_SEVERITY_ERROR,
                                         SIM_SEVERITY_STRICT, SIM_SEVERITY_MANUAL};
    return least[profile];
}

static bool wanted(const struct haz *h, enum haz_kind kind) {
    sim_severity s = kinds[kind].severity;
    return s == SIM_SEVERITY_INFO || s >= sim_hazards_least(h->profile);
}

static size_t add(sim_finding *f, size_t n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static size_t add(sim_finding *f, size_t n, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int more = n < sizeof f->text ? vsnprintf(f->text + n, sizeof f->text - n, format, ap) : 0;
    va_end(ap);
    return n + (more > 0 ? (size_t)more : 0);
}

static uint32_t line_of(const struct haz *h, uint32_t uop) {
    return h->kernel.code[uop].line;
}

static size_t add_instruction(struct haz *h, sim_finding *f, size_t n, uint32_t uop) {
    const char *t = h->kernel.module->text + h->kernel.text_at[uop];
    int length = 0;
    while (length < 90 && t[length] != ';' && t[length] != '\n' && t[length] != '\0') {
        length++;
    }
    n = add(f, n, "ptx:%u", line_of(h, uop));
    if (h->kernel.source[uop] != 0) {
        n = add(f, n, " (source line %u)", h->kernel.source[uop]);
    }
    return add(f, n, " '%.*s'", length, t);
}

// 'other': a second instruction, UINT32_MAX when there is none.
void haz_report(struct haz *h, enum haz_kind kind, uint32_t uop, uint32_t other,
                const char *format, ...) {
    if (!wanted(h, kind)) {
        return;
    }
    bool two = other != UINT32_MAX;
    sim_finding *f = find(h, kind, line_of(h, uop), two ? line_of(h, other) : 0);
    if (f == NULL || f->count++ > 0) {
        return;
    }
    f->source[0] = h->kernel.source[uop];
    f->source[1] = two ? h->kernel.source[other] : 0;
    f->space = "";
    size_t n = add(f, 0, "%s: %s; ", kinds[kind].name, kinds[kind].text);
    n = add_instruction(h, f, n, uop);
    if (two) {
        n = add(f, n, " against ");
        n = add_instruction(h, f, n, other);
    }
    n = add(f, n, ": ");
    va_list ap;
    va_start(ap, format);
    if (n < sizeof f->text) {
        vsnprintf(f->text + n, sizeof f->text - n, format, ap);
    }
    va_end(ap);
}

static const char *what(const struct haz_rec *r) {
    bool w = (r->flags & REC_WRITE) != 0;
    return (r->flags & (REC_ASYNC | REC_CP)) == 0 && r->pipe == PIPE_NONE
               ? (w ? "writes" : "reads")
               : (w ? "writes asynchronously" : "reads asynchronously");
}

void haz_report_conflict(enum haz_kind kind, const struct haz_conflict *c) {
    struct haz *h = c->y->h;
    if (!wanted(h, kind)) {
        return;
    }
    const struct haz_rec *y = &h->rec[c->y->rec];
    const struct haz_rec *x = c->x == 0 ? NULL : &h->rec[c->x];
    sim_finding *f = find(h, kind, line_of(h, y->uop), x == NULL ? 0 : line_of(h, x->uop));
    if (f == NULL || f->count++ > 0) {
        return;
    }
    const struct haz_thread *t = c->y->t;
    const uint32_t *id = t->warp->cta->ctaid;
    f->source[0] = h->kernel.source[y->uop];
    f->source[1] = x == NULL ? 0 : h->kernel.source[x->uop];
    f->address = c->address;
    f->space = c->y->space;
    size_t n = add(f, 0, "%s: %s; ", kinds[kind].name, kinds[kind].text);
    n = add_instruction(h, f, n, y->uop);
    n = add(f, n, " of CTA %u,%u,%u warp %u %s %s 0x%llx", id[0], id[1], id[2], t->warp->index,
            what(y), c->y->space, (unsigned long long)c->address);
    if (x != NULL) {
        n = add(f, n, ", which ");
        n = add_instruction(h, f, n, x->uop);
        uint32_t warps = t->warp->cta->n_warps;
        n = add(f, n, " of %s warp %u of CTA %u of its cluster %s",
                x->uid == t->cluster->uid ? "this cluster's" : "another cluster's",
                x->warp % warps, x->warp / warps, what(x));
        add(f, n, "%s", x->comp == UNRESOLVED ? " and has not signalled its mbarrier" : "");
    }
}

// ---- interface ----------------------------------------------------------------------------------
size_t sim_finding_count(const sim *s, sim_severity least) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_findings; i++) {
        n += s->finding[i].severity >= least;
    }
    return n;
}

const sim_finding *sim_finding_at(const sim *s, size_t index) {
    return index < s->n_findings ? &s->finding[index] : NULL;
}

// ---- deadlocks ----------------------------------------------------------------------------------
// Who has arrived on a barrier that others wait for, and where these warps are now.
void haz_explain(const struct cta *c, const struct mbar *b, char *out, size_t bytes) {
    struct haz_cluster *cl = c->cluster->haz;
    uint32_t index = (uint32_t)(b - c->mbar);
    out[0] = '\0';
    if (cl == NULL || index >= cl->cta[c->rank].n_bars) {
        return;
    }
    const struct haz_bar *hb = cl->cta[c->rank].bar[index];
    size_t n = 0;
    bool any = false;
    for (uint32_t i = 0; i < cl->n_threads && i < 512 && n < bytes; i++) {
        if ((hb->arrivers[i / 64] >> i % 64 & 1) == 0) {
            continue;
        }
        const struct warp *w = cl->thread[i].warp;
        any = true;
        n += (size_t)snprintf(out + n, bytes - n, "; warp %u of CTA %u arrived on it and ",
                              w->index, w->cta->rank);
        if (w->alive == 0) {
            n += n < bytes ? (size_t)snprintf(out + n, bytes - n, "has exited") : 0;
        } else {
            n += n < bytes ? (size_t)snprintf(out + n, bytes - n, "now stands at ptx:%u",
                                              w->code[w->split[0].pc].line)
                           : 0;
        }
    }
    if (!any) {
        snprintf(out, bytes, "; nobody has ever arrived on it");
    }
}
