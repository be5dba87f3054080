// What the detector reads in the text of an instruction: order, scope, kind of fence. Decoders drop
// these words because they do not change what the simulator computes.
#include "haz.h"

struct words {
    const char *text;
    size_t length;
};

// Is '.word' among the modifiers, followed by another one or the end?
static bool has(const struct words *w, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n < w->length; i++) {
        bool ends = i + 1 + n == w->length || w->text[i + 1 + n] == '.';
        if (w->text[i] == '.' && ends && memcmp(w->text + i + 1, word, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool starts(const struct words *w, const char *word) {
    size_t n = strlen(word);
    return w->length >= n && memcmp(w->text, word, n) == 0 &&
           (w->length == n || w->text[n] == '.');
}

static struct words words_of(const struct sim_kernel *k, uint32_t n) {
    const char *s = k->module->text + k->text_at[n];
    size_t length = 0;
    while (s[length] > ' ' && s[length] != ';') {
        length++;
    }
    return (struct words){s, length};
}

static uint8_t order_of(const struct words *w) {
    if (starts(w, "mbarrier")) {
        bool waits = has(w, "try_wait") || has(w, "test_wait");
        return has(w, "relaxed") ? ORDER_RELAXED : waits ? ORDER_ACQUIRE : ORDER_RELEASE;
    }
    if (starts(w, "barrier") && has(w, "cluster")) {
        return has(w, "relaxed") ? ORDER_RELAXED
               : has(w, "wait")  ? ORDER_ACQUIRE
                                 : ORDER_RELEASE;
    }
    if (has(w, "acquire")) {
        return ORDER_ACQUIRE;
    }
    if (has(w, "release")) {
        return ORDER_RELEASE;
    }
    if (has(w, "acq_rel") || has(w, "sc") || starts(w, "membar") || starts(w, "fence")) {
        return ORDER_ACQ_REL;
    }
    bool relaxed = has(w, "relaxed") || has(w, "volatile") || has(w, "mmio") ||
                   starts(w, "atom") || starts(w, "red");
    return relaxed ? ORDER_RELAXED : ORDER_WEAK;
}

static uint8_t scope_of(const struct words *w) {
    if (has(w, "gpu") || has(w, "sys") || has(w, "gl") || has(w, "volatile")) {
        return SCOPE_GPU;
    }
    if (has(w, "cluster")) {
        return SCOPE_CLUSTER;
    }
    if (has(w, "cta")) {
        return SCOPE_CTA;
    }
    // Atomics without a scope have .gpu, mbarrier operations .cta.
    return starts(w, "atom") || starts(w, "red") ? SCOPE_GPU : SCOPE_CTA;
}

static uint8_t fence_of(const struct words *w) {
    if (starts(w, "fence") || starts(w, "membar")) {
        if (has(w, "proxy")) {
            bool map = has(w, "tensormap::generic");
            bool async = has(w, "async") || has(w, "async::generic");
            return map && has(w, "acquire") ? FENCE_MAP_ACQUIRE
                   : !async                 ? FENCE_NONE
                   : has(w, "global")       ? FENCE_ASYNC_GLOBAL
                   : has(w, "shared::cta") || has(w, "shared::cluster") ? FENCE_ASYNC_SHARED
                                                                        : FENCE_ASYNC;
        }
        return has(w, "mbarrier_init") ? FENCE_MBAR_INIT : FENCE_MEMORY;
    }
    if (starts(w, "wgmma") && has(w, "fence")) {
        return FENCE_WGMMA;
    }
    if (starts(w, "griddepcontrol") && has(w, "wait")) {
        return FENCE_PDL_WAIT;
    }
    return has(w, "fence::before_thread_sync")  ? FENCE_BEFORE
           : has(w, "fence::after_thread_sync") ? FENCE_AFTER
                                                : FENCE_NONE;
}

void haz_read_ins(const struct sim_kernel *k, uint32_t n, struct haz_ins *out) {
    struct words w = words_of(k, n);
    uop_fn *under = k->under == NULL ? NULL : k->under[n];
    *out = (struct haz_ins){.fn = under != NULL ? under : k->code[n].fn,
                            .order = order_of(&w),
                            .scope = scope_of(&w),
                            .fence = fence_of(&w),
                            .read = has(&w, "read"),
                            .nc = has(&w, "nc"),
                            .says_cta = has(&w, "cta"),
                            .store = has(&w, "wait::st")};
    out->strong = out->order != ORDER_WEAK;
}
