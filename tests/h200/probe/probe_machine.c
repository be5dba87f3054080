// Two machines behind one table: the simulator (sim.h) and a GPU (the driver API, by dlopen).
#include "cuda_driver.h"
#include "probe.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- The simulator ---------------------------------------------------------------------------------

typedef struct {
    machine base;
    sim *s;
    sim_module *module;
    const sim_kernel *kernel;
    sim_policy policy;
} sim_machine;

static const char *told(const sim_machine *m, int status) {
    return status == SIM_OK ? NULL : sim_last_error(m->s);
}

static const char *sim_load(machine *base, const char *ptx, const char *kernel) {
    sim_machine *m = (sim_machine *)base;
    const char *wrong = told(m, sim_module_load(m->s, ptx, strlen(ptx), &m->module));
    m->kernel = wrong == NULL ? sim_kernel_find(m->module, kernel) : NULL;
    return wrong;
}

static void sim_unload(machine *base) {
    sim_machine *m = (sim_machine *)base;
    if (m->module != NULL) {
        sim_module_free(m->s, m->module);
    }
    m->module = NULL;
}

static const char *sim_run(machine *base, const probe_launch *l) {
    sim_machine *m = (sim_machine *)base;
    return told(m, sim_launch(m->s, m->kernel,
                              &(sim_launch_config){.grid = {l->grid},
                                                   .block = {l->block},
                                                   .dynamic_smem = l->smem,
                                                   .params = l->params,
                                                   .policy = m->policy}));
}

static const char *sim_to(machine *base, uint64_t to, const void *from, size_t bytes) {
    sim_machine *m = (sim_machine *)base;
    return told(m, sim_copy_to(m->s, to, from, bytes));
}

static const char *sim_from(machine *base, void *to, uint64_t from, size_t bytes) {
    sim_machine *m = (sim_machine *)base;
    return told(m, sim_copy_from(m->s, to, from, bytes));
}

static const char *sim_map(machine *base, uint8_t out[128], const sim_tensormap *map) {
    sim_machine *m = (sim_machine *)base;
    return told(m, sim_tensormap_encode(m->s, out, map));
}

static void sim_end(machine *base) {
    sim_machine *m = (sim_machine *)base;
    sim_unload(base);
    sim_close(m->s);
    free(m);
}

machine *machine_sim(sim_policy policy) {
    sim_machine *m = calloc(1, sizeof *m);
    m->base = (machine){"simulator", 0, 0, sim_load, sim_unload, sim_run, sim_to, sim_from, sim_map, sim_end};
    m->s = sim_open(NULL);
    m->base.in = sim_alloc(m->s, PROBE_IN);
    m->base.out = sim_alloc(m->s, PROBE_OUT);
    m->policy = policy;
    return &m->base;
}

// --- A GPU ------------------------------------------------------------------------------------------

typedef struct {
    machine base;
    cu_driver cu;
    void *handle;
    void *library, *function;
    char text[512], log[512];
} cuda_machine;

static const char *failed(cuda_machine *m, const char *what, cu_result result) {
    if (result == 0) {
        return NULL;
    }
    const char *text = "unknown error";
    m->cu.error_text(result, &text);
    snprintf(m->text, sizeof m->text, "%s: %s %.300s", what, text, m->log);
    return m->text;
}

static const char *cuda_load(machine *base, const char *ptx, const char *kernel) {
    cuda_machine *m = (cuda_machine *)base;
    m->log[0] = '\0';
    int options[] = {CU_JIT_LOG, CU_JIT_LOG_BYTES};
    void *values[] = {m->log, (void *)(uintptr_t)sizeof m->log};
    const char *wrong =
        failed(m, "load", m->cu.library_load(&m->library, ptx, options, values, 2, NULL, NULL, 0));
    m->log[0] = '\0';
    void *k;
    if (wrong == NULL) {
        wrong = failed(m, "kernel", m->cu.library_kernel(&k, m->library, kernel));
    }
    if (wrong == NULL) {
        wrong = failed(m, "function", m->cu.kernel_function(&m->function, k));
    }
    return wrong;
}

static void cuda_unload(machine *base) {
    cuda_machine *m = (cuda_machine *)base;
    if (m->library != NULL) {
        m->cu.library_unload(m->library);
    }
    m->library = NULL;
}

static const char *cuda_run(machine *base, const probe_launch *l) {
    cuda_machine *m = (cuda_machine *)base;
    const char *wrong =
        failed(m, "shared memory", m->cu.function_set(m->function, CU_FUNCTION_MAX_DYNAMIC_SMEM, (int)l->smem));
    cu_launch_config c = {.grid = {l->grid, 1, 1}, .block = {l->block, 1, 1}, .smem_bytes = l->smem};
    if (wrong == NULL) {
        wrong = failed(m, "launch", m->cu.launch(&c, m->function, (void **)l->params, NULL));
    }
    return wrong != NULL ? wrong : failed(m, "run", m->cu.stream_sync(NULL));
}

static const char *cuda_to(machine *base, uint64_t to, const void *from, size_t bytes) {
    cuda_machine *m = (cuda_machine *)base;
    return failed(m, "copy", m->cu.copy_to(to, from, bytes, NULL));
}

static const char *cuda_from(machine *base, void *to, uint64_t from, size_t bytes) {
    cuda_machine *m = (cuda_machine *)base;
    const char *wrong = failed(m, "copy", m->cu.copy_from(to, from, bytes, NULL));
    return wrong != NULL ? wrong : failed(m, "copy", m->cu.stream_sync(NULL));
}

static const char *cuda_map(machine *base, uint8_t out[128], const sim_tensormap *t) {
    cuda_machine *m = (cuda_machine *)base;
    static const uint32_t ones[] = {1, 1, 1, 1, 1};
    _Alignas(64) uint8_t map[128];
    cu_result r = m->cu.tensormap(map, t->dtype, t->rank, (void *)(uintptr_t)t->address, t->dim, t->stride, t->box,
                                  t->elem_stride != NULL ? t->elem_stride : ones, t->interleave, t->swizzle, t->l2,
                                  t->oob_nan);
    memcpy(out, map, sizeof map);
    return failed(m, "tensor map", r);
}

static void cuda_end(machine *base) {
    cuda_machine *m = (cuda_machine *)base;
    cuda_unload(base);
    dlclose(m->handle);
    free(m);
}

machine *machine_cuda(const char **why) {
    static char text[512];
    cuda_machine *m = calloc(1, sizeof *m);
    m->base = (machine){"GPU", 0, 0, cuda_load, cuda_unload, cuda_run, cuda_to, cuda_from, cuda_map, cuda_end};
    m->handle = dlopen("libcuda.so.1", RTLD_NOW);
    *why = m->handle == NULL ? "there is no libcuda.so.1" : NULL;
#define CU(field, symbol, parameters)                                                              \
    if (*why == NULL && (*(void **)&m->cu.field = dlsym(m->handle, #symbol)) == NULL) {            \
        *why = "libcuda.so.1 lacks " #symbol;                                                      \
    }
    CU_FUNCTIONS(CU)
#undef CU
    cu_device device;
    void *context;
    if (*why == NULL && (*why = failed(m, "init", m->cu.init(0))) == NULL &&
        (*why = failed(m, "device", m->cu.device_get(&device, 0))) == NULL &&
        (*why = failed(m, "context", m->cu.context_retain(&context, device))) == NULL &&
        (*why = failed(m, "context", m->cu.context_push(context))) == NULL) {
        cu_address in, out;
        *why = failed(m, "memory", m->cu.alloc(&in, PROBE_IN));
        *why = *why != NULL ? *why : failed(m, "memory", m->cu.alloc(&out, PROBE_OUT));
        m->base.in = in;
        m->base.out = out;
    }
    if (*why != NULL) {
        snprintf(text, sizeof text, "%s", *why);
        *why = text;
        free(m);
        return NULL;
    }
    return &m->base;
}
