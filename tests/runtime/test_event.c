// Events over the simulator and the fake device: order of records, what is refused, and that
// nothing of an event stays, whichever call fails.
#include "fake_device.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void on_the_simulator(void **state) {
    (void)state;
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    fp4_ctx *ctx;
    fp4_event *from;
    fp4_event *to;
    double us = -1;
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    assert_int_equal(fp4_event_new(ctx, &from), FP4_OK);
    assert_int_equal(fp4_event_new(ctx, &to), FP4_OK);
    assert_int_equal(fp4_event_record(from, NULL), FP4_OK);
    assert_int_equal(fp4_event_elapsed(from, to, &us), FP4_ERROR_ARGUMENT);
    assert_string_equal(fp4_last_error(), "fp4_event_elapsed(): the event 'to' was never recorded");
    assert_int_equal(fp4_event_elapsed(to, from, &us), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_event_record(to, NULL), FP4_OK);
    assert_int_equal(fp4_event_wait(to), FP4_OK);
    assert_int_equal(fp4_event_elapsed(from, to, &us), FP4_OK);
    assert_true(us == 0); // no launch between them
    fp4_event_free(from);
    fp4_close(ctx); // and 'to' with it
}

static void refusals(void **state) {
    (void)state;
    fake_device one = {.properties = {.name = "fake"}};
    fake_device two = one;
    fp4_ctx *ctx[2];
    fp4_event *event[2];
    double us;
    assert_int_equal(fake_open(&one, NULL, &ctx[0]), FP4_OK);
    assert_int_equal(fake_open(&two, NULL, &ctx[1]), FP4_OK);
    assert_int_equal(fp4_event_new(NULL, &event[0]), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_event_new(ctx[0], NULL), FP4_ERROR_ARGUMENT);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fp4_event_new(ctx[i], &event[i]), FP4_OK);
        assert_int_equal(fp4_event_record(event[i], NULL), FP4_OK);
    }
    assert_int_equal(fp4_event_elapsed(event[0], event[1], &us), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "two contexts"));
    assert_int_equal(fp4_event_elapsed(event[0], event[0], NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_event_elapsed(NULL, event[0], &us), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_event_record(NULL, NULL), FP4_ERROR_ARGUMENT);
    assert_string_equal(fp4_last_error(), "fp4_event_record(): NULL argument");
    assert_int_equal(fp4_event_wait(NULL), FP4_ERROR_ARGUMENT);
    fp4_event_free(NULL);
    fp4_close(ctx[0]);
    fp4_close(ctx[1]);
    assert_int_equal(one.n_images, 0); // the fake counts its events with them
    assert_int_equal(two.n_images, 0);
}

static void every_call_may_fail(void **state) {
    (void)state;
    int n = 1;
    for (fp4_status status = FP4_ERROR_DEVICE; status != FP4_OK; n++) {
        fake_device fake = {.properties = {.name = "fake"}};
        fp4_ctx *ctx;
        fp4_event *event = NULL;
        double us = -1;
        assert_int_equal(fake_open(&fake, NULL, &ctx), FP4_OK);
        fake.fail_at = n;
        status = fp4_event_new(ctx, &event);
        assert_int_equal(event != NULL, status == FP4_OK);
        status = status == FP4_OK ? fp4_event_record(event, NULL) : status;
        status = status == FP4_OK ? fp4_event_wait(event) : status;
        status = status == FP4_OK ? fp4_event_elapsed(event, event, &us) : status;
        if (status != FP4_OK) {
            assert_non_null(strstr(fp4_last_error(), "the fake device fails as asked"));
        }
        fp4_close(ctx);
        assert_int_equal(fake.n_images, 0);
    }
    assert_int_equal(n, 6); // four calls and the one without a failure
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_the_simulator),
        cmocka_unit_test(refusals),
        cmocka_unit_test(every_call_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
