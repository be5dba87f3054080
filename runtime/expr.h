// Expressions of a module (module.h, EXPR): read from JSON once, evaluated at every launch.
#ifndef FP4_RUNTIME_EXPR_H
#define FP4_RUNTIME_EXPR_H

#include "rt.h"
#include <cjson/cJSON.h>

// ORDER expr_op: expr.c holds the spellings of the operators.
typedef enum {
    EXPR_ADD,
    EXPR_SUB,
    EXPR_MUL,
    EXPR_DIV,
    EXPR_MOD,
    EXPR_CEILDIV,
    EXPR_MIN,
    EXPR_MAX,
    EXPR_EQ,
    EXPR_NE,
    EXPR_LT,
    EXPR_LE,
    EXPR_GT,
    EXPR_GE,
    EXPR_AND,
    EXPR_OR,
    EXPR_N_OPS,
    EXPR_NUMBER = EXPR_N_OPS,
    EXPR_VAR,
} rt_expr_op;

typedef struct rt_expr rt_expr;
struct rt_expr {
    rt_expr_op op;
    int64_t number;       // EXPR_NUMBER
    int var;              // EXPR_VAR: position in the environment
    const char *name;     // EXPR_VAR
    const rt_expr *a, *b; // operands of the operators
};

// The variables of a kernel, by number: its sizes, three of each parameter, the device.
enum {
    RT_VAR_PARAMS = FP4_MAX_DIMS,
    RT_VAR_PITCH = 0, // RT_VAR_PARAMS + 3 * parameter + one of these
    RT_VAR_SF_BYTES = 1,
    RT_VAR_VALUE = 2,
    RT_VAR_SMS = RT_VAR_PARAMS + 3 * FP4_MAX_ARGS, // multiprocessors of the device
    RT_MAX_VARS,
};

static inline int rt_param_var(int param, int which) {
    return RT_VAR_PARAMS + 3 * param + which;
}

// What a name means while a kernel is read: a variable, or a constant of the compilation.
typedef struct rt_scope rt_scope;
struct rt_scope {
    // True when the name is known: *var >= 0 a variable, *var < 0 the constant *value.
    bool (*find)(const rt_scope *scope, const char *name, int *var, int64_t *value);
};

fp4_status rt_expr_parse(rt_pool *pool, const rt_scope *scope, const cJSON *json,
                         const rt_expr **out);

typedef struct {
    int64_t value[RT_MAX_VARS];
    bool known[RT_MAX_VARS];
    char why[128]; // the reason of the last failed evaluation
} rt_env;

// 64-bit signed arithmetic, '/' and '%' towards zero; truth is 1 and 0; 'and' and 'or' leave their
// second operand alone when the first decides. False, with a reason in env->why, when the result
// does not fit, a divisor is 0, or a variable is not known.
bool rt_expr_eval(const rt_expr *expr, rt_env *env, int64_t *out);

#endif
