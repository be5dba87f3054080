// 'tune BN in {128, 192, 256}, d in 3..6;': a schedule with open parameters stands for one schedule
// for each combination of their values, in text order, the first name slowest.
//
// In: a schedule as parsed. Out: its variants, schedules without the fact. A name that is a
// compile-time parameter of the kernel becomes a binding ('with BN = 128'); every other name stands
// for a number in the facts and in the cost, which takes its place. Without a cost each variant
// costs 0: the first one is launched, unless measured times say otherwise.
#include "check.h"

#include <string.h>

#define MAX_NAMES 8
#define MAX_VALUES 32
#define MAX_VARIANTS 64

typedef struct {
    const char *name;
    ast_span span;
    bool is_tparam;
    int n;
    int64_t values[MAX_VALUES];
} tuned_name;

typedef struct {
    checker *c;
    ast_schedule *s;
    const ast_fact *fact;
    int at; // next token
    int n;
    tuned_name names[MAX_NAMES];
} tuning;

static const fact_tok *peek(const tuning *t) {
    return t->at < t->fact->n_toks ? &t->fact->toks[t->at] : NULL;
}

static bool malformed(tuning *t, const char *wanted) {
    const fact_tok *tok = peek(t);
    ast_span at = t->fact->span;
    at.off += at.len;
    at.len = 0;
    diag_report(t->c->d, DIAG_ERROR, "F102", tok != NULL ? tok->span : at,
                "expected %s in 'tune', found %s%s%s", wanted, tok != NULL ? "'" : "",
                tok != NULL ? tok->text : "its end", tok != NULL ? "'" : "");
    diag_because(t->c->d, "it is written like:   tune BN in {128, 192}, d in 3..6;");
    return false;
}

static bool accept(tuning *t, const char *text) {
    const fact_tok *tok = peek(t);
    bool there = tok != NULL && tok->kind != FT_INT && strcmp(tok->text, text) == 0;
    t->at += there;
    return there;
}

static bool read_value(tuning *t, int64_t *out) {
    const fact_tok *tok = peek(t);
    if (tok == NULL || tok->kind != FT_INT) {
        return malformed(t, "a number");
    }
    *out = tok->ivalue;
    t->at++;
    return true;
}

static bool add_value(tuning *t, tuned_name *name, int64_t value) {
    for (int i = 0; i < name->n; i++) {
        if (name->values[i] == value) {
            diag_report(t->c->d, DIAG_ERROR, "F104", t->fact->toks[t->at - 1].span,
                        "'%s' can be %lld twice", name->name, (long long)value);
            return false;
        }
    }
    if (name->n == MAX_VALUES) {
        diag_report(t->c->d, DIAG_ERROR, "F106", name->span, "more than %d values of '%s'",
                    MAX_VALUES, name->name);
        return false;
    }
    name->values[name->n++] = value;
    return true;
}

// "{" INT {"," INT} "}" | INT ".." INT
static bool read_values(tuning *t, tuned_name *name) {
    int64_t lo = 0;
    int64_t hi = 0;
    if (accept(t, "{")) {
        do {
            if (!read_value(t, &lo) || !add_value(t, name, lo)) {
                return false;
            }
        } while (accept(t, ","));
        return accept(t, "}") || malformed(t, "'}'");
    }
    if (!read_value(t, &lo) || !(accept(t, "..") || malformed(t, "'..'")) || !read_value(t, &hi)) {
        return false;
    }
    if (lo > hi) {
        diag_report(t->c->d, DIAG_ERROR, "F102", name->span, "'%s' has no value from %lld to %lld",
                    name->name, (long long)lo, (long long)hi);
        return false;
    }
    for (int64_t v = lo; v <= hi; v++) {
        if (!add_value(t, name, v)) {
            return false;
        }
    }
    return true;
}

static bool is_role(const ast_schedule *s, const char *name) {
    for (int f = 0; f < s->n_facts; f++) {
        const ast_fact *fact = &s->facts[f];
        if (fact->n_toks > 1 && strcmp(fact->toks[0].text, "role") == 0 &&
            strcmp(fact->toks[1].text, name) == 0) {
            return true;
        }
    }
    return false;
}

// Something else that facts call by this name, or NULL.
static const char *other_meaning(const ast_schedule *s, const char *name) {
    const ast_kernel *k = s->kernel;
    if (is_role(s, name)) {
        return "a role";
    }
    for (int i = 0; i < k->n_params; i++) {
        if (strcmp(k->params[i]->name, name) == 0) {
            return "a parameter";
        }
    }
    for (int i = 0; i < k->n_indices; i++) {
        if (strcmp(k->indices[i]->name, name) == 0) {
            return "an index";
        }
    }
    for (int i = 0; i < k->n_lets; i++) {
        if (strcmp(k->lets[i]->name, name) == 0) {
            return "a value";
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (strcmp(k->dims[i]->name, name) == 0) {
            return "a size";
        }
    }
    return strcmp(name, "sms") == 0 ? "the device's number of multiprocessors" : NULL;
}

static bool is_number_in_facts(const ast_schedule *s, const char *name) {
    for (int f = 0; f < s->n_facts; f++) {
        const ast_fact *fact = &s->facts[f];
        bool tune = strcmp(fact->toks[0].text, "tune") == 0;
        for (int i = 1; i < fact->n_toks && !tune; i++) {
            if (fact->toks[i].kind == FT_WORD && strcmp(fact->toks[i].text, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

// What the name stands for; false after a report.
static bool check_name(tuning *t, tuned_name *name) {
    diag *d = t->c->d;
    const ast_kernel *k = t->s->kernel;
    for (int i = 0; i < t->n; i++) {
        if (strcmp(t->names[i].name, name->name) == 0) {
            diag_report(d, DIAG_ERROR, "F104", name->span, "'%s' is tuned twice", name->name);
            diag_note(d, t->names[i].span, "first here");
            return false;
        }
    }
    for (int i = 0; i < t->s->n_with; i++) {
        if (strcmp(t->s->with[i].name, name->name) == 0) {
            diag_report(d, DIAG_ERROR, "F105", name->span, "'%s' is given by 'with' and tuned",
                        name->name);
            diag_note(d, t->s->with[i].span, "it is given here");
            return false;
        }
    }
    name->is_tparam = check_find_tparam(k, name->name) != NULL;
    const char *meaning = name->is_tparam ? NULL : other_meaning(t->s, name->name);
    if (meaning != NULL) {
        diag_report(d, DIAG_ERROR, "F105", name->span,
                    "'%s' is %s in kernel '%s', it cannot be tuned", name->name, meaning, k->name);
        return false;
    }
    if (!name->is_tparam && !is_number_in_facts(t->s, name->name)) {
        diag_report(d, DIAG_ERROR, "F103", name->span,
                    "'%s' is no compile-time parameter of '%s', and no fact has it for a number",
                    name->name, k->name);
        diag_because(d, "a number of a fact can be open:   pipe A, B : %s in smem;", name->name);
        return false;
    }
    return true;
}

static bool read_names(tuning *t) {
    do {
        const fact_tok *tok = peek(t);
        if (tok == NULL || tok->kind != FT_WORD) {
            return malformed(t, "a name");
        }
        if (t->n == MAX_NAMES) {
            diag_report(t->c->d, DIAG_ERROR, "F106", tok->span, "more than %d open parameters",
                        MAX_NAMES);
            return false;
        }
        tuned_name *name = &t->names[t->n];
        *name = (tuned_name){.name = tok->text, .span = tok->span};
        t->at++;
        if (!check_name(t, name) || !(accept(t, "in") || malformed(t, "'in'")) ||
            !read_values(t, name)) {
            return false;
        }
        t->n++;
    } while (accept(t, ","));
    return peek(t) == NULL || malformed(t, "';'");
}

// --- one variant ---

static ast_expr *number(const tuning *t, int64_t value, ast_span span) {
    ast_expr *e = ARENA_NEW(t->c->mem, ast_expr);
    *e = (ast_expr){.kind = EX_INT, .span = span, .ivalue = value, .depth = 1};
    return e;
}

// A copy with numbers for the names; what the checker finds out differs from variant to variant.
static ast_expr *copy_expr(const tuning *t, const int64_t *values, const ast_expr *e) {
    if (e == NULL) {
        return NULL;
    }
    for (int i = 0; i < t->n && e->kind == EX_NAME; i++) {
        if (!t->names[i].is_tparam && strcmp(e->name, t->names[i].name) == 0) {
            return number(t, values[i], e->span);
        }
    }
    ast_expr *out = ARENA_NEW(t->c->mem, ast_expr);
    *out = *e;
    out->a = copy_expr(t, values, e->a);
    out->b = copy_expr(t, values, e->b);
    out->args = ARENA_ARRAY(t->c->mem, ast_expr *, e->n_args + 1);
    for (int i = 0; i < e->n_args; i++) {
        out->args[i] = copy_expr(t, values, e->args[i]);
    }
    return out;
}

static void bind_values(const tuning *t, const int64_t *values, ast_schedule *v) {
    v->with = ARENA_ARRAY(t->c->mem, ast_binding, t->s->n_with + t->n);
    for (int i = 0; i < t->s->n_with; i++) {
        v->with[i] = t->s->with[i];
    }
    v->tuned = "";
    for (int i = 0; i < t->n; i++) {
        const tuned_name *name = &t->names[i];
        v->tuned = arena_printf(t->c->mem, "%s%s%s = %lld", v->tuned, i > 0 ? ", " : "", name->name,
                                (long long)values[i]);
        if (name->is_tparam) {
            v->with[v->n_with++] =
                (ast_binding){name->name, number(t, values[i], name->span), name->span};
        }
    }
}

static ast_fact copy_fact(const tuning *t, const int64_t *values, const ast_fact *fact,
                          ast_schedule *v) {
    ast_fact out = *fact;
    out.toks = ARENA_ARRAY(t->c->mem, fact_tok, fact->n_toks);
    memcpy(out.toks, fact->toks, sizeof *out.toks * (size_t)fact->n_toks);
    for (int i = 1; i < out.n_toks; i++) {
        fact_tok *tok = &out.toks[i];
        for (int n = 0; n < t->n && tok->kind == FT_WORD; n++) {
            if (strcmp(tok->text, t->names[n].name) == 0) {
                tok->kind = FT_INT;
                tok->ivalue = values[n];
                tok->text = arena_printf(t->c->mem, "%lld", (long long)values[n]);
            }
        }
        if (tok->kind == FT_EXPR) {
            tok->expr = v->cost = copy_expr(t, values, tok->expr);
        }
    }
    return out;
}

static ast_schedule *make_variant(const tuning *t, const int64_t *values) {
    ast_schedule *v = ARENA_NEW(t->c->mem, ast_schedule);
    *v = *t->s;
    v->of = t->s;
    v->variants = NULL; // those made before this one are the schedule's
    v->n_variants = 0;
    v->when = copy_expr(t, values, t->s->when);
    bind_values(t, values, v);
    v->facts = ARENA_ARRAY(t->c->mem, ast_fact, t->s->n_facts + 1);
    v->n_facts = 0;
    for (int i = 0; i < t->s->n_facts; i++) {
        if (&t->s->facts[i] != t->fact) {
            v->facts[v->n_facts++] = copy_fact(t, values, &t->s->facts[i], v);
        }
    }
    if (v->cost == NULL) {
        v->cost = number(t, 0, t->fact->span);
        fact_tok *toks = ARENA_ARRAY(t->c->mem, fact_tok, 2);
        toks[0] = (fact_tok){.kind = FT_WORD, .text = "cost", .span = t->fact->span};
        toks[1] = (fact_tok){.kind = FT_EXPR, .text = "0", .expr = v->cost, .span = t->fact->span};
        v->facts[v->n_facts++] = (ast_fact){.span = t->fact->span, .n_toks = 2, .toks = toks};
    }
    return v;
}

static void make_variants(const tuning *t, int count) {
    t->s->variants = ARENA_ARRAY(t->c->mem, ast_schedule *, count);
    for (int i = 0; i < count; i++) {
        int64_t values[MAX_NAMES];
        int rest = i;
        for (int n = t->n - 1; n >= 0; n--) {
            values[n] = t->names[n].values[rest % t->names[n].n];
            rest /= t->names[n].n;
        }
        t->s->variants[i] = make_variant(t, values);
        t->s->n_variants = i + 1;
    }
}

bool tune_expand(checker *c, ast_schedule *s) {
    tuning t = {.c = c, .s = s, .at = 1};
    for (int i = 0; i < s->n_facts; i++) {
        const ast_fact *fact = &s->facts[i];
        if (strcmp(fact->toks[0].text, "tune") == 0 && t.fact != NULL) {
            diag_report(c->d, DIAG_ERROR, "F104", fact->span, "'tune' is stated twice");
            diag_note(c->d, t.fact->span, "first stated here");
            return false;
        }
        t.fact = strcmp(fact->toks[0].text, "tune") == 0 ? fact : t.fact;
    }
    if (t.fact == NULL) {
        return true;
    }
    if (!read_names(&t)) {
        return false;
    }
    int count = 1;
    for (int i = 0; i < t.n; i++) {
        count *= t.names[i].n;
        if (count > MAX_VARIANTS) {
            int64_t all = 1;
            for (int j = 0; j < t.n; j++) {
                all *= t.names[j].n;
            }
            diag_report(c->d, DIAG_ERROR, "F106", t.fact->span,
                        "%lld combinations, of at most %d that a schedule may stand for",
                        (long long)all, MAX_VARIANTS);
            diag_because(c->d, "each becomes a kernel of the module");
            return false;
        }
    }
    make_variants(&t, count);
    return true;
}
