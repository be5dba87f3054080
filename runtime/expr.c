// Expressions over run-time sizes: reading and checked evaluation.
#include "expr.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const spellings[EXPR_N_OPS] = {
    // ORDER expr_op
    "+", "-", "*", "/", "%", "ceildiv", "min", "max", "==", "!=", "<", "<=", ">", ">=", "and", "or",
};

enum { MAX_DEPTH = 64 };
static const double MAX_EXACT = 9007199254740992.0; // 2^53: JSON numbers arrive as doubles

static fp4_status parse(rt_pool *pool, const rt_scope *scope, const cJSON *json, int depth,
                        rt_expr **out);

static fp4_status parse_name(const rt_scope *scope, const char *name, rt_expr *e, rt_pool *pool) {
    int var = -1;
    int64_t value = 0;
    if (!scope->find(scope, name, &var, &value)) {
        return rt_fail(FP4_ERROR_MODULE,
                       ": expression names '%.60s', which is no size, constant or "
                       "parameter of the kernel",
                       name);
    }
    if (var < 0) {
        e->op = EXPR_NUMBER;
        e->number = value;
        return FP4_OK;
    }
    e->op = EXPR_VAR;
    e->var = var;
    e->name = rt_pool_text(pool, name, strlen(name));
    return e->name ? FP4_OK : FP4_ERROR_MEMORY;
}

static fp4_status parse_number(double number, rt_expr *e) {
    if (!(fabs(number) <= MAX_EXACT) || number != floor(number)) {
        return rt_fail(FP4_ERROR_MODULE, ": expression holds %g, expected an integer below 2^53",
                       number);
    }
    e->op = EXPR_NUMBER;
    e->number = (int64_t)number;
    return FP4_OK;
}

static fp4_status parse_op(rt_pool *pool, const rt_scope *scope, const cJSON *json, int depth,
                           rt_expr *e) {
    const cJSON *op = cJSON_GetArrayItem(json, 0);
    if (cJSON_GetArraySize(json) != 3 || !cJSON_IsString(op)) {
        return rt_fail(FP4_ERROR_MODULE, ": an expression is a number, a name or [op, a, b]");
    }
    int i = 0;
    while (i < EXPR_N_OPS && strcmp(spellings[i], op->valuestring) != 0) {
        i++;
    }
    if (i == EXPR_N_OPS) {
        return rt_fail(FP4_ERROR_MODULE,
                       ": expression uses operator '%.20s', which this version "
                       "does not know",
                       op->valuestring);
    }
    e->op = (rt_expr_op)i;
    rt_expr *operand[2];
    for (i = 0; i < 2; i++) {
        fp4_status status =
            parse(pool, scope, cJSON_GetArrayItem(json, i + 1), depth + 1, &operand[i]);
        if (status != FP4_OK) {
            return status;
        }
    }
    e->a = operand[0];
    e->b = operand[1];
    return FP4_OK;
}

static fp4_status parse(rt_pool *pool, const rt_scope *scope, const cJSON *json, int depth,
                        rt_expr **out) {
    if (depth > MAX_DEPTH) {
        return rt_fail(FP4_ERROR_MODULE, ": expression is nested deeper than %d", MAX_DEPTH);
    }
    rt_expr *e = rt_pool_new(pool, sizeof *e);
    if (!e) {
        return FP4_ERROR_MEMORY;
    }
    *out = e;
    if (cJSON_IsNumber(json)) {
        return parse_number(json->valuedouble, e);
    }
    if (cJSON_IsString(json)) {
        return parse_name(scope, json->valuestring, e, pool);
    }
    if (cJSON_IsArray(json)) {
        return parse_op(pool, scope, json, depth, e);
    }
    return rt_fail(FP4_ERROR_MODULE, ": an expression is a number, a name or [op, a, b]");
}

fp4_status rt_expr_parse(rt_pool *pool, const rt_scope *scope, const cJSON *json,
                         const rt_expr **out) {
    rt_expr *e = NULL;
    fp4_status status = parse(pool, scope, json, 0, &e);
    *out = e;
    return status;
}

static bool fail(rt_env *env, const char *why, const char *what) {
    snprintf(env->why, sizeof env->why, why, what);
    return false;
}

static bool divide(rt_expr_op op, int64_t a, int64_t b, rt_env *env, int64_t *out) {
    if (b == 0) {
        return fail(env, "'%s' by 0", spellings[op]);
    }
    if (a == INT64_MIN && b == -1) {
        return fail(env, "the result of '%s' does not fit 64 bits", spellings[op]);
    }
    if (op == EXPR_MOD) {
        *out = a % b;
    } else {
        *out = a / b + (op == EXPR_CEILDIV && a % b != 0 && (a > 0) == (b > 0));
    }
    return true;
}

static bool apply(rt_expr_op op, int64_t a, int64_t b, rt_env *env, int64_t *out) {
    bool fits = true;
    switch (op) {
    case EXPR_ADD:
        fits = rt_add(a, b, out);
        break;
    case EXPR_SUB:
        fits = rt_sub(a, b, out);
        break;
    case EXPR_MUL:
        fits = rt_mul(a, b, out);
        break;
    case EXPR_MIN:
        *out = a < b ? a : b;
        break;
    case EXPR_MAX:
        *out = a > b ? a : b;
        break;
    case EXPR_EQ:
        *out = a == b;
        break;
    case EXPR_NE:
        *out = a != b;
        break;
    case EXPR_LT:
        *out = a < b;
        break;
    case EXPR_LE:
        *out = a <= b;
        break;
    case EXPR_GT:
        *out = a > b;
        break;
    case EXPR_GE:
        *out = a >= b;
        break;
    case EXPR_AND:
    case EXPR_OR:
        *out = b != 0; // the first operand did not decide
        break;
    default:
        return divide(op, a, b, env, out);
    }
    return fits || fail(env, "the result of '%s' does not fit 64 bits", spellings[op]);
}

bool rt_expr_eval(const rt_expr *e, rt_env *env, int64_t *out) {
    if (e->op == EXPR_NUMBER) {
        *out = e->number;
        return true;
    }
    if (e->op == EXPR_VAR) {
        *out = env->value[e->var];
        return env->known[e->var] || fail(env, "'%s' is not known", e->name);
    }
    int64_t a;
    int64_t b;
    if (!rt_expr_eval(e->a, env, &a)) {
        return false;
    }
    if ((e->op == EXPR_AND && a == 0) || (e->op == EXPR_OR && a != 0)) {
        *out = a != 0;
        return true;
    }
    return rt_expr_eval(e->b, env, &b) && apply(e->op, a, b, env, out);
}
