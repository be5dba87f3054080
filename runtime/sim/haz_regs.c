// Registers that are read before anything has written them. Where every path to an instruction
// writes what it reads there is nothing to watch; the registers that are left (mostly those that a
// guarded instruction writes) have a mask of written lanes for each warp, and the instructions that
// touch them go through haz_registers.
#include "haz.h"
#include <stdlib.h>

struct flow {
    const struct sim_kernel *k;
    uint32_t n_blocks, words;
    uint32_t *block; // of each micro-operation
    uint32_t *first; // micro-operation of each block, and the end
    uint64_t *in;    // [block][words] registers that every path has written
    uint32_t *use;   // of each micro-operation, the first; and the end
};

static uint32_t number_of(const struct sim_kernel *k, const struct kernel_use *u) {
    return u->pred ? k->n_rows + u->row : u->row;
}

static bool has(const uint64_t *set, uint32_t n) {
    return (set[n / 64] >> n % 64 & 1) != 0;
}

static void put(uint64_t *set, uint32_t n) {
    set[n / 64] |= 1ull << n % 64;
}

static void mark_leaders(const struct flow *f) {
    const struct sim_kernel *k = f->k;
    f->block[0] = 1;
    for (uint32_t n = 0; n < k->n_code; n++) {
        const struct uop *u = &k->code[n];
        if (u->fn == run_bra) {
            f->block[u->imm] = 1;
        }
        for (uint32_t i = 0; u->fn == run_brx && i < u->b; i++) {
            f->block[((const uint32_t *)u->aux)[i]] = 1;
        }
        if (u->fn == run_bra || u->fn == run_brx || u->fn == run_exit) {
            f->block[n + 1] = 1;
        }
    }
}

static bool make_blocks(struct flow *f) {
    uint32_t n_code = f->k->n_code;
    f->block = calloc(n_code + 1, sizeof *f->block);
    f->first = calloc(n_code + 2, sizeof *f->first);
    if (f->block == NULL || f->first == NULL) {
        return false;
    }
    mark_leaders(f);
    for (uint32_t n = 0; n < n_code; n++) {
        if (f->block[n] != 0) {
            f->first[f->n_blocks++] = n;
        }
        f->block[n] = f->n_blocks - 1;
    }
    f->first[f->n_blocks] = n_code;
    f->words = (f->k->n_rows + f->k->n_preds + 63) / 64;
    f->in = malloc((size_t)f->n_blocks * f->words * sizeof *f->in);
    f->use = calloc(n_code + 2, sizeof *f->use);
    if (f->in == NULL || f->use == NULL) {
        return false;
    }
    memset(f->in, 0xFF, (size_t)f->n_blocks * f->words * sizeof *f->in);
    memset(f->in, 0, f->words * sizeof *f->in);
    for (uint32_t n = 0, i = 0; n <= n_code; n++) { // uses stand in the order of the code
        while (i < f->k->n_uses && f->k->uses[i].uop < n) {
            i++;
        }
        f->use[n] = i;
    }
    f->use[n_code + 1] = f->k->n_uses;
    return true;
}

// What the micro-operation certainly writes joins 'set'.
static void write_set(const struct flow *f, uint32_t n, uint64_t *set) {
    for (uint32_t i = f->use[n]; i < f->use[n + 1]; i++) {
        if (f->k->uses[i].write && f->k->code[n].guard == 0) {
            put(set, number_of(f->k, &f->k->uses[i]));
        }
    }
}

static bool narrow(const struct flow *f, uint32_t uop, const uint64_t *out) {
    if (uop >= f->k->n_code) {
        return false;
    }
    uint64_t *in = f->in + (size_t)f->block[uop] * f->words;
    bool changed = false;
    for (uint32_t i = 0; i < f->words; i++) {
        changed |= (in[i] & ~out[i]) != 0;
        in[i] &= out[i];
    }
    return changed;
}

static bool flow_block(const struct flow *f, uint32_t b, uint64_t *out) {
    memcpy(out, f->in + (size_t)b * f->words, f->words * sizeof *out);
    for (uint32_t n = f->first[b]; n < f->first[b + 1]; n++) {
        write_set(f, n, out);
    }
    uint32_t last = f->first[b + 1] - 1;
    const struct uop *u = &f->k->code[last];
    bool changed = false;
    bool leaves = u->guard == 0 && (u->fn == run_bra || u->fn == run_brx || u->fn == run_exit);
    if (u->fn == run_bra) {
        changed |= narrow(f, (uint32_t)u->imm, out);
    }
    for (uint32_t i = 0; u->fn == run_brx && i < u->b; i++) {
        changed |= narrow(f, ((const uint32_t *)u->aux)[i], out);
    }
    return (!leaves && narrow(f, last + 1, out)) || changed;
}

// Numbers the registers that some path leaves unwritten in 'id', from 1 on.
static void find_watched(const struct flow *f, uint64_t *set, uint32_t *id, struct haz *h) {
    for (uint32_t b = 0; b < f->n_blocks; b++) {
        memcpy(set, f->in + (size_t)b * f->words, f->words * sizeof *set);
        for (uint32_t n = f->first[b]; n < f->first[b + 1]; n++) {
            for (uint32_t i = f->use[n]; i < f->use[n + 1]; i++) {
                uint32_t r = number_of(f->k, &f->k->uses[i]);
                if (!f->k->uses[i].write && !has(set, r) && id[r] == 0) {
                    id[r] = ++h->n_watched;
                }
            }
            write_set(f, n, set);
        }
    }
}

// The uses of watched registers become lists of the instructions; the instructions are wrapped.
static bool watch(const struct flow *f, const uint32_t *id, struct haz *h) {
    h->watch = calloc(f->k->n_uses + 1, sizeof *h->watch);
    if (h->watch == NULL) {
        return false;
    }
    uint32_t count = 0;
    for (uint32_t n = 0; n < f->k->n_code; n++) {
        h->ins[n].watch = count;
        for (uint32_t i = f->use[n]; i < f->use[n + 1]; i++) {
            const struct kernel_use *u = &f->k->uses[i];
            uint32_t r = id[number_of(f->k, u)];
            if (r != 0) {
                h->watch[count++] = (struct haz_watch){r - 1, u->write, u->guard};
            }
        }
        h->ins[n].n_watch = count - h->ins[n].watch;
        if (h->ins[n].n_watch > 0) {
            h->kernel.code[n].fn = haz_registers;
        }
    }
    return true;
}

bool haz_regs_begin(struct haz *h) {
    struct flow f = {.k = h->x->k};
    bool ok = f.k->n_code == 0 || make_blocks(&f);
    uint64_t *set = ok ? calloc(f.words + 1, sizeof *set) : NULL;
    uint32_t *id = ok ? calloc((size_t)f.words * 64 + 1, sizeof *id) : NULL;
    ok = set != NULL && id != NULL;
    for (bool again = ok; again;) {
        again = false;
        for (uint32_t b = 0; b < f.n_blocks; b++) {
            again |= flow_block(&f, b, set);
        }
    }
    if (ok) {
        find_watched(&f, set, id, h);
        ok = h->n_watched == 0 || watch(&f, id, h);
    }
    free(set);
    free(id);
    free(f.block);
    free(f.first);
    free(f.in);
    free(f.use);
    return ok;
}

const struct uop *haz_registers(struct warp *w, const struct uop *u) {
    struct haz *h = w->x->haz;
    const struct haz_ins *i = haz_ins_of(w, u);
    struct haz_cluster *cl = w->cta->cluster->haz;
    u32 *written = cl->thread[w->cta->rank * w->cta->n_warps + w->index].written;
    uint32_t m = exec_mask(w, u);
    for (uint32_t n = i->watch; n < i->watch + i->n_watch; n++) {
        const struct haz_watch *x = &h->watch[n];
        uint32_t unset = (x->guard ? w->active : m) & ~written[x->id];
        if (!x->write && unset != 0) {
            haz_report(h, HAZ_UNINIT_REGISTER, (uint32_t)(u - w->code), UINT32_MAX,
                       "lanes 0x%08x of warp %u", unset, w->index);
        }
    }
    for (uint32_t n = i->watch; n < i->watch + i->n_watch; n++) {
        written[h->watch[n].id] |= h->watch[n].write ? m : 0;
    }
    return i->with(w, u);
}
