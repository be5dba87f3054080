// mbarriers, fences and warp barriers: one function an idiom (PTX ISA "Parallel Synchronization and
// Communication Instructions: mbarrier"). Addresses are i32 shared memory addresses of the own CTA.
#include "cg_int.h"

// try_wait may return false after a time limit of the system, so it always loops. The acquire forms
// are used: LLVM merges two relaxed ones into one.
void cg_wait(cg *c, ll_val bar, ll_val parity, bool cluster_scope) {
    const char *name = cluster_scope ? "llvm.nvvm.mbarrier.try.wait.parity.scope.cluster.space.cta"
                                     : "llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta";
    ll_block loop = ll_new_block(c->b, "wait"), done = ll_new_block(c->b, "ready");
    ll_br(c->b, loop);
    ll_at(c->b, loop);
    ll_cond(c->b, LL_INTR(c->b, name, bar, parity), done, loop);
    ll_at(c->b, done);
}

void cg_arrive(cg *c, ll_val bar) {
    LL_INTR(c->b, "llvm.nvvm.mbarrier.arrive.scope.cta.space.cta", bar, ll_i32(c->b, 1));
}

// Predicated, so that the code around stays one block.
void cg_arrive_if(cg *c, ll_val bar, ll_val when) {
    ll_asm a = {.text = "@$1 mbarrier.arrive.shared::cta.b64 _, [$0];",
                .constraints = "r,b,~{memory}",
                .effect = true};
    LL_ASM(c->b, &a, bar, when);
}

void cg_arrive_remote(cg *c, ll_val bar, ll_val rank) {
    ll_val there = LL_INTR(c->b, "llvm.nvvm.mapa.shared.cluster", bar, rank);
    LL_INTR(c->b, "llvm.nvvm.mbarrier.arrive.scope.cluster.space.cluster", there, ll_i32(c->b, 1));
}

// The products that read the slot have completed before (wgmma.wait_group), and what follows the
// wait is a bulk copy: no access of this thread is ordered by the arrival. At cluster scope ptxas
// would put a membar.gl before it, every K step.
void cg_arrive_cluster_if(cg *c, ll_val bar, ll_val rank, ll_val when) {
    ll_asm a = {.text = "{ .reg .b32 there; mapa.shared::cluster.u32 there, $0, $1; "
                        "@$2 mbarrier.arrive.shared::cluster.b64 _, [there]; }",
                .constraints = "r,r,b,~{memory}",
                .effect = true};
    LL_ASM(c->b, &a, bar, rank, when);
}

void cg_expect(cg *c, ll_val bar, ll_val bytes) {
    LL_INTR(c->b, "llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta", bar, bytes);
}

void cg_warp_sync(cg *c) {
    LL_INTR(c->b, "llvm.nvvm.bar.warp.sync", ll_i32(c->b, -1));
}

void cg_fence_async_smem(cg *c) {
    LL_INTR0(c->b, "llvm.nvvm.fence.proxy.async.shared_cta");
}

enum { FIRST_BARRIER = 8, LAST_BARRIER = 15 }; // named barriers; the lower ones order turns

// Named barriers of a role: one of each group that takes tiles by turns, the first of which also serves
// all of them; of groups that share tiles the first one meets in stores while others wait for it with all.
static int named_barriers(const tir_role *r) {
    return r->shares > 1 ? 2 : r->turns;
}

void cg_role_meet(cg *c, bool group) {
    int number = FIRST_BARRIER;
    for (const tir_role *r = c->k->roles; r < c->role; r++) {
        number += named_barriers(r);
    }
    if (number + named_barriers(c->role) - 1 > LAST_BARRIER) {
        cg_fail(c, "role '%s' needs a named barrier, and kernel '%s' has used all", c->role->name,
                c->k->name);
        return;
    }
    bool part = group && tir_group_warps(c->role) < c->role->n_warps;
    ll_val id = ll_i32(c->b, number + (part && c->role->shares > 1));
    LL_INTR(c->b, "llvm.nvvm.barrier.cta.sync.aligned.count",
            part && c->role->turns > 1 ? ll_add(c->b, id, c->group) : id,
            ll_i32(c->b, ARCH_LANES * (part ? tir_group_warps(c->role) : c->role->n_warps)));
}
