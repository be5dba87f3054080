// Reads a launch file (fp4sim.md) and runs its launches. Nothing here trusts the file: every value
// is checked and every refusal names its place.
#include "job.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool job_fail(struct job *j, const char *where, const char *format, ...) {
    char text[500];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(j->error, sizeof j->error, "%s: %.120s%s%s", j->launch_path, where,
             where[0] == '\0' ? "" : ": ", text);
    return false;
}

bool job_keys(struct job *j, const char *where, const cJSON *object, const char *known) {
    if (!cJSON_IsObject(object)) {
        return job_fail(j, where, "an object {...} is expected");
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        char word[60];
        snprintf(word, sizeof word, " %.50s ", item->string);
        if (strstr(known, word) == NULL) {
            return job_fail(j, where, "unknown key '%.50s'; known are%.300s", item->string, known);
        }
    }
    return true;
}

bool job_number(struct job *j, const char *where, const cJSON *v, uint64_t most, uint64_t *out) {
    if (cJSON_IsString(v)) { // numbers that doubles cannot hold, and hexadecimal ones
        char *end;
        *out = strtoull(v->valuestring, &end, 0);
        if (end == v->valuestring || *end != '\0' || *out > most) {
            return job_fail(j, where, "'%.40s' is not a number up to %llu", v->valuestring,
                            (unsigned long long)most);
        }
        return true;
    }
    double d = cJSON_IsNumber(v) ? v->valuedouble : -1;
    if (!(d >= 0) || d != floor(d) || d > 9007199254740992.0 || d > (double)most) {
        return job_fail(j, where, "a whole number from 0 to %llu is expected",
                        (unsigned long long)most);
    }
    *out = (uint64_t)d;
    return true;
}

char *job_path(const struct job *j, const char *name) {
    size_t n = strlen(j->directory) + strlen(name) + 1;
    char *path = malloc(n);
    if (path != NULL) {
        snprintf(path, n, "%s%s", name[0] == '/' ? "" : j->directory, name);
    }
    return path;
}

uint8_t *read_file(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    uint8_t *all = NULL;
    size_t n = 0;
    size_t capacity = 0;
    while (f != NULL) {
        if (n == capacity) {
            capacity = capacity == 0 ? 1 << 16 : 2 * capacity;
            uint8_t *more = realloc(all, capacity + 1);
            if (more == NULL) {
                free(all);
                all = NULL;
                break;
            }
            all = more;
        }
        size_t got = fread(all + n, 1, capacity - n, f);
        n += got;
        if (got == 0) {
            break;
        }
    }
    if (f == NULL || ferror(f)) {
        free(all);
        all = NULL;
    }
    if (f != NULL) {
        fclose(f);
    }
    if (all != NULL) {
        all[n] = '\0';
    }
    *bytes = n;
    return all;
}

// ---- the top of the file ------------------------------------------------------------------------
static bool read_policy(struct job *j) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(j->root, "policy");
    static const char *const names[] = {"eager", "lazy", "random"};
    if (v == NULL) {
        return true;
    }
    for (int n = 0; n < 3 && cJSON_IsString(v); n++) {
        if (strcmp(v->valuestring, names[n]) == 0) {
            j->policy = (sim_policy)n;
            return true;
        }
    }
    return job_fail(j, "policy", "\"eager\", \"lazy\" or \"random\" is expected");
}

static bool read_hazards(struct job *j) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(j->root, "hazards");
    for (int n = 0; n < 4 && cJSON_IsString(v); n++) {
        if (strcmp(v->valuestring, hazard_words[n]) == 0) {
            j->hazards = (sim_hazards)n;
            return true;
        }
    }
    return v == NULL ||
           job_fail(j, "hazards", "\"off\", \"practice\", \"strict\" or \"manual\" is expected");
}

static bool read_number(struct job *j, const char *key, uint64_t most, uint64_t *out) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(j->root, key);
    return v == NULL || job_number(j, key, v, most, out);
}

static bool read_decisions(struct job *j, const char *path) {
    size_t n;
    char *text = (char *)read_file(path, &n);
    if (text == NULL) {
        snprintf(j->error, sizeof j->error, "cannot read '%s'", path);
        return false;
    }
    char *at = text;
    for (;;) {
        char *end;
        unsigned long v = strtoul(at, &end, 10);
        if (end == at) {
            break;
        }
        if (j->replay.count == j->replay.capacity) {
            size_t more = j->replay.capacity == 0 ? 1024 : 2 * j->replay.capacity;
            uint32_t *list = realloc(j->replay.list, more * sizeof *list);
            if (list == NULL) {
                break;
            }
            j->replay.list = list;
            j->replay.capacity = more;
        }
        j->replay.list[j->replay.count++] = (uint32_t)v;
        at = end;
    }
    bool ok = at[strspn(at, " \t\r\n")] == '\0';
    if (!ok) {
        snprintf(j->error, sizeof j->error, "%s: a decision is a number, not '%.20s'", path,
                 at + strspn(at, " \t\r\n"));
    }
    free(text);
    return ok;
}

static bool read_top(struct job *j, const struct options *o) {
    uint64_t sms = 8;
    j->policy = SIM_EAGER;
    bool ok = job_keys(j, "", j->root,
                       " kernel grid block cluster shared params launches buffers sms policy seed "
                       "hazards max_instructions comment ") &&
              read_policy(j) && read_hazards(j) && read_number(j, "sms", 1024, &sms) &&
              read_number(j, "seed", UINT64_MAX, &j->seed) &&
              read_number(j, "max_instructions", UINT64_MAX, &j->max_steps);
    j->sms = o->sms > 0 ? o->sms : (int)sms;
    j->seed = o->has_seed ? o->seed : j->seed;
    j->policy = o->policy >= 0 ? (sim_policy)o->policy : j->policy;
    j->hazards = o->hazards >= 0 ? (sim_hazards)o->hazards : j->hazards;
    j->records = o->log != NULL;
    j->replays = o->replay != NULL;
    if (ok && (j->records || j->replays)) {
        j->policy = SIM_RANDOM; // only it takes decisions
    }
    return ok && (!j->replays || read_decisions(j, o->replay));
}

static bool load_module(struct job *j) {
    size_t n;
    char *text = (char *)read_file(j->ptx_path, &n);
    if (text == NULL) {
        snprintf(j->error, sizeof j->error, "cannot read '%s'", j->ptx_path);
        return false;
    }
    int status = sim_module_load(j->sim, text, n, &j->module);
    free(text);
    if (status != SIM_OK) {
        const char *why = sim_last_error(j->sim);
        bool located = strncmp(why, "ptx:", 4) == 0;
        snprintf(j->error, sizeof j->error, "%s:%s%s", j->ptx_path, located ? "" : " ",
                 located ? why + 4 : why);
    }
    return status == SIM_OK;
}

bool job_read(struct job *j, const struct options *o) {
    j->ptx_path = o->ptx;
    j->image_path = o->image;
    j->beside_gpu = o->gpu;
    j->launch_path = o->launch != NULL ? o->launch : "launch";
    if (o->launch != NULL) {
        size_t n;
        const char *slash = strrchr(o->launch, '/');
        j->directory = strndup(o->launch, slash == NULL ? 0 : (size_t)(slash + 1 - o->launch));
        char *text = (char *)read_file(o->launch, &n);
        if (text == NULL || j->directory == NULL) {
            free(text);
            snprintf(j->error, sizeof j->error, "cannot read '%s'", o->launch);
            return false;
        }
        const char *end;
        j->root = cJSON_ParseWithLengthOpts(text, n + 1, &end, true);
        size_t line = 1;
        for (const char *s = text; s < end && s < text + n; s++) {
            line += *s == '\n';
        }
        free(text);
        if (j->root == NULL) {
            snprintf(j->error, sizeof j->error, "%s:%zu: this is not JSON", o->launch, line);
            return false;
        }
        if (!read_top(j, o)) {
            return false;
        }
    }
    j->sim = sim_open(&(sim_options){.sms = j->sms, .hazards = j->hazards, .threads = o->threads});
    if (j->sim == NULL) {
        snprintf(j->error, sizeof j->error, "out of memory");
        return false;
    }
    return load_module(j);
}

// ---- launches -----------------------------------------------------------------------------------
static bool read_size(struct job *j, const char *where, const cJSON *v, uint32_t out[3]) {
    uint64_t n;
    out[0] = out[1] = out[2] = 1;
    if (!cJSON_IsArray(v)) {
        bool ok = job_number(j, where, v, UINT32_MAX, &n);
        out[0] = ok ? (uint32_t)n : 0;
        return ok;
    }
    int count = cJSON_GetArraySize(v);
    if (count < 1 || count > 3) {
        return job_fail(j, where, "one to three numbers are expected");
    }
    for (int a = 0; a < count; a++) {
        if (!job_number(j, where, cJSON_GetArrayItem(v, a), UINT32_MAX, &n)) {
            return false;
        }
        out[a] = (uint32_t)n;
    }
    return true;
}

// The kernel of that name, or the only one whose name contains it; without a name the only one.
static const sim_kernel *find_kernel(struct job *j, const char *where, const cJSON *name) {
    size_t n = sim_module_kernel_count(j->module);
    if (name != NULL && !cJSON_IsString(name)) {
        job_fail(j, where, "kernel: a name is expected");
        return NULL;
    }
    const char *want = name == NULL ? "" : name->valuestring;
    const sim_kernel *found = sim_kernel_find(j->module, want);
    int matches = found != NULL;
    for (size_t k = 0; k < n && found == NULL; k++) {
        sim_kernel_info info;
        sim_kernel_get_info(sim_module_kernel(j->module, k), &info);
        matches += strstr(info.name, want) != NULL;
    }
    for (size_t k = 0; k < n && matches == 1 && found == NULL; k++) {
        sim_kernel_info info;
        sim_kernel_get_info(sim_module_kernel(j->module, k), &info);
        found = strstr(info.name, want) != NULL ? sim_module_kernel(j->module, k) : NULL;
    }
    if (found == NULL) {
        job_fail(j, where, "kernel '%.80s': %d of the %zu kernels have that in their names", want,
                 matches, n);
    }
    return found;
}

static bool read_config(struct job *j, const char *where, const cJSON *l, sim_launch_config *c) {
    static const char *const keys[] = {"grid", "block", "cluster"};
    uint32_t *const to[] = {c->grid, c->block, c->cluster};
    for (int n = 0; n < 3; n++) {
        const cJSON *v = cJSON_GetObjectItemCaseSensitive(l, keys[n]);
        if (v == NULL && n < 2) {
            return job_fail(j, where, "'%s' is missing", keys[n]);
        }
        if (v != NULL && !read_size(j, keys[n], v, to[n])) {
            return false;
        }
    }
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(l, "shared");
    uint64_t shared = 0;
    if (v != NULL && !job_number(j, "shared", v, UINT32_MAX, &shared)) {
        return false;
    }
    c->dynamic_smem = (uint32_t)shared;
    c->policy = j->policy;
    c->seed = j->seed;
    c->max_steps = j->max_steps;
    c->replay = j->replays ? &j->replay : NULL;
    c->record = j->records ? &j->record : NULL;
    return true;
}

static void keep_findings(struct job *j, struct launch_result *r) {
    static const char *const severities[] = {"info", "manual", "strict", "error"};
    size_t n = sim_finding_count(j->sim, SIM_SEVERITY_INFO);
    r->findings = calloc(n + 1, sizeof *r->findings);
    for (size_t k = 0; r->findings != NULL && k < n; k++) {
        const sim_finding *f = sim_finding_at(j->sim, k);
        struct finding *to = &r->findings[r->n_findings++];
        *to = (struct finding){.text = strdup(f->text),
                               .kind = f->kind,
                               .severity = severities[f->severity],
                               .line = {f->line[0], f->line[1]},
                               .count = f->count};
        r->n_errors += f->severity == SIM_SEVERITY_ERROR;
    }
}

// On the simulated GPU.
static bool simulate(struct job *j, const char *where, const sim_kernel *k,
                     const sim_launch_config *c) {
    (void)where;
    struct launch_result *r = &j->results[j->n_results++];
    sim_kernel_info info;
    sim_kernel_get_info(k, &info);
    r->kernel = info.name;
    r->config = *c;
    r->status = sim_launch(j->sim, k, &r->config);
    sim_get_stats(j->sim, &r->stats);
    r->message = r->status == SIM_OK ? NULL : strdup(sim_last_error(j->sim));
    keep_findings(j, r);
    r->printed = strdup(sim_printed(j->sim, &r->printed_lost));
    r->config.param_buffer = NULL;
    return true;
}

static bool launch_one(struct job *j, const char *where, const cJSON *l, job_launch launch) {
    const sim_kernel *k = find_kernel(j, where, cJSON_GetObjectItemCaseSensitive(l, "kernel"));
    sim_launch_config c = {.grid = {0}};
    if (k == NULL || !read_config(j, where, l, &c)) {
        return false;
    }
    sim_kernel_info info;
    sim_kernel_get_info(k, &info);
    uint8_t *params = calloc(1, (size_t)info.param_bytes + 1);
    if (params == NULL) {
        return job_fail(j, where, "out of memory");
    }
    c.param_buffer = params;
    c.param_buffer_bytes = info.param_bytes;
    bool ok = params_pack(j, where, cJSON_GetObjectItemCaseSensitive(l, "params"), &info, params) &&
              launch(j, where, k, &c);
    free(params);
    return ok;
}

bool job_launches(struct job *j, job_launch launch) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(j->root, "launches");
    if (list == NULL) {
        return launch_one(j, "", j->root, launch);
    }
    int n = cJSON_GetArraySize(list);
    for (int k = 0; k < n; k++) {
        char where[40];
        snprintf(where, sizeof where, "launches[%d]", k);
        const cJSON *l = cJSON_GetArrayItem(list, k);
        if (!job_keys(j, where, l, " kernel grid block cluster shared params comment ") ||
            !launch_one(j, where, l, launch)) {
            return false;
        }
        if (j->results[k].status != SIM_OK) {
            break;
        }
    }
    return true;
}

bool job_run(struct job *j) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(j->root, "launches");
    int n = list == NULL ? 1 : cJSON_GetArraySize(list);
    j->results = calloc((size_t)n + 1, sizeof *j->results);
    if (j->results == NULL || (list != NULL && !cJSON_IsArray(list))) {
        return job_fail(j, "launches", "a list [...] is expected");
    }
    return job_launches(j, simulate);
}

void job_free(struct job *j) {
    for (int n = 0; n < j->n_results; n++) {
        free(j->results[n].message);
        for (size_t k = 0; k < j->results[n].n_findings; k++) {
            free(j->results[n].findings[k].text);
        }
        free(j->results[n].findings);
        free(j->results[n].printed);
    }
    for (int n = 0; n < j->n_buffers; n++) {
        free(j->buffers[n].host);
        free(j->buffers[n].start);
    }
    free(j->results);
    free(j->buffers);
    free(j->directory);
    free(j->replay.list);
    free(j->record.list);
    cJSON_Delete(j->root);
    if (j->sim != NULL) {
        sim_close(j->sim);
    }
}
