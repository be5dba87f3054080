// Tokens of facts -> struct facts.
//
// One production serves all facts (WORD and what follows it up to ';'); facts.def lists
// the words and the function that reads the rest of each. Nothing here knows kernels:
// names are looked up later.
#include "facts.h"

#include "arch.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const ast_fact *fact;
    int at; // next token
    diag *d;
    facts *out;
    bool failed;
    const char *form; // how this fact is written, for messages
} cursor;

static const fact_tok *peek(const cursor *c) {
    return c->at < c->fact->n_toks ? &c->fact->toks[c->at] : NULL;
}

static ast_span here(const cursor *c) {
    const fact_tok *t = peek(c);
    if (t != NULL) {
        return t->span;
    }
    ast_span end = c->fact->span;
    end.off += end.len;
    end.len = 0;
    return end;
}

static bool malformed(cursor *c, const char *wanted) {
    if (!c->failed) {
        const fact_tok *t = peek(c);
        diag_report(c->d, DIAG_ERROR, "F102", here(c), "expected %s in '%s', found %s%s%s", wanted,
                    c->fact->toks[0].text, t != NULL ? "'" : "", t != NULL ? t->text : "its end",
                    t != NULL ? "'" : "");
        diag_because(c->d, "it is written like:   %s;", c->form);
        c->failed = true;
    }
    return false;
}

static bool accept(cursor *c, const char *text) {
    const fact_tok *t = peek(c);
    if (t == NULL || t->kind == FT_INT || strcmp(t->text, text) != 0) {
        return false;
    }
    c->at++;
    return true;
}

static bool expect(cursor *c, const char *text) {
    char wanted[40];
    if (accept(c, text)) {
        return true;
    }
    snprintf(wanted, sizeof wanted, "'%s'", text);
    return malformed(c, wanted);
}

static bool expect_int(cursor *c, int least, int most, int *out) {
    const fact_tok *t = peek(c);
    if (t == NULL || t->kind != FT_INT) {
        return malformed(c, "a number");
    }
    if (t->ivalue < least || t->ivalue > most) {
        if (!c->failed) {
            diag_report(c->d, DIAG_ERROR, "F102", t->span,
                        "%lld is out of range, %d to %d is possible", (long long)t->ivalue, least,
                        most);
            diag_because(c->d, "it is written like:   %s;", c->form);
        }
        c->failed = true;
        return false;
    }
    *out = (int)t->ivalue;
    c->at++;
    return true;
}

static bool expect_name(cursor *c, fact_name *out) {
    const fact_tok *t = peek(c);
    if (t == NULL || t->kind != FT_WORD) {
        return malformed(c, "a name");
    }
    *out = (fact_name){t->text, t->span};
    c->at++;
    return true;
}

static bool expect_names(cursor *c, fact_names *out) {
    out->n = 0;
    do {
        if (out->n == FACTS_MAX_NAMES) {
            return malformed(c, "at most 16 names");
        }
        if (!expect_name(c, &out->at[out->n])) {
            return false;
        }
        out->n++;
    } while (accept(c, ","));
    return true;
}

static bool at_end(cursor *c) {
    return peek(c) == NULL || malformed(c, "';'");
}

static bool stated_twice(cursor *c, bool before, ast_span first) {
    if (before) {
        diag_report(c->d, DIAG_ERROR, "F104", c->fact->span, "'%s' is stated twice",
                    c->fact->toks[0].text);
        diag_note(c->d, first, "first stated here");
        c->failed = true;
    }
    return before;
}

static bool names_have(const fact_names *names, const char *text) {
    for (int i = 0; i < names->n; i++) {
        if (strcmp(names->at[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

// cluster INT { x INT } along NAME { , NAME }
static void parse_cluster(cursor *c) {
    facts *f = c->out;
    if (stated_twice(c, f->has_cluster, f->cluster_span)) {
        return;
    }
    f->has_cluster = true;
    f->cluster_span = c->fact->span;
    do {
        if (f->n_cluster == 4) {
            malformed(c, "at most 4 sizes");
            return;
        }
        if (!expect_int(c, 1, 16, &f->cluster_size[f->n_cluster])) {
            return;
        }
        f->n_cluster++;
    } while (accept(c, "x"));
    if (!expect(c, "along") || !expect_names(c, &f->cluster_along)) {
        return;
    }
    // 'cluster 2 along j, n' gives one size to the indices of several nests.
    if (f->n_cluster > 1 && f->cluster_along.n != f->n_cluster) {
        malformed(c, "one index a size");
        return;
    }
    at_end(c);
}

// mma FAMILY [.pair]
static void parse_mma(cursor *c) {
    facts *f = c->out;
    fact_name family;
    if (stated_twice(c, f->has_mma, f->mma_span) || !expect_name(c, &family)) {
        return;
    }
    f->has_mma = true;
    f->mma_span = c->fact->span;
    f->mma = family.text;
    if (strcmp(family.text, "tcgen05.pair") == 0) {
        f->mma = "tcgen05";
        f->pair = true;
    }
    if (strcmp(f->mma, "tcgen05") != 0 && strcmp(f->mma, "sync") != 0 &&
        strcmp(f->mma, "wgmma") != 0) {
        diag_report(c->d, DIAG_ERROR, "F102", family.span, "no instruction family is called '%s'",
                    family.text);
        diag_because(c->d, "the families are tcgen05, tcgen05.pair, sync and wgmma");
        c->failed = true;
        return;
    }
    f->tf32 = strcmp(f->mma, "wgmma") == 0 && accept(c, "tf32");
    if (strcmp(f->mma, "wgmma") == 0 && accept(c, "dequant")) {
        f->has_dequant = expect_name(c, &f->dequant);
        if (!f->has_dequant) {
            return;
        }
    }
    at_end(c);
}

// walk clc|static|atomic { raster NAME by INT | from one | order NAME {, NAME} }
static void parse_walk(cursor *c) {
    facts *f = c->out;
    fact_name kind;
    if (stated_twice(c, f->has_walk, f->walk_span) || !expect_name(c, &kind)) {
        return;
    }
    f->has_walk = true;
    f->walk_span = c->fact->span;
    f->walk = kind.text;
    if (strcmp(kind.text, "clc") != 0 && strcmp(kind.text, "static") != 0 &&
        strcmp(kind.text, "atomic") != 0) {
        diag_report(c->d, DIAG_ERROR, "F102", kind.span, "no walk is called '%s'", kind.text);
        diag_because(c->d, "tiles are handed out by clc, static or atomic");
        c->failed = true;
        return;
    }
    while (peek(c) != NULL) {
        if (accept(c, "raster")) {
            f->has_raster = true;
            if (!expect_name(c, &f->raster) || !expect(c, "by") ||
                !expect_int(c, 1, 4096, &f->raster_group)) {
                return;
            }
        } else if (accept(c, "order")) {
            if (f->order.n > 0) {
                malformed(c, "one 'order'");
                return;
            }
            if (!expect_names(c, &f->order)) {
                return;
            }
        } else if (peek(c)->kind != FT_INT && strcmp(peek(c)->text, "from") == 0) {
            f->from_span = peek(c)->span;
            c->at++;
            if (!expect(c, "one")) {
                return;
            }
            f->from_one = true;
        } else {
            malformed(c, "'raster NAME by NUMBER', 'order NAME, NAME' or 'from one'");
            return;
        }
    }
}

// pipe NAME {, NAME} : INT [ in smem|tmem|regs ] [ overlap ]
static void parse_pipe(cursor *c) {
    facts *f = c->out;
    if (f->n_pipes == FACTS_MAX_EACH) {
        malformed(c, "at most 16 pipes");
        return;
    }
    fact_pipe p = {.span = c->fact->span};
    if (!expect_names(c, &p.values) || !expect(c, ":")) {
        return;
    }
    p.depth_span = here(c);
    const fact_tok *t = peek(c);
    if (t != NULL && t->kind == FT_INT && t->ivalue == 0) {
        diag_report(c->d, DIAG_ERROR, "L103", t->span,
                    "a pipe of depth 0 holds nothing: '%s' could never pass from role to role",
                    p.values.at[0].text);
        diag_fix(c->d, t->span, "1", "the least depth");
        c->failed = true;
        return;
    }
    if (!expect_int(c, 1, 64, &p.depth)) {
        return;
    }
    if (accept(c, "in")) {
        if (accept(c, "smem")) {
            p.space = PIPE_SMEM;
        } else if (accept(c, "tmem")) {
            p.space = PIPE_TMEM;
        } else if (accept(c, "regs")) {
            p.space = PIPE_REGS;
        } else {
            malformed(c, "smem, tmem or regs");
            return;
        }
    }
    p.overlap = accept(c, "overlap");
    if (!at_end(c)) {
        return;
    }
    for (int i = 0; i < p.values.n; i++) {
        const fact_pipe *other = facts_pipe_of(f, p.values.at[i].text);
        if (other != NULL) {
            diag_report(c->d, DIAG_ERROR, "F104", p.values.at[i].span,
                        "the pipe of '%s' is stated twice", p.values.at[i].text);
            diag_note(c->d, other->span, "first stated here");
            c->failed = true;
            return;
        }
    }
    f->pipes[f->n_pipes++] = p;
}

// role NAME : INT warp|warps [ regs INT ] { NAME {, NAME} } [ pingpong INT ]
static void parse_role(cursor *c) {
    facts *f = c->out;
    if (f->n_roles == FACTS_MAX_EACH) {
        malformed(c, "at most 16 roles");
        return;
    }
    fact_role r = {.span = c->fact->span, .pingpong = 1};
    if (!expect_name(c, &r.name) || !expect(c, ":") || !expect_int(c, 1, 32, &r.warps)) {
        return;
    }
    if (!accept(c, "warps") && !expect(c, "warp")) {
        return;
    }
    if (accept(c, "regs")) {
        r.regs_span = here(c);
        if (!expect_int(c, 24, 255, &r.regs)) {
            return;
        }
        if (r.regs % 8 != 0) {
            diag_report(c->d, DIAG_ERROR, "R201", r.regs_span,
                        "%d registers: setmaxnreg takes multiples of 8 from 24 to 256", r.regs);
            char most[12];
            snprintf(most, sizeof most, "%d", r.regs / 8 * 8);
            diag_fix(c->d, r.regs_span, most, "the next one below");
            c->failed = true;
            return;
        }
    }
    if (!expect(c, "{") || !expect_names(c, &r.values) || !expect(c, "}")) {
        return;
    }
    if (accept(c, "pingpong") && !expect_int(c, 1, 4, &r.pingpong)) {
        return;
    }
    if (!at_end(c)) {
        return;
    }
    for (int i = 0; i < f->n_roles; i++) {
        if (strcmp(f->roles[i].name.text, r.name.text) == 0) {
            diag_report(c->d, DIAG_ERROR, "F104", r.name.span, "role '%s' is stated twice",
                        r.name.text);
            diag_note(c->d, f->roles[i].span, "first stated here");
            c->failed = true;
            return;
        }
    }
    f->roles[f->n_roles++] = r;
}

// store NAME {, NAME} via smem [ by INT x INT ] | via regs
static void parse_store(cursor *c) {
    facts *f = c->out;
    if (f->n_stores == FACTS_MAX_EACH) {
        malformed(c, "at most 16 stores");
        return;
    }
    fact_store s = {.span = c->fact->span};
    if (!expect_names(c, &s.values) || !expect(c, "via")) {
        return;
    }
    if (accept(c, "smem")) {
        s.via_smem = true;
        if (accept(c, "by")) {
            s.size_span = here(c);
            if (!expect_int(c, 8, 1024, &s.cols) || !expect(c, "x") ||
                !expect_int(c, 1, 8, &s.stages)) {
                return;
            }
        }
    } else if (!expect(c, "regs")) {
        return;
    }
    if (!at_end(c)) {
        return;
    }
    for (int i = 0; i < s.values.n; i++) {
        const fact_store *other = facts_store_of(f, s.values.at[i].text);
        if (other != NULL) {
            diag_report(c->d, DIAG_ERROR, "F104", s.values.at[i].span,
                        "the store of '%s' is stated twice", s.values.at[i].text);
            diag_note(c->d, other->span, "first stated here");
            c->failed = true;
            return;
        }
    }
    f->stores[f->n_stores++] = s;
}

// swap NAME {, NAME}
static void parse_swap(cursor *c) {
    facts *f = c->out;
    if (stated_twice(c, f->swap.n > 0, f->swap_span)) {
        return;
    }
    f->swap_span = c->fact->span;
    if (expect_names(c, &f->swap)) {
        at_end(c);
    }
}

static void parse_stream(cursor *c, const fact_name *name) {
    facts *f = c->out;
    if (expect(c, "sms") && !stated_twice(c, f->over.text != NULL, f->over_span)) {
        f->over_span = c->fact->span;
        f->over = *name;
        at_end(c);
    }
}

// split NAME by INT [ groups ] | split NAME over sms
static void parse_split(cursor *c) {
    facts *f = c->out;
    fact_name name;
    int by = 0;
    if (!expect_name(c, &name)) {
        return;
    }
    if (accept(c, "over")) {
        parse_stream(c, &name);
        return;
    }
    if (!expect(c, "by") || !expect_int(c, 1, ARCH_MAX_CLUSTER, &by)) {
        return;
    }
    bool groups = accept(c, "groups");
    int *stated = groups ? &f->groups_by : &f->split_by;
    ast_span *span = groups ? &f->groups_span : &f->split_span;
    if (!stated_twice(c, *stated > 0, *span)) {
        *stated = by;
        *span = c->fact->span;
        *(groups ? &f->groups : &f->split) = name;
        at_end(c);
    }
}

// pdl wait NAME {, NAME} [ launch first|last ]
static void parse_pdl(cursor *c) {
    facts *f = c->out;
    if (stated_twice(c, f->pdl.n > 0, f->pdl_span)) {
        return;
    }
    f->pdl_span = c->fact->span;
    if (!expect(c, "wait") || !expect_names(c, &f->pdl)) {
        return;
    }
    if (accept(c, "launch")) {
        f->pdl_first = accept(c, "first");
        if (!f->pdl_first && !accept(c, "last")) {
            malformed(c, "'first' or 'last'");
            return;
        }
    }
    at_end(c);
}

// cache NAME {, NAME} keep|stream
static void parse_cache(cursor *c) {
    facts *f = c->out;
    fact_names names;
    if (!expect_names(c, &names)) {
        return;
    }
    fact_names *to = accept(c, "keep") ? &f->keep : accept(c, "stream") ? &f->stream : NULL;
    if (to == NULL) {
        malformed(c, "'keep' or 'stream'");
        return;
    }
    for (int i = 0; i < names.n; i++) {
        if (names_have(&f->keep, names.at[i].text) || names_have(&f->stream, names.at[i].text)) {
            diag_report(c->d, DIAG_ERROR, "F104", names.at[i].span,
                        "what the cache does with '%s' is stated twice", names.at[i].text);
            c->failed = true;
            return;
        }
        if (to->n == FACTS_MAX_NAMES) {
            malformed(c, "at most 16 names");
            return;
        }
        to->at[to->n++] = names.at[i];
    }
    at_end(c);
}

// fit NAME by INT
static void parse_fit(cursor *c) {
    facts *f = c->out;
    if (stated_twice(c, f->fit_by > 0, f->fit_span)) {
        return;
    }
    f->fit_span = c->fact->span;
    if (expect_name(c, &f->fit) && expect(c, "by") && expect_int(c, 1, 256, &f->fit_by)) {
        at_end(c);
    }
}

// cost EXPR
static void parse_cost(cursor *c) {
    facts *f = c->out;
    if (stated_twice(c, f->cost != NULL, f->cost_span)) {
        return;
    }
    f->cost_span = c->fact->span;
    const fact_tok *t = peek(c);
    if (t == NULL || t->kind != FT_EXPR) {
        malformed(c, "an expression of sizes");
        return;
    }
    f->cost = t->expr;
    c->at++;
    at_end(c);
}

// A fact of the language that no target lowers: refused, since a fact is true or refused.
static void parse_unsupported(cursor *c) {
    diag_report(c->d, DIAG_ERROR, "X101", c->fact->span, "the fact '%s' has no lowering on %s yet",
                c->fact->toks[0].text, c->out->sched->arch);
    diag_because(c->d, "nothing is silently ignored: a fact is true or refused");
    c->failed = true;
}

static const struct {
    const char *word;
    void (*parse)(cursor *c);
    const char *form;
} words[] = {
#define FP4_FACT(word, parse, form) {word, parse, form},
#include "facts.def"
#undef FP4_FACT
};

// Those of facts.def, and the one that the front end takes.
static void say_words(diag *d) {
    char list[400] = "tune";
    size_t n = strlen(list);
    for (size_t i = 0; i < sizeof words / sizeof words[0] && n < sizeof list; i++) {
        const char *between = i + 1 < sizeof words / sizeof words[0] ? ", " : " or ";
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", between, words[i].word);
    }
    diag_because(d, "facts begin with %s", list);
}

static bool read_fact(const ast_fact *fact, diag *d, facts *out) {
    cursor c = {.fact = fact, .at = 1, .d = d, .out = out};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].word, fact->toks[0].text) == 0) {
            c.form = words[i].form;
            words[i].parse(&c);
            return !c.failed;
        }
    }
    diag_report(d, DIAG_ERROR, "F101", fact->toks[0].span, "there is no fact called '%s'",
                fact->toks[0].text);
    say_words(d);
    return false;
}

bool facts_read(const ast_schedule *sched, diag *d, facts *out) {
    *out = (facts){.sched = sched};
    bool ok = true;
    if (sched != NULL) {
        for (int i = 0; i < sched->n_facts; i++) {
            if (sched->facts[i].n_toks > 0) {
                ok &= read_fact(&sched->facts[i], d, out);
            }
        }
    }
    return ok;
}

fact_sums facts_sums_of(const ast_schedule *sched, const char *index) {
    fact_sums sums = {1, 1, false};
    for (int i = 0; sched != NULL && i < sched->n_facts; i++) {
        const ast_fact *f = &sched->facts[i];
        if (f->n_toks < 4 || strcmp(f->toks[0].text, "split") != 0 ||
            strcmp(f->toks[1].text, index) != 0) {
            continue;
        }
        if (f->toks[3].kind == FT_INT) {
            *(f->n_toks > 4 ? &sums.groups : &sums.ranges) = (int)f->toks[3].ivalue;
        } else {
            sums.stream = true;
        }
    }
    return sums;
}

fact_order facts_order_of(const ast_schedule *sched) {
    fact_order o = {.group = 1};
    for (int i = 0; sched != NULL && i < sched->n_facts; i++) {
        const ast_fact *f = &sched->facts[i];
        bool walk = f->n_toks > 0 && strcmp(f->toks[0].text, "walk") == 0, ordered = false;
        for (int t = 2; walk && t < f->n_toks; t++) {
            const char *word = f->toks[t].text;
            if (strcmp(word, "raster") == 0 && t + 3 < f->n_toks) {
                o.raster = f->toks[t + 1].text;
                o.group = (int)f->toks[t + 3].ivalue;
                t += 3;
                ordered = false;
            } else if (strcmp(word, "order") == 0) {
                ordered = true;
            } else if (ordered && strcmp(word, ",") != 0 && o.n < FACTS_MAX_NAMES) {
                o.order[o.n++] = word;
            }
        }
    }
    return o;
}

const fact_pipe *facts_pipe_of(const facts *f, const char *value) {
    for (int i = 0; i < f->n_pipes; i++) {
        if (names_have(&f->pipes[i].values, value)) {
            return &f->pipes[i];
        }
    }
    return NULL;
}

const fact_role *facts_role_of(const facts *f, const char *value) {
    for (int i = 0; i < f->n_roles; i++) {
        if (names_have(&f->roles[i].values, value)) {
            return &f->roles[i];
        }
    }
    return NULL;
}

const fact_store *facts_store_of(const facts *f, const char *value) {
    for (int i = 0; i < f->n_stores; i++) {
        if (names_have(&f->stores[i].values, value)) {
            return &f->stores[i];
        }
    }
    return NULL;
}
