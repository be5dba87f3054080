// A GPU as a device: the table's functions over the CUDA Driver API, which is found with dlopen.
//
// The primary context is shared with whatever else in the process uses CUDA; it is made current for
// the length of a call and the caller's is put back. Launches and fills are enqueued on the
// caller's stream; copies wait for their stream, as their host memory is the caller's again when
// they return.
#include "cuda_driver.h"
#include "rt.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

struct rt_device {
    rt_heap *heap;
    void *library; // of dlopen
    cu_driver cu;
    cu_device device;
    void *context; // the device's primary context
    rt_properties properties;
};

// ---- errors -------------------------------------------------------------------------------------

static fp4_status failed(const cu_driver *cu, const char *what, cu_result result) {
    const char *name = NULL;
    const char *text = NULL;
    if (cu->error_name(result, &name) != 0 || !name) {
        name = "an unknown error";
    }
    if (cu->error_text(result, &text) != 0 || !text) {
        text = "no description";
    }
    fp4_status status = result == CU_ERROR_OUT_OF_MEMORY ? FP4_ERROR_MEMORY : FP4_ERROR_DEVICE;
    return rt_fail(status, "cuda: %s: %s %d (%s)", what, name, result, text);
}

static fp4_status check(const rt_device *device, const char *what, cu_result result) {
    return result == 0 ? FP4_OK : failed(&device->cu, what, result);
}

static fp4_status enter(const rt_device *device) {
    return check(device, "cuCtxPushCurrent", device->cu.context_push(device->context));
}

// Puts the caller's context back. What the pop itself returns is an earlier launch's failure, which
// the next wait for its stream tells; the work of this call is done.
static fp4_status leave(const rt_device *device, fp4_status status) {
    void *context;
    device->cu.context_pop(&context);
    return status;
}

// ---- memory -------------------------------------------------------------------------------------

static fp4_status cuda_alloc(rt_device *device, uint64_t bytes, uint64_t *address) {
    fp4_status status = enter(device);
    if (status != FP4_OK) {
        return status;
    }
    cu_address found = 0;
    char what[64];
    snprintf(what, sizeof what, "cuMemAlloc of %llu bytes", (unsigned long long)bytes);
    status = check(device, what, device->cu.alloc(&found, (size_t)bytes));
    *address = status == FP4_OK ? found : 0;
    return leave(device, status);
}

static fp4_status cuda_free(rt_device *device, uint64_t address) {
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        status = leave(device, check(device, "cuMemFree", device->cu.free(address)));
    }
    return status;
}

// With the context current. Waiting for a stream that is being captured would spoil the capture.
static fp4_status check_capture(const rt_device *device, void *stream, const char *what) {
    int capture = CU_CAPTURE_NONE;
    fp4_status status =
        check(device, "cuStreamIsCapturing", device->cu.stream_capturing(stream, &capture));
    if (status == FP4_OK && capture != CU_CAPTURE_NONE) {
        status = rt_fail(FP4_ERROR_ARGUMENT,
                         "cuda: the stream is being captured in a graph, which cannot hold %s; do "
                         "it before the capture",
                         what);
    }
    return status;
}

static fp4_status cuda_not_captured(rt_device *device, void *stream, const char *what) {
    fp4_status status = enter(device);
    return status == FP4_OK ? leave(device, check_capture(device, stream, what)) : status;
}

static fp4_status cuda_copy_to(rt_device *device, uint64_t dst, const void *src, uint64_t bytes,
                               void *stream) {
    fp4_status status = enter(device);
    if (status != FP4_OK) {
        return status;
    }
    status = check_capture(device, stream, "a copy from host memory");
    if (status == FP4_OK) {
        cu_result result = device->cu.copy_to(dst, src, (size_t)bytes, stream);
        status = check(device, "cuMemcpyHtoDAsync", result);
    }
    if (status == FP4_OK) {
        status = check(device, "cuStreamSynchronize", device->cu.stream_sync(stream));
    }
    return leave(device, status);
}

static fp4_status cuda_copy_from(rt_device *device, void *dst, uint64_t src, uint64_t bytes,
                                 void *stream) {
    fp4_status status = enter(device);
    if (status != FP4_OK) {
        return status;
    }
    status = check_capture(device, stream, "a copy to host memory");
    if (status == FP4_OK) {
        cu_result result = device->cu.copy_from(dst, src, (size_t)bytes, stream);
        status = check(device, "cuMemcpyDtoHAsync", result);
    }
    if (status == FP4_OK) {
        status = check(device, "cuStreamSynchronize", device->cu.stream_sync(stream));
    }
    return leave(device, status);
}

static fp4_status cuda_fill(rt_device *device, uint64_t dst, uint8_t byte, uint64_t bytes,
                            void *stream) {
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        cu_result result = device->cu.fill(dst, byte, (size_t)bytes, stream);
        status = leave(device, check(device, "cuMemsetD8Async", result));
    }
    return status;
}

static fp4_status cuda_sync(rt_device *device, void *stream) {
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        status = check_capture(device, stream, "a wait for it");
        if (status == FP4_OK) {
            status = check(device, "cuStreamSynchronize", device->cu.stream_sync(stream));
        }
        leave(device, status);
    }
    return status;
}

// ---- events -------------------------------------------------------------------------------------

static fp4_status cuda_mark_new(rt_device *device, rt_mark **mark) {
    void *event = NULL;
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        status = leave(device, check(device, "cuEventCreate", device->cu.event_new(&event, 0)));
    }
    *mark = status == FP4_OK ? event : NULL;
    return status;
}

static void cuda_mark_free(rt_device *device, rt_mark *mark) {
    if (enter(device) == FP4_OK) {
        device->cu.event_free(mark);
        leave(device, FP4_OK);
    }
}

static fp4_status cuda_mark_record(rt_device *device, rt_mark *mark, void *stream) {
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        cu_result result = device->cu.event_record(mark, stream);
        status = leave(device, check(device, "cuEventRecord", result));
    }
    return status;
}

static fp4_status cuda_mark_wait(rt_device *device, rt_mark *mark) {
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        cu_result result = device->cu.event_wait(mark);
        status = leave(device, check(device, "cuEventSynchronize", result));
    }
    return status;
}

static fp4_status cuda_mark_elapsed(rt_device *device, rt_mark *from, rt_mark *to, double *us) {
    float ms = 0;
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        cu_result result = device->cu.event_elapsed(&ms, from, to);
        status = leave(device, check(device, "cuEventElapsedTime", result));
    }
    *us = 1e3 * (double)ms;
    return status;
}

// ---- code ---------------------------------------------------------------------------------------

static fp4_status cuda_image_load(rt_device *device, const rt_code *code, rt_image **image) {
    if (strcmp(code->arch, device->properties.arch) != 0) {
        return rt_fail(FP4_ERROR_MODULE, "%s(): compiled for %s, the device %s is %s", code->name,
                       code->arch, device->properties.name, device->properties.arch);
    }
    fp4_status status = enter(device);
    if (status != FP4_OK) {
        return status;
    }
    char log[600] = "";
    int options[] = {CU_JIT_LOG, CU_JIT_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    void *library = NULL;
    const void *data = code->cubin ? code->cubin : code->ptx;
    cu_result result = device->cu.library_load(&library, data, options, values, 2, NULL, NULL, 0);
    status = check(device, code->cubin ? "loading the cubin" : "compiling the PTX", result);
    if (status != FP4_OK && log[0]) {
        log[sizeof log - 1] = 0;
        log[strcspn(log, "\n")] = 0;
        char sentence[300];
        snprintf(sentence, sizeof sentence, "%s", fp4_last_error());
        rt_fail(status, "%s: %s", sentence, log);
    }
    *image = status == FP4_OK ? (rt_image *)library : NULL;
    status = leave(device, status);
    return status == FP4_OK ? status : rt_prefix(status, "%s(): ", code->name);
}

static void cuda_image_unload(rt_device *device, rt_image *image) {
    if (enter(device) == FP4_OK) {
        device->cu.library_unload(image);
        leave(device, FP4_OK);
    }
}

static fp4_status find_function(rt_device *device, rt_image *image, const rt_entry *entry,
                                void **function) {
    const cu_driver *cu = &device->cu;
    void *kernel = NULL;
    fp4_status status = check(device, entry->name, cu->library_kernel(&kernel, image, entry->name));
    if (status == FP4_OK) {
        status = check(device, entry->name, cu->kernel_function(function, kernel));
    }
    if (status == FP4_OK && entry->smem_bytes > 0) {
        char what[96];
        snprintf(what, sizeof what, "%.40s with %u bytes of shared memory", entry->name,
                 (unsigned)entry->smem_bytes);
        status = check(
            device, what,
            cu->function_set(*function, CU_FUNCTION_MAX_DYNAMIC_SMEM, (int)entry->smem_bytes));
    }
    if (status == FP4_OK && entry->cluster > 8) {
        status = check(device, "clusters of more than 8",
                       cu->function_set(*function, CU_FUNCTION_ANY_CLUSTER_SIZE, 1));
    }
    return status;
}

static fp4_status cuda_function_find(rt_device *device, rt_image *image, const rt_entry *entry,
                                     rt_function **function) {
    void *found = NULL;
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        status = leave(device, find_function(device, image, entry, &found));
    }
    *function = status == FP4_OK ? (rt_function *)found : NULL;
    return status;
}

static fp4_status cuda_tensormap(rt_device *device, const rt_tensormap *map,
                                 uint8_t out[RT_TENSORMAP_BYTES]) {
    static const uint32_t ones[5] = {1, 1, 1, 1, 1};
    fp4_status status = enter(device); // without a current context: error 201 (H200, driver 580)
    if (status != FP4_OK) {
        return status;
    }
    cu_result result = device->cu.tensormap(
        out, (int)map->dtype, map->rank, (void *)(uintptr_t)map->address, map->dims, map->strides,
        map->box, ones, 0, (int)map->swizzle, CU_MAP_L2_PROMOTION_256B, 0);
    return leave(device, check(device, "cuTensorMapEncodeTiled", result));
}

// What a launch asks for beyond grid and block; returns how many attributes that are.
static unsigned launch_attributes(const rt_launch *launch, cu_launch_attribute out[3]) {
    unsigned n = 0;
    if (launch->cluster[0] * launch->cluster[1] * launch->cluster[2] > 1) {
        out[n] = (cu_launch_attribute){.id = CU_LAUNCH_CLUSTER};
        memcpy(out[n++].value.cluster, launch->cluster, sizeof launch->cluster);
    }
    if (launch->pdl) {
        out[n++] = (cu_launch_attribute){.id = CU_LAUNCH_PDL, .value.flag = 1};
    }
    if (launch->cooperative) {
        out[n++] = (cu_launch_attribute){.id = CU_LAUNCH_COOPERATIVE, .value.flag = 1};
    }
    return n;
}

static fp4_status cuda_launch(rt_device *device, const rt_launch *launch) {
    void *params[FP4_MAX_ARGS];
    for (int i = 0; i < launch->n_params; i++) {
        params[i] = (void *)launch->params[i].value;
    }
    cu_launch_attribute attributes[3];
    cu_launch_config config = {.smem_bytes = launch->smem_bytes,
                               .stream = launch->stream,
                               .attributes = attributes,
                               .n_attributes = launch_attributes(launch, attributes)};
    memcpy(config.grid, launch->grid, sizeof config.grid);
    memcpy(config.block, launch->block, sizeof config.block);
    fp4_status status = enter(device);
    if (status == FP4_OK) {
        cu_result result = device->cu.launch(&config, launch->function, params, NULL);
        status = leave(device, check(device, "cuLaunchKernelEx", result));
    }
    return status;
}

// ---- opening and closing ------------------------------------------------------------------------

static void cuda_properties(const rt_device *device, rt_properties *properties) {
    *properties = device->properties;
}

static void cuda_stats(rt_device *device, fp4_stats *stats) {
    (void)device;
    (void)stats; // a GPU does not count what the simulator counts
}

static void cuda_close(rt_device *device) {
    if (device->context) {
        device->cu.context_release(device->device);
    }
    if (device->library) {
        dlclose(device->library);
    }
    rt_release(device->heap, device, sizeof *device);
}

static const rt_device_ops cuda_ops = {
    .name = "cuda",
    .close = cuda_close,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .copy_to = cuda_copy_to,
    .copy_from = cuda_copy_from,
    .fill = cuda_fill,
    .image_load = cuda_image_load,
    .image_unload = cuda_image_unload,
    .function_find = cuda_function_find,
    .tensormap_encode = cuda_tensormap,
    .launch = cuda_launch,
    .sync = cuda_sync,
    .not_captured = cuda_not_captured,
    .mark_new = cuda_mark_new,
    .mark_free = cuda_mark_free,
    .mark_record = cuda_mark_record,
    .mark_wait = cuda_mark_wait,
    .mark_elapsed = cuda_mark_elapsed,
    .properties = cuda_properties,
    .stats = cuda_stats,
};

static fp4_status find_driver(rt_device *device) {
    device->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!device->library) {
        const char *why = dlerror();
        return rt_fail(FP4_ERROR_UNAVAILABLE,
                       "cuda: no NVIDIA driver, " LIBRARY " cannot be loaded (%.200s)",
                       why ? why : "no reason given");
    }
#define CU(field, symbol, parameters)                                                              \
    *(void **)&device->cu.field = dlsym(device->library, #symbol);                                 \
    if (!device->cu.field) {                                                                       \
        return rt_fail(FP4_ERROR_UNAVAILABLE, "cuda: " LIBRARY " has no " #symbol                  \
                                              ": the driver is older than CUDA 12.0");             \
    }
    CU_FUNCTIONS(CU)
#undef CU
    return FP4_OK;
}

static fp4_status find_gpu(rt_device *device, int index) {
    const cu_driver *cu = &device->cu;
    int count = 0;
    cu_result result = cu->init(0);
    if (result == 0) {
        result = cu->device_count(&count);
    }
    if (result != 0 && result != CU_ERROR_NO_DEVICE) {
        failed(cu, "cuInit", result);
        return FP4_ERROR_UNAVAILABLE;
    }
    if (index >= count) {
        return rt_fail(FP4_ERROR_UNAVAILABLE, "cuda:%d: the driver shows %d GPUs", index, count);
    }
    device->properties.index = index;
    return check(device, "cuDeviceGet", cu->device_get(&device->device, index));
}

static fp4_status read_properties(rt_device *device) {
    const cu_driver *cu = &device->cu;
    rt_properties *p = &device->properties;
    int major = 0;
    int minor = 0;
    fp4_status status =
        check(device, "cuDeviceGetName", cu->device_name(p->name, sizeof p->name, device->device));
    if (status == FP4_OK) {
        status = check(device, "cuDeviceGetAttribute",
                       cu->device_attribute(&p->n_sms, CU_DEVICE_SM_COUNT, device->device));
    }
    if (status == FP4_OK) {
        status = check(device, "cuDeviceGetAttribute",
                       cu->device_attribute(&major, CU_DEVICE_CC_MAJOR, device->device));
    }
    if (status == FP4_OK) {
        status = check(device, "cuDeviceGetAttribute",
                       cu->device_attribute(&minor, CU_DEVICE_CC_MINOR, device->device));
    }
    p->name[sizeof p->name - 1] = 0;
    p->is_cuda = true;
    snprintf(p->arch, sizeof p->arch, "sm_%u%u%s", (unsigned)major % 1000, (unsigned)minor % 10,
             major >= 9 ? "a" : "");
    return status;
}

fp4_status rt_cuda_open(rt_heap *heap, int index, const rt_device_ops **ops, rt_device **out) {
    rt_device *device = rt_resize(heap, NULL, 0, sizeof *device);
    if (!device) {
        return FP4_ERROR_MEMORY;
    }
    *device = (rt_device){.heap = heap};
    fp4_status status = find_driver(device);
    if (status == FP4_OK) {
        status = find_gpu(device, index);
    }
    if (status == FP4_OK) {
        status = read_properties(device);
    }
    if (status == FP4_OK) {
        status = check(device, "cuDevicePrimaryCtxRetain",
                       device->cu.context_retain(&device->context, device->device));
    }
    if (status != FP4_OK) {
        cuda_close(device);
        return status;
    }
    *ops = &cuda_ops;
    *out = device;
    return FP4_OK;
}
