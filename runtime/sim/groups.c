// A launch on several threads. The device's SMs form groups of as many as a cluster has CTAs; group
// g of n runs the clusters g, g + n, g + 2n ... by itself, as if it were the whole device, and
// threads take groups from a counter. So a result, a statistic or the first fault depends on the
// group and not on the number of threads or their speed, as long as no cluster touches bytes that
// another writes. Kernels whose clusters may meet in device memory (atomics, reductions, strong
// accesses, loads that fetch again, fences beyond the cluster), cluster launch control, the hazard
// detector, random schedules and bounded launches see the whole device at once instead: exec.c, one
// thread.
#include "exec.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_THREADS = 64 };

struct groups {
    struct exec *group;
    uint32_t n;
    atomic_uint next;
    atomic_uint failed; // the first group that has: what follows it in order does not count
};

bool groups_apply(const struct exec *x) {
    bool alone = !x->k->meets && x->haz == NULL && x->config.policy != SIM_RANDOM &&
                 x->config.max_steps == 0;
    return alone && x->clusters_total > 1 && x->n_sms >= 2 * x->cluster_size;
}

static void *work(void *arg) {
    struct groups *g = arg;
    for (;;) {
        uint32_t at = atomic_fetch_add(&g->next, 1);
        if (at >= g->n || at > atomic_load(&g->failed)) {
            return NULL;
        }
        struct exec *x = &g->group[at];
        exec_run(x);
        exec_drop(x);
        unsigned first = atomic_load(&g->failed);
        while (x->failed && at < first && !atomic_compare_exchange_weak(&g->failed, &first, at)) {
        }
    }
}

static uint32_t thread_count(const struct exec *x, uint32_t groups) {
    long wanted = x->sim->options.threads;
    wanted = wanted > 0 ? wanted : sysconf(_SC_NPROCESSORS_ONLN);
    wanted = wanted < 1 ? 1 : wanted > MOST_THREADS ? MOST_THREADS : wanted;
    return (uint32_t)wanted < groups ? (uint32_t)wanted : groups;
}

static void run_threads(struct groups *g, uint32_t threads) {
    pthread_t thread[MOST_THREADS];
    uint32_t started = 0;
    while (started + 1 < threads && pthread_create(&thread[started], NULL, work, g) == 0) {
        started++; // with fewer, the others do the work
    }
    work(g);
    while (started > 0) {
        pthread_join(thread[--started], NULL);
    }
}

static void add_stats(struct exec *x, const struct exec *part) {
    x->steps += part->steps;
    x->stats.macs += part->stats.macs;
    x->stats.tma_bytes += part->stats.tma_bytes;
    x->stats.ctas += part->stats.ctas;
    x->stats.canceled += part->stats.canceled;
    x->stats.order |= part->stats.order;
}

bool groups_run(struct exec *x) {
    struct groups g = {.n = x->n_sms / x->cluster_size};
    g.n = g.n < x->clusters_total ? g.n : (uint32_t)x->clusters_total;
    g.group = calloc(g.n, sizeof *g.group);
    if (g.group == NULL) {
        return false;
    }
    atomic_init(&g.next, 0);
    atomic_init(&g.failed, g.n);
    for (uint32_t n = 0; n < g.n; n++) {
        g.group[n] = *x;
        g.group[n].sm = x->sm + n * x->cluster_size;
        g.group[n].n_sms = x->cluster_size;
        g.group[n].clusters_next = n;
        g.group[n].clusters_step = g.n;
        g.group[n].index = n;
        g.group[n].first_failed = &g.failed;
    }
    run_threads(&g, thread_count(x, g.n));
    uint32_t failed = atomic_load(&g.failed);
    for (uint32_t n = 0; n < g.n && n <= failed; n++) {
        add_stats(x, &g.group[n]);
    }
    if (failed < g.n) {
        x->failed = true;
        x->status = g.group[failed].status;
        memcpy(x->message, g.group[failed].message, sizeof x->message);
    }
    free(g.group);
    return true;
}
