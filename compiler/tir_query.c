// What planning, verification and code generation ask of a role program alike: answers that follow
// from its fields alone.
#include "arch.h"
#include "tir.h"

bool tir_combines(const tir_kernel *k, int role, int acc) {
    const tir_acc *a = &k->accs[acc];
    return (a->channel < 0 ? a->role : k->channels[a->channel].to) == role;
}

bool tir_sends(const tir_kernel *k) {
    int64_t bytes = 0;
    for (int i = 0; i < k->n_accs; i++) {
        const tir_acc *a = &k->accs[i];
        if (a->channel >= 0) {
            return false;
        }
        bytes += (int64_t)a->rows * a->cols * (int)sizeof(float);
    }
    return tir_split(k) > 1 && (tir_split(k) - 1) * bytes <= TIR_SENT_BYTES;
}

int tir_sum_offset(const tir_kernel *k, int role, int acc) {
    int bytes = 0;
    for (int i = 0; i < acc; i++) {
        const tir_acc *a = &k->accs[i];
        bytes += tir_combines(k, role, i) ? a->rows * a->cols * (int)sizeof(float) : 0;
    }
    return bytes;
}

int tir_sum_bytes(const tir_kernel *k, int role) {
    return tir_sum_offset(k, role, k->n_accs);
}

int tir_record_words(const tir_kernel *k) {
    int words = 1;
    for (int i = 0; i < k->n_loops; i++) {
        words += k->loops[i].hi != NULL ? 3 : 1;
    }
    for (int i = 0; i < k->n_fors; i++) {
        words += k->fors[i].hi != NULL ? 2 : 0;
    }
    return (words + 3) / 4 * 4;
}

bool tir_is_read_in_part(const tir_kernel *k, int channel) {
    for (int i = 0; i < k->n_mmas; i++) {
        if (k->mmas[i].fit > 0 && k->operands[k->mmas[i].b].channel == channel) {
            return true;
        }
    }
    return false;
}

bool tir_meets(const tir_kernel *k, const tir_role *r) {
    bool stores = false;
    for (int i = 0; i < k->n_accs; i++) {
        stores |= tir_combines(k, (int)(r - k->roles), i);
    }
    return tir_sums(k, r) > 0 || (k->walk.stream >= 0 && stores);
}

int tir_left_offset(const tir_kernel *k, int role) {
    int bytes = 0;
    for (int i = 0; i < role; i++) {
        bytes += tir_sum_bytes(k, i);
    }
    return bytes;
}

int tir_left_bytes(const tir_kernel *k) {
    return tir_left_offset(k, k->n_roles);
}

int tir_sum_registers(const tir_kernel *k, int role) {
    const tir_role *r = &k->roles[role];
    int n = 0;
    for (int i = 0; i < k->n_accs && r->frag == FRAG_MMA; i++) {
        const tir_acc *a = &k->accs[i];
        n += a->channel < 0 && a->role == role ? a->rows * a->cols / (r->warps_m * r->warps_n * ARCH_LANES) : 0;
    }
    return n;
}

bool tir_is_promoted(const tir_kernel *k, int acc) {
    for (int i = 0; i < k->n_mmas; i++) {
        if (k->mmas[i].acc == acc && k->mmas[i].promote > 0) {
            return true;
        }
    }
    return false;
}

int tir_scale_words(int k_elems, int granule) {
    int span = granule * TIR_ATOM_COLS;
    if (k_elems % granule != 0 || (k_elems % span != 0 && span % k_elems != 0)) {
        return 0;
    }
    return k_elems < span ? 1 : k_elems / span;
}

// Where more copies than this would be a step's, lanes bring scales in fewer instructions.
enum { MOST_RUNS = 8 };

static void find_runs(const tir_param *p, tir_factor *f) {
    int step = TIR_RUN_STEP;
    f->mn_major = p->layout != NULL && layout_find(p->layout) == LAYOUT_MN_MAJOR;
    f->aligned = f->mn_major && f->start % (step * f->share) == 0;
    f->runs = f->mn_major ? f->granules : f->count;
    int wanted = (f->mn_major ? f->count : f->granules) + (f->aligned ? 0 : step - 1);
    int run = (wanted + step - 1) / step * step;
    f->run = f->runs <= MOST_RUNS && run <= TIR_MAX_BOX ? run : 0;
}

tir_factor tir_factors(const tir_kernel *k, int operand) {
    tir_factor f = {.mma = -1};
    for (int i = 0; i < k->n_mmas && f.mma < 0; i++) {
        const tir_mma *m = &k->mmas[i];
        if (m->promote == 0 || (m->a != operand && m->b != operand)) {
            continue;
        }
        const tir_acc *a = &k->accs[m->acc];
        bool rows = m->a == operand;
        f = (tir_factor){.mma = i,
                         .loop = rows ? a->row_loop : a->col_loop,
                         .rank_step = rows ? a->row_rank_step : a->col_rank_step,
                         .rows = rows ? a->rows : a->cols,
                         .share = k->params[k->operands[operand].param].granule_rows,
                         .granules = m->k_elems / m->promote};
        f.start = tir_gcd(k->loops[f.loop].lo != NULL ? 1 : k->loops[f.loop].tile, f.rank_step);
        f.step = tir_gcd(f.start, f.share);
        f.count = (f.rows + 2 * f.share - f.step - 1) / f.share;
        find_runs(&k->params[k->operands[operand].param], &f);
    }
    return f;
}

static int padded(int bytes) {
    return (bytes + TIR_FACTOR_ALIGN - 1) / TIR_FACTOR_ALIGN * TIR_FACTOR_ALIGN;
}

int tir_run_pitch(const tir_factor *f) {
    return padded(f->run * TIR_SCALE_BYTES);
}

int tir_factor_bytes(const tir_factor *f) {
    int each = f->granules * f->count * TIR_SCALE_BYTES;
    return f->run > 0 ? f->runs * tir_run_pitch(f) : padded(each);
}

bool tir_lanes_bring(const tir_kernel *k, int channel) {
    for (int i = 0; i < k->n_operands; i++) {
        bool here = k->operands[i].channel == channel && k->operands[i].factors >= 0;
        if (here && k->operands[i].factor_map < 0) {
            return true;
        }
    }
    return false;
}

bool tir_brings_factors(const tir_kernel *k, int role) {
    for (int c = 0; c < k->n_channels; c++) {
        if (k->channels[c].from == role && k->channels[c].factor_bytes > 0) {
            return true;
        }
    }
    return false;
}

bool tir_store_walks(const tir_kernel *k, const tir_store *s, int loop) {
    for (int i = 0; i < s->n_axes; i++) {
        const tir_axis *a = &s->axes[i];
        if (a->loop == loop && !(a->mul == 1 && a->add == 0 && a->floor == 0 && a->piece == 0 &&
                                 a->div == k->loops[loop].tile && a->div > 1)) {
            return true;
        }
    }
    return false;
}

bool tir_varies(const tir_expr *e, int loop) {
    if (e->kind == TX_REDUCE && e->ref == loop) {
        return false;
    }
    bool found = e->kind == TX_INDEX && e->ref == loop;
    for (int i = 0; i < e->n_axes && !found; i++) {
        found = e->axes[i].loop == loop;
    }
    for (int i = 0; i < e->n_args && !found; i++) {
        found = tir_varies(e->args[i], loop);
    }
    return found;
}

bool tir_is_multiple(const tir_expr *e, int of) {
    switch (e->kind) {
    case TX_CONST:
        return e->type == ELEM_I32 && (int64_t)e->value % of == 0;
    case TX_BINARY:
        return e->op == OP_MUL   ? tir_is_multiple(e->args[0], of) || tir_is_multiple(e->args[1], of)
               : e->op == OP_ADD ? tir_is_multiple(e->args[0], of) && tir_is_multiple(e->args[1], of)
                                 : false;
    default:
        return false;
    }
}

bool tir_reads_acc(const tir_expr *e) {
    bool found = e->kind == TX_ACC;
    for (int i = 0; i < e->n_args && !found; i++) {
        found = tir_reads_acc(e->args[i]);
    }
    return found;
}

int tir_gcd(int a, int b) {
    while (b != 0) {
        int t = a % b;
        a = b;
        b = t;
    }
    return a;
}

layout_kind tir_laid(const tir_param *p) {
    return p->is_tensor && p->scale == ELEM_NONE && p->layout != NULL ? layout_find(p->layout)
                                                                      : LAYOUT_LINEAR;
}

static bool has_kind(int n, tir_stmt *const *body, tir_stmt_kind kind) {
    for (int i = 0; i < n; i++) {
        if (body[i]->kind == kind || has_kind(body[i]->n_body, body[i]->body, kind)) {
            return true;
        }
    }
    return false;
}

int tir_walk_readers(const tir_kernel *k) {
    int readers = 0;
    for (int i = 0; i < k->n_roles; i++) {
        const tir_role *r = &k->roles[i];
        // Who asks for the next tile reads the answer too.
        bool asks = k->walk.kind == WALK_CLC && has_kind(r->n_body, r->body, TS_SCHED);
        if (asks || has_kind(r->n_body, r->body, TS_WALK)) {
            readers += (r->one_thread ? 1 : r->n_warps) * (r->leader_only ? 1 : k->cluster);
        }
    }
    return readers;
}

static bool copies_previous(const tir_kernel *k, int role) {
    for (int c = 0; c < k->n_channels; c++) {
        const tir_channel *ch = &k->channels[c];
        for (int i = 0; i < ch->n_boxes && ch->from == role && ch->space == SPACE_SMEM; i++) {
            if (k->params[k->maps[ch->boxes[i].map].param].previous) {
                return true;
            }
        }
    }
    return false;
}

bool tir_role_waits(const tir_kernel *k, int role) {
    const tir_role *r = &k->roles[role];
    bool walks = has_kind(r->n_body, r->body, k->walk.kind == WALK_ONE ? TS_SCHED : TS_WALK);
    for (int i = 0; i < k->n_loops; i++) {
        // bounds, by plain loads of whoever counts through the tiles
        if (walks && k->loops[i].hi != NULL) {
            return true;
        }
    }
    for (int i = 0; i < k->n_fors; i++) {
        if (walks && k->fors[i].hi != NULL) {
            return true;
        }
    }
    return has_kind(r->n_body, r->body, TS_STORE) || copies_previous(k, role);
}
