// Tensor memory: allocation, the accumulators' way into registers, and giving slots back.
//
// One warp of each CTA allocates, gives up the right to allocate again, and frees at the end (PTX
// ISA "tcgen05.alloc"); with a pair both CTAs do so with cta_group::2. The address reaches the
// other warps through shared memory.
#include "cg_int.h"

static ll_if allocating_warp(cg *c) {
    return ll_if_begin(c->b, ll_cmpi(c->b, LL_EQ, c->warp, c->k->tmem_warp));
}

// All warps come here; ends with the fence that the prologue's barrier needs before it.
void cg_tmem_alloc(cg *c) {
    if (c->k->tmem_columns == 0) {
        return;
    }
    bool pair = c->k->pair;
    ll_if f = allocating_warp(c);
    cg_warp_sync(c);
    LL_INTR(c->b,
            pair ? "llvm.nvvm.tcgen05.alloc.shared.cg2" : "llvm.nvvm.tcgen05.alloc.shared.cg1",
            cg_smem_at(c, c->k->tmem_slot), ll_i32(c->b, c->k->tmem_columns));
    LL_INTR0(c->b, pair ? "llvm.nvvm.tcgen05.relinq.alloc.permit.cg2"
                        : "llvm.nvvm.tcgen05.relinq.alloc.permit.cg1");
    ll_if_end(c->b, f);
    LL_INTR0(c->b, "llvm.nvvm.tcgen05.fence.before.thread.sync");
}

void cg_tmem_base(cg *c) {
    if (c->k->tmem_columns == 0) {
        return;
    }
    LL_INTR0(c->b, "llvm.nvvm.tcgen05.fence.after.thread.sync");
    c->tmem = ll_load(c->b, LL_I32, cg_smem_at(c, c->k->tmem_slot), 4, true);
}

// After all roles, with all threads: the last barrier of the kernel (of the cluster, so that no CTA
// frees or leaves while the other one's instructions still reach it), then the allocating warp
// frees.
void cg_tmem_free(cg *c) {
    if (c->k->tmem_columns == 0) {
        return;
    }
    ll *b = c->b;
    cg_warp_sync(c);
    LL_INTR0(b, "llvm.nvvm.tcgen05.fence.before.thread.sync");
    if (c->k->cluster > 1) {
        LL_INTR0(b, "llvm.nvvm.barrier.cluster.arrive.aligned");
        LL_INTR0(b, "llvm.nvvm.barrier.cluster.wait.aligned");
    } else {
        LL_INTR(b, "llvm.nvvm.barrier.cta.sync.aligned.all", ll_i32(b, 0));
    }
    LL_INTR0(b, "llvm.nvvm.tcgen05.fence.after.thread.sync");
    ll_if f = allocating_warp(c);
    LL_INTR(b, c->k->pair ? "llvm.nvvm.tcgen05.dealloc.cg2" : "llvm.nvvm.tcgen05.dealloc.cg1",
            c->tmem, ll_i32(b, c->k->tmem_columns));
    ll_if_end(b, f);
}

// Readers: their loads are complete (wait::ld), the fence orders them before the arrival, and one
// lane a warp arrives at the barrier of the CTA whose MMA role waits: the leader's of a pair.
void cg_tmem_release(cg *c, int ch) {
    ll *b = c->b;
    LL_INTR0(b, "llvm.nvvm.tcgen05.wait.ld");
    LL_INTR0(b, "llvm.nvvm.tcgen05.fence.before.thread.sync");
    cg_warp_sync(c);
    ll_if f = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    if (c->k->pair) {
        cg_arrive_remote(c, cg_empty_bar(c, ch), ll_i32(b, 0));
    } else {
        cg_arrive(c, cg_empty_bar(c, ch));
    }
    ll_if_end(b, f);
}
