// The fake device's table.
#include "fake_device.h"
#include <stdlib.h>
#include <string.h>

static fake_device *fake_of(const rt_device *device) {
    return (fake_device *)device;
}

static bool fails(rt_device *device) {
    fake_device *fake = fake_of(device);
    return fake->fail_at > 0 && --fake->fail_at == 0;
}

static fp4_status failed(void) {
    return rt_fail(FP4_ERROR_DEVICE, "the fake device fails as asked");
}

static void fake_close(rt_device *device) {
    (void)device;
}

static fp4_status fake_alloc(rt_device *device, uint64_t bytes, uint64_t *address) {
    void *block = fails(device) || bytes > UINT32_MAX
                      ? NULL
                      : aligned_alloc(256, ((size_t)bytes + 255) / 256 * 256);
    if (!block) {
        return rt_fail(FP4_ERROR_MEMORY, "the fake device has no memory left");
    }
    fake_of(device)->n_blocks++;
    *address = (uint64_t)(uintptr_t)block;
    return FP4_OK;
}

static fp4_status fake_free(rt_device *device, uint64_t address) {
    fake_of(device)->n_blocks--;
    free((void *)(uintptr_t)address);
    return FP4_OK;
}

static fp4_status fake_copy_to(rt_device *device, uint64_t dst, const void *src, uint64_t bytes,
                               void *stream) {
    (void)stream;
    if (fails(device)) {
        return failed();
    }
    memcpy((void *)(uintptr_t)dst, src, (size_t)bytes);
    return FP4_OK;
}

static fp4_status fake_copy_from(rt_device *device, void *dst, uint64_t src, uint64_t bytes,
                                 void *stream) {
    (void)stream;
    if (fails(device)) {
        return failed();
    }
    memcpy(dst, (const void *)(uintptr_t)src, (size_t)bytes);
    return FP4_OK;
}

static fp4_status fake_fill(rt_device *device, uint64_t dst, uint8_t byte, uint64_t bytes,
                            void *stream) {
    (void)stream;
    if (fails(device)) {
        return failed();
    }
    memset((void *)(uintptr_t)dst, byte, (size_t)bytes);
    return FP4_OK;
}

static fp4_status fake_image_load(rt_device *device, const rt_code *code, rt_image **image) {
    if (fails(device)) {
        return failed();
    }
    if (!code->ptx) {
        return rt_fail(FP4_ERROR_MODULE, "the fake device looks for its entries in PTX");
    }
    *image = malloc(code->ptx_bytes + 1);
    memcpy(*image, code->ptx, code->ptx_bytes + 1);
    fake_of(device)->n_images++;
    return FP4_OK;
}

static void fake_image_unload(rt_device *device, rt_image *image) {
    fake_of(device)->n_images--;
    free(image);
}

static fp4_status fake_function_find(rt_device *device, rt_image *image, const rt_entry *entry,
                                     rt_function **function) {
    if (fails(device)) {
        return failed();
    }
    if (!strstr((const char *)image, entry->name)) {
        return rt_fail(FP4_ERROR_MODULE, "no entry '%s'", entry->name);
    }
    *function = (rt_function *)image;
    return FP4_OK;
}

static fp4_status fake_tensormap(rt_device *device, const rt_tensormap *map,
                                 uint8_t out[RT_TENSORMAP_BYTES]) {
    fake_device *fake = fake_of(device);
    if (fails(device)) {
        return failed();
    }
    memset(out, 0x40 + fake->n_maps, RT_TENSORMAP_BYTES);
    fake->map[fake->n_maps++ % FP4_MAX_ARGS] = *map;
    return FP4_OK;
}

static fp4_status fake_launch(rt_device *device, const rt_launch *launch) {
    fake_device *fake = fake_of(device);
    if (fails(device)) {
        return failed();
    }
    fake->n_launches++;
    fake->launch = *launch;
    for (int i = 0; i < launch->n_params; i++) {
        memcpy(fake->params[i], launch->params[i].value, launch->params[i].bytes);
    }
    fake->n_maps = 0;
    return FP4_OK;
}

static fp4_status fake_sync(rt_device *device, void *stream) {
    (void)stream;
    return fails(device) ? failed() : FP4_OK;
}

static fp4_status fake_not_captured(rt_device *device, void *stream, const char *what) {
    (void)stream;
    return fake_of(device)->capturing ? rt_fail(FP4_ERROR_ARGUMENT, "capture: %s", what) : FP4_OK;
}

static fp4_status fake_mark_new(rt_device *device, rt_mark **mark) {
    *mark = fails(device) ? NULL : malloc(1);
    fake_of(device)->n_images += *mark != NULL;
    return *mark ? FP4_OK : failed();
}

static void fake_mark_free(rt_device *device, rt_mark *mark) {
    fake_of(device)->n_images--;
    free(mark);
}

static fp4_status fake_mark_record(rt_device *device, rt_mark *mark, void *stream) {
    (void)mark;
    (void)stream;
    return fails(device) ? failed() : FP4_OK;
}

static fp4_status fake_mark_wait(rt_device *device, rt_mark *mark) {
    (void)mark;
    return fails(device) ? failed() : FP4_OK;
}

static fp4_status fake_mark_elapsed(rt_device *device, rt_mark *from, rt_mark *to, double *us) {
    *us = from == to ? 0 : 1;
    return fails(device) ? failed() : FP4_OK;
}

static void fake_properties(const rt_device *device, rt_properties *properties) {
    *properties = fake_of(device)->properties;
}

static void fake_stats(rt_device *device, fp4_stats *stats) {
    (void)device;
    stats->warp_instructions = 0;
}

static const rt_device_ops fake_ops = {
    .name = "fake",
    .close = fake_close,
    .alloc = fake_alloc,
    .free = fake_free,
    .copy_to = fake_copy_to,
    .copy_from = fake_copy_from,
    .fill = fake_fill,
    .image_load = fake_image_load,
    .image_unload = fake_image_unload,
    .function_find = fake_function_find,
    .tensormap_encode = fake_tensormap,
    .launch = fake_launch,
    .sync = fake_sync,
    .not_captured = fake_not_captured,
    .mark_new = fake_mark_new,
    .mark_free = fake_mark_free,
    .mark_record = fake_mark_record,
    .mark_wait = fake_mark_wait,
    .mark_elapsed = fake_mark_elapsed,
    .properties = fake_properties,
    .stats = fake_stats,
};

fp4_status fake_open(fake_device *fake, const fp4_config *config, fp4_ctx **out) {
    fp4_config defaults = FP4_CONFIG_INIT;
    fp4_status status = rt_context_new(config ? config : &defaults, out);
    if (status == FP4_OK) {
        (*out)->ops = &fake_ops;
        (*out)->device = (rt_device *)fake;
        (*out)->properties = fake->properties;
    }
    return status;
}
