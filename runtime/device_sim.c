// The simulator as a device: the table's functions over sim/sim.h. It runs the PTX of any target.
//
// A sim serves one thread at a time, so every call holds the device's lock. Streams do not exist
// here: each call has finished when it returns, whatever 'stream' says.
#include "rt.h"
#include "sim.h"
#include <stdio.h>
#include <string.h>

struct rt_device {
    rt_heap *heap;
    sim *sim;
    pthread_mutex_t lock;
    sim_policy policy;
    uint64_t seed;
    sim_severity least; // of findings that make a launch fail
    sim_stats sums;
};

// An image is a sim_module, a function a sim_kernel.
static sim_module *module_of(rt_image *image) {
    return (sim_module *)image;
}

static fp4_status status_of(int status) {
    switch (status) {
    case SIM_OK:
        return FP4_OK;
    case SIM_ERROR_MEMORY:
        return FP4_ERROR_MEMORY;
    case SIM_ERROR_ARGUMENT:
        return FP4_ERROR_ARGUMENT;
    case SIM_ERROR_PTX:
        return FP4_ERROR_MODULE;
    default:
        return FP4_ERROR_DEVICE;
    }
}

// Ends a locked call: the status of the simulator with its sentence.
static fp4_status done(rt_device *device, int status, const char *what) {
    fp4_status result = status_of(status);
    if (result != FP4_OK) {
        rt_fail(result, "simulator: %s: %s", what, sim_last_error(device->sim));
    }
    pthread_mutex_unlock(&device->lock);
    return result;
}

// A launch that ran: fails when the hazard detector has something to say.
static fp4_status launched(rt_device *device, const char *what) {
    size_t n = sim_finding_count(device->sim, device->least);
    fp4_status result = FP4_OK;
    for (int s = SIM_SEVERITY_ERROR; n > 0 && s >= (int)device->least; s--) { // the worst one
        const sim_finding *f = sim_finding_at(device->sim, 0);
        for (size_t i = 1; f != NULL && (int)f->severity != s; i++) {
            f = sim_finding_at(device->sim, i);
        }
        if (f != NULL) {
            result = rt_fail(FP4_ERROR_DEVICE, "simulator: %s: hazard 1 of %zu: %s", what, n,
                             f->text);
            break;
        }
    }
    pthread_mutex_unlock(&device->lock);
    return result;
}

static void sim_device_close(rt_device *device) {
    sim_close(device->sim);
    pthread_mutex_destroy(&device->lock);
    rt_release(device->heap, device, sizeof *device);
}

static fp4_status sim_device_alloc(rt_device *device, uint64_t bytes, uint64_t *address) {
    pthread_mutex_lock(&device->lock);
    *address = sim_alloc(device->sim, (size_t)bytes);
    return done(device, *address ? SIM_OK : SIM_ERROR_MEMORY, "allocation");
}

static fp4_status sim_device_free(rt_device *device, uint64_t address) {
    pthread_mutex_lock(&device->lock);
    return done(device, sim_free(device->sim, address), "free");
}

static fp4_status sim_device_copy_to(rt_device *device, uint64_t dst, const void *src,
                                     uint64_t bytes, void *stream) {
    (void)stream;
    pthread_mutex_lock(&device->lock);
    return done(device, sim_copy_to(device->sim, dst, src, (size_t)bytes), "copy to the device");
}

static fp4_status sim_device_copy_from(rt_device *device, void *dst, uint64_t src, uint64_t bytes,
                                       void *stream) {
    (void)stream;
    pthread_mutex_lock(&device->lock);
    return done(device, sim_copy_from(device->sim, dst, src, (size_t)bytes),
                "copy from the device");
}

static fp4_status sim_device_fill(rt_device *device, uint64_t dst, uint8_t byte, uint64_t bytes,
                                  void *stream) {
    (void)stream;
    pthread_mutex_lock(&device->lock);
    return done(device, sim_fill(device->sim, dst, byte, (size_t)bytes), "fill");
}

static fp4_status sim_device_image_load(rt_device *device, const rt_code *code, rt_image **image) {
    if (!code->ptx) {
        return rt_fail(FP4_ERROR_MODULE,
                       "%s(): the module has no PTX for %s, and the simulator runs nothing else",
                       code->name, code->arch);
    }
    pthread_mutex_lock(&device->lock);
    sim_module *module = NULL;
    int status = sim_module_load(device->sim, code->ptx, code->ptx_bytes, &module);
    *image = (rt_image *)module;
    return done(device, status, code->name);
}

static void sim_device_image_unload(rt_device *device, rt_image *image) {
    pthread_mutex_lock(&device->lock);
    sim_module_free(device->sim, module_of(image));
    pthread_mutex_unlock(&device->lock);
}

static fp4_status sim_device_function_find(rt_device *device, rt_image *image,
                                           const rt_entry *entry, rt_function **function) {
    (void)device;
    const sim_kernel *kernel = sim_kernel_find(module_of(image), entry->name);
    if (!kernel) {
        return rt_fail(FP4_ERROR_MODULE, "the PTX has no entry '%s'", entry->name);
    }
    *function = (rt_function *)kernel;
    return FP4_OK;
}

static fp4_status sim_device_tensormap(rt_device *device, const rt_tensormap *map,
                                       uint8_t out[RT_TENSORMAP_BYTES]) {
    sim_tensormap theirs = {.dtype = (int)map->dtype,
                            .rank = map->rank,
                            .address = map->address,
                            .dim = map->dims,
                            .stride = map->strides,
                            .box = map->box,
                            .swizzle = (int)map->swizzle};
    pthread_mutex_lock(&device->lock);
    return done(device, sim_tensormap_encode(device->sim, out, &theirs), "tensor map");
}

// The description and the PTX must agree on every parameter's size before anything is run.
static fp4_status check_params(const sim_kernel_info *info, const rt_launch *launch) {
    if ((int)info->n_params != launch->n_params) {
        return rt_fail(FP4_ERROR_MODULE, "entry '%s' has %u parameters, the module describes %d",
                       info->name, (unsigned)info->n_params, launch->n_params);
    }
    for (int i = 0; i < launch->n_params; i++) {
        if (info->params[i].bytes != launch->params[i].bytes) {
            return rt_fail(FP4_ERROR_MODULE,
                           "parameter %d of entry '%s' has %u bytes, the module describes %zu", i,
                           info->name, (unsigned)info->params[i].bytes, launch->params[i].bytes);
        }
    }
    return FP4_OK;
}

static fp4_status sim_device_launch(rt_device *device, const rt_launch *launch) {
    const sim_kernel *kernel = (const sim_kernel *)launch->function;
    sim_kernel_info info;
    sim_kernel_get_info(kernel, &info);
    fp4_status status = check_params(&info, launch);
    if (status != FP4_OK) {
        return status;
    }
    uint64_t blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
    if (launch->cooperative && blocks > (uint64_t)sim_sm_count(device->sim)) {
        return rt_fail(FP4_ERROR_DEVICE,
                       "simulator: a cooperative launch of %llu thread blocks, but only the %d "
                       "multiprocessors' one each are sure to be resident at once",
                       (unsigned long long)blocks, sim_sm_count(device->sim));
    }
    void *params[FP4_MAX_ARGS];
    for (int i = 0; i < launch->n_params; i++) {
        params[i] = (void *)launch->params[i].value;
    }
    sim_launch_config config = {.dynamic_smem = launch->smem_bytes,
                                .params = params,
                                .policy = device->policy,
                                .seed = device->seed};
    memcpy(config.grid, launch->grid, sizeof config.grid);
    memcpy(config.block, launch->block, sizeof config.block);
    memcpy(config.cluster, launch->cluster, sizeof config.cluster);
    pthread_mutex_lock(&device->lock);
    int result = sim_launch(device->sim, kernel, &config);
    sim_stats stats;
    sim_get_stats(device->sim, &stats);
    device->sums.warp_instructions += stats.warp_instructions;
    device->sums.macs += stats.macs;
    device->sums.tma_bytes += stats.tma_bytes;
    device->sums.ctas += stats.ctas;
    device->sums.ns += stats.ns;
    return result != SIM_OK ? done(device, result, info.name) : launched(device, info.name);
}

// A mark holds the CPU time of all launches before it.
struct rt_mark {
    uint64_t ns;
};

static fp4_status sim_device_mark_new(rt_device *device, rt_mark **mark) {
    *mark = rt_resize(device->heap, NULL, 0, sizeof **mark);
    if (!*mark) {
        return FP4_ERROR_MEMORY;
    }
    (*mark)->ns = 0;
    return FP4_OK;
}

static void sim_device_mark_free(rt_device *device, rt_mark *mark) {
    rt_release(device->heap, mark, sizeof *mark);
}

static fp4_status sim_device_mark_record(rt_device *device, rt_mark *mark, void *stream) {
    (void)stream;
    pthread_mutex_lock(&device->lock);
    mark->ns = device->sums.ns;
    pthread_mutex_unlock(&device->lock);
    return FP4_OK;
}

static fp4_status sim_device_mark_wait(rt_device *device, rt_mark *mark) {
    (void)device;
    (void)mark;
    return FP4_OK;
}

static fp4_status sim_device_mark_elapsed(rt_device *device, rt_mark *from, rt_mark *to,
                                          double *us) {
    (void)device;
    *us = ((double)to->ns - (double)from->ns) / 1e3;
    return FP4_OK;
}

static fp4_status sim_device_sync(rt_device *device, void *stream) {
    (void)device;
    (void)stream;
    return FP4_OK;
}

static void sim_device_properties(const rt_device *device, rt_properties *properties) {
    *properties = (rt_properties){.n_sms = sim_sm_count(device->sim), .runs_any_arch = true};
    snprintf(properties->name, sizeof properties->name, "sim");
    snprintf(properties->arch, sizeof properties->arch, "any");
}

static void sim_device_stats(rt_device *device, fp4_stats *stats) {
    pthread_mutex_lock(&device->lock);
    stats->thread_blocks = device->sums.ctas;
    stats->warp_instructions = device->sums.warp_instructions;
    stats->macs = device->sums.macs;
    stats->tma_bytes = device->sums.tma_bytes;
    stats->sim_ns = device->sums.ns;
    pthread_mutex_unlock(&device->lock);
}

static fp4_status sim_device_not_captured(rt_device *device, void *stream, const char *what) {
    (void)device;
    (void)stream;
    (void)what;
    return FP4_OK;
}

static const rt_device_ops sim_ops = {
    .name = "sim",
    .close = sim_device_close,
    .alloc = sim_device_alloc,
    .free = sim_device_free,
    .copy_to = sim_device_copy_to,
    .copy_from = sim_device_copy_from,
    .fill = sim_device_fill,
    .image_load = sim_device_image_load,
    .image_unload = sim_device_image_unload,
    .function_find = sim_device_function_find,
    .tensormap_encode = sim_device_tensormap,
    .launch = sim_device_launch,
    .sync = sim_device_sync,
    .not_captured = sim_device_not_captured,
    .mark_new = sim_device_mark_new,
    .mark_free = sim_device_mark_free,
    .mark_record = sim_device_mark_record,
    .mark_wait = sim_device_mark_wait,
    .mark_elapsed = sim_device_mark_elapsed,
    .properties = sim_device_properties,
    .stats = sim_device_stats,
};

fp4_status rt_sim_open(rt_heap *heap, const fp4_config *config, const rt_device_ops **ops,
                       rt_device **out) {
    static const sim_policy policies[] = {SIM_EAGER, SIM_LAZY, SIM_RANDOM}; // ORDER fp4_schedule
    rt_device *device = rt_resize(heap, NULL, 0, sizeof *device);
    if (!device) {
        return FP4_ERROR_MEMORY;
    }
    *device = (rt_device){
        .heap = heap, .policy = policies[config->sim_schedule], .seed = config->sim_seed};
    sim_options options = {.sms = config->sim_sms,
                           .hazards = (sim_hazards)config->sim_hazards}; // ORDER fp4_hazards
    device->least = sim_hazards_least(options.hazards);
    device->sim = sim_open(&options);
    if (!device->sim || pthread_mutex_init(&device->lock, NULL) != 0) {
        sim_close(device->sim);
        rt_release(heap, device, sizeof *device);
        return rt_fail(FP4_ERROR_MEMORY, "fp4_open(): out of memory for the simulator");
    }
    *ops = &sim_ops;
    *out = device;
    return FP4_OK;
}
