// The launches of a launch file once more, on a GPU of this machine: the same buffers, parameters and tensor
// maps by the CUDA Driver API. Every buffer then is compared with what the simulated GPU made of it.
#include "job.h"
#include "rt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hardware {
    rt_heap heap;
    const rt_device_ops *ops;
    rt_device *device;
    rt_properties properties;
    rt_image *image;
    rt_code code;
    uint8_t *text;
};

static bool failed(struct job *j, const char *where) {
    return job_fail(j, where, "%s", fp4_last_error());
}

// ---- opening ------------------------------------------------------------------------------------
static bool check_target(struct job *j, const struct hardware *h) {
    int target = sim_module_target(j->module);
    return atoi(h->properties.arch + 3) == target || // "sm_90a"
           job_fail(j, "", "the kernel is compiled for sm_%d, the GPU %s is %s", target,
                    h->properties.name, h->properties.arch);
}

static bool load(struct job *j, struct hardware *h) {
    const char *path = j->image_path != NULL ? j->image_path : j->ptx_path;
    size_t bytes;
    h->text = read_file(path, &bytes);
    if (h->text == NULL) {
        return job_fail(j, "", "cannot read '%.300s'", path);
    }
    h->code = (rt_code){.arch = h->properties.arch, .name = path};
    if (j->image_path != NULL) {
        h->code.cubin = h->text;
        h->code.cubin_bytes = bytes;
    } else {
        h->code.ptx = (const char *)h->text;
        h->code.ptx_bytes = bytes;
    }
    return h->ops->image_load(h->device, &h->code, &h->image) == FP4_OK || failed(j, "");
}

static void close_hardware(struct job *j, struct hardware *h) {
    for (int n = 0; n < j->n_buffers; n++) {
        if (j->buffers[n].on_gpu) {
            h->ops->free(h->device, j->buffers[n].address);
        }
    }
    if (h->image != NULL) {
        h->ops->image_unload(h->device, h->image);
    }
    if (h->device != NULL) {
        h->ops->close(h->device);
    }
    free(h->text);
}

// ---- tensor maps --------------------------------------------------------------------------------
bool hardware_map(struct job *j, const char *where, const sim_tensormap *t, uint8_t out[128]) {
    rt_tensormap map = {.dtype = (uint32_t)t->dtype,
                        .rank = t->rank,
                        .address = t->address,
                        .swizzle = (uint32_t)t->swizzle};
    if (t->oob_nan) {
        return job_fail(j, where, "map: oob_nan is not for --gpu");
    }
    for (uint32_t a = 0; a < t->rank; a++) {
        if (t->elem_stride[a] != 1) {
            return job_fail(j, where, "map: element_strides are not for --gpu");
        }
        map.dims[a] = t->dim[a];
        map.box[a] = t->box[a];
        if (a > 0) {
            map.strides[a - 1] = t->stride[a - 1];
        }
    }
    return j->gpu->ops->tensormap_encode(j->gpu->device, &map, out) == FP4_OK || failed(j, where);
}

// ---- running ------------------------------------------------------------------------------------
static bool send(struct job *j, struct hardware *h) {
    for (int n = 0; n < j->n_buffers; n++) {
        struct buffer *b = &j->buffers[n];
        if (h->ops->alloc(h->device, b->bytes > 0 ? b->bytes : 1, &b->address) != FP4_OK) {
            return failed(j, b->name);
        }
        b->on_gpu = true;
    }
    for (int n = 0; n < j->n_buffers; n++) { // once all have their addresses
        struct buffer *b = &j->buffers[n];
        if (b->fields != NULL && !fields_pack(j, b->name, b->fields, b->start, b->bytes)) {
            return false;
        }
        if (b->bytes > 0 &&
            h->ops->copy_to(h->device, b->address, b->start, b->bytes, NULL) != FP4_OK) {
            return failed(j, b->name);
        }
    }
    return true;
}

static bool launch(struct job *j, const char *where, const sim_kernel *k,
                   const sim_launch_config *c) {
    const struct hardware *h = j->gpu;
    sim_kernel_info info;
    sim_kernel_get_info(k, &info);
    rt_launch_param params[FP4_MAX_ARGS];
    if (info.n_params > FP4_MAX_ARGS) {
        return job_fail(j, where, "%u parameters; --gpu takes up to %d", info.n_params,
                        FP4_MAX_ARGS);
    }
    for (uint32_t p = 0; p < info.n_params; p++) {
        const uint8_t *value = (const uint8_t *)c->param_buffer + info.params[p].offset;
        params[p] = (rt_launch_param){value, info.params[p].bytes};
    }
    rt_entry entry = {.name = info.name,
                      .smem_bytes = c->dynamic_smem,
                      .cluster = c->cluster[0] * c->cluster[1] * c->cluster[2]};
    rt_launch l = {.smem_bytes = c->dynamic_smem,
                   .cooperative = info.cooperative,
                   .params = params,
                   .n_params = (int)info.n_params};
    memcpy(l.grid, c->grid, sizeof l.grid);
    memcpy(l.block, c->block, sizeof l.block);
    memcpy(l.cluster, c->cluster, sizeof l.cluster);
    return (h->ops->function_find(h->device, h->image, &entry, &l.function) == FP4_OK &&
            h->ops->launch(h->device, &l) == FP4_OK &&
            h->ops->sync(h->device, NULL) == FP4_OK) ||
           failed(j, where);
}

// Buffers with addresses in them differ from machine to machine.
static bool compare(struct job *j, struct hardware *h) {
    for (int n = 0; n < j->n_buffers; n++) {
        struct buffer *b = &j->buffers[n];
        if (b->fields != NULL || b->bytes == 0) {
            continue;
        }
        if (h->ops->copy_from(h->device, b->start, b->address, b->bytes, NULL) != FP4_OK) {
            return failed(j, b->name);
        }
        b->gpu_compared = true;
        for (uint64_t k = 0; k < b->bytes; k++) {
            if (b->start[k] != b->host[k] && b->gpu_differing++ == 0) {
                b->gpu_first = k;
            }
        }
    }
    return true;
}

bool hardware_run(struct job *j) {
    struct hardware h = {.device = NULL};
    rt_heap_init(&h.heap, NULL, NULL);
    bool ok = rt_cuda_open(&h.heap, 0, &h.ops, &h.device) == FP4_OK || failed(j, "");
    if (ok) {
        h.ops->properties(h.device, &h.properties);
        snprintf(j->gpu_name, sizeof j->gpu_name, "%s", h.properties.name);
        j->gpu = &h;
        ok = check_target(j, &h) && load(j, &h) && send(j, &h) && job_launches(j, launch) &&
             compare(j, &h);
        j->gpu = NULL;
    }
    close_hardware(j, &h);
    return ok;
}
