// What a run did, as text for people and as JSON for programs.
#include "job.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const hazard_words[4] = {"off", "practice", "strict", "manual"}; // ORDER sim_hazards

const char *status_word(int status) {
    switch (status) {
    case SIM_OK:
        return "ended";
    case SIM_ERROR_FAULT:
        return "fault";
    case SIM_ERROR_DEADLOCK:
        return "deadlock";
    case SIM_ERROR_STEPS:
        return "steps";
    case SIM_ERROR_MEMORY:
        return "memory";
    default:
        return "refused";
    }
}

const char *policy_word(sim_policy p) {
    return p == SIM_EAGER ? "eager" : p == SIM_LAZY ? "lazy" : "random";
}

void report_kernels(const sim_module *m) {
    printf("target sm_%d, %zu kernels\n", sim_module_target(m), sim_module_kernel_count(m));
    for (size_t n = 0; n < sim_module_kernel_count(m); n++) {
        sim_kernel_info k;
        sim_kernel_get_info(sim_module_kernel(m, n), &k);
        printf("%s\n  %u instructions, %u bytes of static shared memory", k.name, k.instructions,
               k.static_smem);
        if (k.max_threads[0] != 0) {
            printf(", at most %u x %u x %u threads", k.max_threads[0], k.max_threads[1],
                   k.max_threads[2]);
        }
        if (k.cluster[0] != 0) {
            printf(", clusters of %u x %u x %u", k.cluster[0], k.cluster[1], k.cluster[2]);
        }
        printf("\n  %u parameters, %u bytes:", k.n_params, k.param_bytes);
        for (uint32_t p = 0; p < k.n_params; p++) {
            printf(" %u at %u%s", k.params[p].bytes, k.params[p].offset,
                   p + 1 < k.n_params ? "," : "");
        }
        printf("\n");
    }
}

static void order_text(uint64_t order) {
    if (order == 0) {
        printf("  order: the run used nothing that depends on the order of execution\n");
        return;
    }
    const char *between = "  order: the run used what depends on the order of execution: ";
    for (int n = 0; n < SIM_ORDER_KINDS; n++) {
        if ((order >> n & 1) != 0) {
            printf("%s%s", between, sim_order_text(1 << n));
            between = ", ";
        }
    }
    printf("\n");
}

// Each line of what the kernel has printed, behind a bar.
static void printed_text(const struct launch_result *r) {
    for (const char *s = r->printed == NULL ? "" : r->printed; *s != '\0';) {
        size_t n = strcspn(s, "\n");
        printf("  | %.*s\n", (int)n, s);
        s += n + (s[n] == '\n');
    }
    if (r->printed_lost > 0) {
        printf("  | and %zu bytes more\n", r->printed_lost);
    }
}

static uint64_t hash_of(const struct buffer *b) { // FNV-1a
    uint64_t h = 0xCBF29CE484222325u;
    for (uint64_t n = 0; n < b->bytes; n++) {
        h = (h ^ b->host[n]) * 0x100000001B3u;
    }
    return h;
}

static void findings_text(const struct job *j, const struct launch_result *r) {
    if (j->hazards == SIM_HAZARDS_OFF) {
        return;
    }
    printf("  hazards (%s): %zu findings, %zu of them errors\n", hazard_words[j->hazards],
           r->n_findings, r->n_errors);
    for (size_t n = 0; n < r->n_findings; n++) {
        printf("  %s, %s: %s\n", r->findings[n].severity, r->findings[n].kind, r->findings[n].text);
    }
}

static void buffer_text(const struct job *j, const struct buffer *b) {
    if (b->save == NULL && !b->compared && !b->gpu_compared) {
        return;
    }
    printf("  %s: %llu x %s, hash %016llx%s%s", b->name, (unsigned long long)b->count,
           buffer_type_name(b), (unsigned long long)hash_of(b),
           b->save != NULL ? ", saved as " : "", b->save != NULL ? b->save : "");
    if (b->compared && b->differing == 0) {
        printf(", equals %s", b->expect);
    } else if (b->compared) {
        printf(", %llu elements differ from %s, the first is %llu",
               (unsigned long long)b->differing, b->expect, (unsigned long long)b->first);
    }
    if (b->gpu_compared && b->gpu_differing == 0) {
        printf(", equal on the GPU %s", j->gpu_name);
    } else if (b->gpu_compared) {
        printf(", %llu bytes differ on the GPU %s, the first is %llu",
               (unsigned long long)b->gpu_differing, j->gpu_name, (unsigned long long)b->gpu_first);
    }
    printf("\n");
}

void report_text(const struct job *j) {
    for (int n = 0; n < j->n_results; n++) {
        const struct launch_result *r = &j->results[n];
        const sim_launch_config *c = &r->config;
        printf(
            "%s\n  grid %u x %u x %u of %u x %u x %u threads, %u bytes of dynamic shared memory, "
            "%d SMs, %s",
            r->kernel, c->grid[0], c->grid[1], c->grid[2], c->block[0], c->block[1], c->block[2],
            c->dynamic_smem, j->sms, policy_word(c->policy));
        if (c->policy == SIM_RANDOM && !j->replays) {
            printf(" (seed %llu)", (unsigned long long)c->seed);
        }
        printf("\n  %s: %llu warp instructions, %llu multiply-adds, %llu bytes copied, %llu CTAs, "
               "%.3f s\n",
               status_word(r->status), (unsigned long long)r->stats.warp_instructions,
               (unsigned long long)r->stats.macs, (unsigned long long)r->stats.tma_bytes,
               (unsigned long long)r->stats.ctas, (double)r->stats.ns * 1e-9);
        if (r->message != NULL) {
            printf("  %s\n", r->message);
        }
        printed_text(r);
        order_text(r->stats.order);
        findings_text(j, r);
    }
    for (int n = 0; n < j->n_buffers; n++) {
        buffer_text(j, &j->buffers[n]);
    }
}

// ---- JSON ---------------------------------------------------------------------------------------
static cJSON *triple(const uint32_t v[3]) {
    int list[3] = {(int)v[0], (int)v[1], (int)v[2]};
    return cJSON_CreateIntArray(list, 3);
}

static cJSON *result_json(const struct job *j, const struct launch_result *r) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "kernel", r->kernel);
    cJSON_AddStringToObject(o, "status", status_word(r->status));
    if (r->message != NULL) {
        cJSON_AddStringToObject(o, "message", r->message);
    }
    cJSON_AddStringToObject(o, "printed", r->printed == NULL ? "" : r->printed);
    cJSON_AddItemToObject(o, "grid", triple(r->config.grid));
    cJSON_AddItemToObject(o, "block", triple(r->config.block));
    cJSON_AddStringToObject(o, "policy", policy_word(r->config.policy));
    cJSON_AddNumberToObject(o, "seed", (double)r->config.seed);
    cJSON_AddNumberToObject(o, "sms", j->sms);
    cJSON_AddNumberToObject(o, "warp_instructions", (double)r->stats.warp_instructions);
    cJSON_AddNumberToObject(o, "multiply_adds", (double)r->stats.macs);
    cJSON_AddNumberToObject(o, "bytes_copied", (double)r->stats.tma_bytes);
    cJSON_AddNumberToObject(o, "ctas", (double)r->stats.ctas);
    cJSON_AddNumberToObject(o, "clusters_canceled", (double)r->stats.canceled);
    cJSON_AddNumberToObject(o, "cpu_seconds", (double)r->stats.ns * 1e-9);
    cJSON *order = cJSON_AddArrayToObject(o, "order_dependent");
    for (int n = 0; n < SIM_ORDER_KINDS; n++) {
        if ((r->stats.order >> n & 1) != 0) {
            cJSON_AddItemToArray(order, cJSON_CreateString(sim_order_text(1 << n)));
        }
    }
    cJSON_AddStringToObject(o, "hazards", hazard_words[j->hazards]);
    cJSON *findings = cJSON_AddArrayToObject(o, "findings");
    for (size_t n = 0; n < r->n_findings; n++) {
        const struct finding *f = &r->findings[n];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "kind", f->kind);
        cJSON_AddStringToObject(item, "severity", f->severity);
        cJSON_AddNumberToObject(item, "line", f->line[0]);
        cJSON_AddNumberToObject(item, "earlier_line", f->line[1]);
        cJSON_AddNumberToObject(item, "count", (double)f->count);
        cJSON_AddStringToObject(item, "text", f->text);
        cJSON_AddItemToArray(findings, item);
    }
    return o;
}

static cJSON *buffer_json(const struct buffer *b) {
    char hash[20];
    cJSON *o = cJSON_CreateObject();
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)hash_of(b));
    cJSON_AddStringToObject(o, "name", b->name);
    cJSON_AddStringToObject(o, "type", buffer_type_name(b));
    cJSON_AddNumberToObject(o, "elements", (double)b->count);
    cJSON_AddStringToObject(o, "hash", hash);
    if (b->save != NULL) {
        cJSON_AddStringToObject(o, "saved", b->save);
    }
    if (b->compared) {
        cJSON_AddNumberToObject(o, "differing", (double)b->differing);
    }
    if (b->compared && b->differing > 0) {
        cJSON_AddNumberToObject(o, "first_differing", (double)b->first);
    }
    if (b->gpu_compared) {
        cJSON_AddNumberToObject(o, "gpu_differing_bytes", (double)b->gpu_differing);
    }
    return o;
}

bool report_json(struct job *j, const char *path) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "ptx", j->ptx_path);
    cJSON *list = cJSON_AddArrayToObject(root, "launches");
    for (int n = 0; n < j->n_results; n++) {
        cJSON_AddItemToArray(list, result_json(j, &j->results[n]));
    }
    list = cJSON_AddArrayToObject(root, "buffers");
    for (int n = 0; n < j->n_buffers; n++) {
        cJSON_AddItemToArray(list, buffer_json(&j->buffers[n]));
    }
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *f = to_stdout ? stdout : fopen(path, "wb");
    bool ok = text != NULL && f != NULL && fprintf(f, "%s\n", text) > 0;
    if (f != NULL && !to_stdout) {
        ok = fclose(f) == 0 && ok;
    }
    free(text);
    if (!ok) {
        snprintf(j->error, sizeof j->error, "cannot write '%s'", path);
    }
    return ok;
}
