// Elementwise expressions, one element at a time, in registers. The arithmetic is that of
// compiler/mach.h: f32, rounding to nearest even after every operation, nothing contracted.
#include "cg_int.h"

#include <string.h>

static ll_val loop_index(cg *c, int loop, const cg_elem *at) {
    if (loop < 0) {
        return ll_i32(c->b, 0);
    }
    if (at->acc && loop == at->acc->row_loop) {
        return at->row;
    }
    if (at->acc && loop == at->acc->col_loop) {
        return ll_addi(c->b, at->col, at->dcol);
    }
    return c->starts[loop];
}

ll_val cg_axis(cg *c, const tir_axis *a, const cg_elem *at) {
    ll *b = c->b;
    ll_val index = loop_index(c, a->loop, at);
    ll_val x = ll_addi(b, index, a->add);
    if (a->piece > 0) {
        ll_val number = ll_bini(b, LL_UDIV, ll_addi(b, index, a->shift), a->piece);
        return ll_add(b, x, ll_muli(b, number, a->gap));
    }
    if (a->floor > 0) {
        x = ll_sub(b, x, ll_bini(b, LL_UREM, x, a->floor));
    }
    return ll_bini(b, LL_SDIV, ll_muli(b, x, a->mul), a->div);
}

// --- Loads ---------------------------------------------------------------------------------------

// Address of a position; 'inside' leaves out axis 'but' (-1: none).
static ll_val address_of(cg *c, int param, int n_axes, const ll_val *at, int but, ll_val *inside) {
    ll *b = c->b;
    const tir_param *p = &c->k->params[param];
    ll_val row = ll_i32(b, 0);
    *inside = ll_i1(b, true);
    for (int i = 0; i < n_axes; i++) {
        ll_val size = cg_size(c, p->dims[i]);
        if (i != but) {
            *inside = ll_bin(b, LL_AND, *inside, ll_cmp(b, LL_ULT, at[i], size));
        }
        if (i < n_axes - 1) {
            row = i == 0 ? at[i] : ll_add(b, ll_mul(b, row, size), at[i]);
        }
    }
    ll_val address = ll_to(b, cg_arg_of(c, ARG_POINTER, param, PART_DATA), LL_I64);
    if (tir_laid(p) != LAYOUT_LINEAR) {
        return ll_add(b, address, cg_layout_offset(c, param, at));
    }
    if (n_axes >= 2) {
        ll_val pitch = cg_arg_of(c, ARG_PITCH, param, PART_DATA);
        address = ll_add(b, address, ll_mul(b, ll_sext(b, row, LL_I64), pitch));
    }
    ll_val bits = ll_muli(b, ll_sext(b, at[n_axes - 1], LL_I64), elem_bits(p->elem));
    return ll_add(b, address, ll_bini(b, LL_LSHR, bits, 3));
}

// The one axis that the accumulator's column moves, if it is the column itself plus a constant;
// else -1.
static int column_axis(const tir_axis *axes, int n_axes, const cg_elem *at) {
    int found = -1;
    for (int i = 0; i < n_axes; i++) {
        if (!at->acc || axes[i].loop < 0 || axes[i].loop != at->acc->col_loop) {
            continue;
        }
        if (found >= 0 || axes[i].mul != 1 || axes[i].div != 1 || axes[i].add < 0 ||
            axes[i].floor > 0 || axes[i].piece > 0) {
            return -1;
        }
        found = i;
    }
    return found;
}

// What lies behind the part that a loop walks may be another tile's, which is writing it.
ll_val cg_in_bounds(cg *c, const cg_elem *at) {
    ll *b = c->b;
    const tir_acc *acc = at->acc;
    ll_val in = ll_i1(b, true);
    if (acc && c->k->loops[acc->row_loop].hi) {
        in = ll_bin(b, LL_AND, in, ll_cmp(b, LL_SLT, at->row, c->parts[acc->row_loop].hi));
    }
    if (acc && c->k->loops[acc->col_loop].hi) {
        ll_val left = ll_sub(b, c->parts[acc->col_loop].hi, at->col);
        in = ll_bin(b, LL_AND, in, ll_cmpi(b, LL_SGT, left, at->dcol));
    }
    return in;
}

// Elements of one row: the address of the first one plus a constant or a multiple of the pitch, and
// one comparison each, so that they do not hold an address each.
ll_val cg_element_address(cg *c, int param, int n_axes, const tir_axis *axes, const cg_elem *at,
                          ll_val *inside) {
    ll *b = c->b;
    int bits = elem_bits(c->k->params[param].elem);
    int col = column_axis(axes, n_axes, at);
    bool rows = tir_laid(&c->k->params[param]) == LAYOUT_LINEAR;
    bool along = rows && col >= 0 && col == n_axes - 1 && at->dcol * bits % 8 == 0;
    bool across = rows && col >= 0 && col == n_axes - 2;
    cg_elem first = *at;
    first.dcol = along || across ? 0 : at->dcol;
    ll_val pos[8];
    for (int i = 0; i < n_axes && i < 8; i++) {
        pos[i] = cg_axis(c, &axes[i], &first);
    }
    ll_val address = address_of(c, param, n_axes, pos, along || across ? col : -1, inside);
    *inside = ll_bin(b, LL_AND, *inside, cg_in_bounds(c, at));
    if (!along && !across) {
        return address;
    }
    ll_val left = ll_sub(b, cg_size(c, c->k->params[param].dims[col]), pos[col]);
    *inside = ll_bin(b, LL_AND, *inside, ll_cmpi(b, LL_SGT, left, at->dcol));
    if (along) {
        return ll_addi(b, address, (int64_t)at->dcol * bits / 8);
    }
    return ll_add(b, address, ll_muli(b, cg_arg_of(c, ARG_PITCH, param, PART_DATA), at->dcol));
}

static ll_val scale_address(cg *c, const tir_expr *e, const cg_elem *at, ll_val *inside) {
    ll *b = c->b;
    const tir_param *p = &c->k->params[e->ref];
    ll_val pos[8];
    *inside = cg_in_bounds(c, at);
    for (int i = 0; i < e->n_axes && i < 8; i++) {
        pos[i] = cg_axis(c, &e->axes[i], at);
        *inside = ll_bin(b, LL_AND, *inside, ll_cmp(b, LL_ULT, pos[i], cg_size(c, p->dims[i])));
    }
    ll_val base = ll_to(b, cg_arg_of(c, ARG_POINTER, e->ref, PART_SCALE), LL_I64);
    return ll_add(b, base, cg_scale_offset(c, e->ref, pos));
}

static ll_val load_element(cg *c, const tir_expr *e, const cg_elem *at) {
    ll *b = c->b;
    const tir_param *p = &c->k->params[e->ref];
    bool scale = e->kind == TX_SCALE;
    if (e->n_axes != p->n_dims || (scale && p->groups)) {
        cg_fail(c, "elements of '%s' (%s) cannot be read one by one in kernel '%s'", p->name, p->format,
                c->k->name);
        return ll_f32(b, 0);
    }
    ll_val inside;
    ll_val address = scale ? scale_address(c, e, at, &inside)
                           : cg_element_address(c, e->ref, e->n_axes, e->axes, at, &inside);
    elem_kind elem = scale ? p->scale : p->elem;
    int bits = elem_bits(elem);
    const char *type = bits == 32 ? "b32" : bits == 16 ? "u16" : "u8";
    // Tensors that the kernel also writes are read in program order, and all behind a wait for the kernel before.
    bool ordered = c->k->pdl || p->mode == MODE_OUT || p->mode == MODE_INOUT || p->mode == MODE_TEMP;
    ll_asm a = {.text = arena_printf(c->mem, "mov.b32 $0, 0; @$2 ld.global.%s $0, [$1];", type),
                .constraints = ordered ? "=&r,l,b,~{memory}" : "=&r,l,b",
                .effect = ordered,
                .n_out = 1,
                .out = {LL_I32}};
    ll_val word = LL_ASM(b, &a, address, inside);
    if (bits < 8) {
        ll_val last = cg_axis(c, &e->axes[e->n_axes - 1], at);
        ll_val shift = ll_bini(b, LL_AND, ll_muli(b, last, bits), 7);
        if (bits == 6) { // across two bytes, the second of which there is then
            ll_val more = ll_bin(b, LL_AND, inside, ll_cmpi(b, LL_SGT, shift, 8 - bits));
            ll_val high = LL_ASM(b, &a, ll_addi(b, address, 1), more);
            word = ll_bin(b, LL_OR, word, ll_bini(b, LL_SHL, high, 8));
        }
        word = ll_bini(b, LL_AND, ll_bin(b, LL_LSHR, word, shift), (1 << bits) - 1);
    }
    return elem_is_int(elem) ? word : cg_unpack(c, elem, word);
}

// --- Operators -----------------------------------------------------------------------------------

static ll_val refuse(cg *c, const tir_expr *e, const char *what) {
    cg_fail(c, "%s is not generated for elements of type %s (kernel '%s')", what,
            elem_name(e->type), c->k->name);
    return e->type == ELEM_F32 ? ll_f32(c->b, 0) : ll_i32(c->b, 0);
}

static ll_val compare(cg *c, ast_op op, ll_val x, ll_val y, bool floats) {
    static const ll_pred ints[] = {[OP_LT] = LL_SLT, [OP_LE] = LL_SLE, [OP_GT] = LL_SGT,
                                   [OP_GE] = LL_SGE, [OP_EQ] = LL_EQ,  [OP_NE] = LL_NE};
    static const ll_pred reals[] = {[OP_LT] = LL_FLT, [OP_LE] = LL_FLE, [OP_GT] = LL_FGT,
                                    [OP_GE] = LL_FGE, [OP_EQ] = LL_FEQ, [OP_NE] = LL_FNE};
    return ll_cmp(c->b, floats ? reals[op] : ints[op], x, y);
}

static ll_val int_binary(cg *c, const tir_expr *e, ll_val x, ll_val y) {
    static const struct {
        ast_op op;
        ll_op code;
    } table[] = {{OP_ADD, LL_ADD},   {OP_SUB, LL_SUB},    {OP_MUL, LL_MUL},    {OP_DIV, LL_SDIV},
                 {OP_MOD, LL_SREM},  {OP_BITAND, LL_AND}, {OP_BITOR, LL_OR},   {OP_BITXOR, LL_XOR},
                 {OP_SHL, LL_SHL},   {OP_SHR, LL_ASHR},   {OP_AND, LL_AND},    {OP_OR, LL_OR}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].op == e->op) {
            return ll_bin(c->b, table[i].code, x, y);
        }
    }
    return refuse(c, e, "an operator");
}

static ll_val binary(cg *c, const tir_expr *e, const cg_elem *at) {
    ll_val x = cg_expr(c, e->args[0], at), y = cg_expr(c, e->args[1], at);
    if (!CG_OK(c)) {
        return x;
    }
    bool floats = e->args[0]->type == ELEM_F32;
    if (e->op >= OP_LT && e->op <= OP_NE) {
        return compare(c, e->op, x, y, floats);
    }
    if (!floats) {
        return int_binary(c, e, x, y);
    }
    static const char *const names[] = {[OP_ADD] = "add.rn.f32", [OP_SUB] = "sub.rn.f32",
                                        [OP_MUL] = "mul.rn.f32", [OP_DIV] = "div.rn.f32"};
    return e->op <= OP_DIV ? cg_math2(c, names[e->op], x, y) : refuse(c, e, "an operator");
}

static ll_val unary(cg *c, const tir_expr *e, const cg_elem *at) {
    ll_val x = cg_expr(c, e->args[0], at);
    if (e->op == OP_NOT) {
        return ll_not(c->b, x);
    }
    if (e->type == ELEM_F32 && e->op == OP_NEG) {
        return cg_math(c, "neg.f32", 1, &x);
    }
    if (e->op == OP_NEG) {
        return ll_sub(c->b, ll_i32(c->b, 0), x);
    }
    return e->op == OP_BITNOT ? ll_bini(c->b, LL_XOR, x, -1) : refuse(c, e, "an operator");
}

static ll_val int_pick(cg *c, ll_pred p, ll_val x, ll_val y) {
    return ll_select(c->b, ll_cmp(c->b, p, x, y), x, y);
}

static ll_val int_builtin(cg *c, const tir_expr *e, const ll_val *x) {
    ll *b = c->b;
    switch (e->builtin) {
    case BI_MIN:
        return int_pick(c, LL_SLT, x[0], x[1]);
    case BI_MAX:
        return int_pick(c, LL_SGT, x[0], x[1]);
    case BI_RELU:
        return int_pick(c, LL_SGT, x[0], ll_i32(b, 0));
    case BI_ABS:
        return int_pick(c, LL_SGT, x[0], ll_sub(b, ll_i32(b, 0), x[0]));
    case BI_CLAMP:
        return int_pick(c, LL_SLT, int_pick(c, LL_SGT, x[0], x[1]), x[2]);
    default:
        return refuse(c, e, "a function");
    }
}

static ll_val real_builtin(cg *c, const tir_expr *e, const ll_val *x) {
    ll *b = c->b;
    switch (e->builtin) {
    case BI_EXP: // 0x3FB8AA3B = log2(e)
        return cg_math(
            c, "ex2.approx.f32", 1,
            (ll_val[]){cg_math2(c, "mul.rn.f32", x[0], ll_to(b, ll_i32(b, 0x3FB8AA3B), LL_F32))});
    case BI_LOG: // 0x3F317218 = ln(2)
        return cg_math2(c, "mul.rn.f32", cg_math(c, "lg2.approx.f32", 1, x),
                     ll_to(b, ll_i32(b, 0x3F317218), LL_F32));
    case BI_SQRT:
        return cg_math(c, "sqrt.rn.f32", 1, x);
    case BI_RSQRT:
        return cg_math(c, "rsqrt.approx.f32", 1, x);
    case BI_TANH:
        return cg_math(c, "tanh.approx.f32", 1, x);
    case BI_ABS:
        return cg_math(c, "abs.f32", 1, x);
    case BI_MIN:
        return cg_math2(c, "min.f32", x[0], x[1]);
    case BI_MAX:
        return cg_math2(c, "max.f32", x[0], x[1]);
    case BI_RELU:
        return cg_math2(c, "max.f32", x[0], ll_f32(b, 0));
    case BI_CLAMP:
        return cg_math2(c, "min.f32", cg_math2(c, "max.f32", x[0], x[1]), x[2]);
    default:
        return refuse(c, e, "swiglu of single elements");
    }
}

static ll_val builtin(cg *c, const tir_expr *e, const cg_elem *at) {
    ll_val x[3];
    for (int i = 0; i < e->n_args && i < 3; i++) {
        x[i] = cg_expr(c, e->args[i], at);
    }
    if (!CG_OK(c)) {
        return x[0];
    }
    return e->type == ELEM_F32 ? real_builtin(c, e, x) : int_builtin(c, e, x);
}

static ll_val convert(cg *c, const tir_expr *e, const cg_elem *at) {
    ll *b = c->b;
    ll_val x = cg_expr(c, e->args[0], at);
    elem_kind from = e->args[0]->type;
    if (!CG_OK(c) || (from == e->elem && from == e->type)) {
        return x;
    }
    if (from != ELEM_F32) {
        x = ll_sitofp(b, ll_to(b, x, LL_I32));
    }
    if (e->type == ELEM_I32) {
        ll_asm a = {.text = "cvt.rni.s32.f32 $0, $1;", .constraints = "=r,f", .n_out = 1,
                    .out = {LL_I32}};
        return LL_ASM(b, &a, x);
    }
    return e->elem == ELEM_F32 ? x : cg_unpack(c, e->elem, cg_pack(c, e->elem, 1, &x));
}

static ll_val scalar(cg *c, const tir_expr *e) {
    ll_val v = cg_arg_of(c, ARG_SCALAR, e->ref, PART_DATA);
    return e->type == ELEM_I32 ? ll_to(c->b, v, LL_I32) : v;
}

static ll_val constant(cg *c, const tir_expr *e) {
    if (e->type == ELEM_F32) {
        return ll_f32(c->b, (double)(float)e->value);
    }
    return e->type == ELEM_BOOL ? ll_i1(c->b, e->value != 0) : ll_i32(c->b, (int64_t)e->value);
}

ll_val cg_expr(cg *c, const tir_expr *e, const cg_elem *at) {
    switch (e->kind) {
    case TX_CONST:
        return constant(c, e);
    case TX_SCALAR:
        return scalar(c, e);
    case TX_ACC:
        return at->accs[e->ref];
    case TX_LOAD:
    case TX_SCALE:
        return load_element(c, e, at);
    case TX_INDEX:
        return loop_index(c, e->ref, at);
    case TX_SIZE:
        return c->dims[e->ref];
    case TX_UNARY:
        return unary(c, e, at);
    case TX_BINARY:
        return binary(c, e, at);
    case TX_CALL:
        return builtin(c, e, at);
    case TX_CONVERT:
        return convert(c, e, at);
    case TX_SELECT: {
        ll_val p = cg_expr(c, e->args[0], at);
        ll_val x = cg_expr(c, e->args[1], at), y = cg_expr(c, e->args[2], at);
        return CG_OK(c) ? ll_select(c->b, p, x, y) : x;
    }
    case TX_REDUCE:
        return cg_reduce(c, e, at);
    }
    return ll_f32(c->b, 0);
}

bool cg_same_expr(const tir_expr *x, const tir_expr *y) {
    if (x->kind != y->kind || x->type != y->type || x->value != y->value || x->ref != y->ref ||
        x->op != y->op || x->builtin != y->builtin || x->reduce != y->reduce ||
        x->elem != y->elem || x->n_args != y->n_args || x->n_axes != y->n_axes) {
        return false;
    }
    for (int i = 0; i < x->n_axes; i++) {
        const tir_axis *a = &x->axes[i];
        const tir_axis *b = &y->axes[i];
        if (a->loop != b->loop || a->mul != b->mul || a->div != b->div || a->add != b->add ||
            a->floor != b->floor || a->piece != b->piece || a->shift != b->shift || a->gap != b->gap) {
            return false;
        }
    }
    for (int i = 0; i < x->n_args; i++) {
        if (!cg_same_expr(x->args[i], y->args[i])) {
            return false;
        }
    }
    return true;
}
