// How a kernel meets its neighbours on the stream, and what it leaves in the L2 cache: the
// facts 'pdl' and 'cache'.
//
// Requires: role bodies, maps. Provides: k->pdl, previous and cache of params, waits and launches
// of roles. With 'pdl' a launch may begin before the stream's last kernel has ended (programmatic
// dependent launch). Barriers, tensor maps, TMEM and copies of tensors that nobody wrote overlap
// with it; roles that reach what it may write, or still read, wait (PTX ISA "griddepcontrol"). As
// kernels begin before those before them end, what is read without waiting is what none of the
// stream's unfinished kernels writes: the author says so. One role lets the kernel behind begin:
// the last one that copies operands in, else one that stores.
#include "plan_int.h"

#include <string.h>

static int find_tensor(planner *p, const fact_name *name, const char *fact) {
    for (int i = 0; i < p->k->n_params; i++) {
        if (strcmp(p->k->params[i].name, name->text) == 0 && p->k->params[i].is_tensor) {
            return i;
        }
    }
    PLAN_REFUSE(p, "F103", name->span, "'%s' is no tensor of kernel '%s': '%s' speaks of those",
                name->text, p->k->name, fact);
    return -1;
}

static bool is_copied(const tir_kernel *k, int param) {
    for (int i = 0; i < k->n_maps; i++) { // all maps are those of copies in or out
        if (k->maps[i].param == param) {
            return true;
        }
    }
    return false;
}

static void set_cache(planner *p, const fact_names *names, tir_cache cache) {
    for (int i = 0; i < names->n && p->ok; i++) {
        int param = find_tensor(p, &names->at[i], "cache");
        if (param >= 0 && !is_copied(p->k, param)) {
            PLAN_REFUSE(
                p, "X101", names->at[i].span,
                "'%s' is read or written element by element: the cache is told by bulk copies",
                names->at[i].text);
            diag_help(p->d,
                      "operands of products and results stored 'via smem' are copied in bulk");
        } else if (param >= 0) {
            p->k->params[param].cache = cache;
        }
    }
}

// The role behind whose last copy, or store, nothing is left to begin.
static int launching_role(const tir_kernel *k) {
    int found = -1;
    for (int c = 0; c < k->n_channels; c++) {
        if (k->channels[c].space == SPACE_SMEM && k->channels[c].n_boxes > 0 &&
            k->channels[c].from > found) {
            found = k->channels[c].from;
        }
    }
    for (int i = 0; i < k->n_roles && found < 0; i++) {
        found = tir_role_waits(k, i) ? i : -1;
    }
    return found;
}

void plan_launch(planner *p) {
    tir_kernel *k = p->k;
    set_cache(p, &p->f->keep, CACHE_KEEP);
    set_cache(p, &p->f->stream, CACHE_STREAM);
    k->pdl = p->f->pdl.n > 0;
    for (int i = 0; i < p->f->pdl.n && p->ok; i++) {
        int param = find_tensor(p, &p->f->pdl.at[i], "pdl");
        if (param >= 0) {
            k->params[param].previous = true;
        }
    }
    for (int i = 0; i < k->n_roles && k->pdl && p->ok; i++) {
        k->roles[i].waits = tir_role_waits(k, i);
    }
    if (k->pdl && p->ok) {
        k->roles[launching_role(k)].launches = p->f->pdl_first ? LAUNCH_FIRST : LAUNCH_LAST;
    }
}
