// Shared by exec.c, groups.c, async.c, wgmma.c and report.c only.
#ifndef FP4_SIM_EXEC_H
#define FP4_SIM_EXEC_H

#include "core.h"

const struct async_op *
async_uses(const struct cta *c); // an operation that still needs the CTA, or NULL
void async_drain_stores(struct cta *c);
void async_drain_commits(struct cta *c); // those that only have to arrive
void async_push(struct op_queue *q, struct async_op *op);
void report_deadlock(struct exec *x);
void report_steps(struct exec *x);
void exec_run(struct exec *x);  // the clusters of x to their end, or to the first fault
void exec_drop(struct exec *x); // what is left of them
bool groups_apply(const struct exec *x);
bool groups_run(struct exec *x); // false: out of memory

#endif
