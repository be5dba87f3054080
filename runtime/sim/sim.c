// The simulator's interface: devices, modules, tensor maps. sim.h says what each function does.
#include "core.h"
#include "haz.h"
#include <stdlib.h>

#define DEFAULT_SMS 8
#define DEFAULT_MEMORY ((uint64_t)16 << 30)

sim *sim_open(const sim_options *options) {
    sim *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    if (options != NULL) {
        s->options = *options;
    }
    s->mem.limit = s->options.memory_bytes > 0 ? s->options.memory_bytes : DEFAULT_MEMORY;
    return s;
}

int sim_sm_count(const sim *s) {
    return s->options.sms > 0 ? s->options.sms : DEFAULT_SMS;
}

const char *sim_last_error(const sim *s) {
    return s->error;
}

void sim_get_stats(const sim *s, sim_stats *out) {
    *out = s->stats;
}

const char *sim_printed(const sim *s, size_t *lost) {
    *lost = s->printed_lost;
    return s->n_printed == 0 ? "" : s->printed;
}

// ---- modules ------------------------------------------------------------------------------------
static void free_module(struct sim_module *m) {
    for (struct module_global *g = m->globals; g != NULL; g = g->next) {
        sim_free(m->sim, g->address);
    }
    for (size_t n = 0; n < m->n_kernels; n++) {
        free(m->kernels[n]->code);
        free(m->kernels[n]->source);
        free(m->kernels[n]->text_at);
        free(m->kernels[n]->consts);
        free(m->kernels[n]->uses);
    }
    free(m->kernels);
    free(m->text);
    sim_arena_free(&m->arena);
    free(m);
}

int sim_module_load(sim *s, const char *text, size_t length, sim_module **out) {
    *out = NULL;
    sim_module *m = calloc(1, sizeof *m);
    char *copy = malloc(length + 1);
    if (m == NULL || copy == NULL) {
        free(m);
        free(copy);
        return sim_set_error(s, SIM_ERROR_MEMORY, "out of host memory");
    }
    if (length > 0) {
        memcpy(copy, text, length);
    }
    copy[length] = '\0';
    m->text = copy;
    m->length = length;
    m->sim = s;
    int status = ptx_load(s, m->text, length, m);
    if (status != SIM_OK) {
        free_module(m);
        return status;
    }
    m->next = s->modules;
    s->modules = m;
    *out = m;
    return SIM_OK;
}

void sim_module_free(sim *s, sim_module *m) {
    for (sim_module **at = &s->modules; *at != NULL; at = &(*at)->next) {
        if (*at == m) {
            *at = m->next;
            free_module(m);
            return;
        }
    }
}

void sim_close(sim *s) {
    if (s == NULL) {
        return;
    }
    while (s->modules != NULL) {
        sim_module_free(s, s->modules);
    }
    for (size_t n = 0; n < s->mem.n; n++) {
        free(s->mem.list[n].host);
    }
    free(s->mem.list);
    free(s->printed);
    haz_free_findings(s);
    free(s);
}

int sim_module_target(const sim_module *m) {
    return m->target;
}

size_t sim_module_kernel_count(const sim_module *m) {
    return m->n_kernels;
}

const sim_kernel *sim_module_kernel(const sim_module *m, size_t index) {
    return index < m->n_kernels ? m->kernels[index] : NULL;
}

const sim_kernel *sim_kernel_find(const sim_module *m, const char *name) {
    for (size_t n = 0; n < m->n_kernels; n++) {
        if (strcmp(m->kernels[n]->name, name) == 0) {
            return m->kernels[n];
        }
    }
    return NULL;
}

bool sim_module_global(const sim_module *m, const char *name, uint64_t *address, size_t *bytes) {
    for (const struct module_global *g = m->globals; g != NULL; g = g->next) {
        if (strcmp(g->name, name) == 0) {
            *address = g->address;
            *bytes = g->bytes;
            return true;
        }
    }
    return false;
}

void sim_kernel_get_info(const sim_kernel *k, sim_kernel_info *out) {
    *out = (sim_kernel_info){.name = k->name,
                             .n_params = k->n_params,
                             .params = k->params,
                             .param_bytes = k->param_bytes,
                             .static_smem = k->static_smem,
                             .max_regs = k->max_regs,
                             .instructions = k->n_code,
                             .cooperative = k->cooperative};
    memcpy(out->max_threads, k->max_threads, sizeof out->max_threads);
    memcpy(out->req_threads, k->req_threads, sizeof out->req_threads);
    memcpy(out->cluster, k->cluster, sizeof out->cluster);
}

// ---- tensor maps --------------------------------------------------------------------------------
int sim_tensormap_encode(sim *s, uint8_t out[128], const sim_tensormap *map) {
    struct unit_tmap_args args = {.dtype = map->dtype,
                                  .rank = map->rank,
                                  .address = map->address,
                                  .dim = map->dim,
                                  .stride = map->stride,
                                  .box = map->box,
                                  .elem_stride = map->elem_stride,
                                  .interleave = map->interleave,
                                  .swizzle = map->swizzle,
                                  .l2 = map->l2,
                                  .oob_nan = map->oob_nan};
    struct sim_tmap encoded;
    char reason[256];
    if (!unit_tmap_encode(&encoded, &args, reason, sizeof reason)) {
        return sim_set_error(s, SIM_ERROR_ARGUMENT, "%s", reason);
    }
    memcpy(out, &encoded, sizeof encoded);
    return SIM_OK;
}
