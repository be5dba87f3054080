// The builder over LLVM-C 22 (see llvm.h). In: calls of the recipes. Out: PTX text.
//
// Facts about LLVM's NVPTX target that this file answers for:
//   - calling convention 71 makes a kernel entry; .maxntid comes with .minnctapersm, else ptxas
//     ignores setmaxnreg (message C7508);
//   - mma.sync and ldmatrix intrinsics are not convergent in LLVM: every call site is marked so;
//   - the shared memory base passes through an empty piece of assembly, so that LLVM does arithmetic
//     on a register and not on symbol expressions repeated at every use;
//   - short pointers (32 bits in shared memory and TMEM) are a command line option of LLVM.
#include "llvm.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <string.h>

enum { PTX_KERNEL_CC = 71 };
static const char TRIPLE[] = "nvptx64-nvidia-cuda";

// The recipes fix loops, order and memory operations; what is left to LLVM is promotion of
// variables, address arithmetic and common subexpressions. Loops are never unrolled or rotated away
// from the shape that the recipes gave them.
static const char PASSES[] =
    "function(sroa,early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,"
    "gvn,instcombine<no-verify-fixpoint>,early-cse,simplifycfg,adce)";

struct ll {
    arena *mem;
    LLVMContextRef ctx;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMTargetMachineRef machine;
    LLVMTypeRef types[LL_TYPES];
    LLVMTypeRef map_type;
    LLVMValueRef fn;
    LLVMBasicBlockRef entry; // variables only; falls into 'start'
    LLVMBasicBlockRef start;
    LLVMValueRef smem;
    LLVMAttributeRef convergent;
};

static bool init_target(void) {
    static bool done;
    if (!done) {
        const char *args[] = {"fp4c", "-nvptx-short-ptr"};
        LLVMParseCommandLineOptions(2, args, NULL);
        LLVMInitializeNVPTXTargetInfo();
        LLVMInitializeNVPTXTarget();
        LLVMInitializeNVPTXTargetMC();
        LLVMInitializeNVPTXAsmPrinter();
        done = true;
    }
    return done;
}

static void make_types(ll *b) {
    LLVMContextRef x = b->ctx;
    b->types[LL_VOID] = LLVMVoidTypeInContext(x);
    b->types[LL_I1] = LLVMInt1TypeInContext(x);
    b->types[LL_I8] = LLVMInt8TypeInContext(x);
    b->types[LL_I16] = LLVMInt16TypeInContext(x);
    b->types[LL_I32] = LLVMInt32TypeInContext(x);
    b->types[LL_I64] = LLVMInt64TypeInContext(x);
    b->types[LL_I128] = LLVMInt128TypeInContext(x);
    b->types[LL_F32] = LLVMFloatTypeInContext(x);
    b->types[LL_PTR] = LLVMPointerTypeInContext(x, 0);
    b->types[LL_GLOBAL] = LLVMPointerTypeInContext(x, 1);
    b->types[LL_SHARED] = LLVMPointerTypeInContext(x, 3);
    b->types[LL_CLUSTER] = LLVMPointerTypeInContext(x, 7);
    LLVMTypeRef bytes = LLVMArrayType2(b->types[LL_I8], 128);
    b->map_type = LLVMStructCreateNamed(x, "tensormap");
    LLVMStructSetBody(b->map_type, &bytes, 1, 0);
}

ll *ll_new(const char *cpu, const char *features, arena *mem, const char **why) {
    init_target();
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(TRIPLE, &target, &message)) {
        *why = arena_printf(mem, "LLVM has no NVPTX target: %s", message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    ll *b = ARENA_NEW(mem, ll);
    b->mem = mem;
    b->machine = LLVMCreateTargetMachine(target, TRIPLE, cpu, features, LLVMCodeGenLevelAggressive,
                                         LLVMRelocDefault, LLVMCodeModelDefault);
    if (!b->machine) {
        *why = arena_printf(mem, "LLVM cannot generate code for %s", cpu);
        return NULL;
    }
    b->ctx = LLVMContextCreate();
    b->module = LLVMModuleCreateWithNameInContext("fp4c", b->ctx);
    b->builder = LLVMCreateBuilderInContext(b->ctx);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(b->machine);
    LLVMSetModuleDataLayout(b->module, layout);
    LLVMSetTarget(b->module, TRIPLE);
    LLVMDisposeTargetData(layout);
    make_types(b);
    unsigned kind = LLVMGetEnumAttributeKindForName("convergent", 10);
    b->convergent = LLVMCreateEnumAttribute(b->ctx, kind, 0);
    return b;
}

void ll_free(ll *b) {
    if (b) {
        LLVMDisposeBuilder(b->builder);
        LLVMDisposeModule(b->module);
        LLVMContextDispose(b->ctx);
        LLVMDisposeTargetMachine(b->machine);
    }
}

static void fn_attribute(ll *b, const char *name, const char *value) {
    LLVMAttributeRef a = LLVMCreateStringAttribute(b->ctx, name, (unsigned)strlen(name), value,
                                                   (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(b->fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

static void map_attributes(ll *b, LLVMAttributeIndex at) {
    unsigned byval = LLVMGetEnumAttributeKindForName("byval", 5);
    unsigned align = LLVMGetEnumAttributeKindForName("align", 5);
    LLVMAddAttributeAtIndex(b->fn, at, LLVMCreateTypeAttribute(b->ctx, byval, b->map_type));
    LLVMAddAttributeAtIndex(b->fn, at, LLVMCreateEnumAttribute(b->ctx, align, 64));
    LLVMAddAttributeAtIndex(b->fn, at,
                            LLVMCreateStringAttribute(b->ctx, "nvvm.grid_constant", 18, "", 0));
}

static void declare_kernel(ll *b, const ll_kernel *k) {
    LLVMTypeRef *params = ARENA_ARRAY(b->mem, LLVMTypeRef, k->n_args + 1);
    for (int i = 0; i < k->n_args; i++) {
        params[i] = k->args[i].kind == LL_ARG_MAP ? b->types[LL_PTR] : b->types[k->args[i].type];
    }
    LLVMTypeRef type = LLVMFunctionType(b->types[LL_VOID], params, (unsigned)k->n_args, 0);
    b->fn = LLVMAddFunction(b->module, k->name, type);
    LLVMSetFunctionCallConv(b->fn, PTX_KERNEL_CC);
    for (int i = 0; i < k->n_args; i++) {
        if (k->args[i].kind == LL_ARG_MAP) {
            map_attributes(b, (LLVMAttributeIndex)i + 1);
        }
        LLVMSetValueName2(LLVMGetParam(b->fn, (unsigned)i), k->args[i].name,
                          strlen(k->args[i].name));
    }
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(b->fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(b->ctx, nounwind, 0));
    fn_attribute(b, "nvvm.maxntid", arena_printf(b->mem, "%d", k->threads));
    fn_attribute(b, "nvvm.minctasm", "1");
    if (k->max_regs > 0) {
        fn_attribute(b, "nvvm.maxnreg", arena_printf(b->mem, "%d", k->max_regs));
    }
    if (k->cluster > 1) {
        fn_attribute(b, "nvvm.cluster_dim", arena_printf(b->mem, "%d,1,1", k->cluster));
    }
}

void ll_begin(ll *b, const ll_kernel *k) {
    declare_kernel(b, k);
    b->entry = LLVMAppendBasicBlockInContext(b->ctx, b->fn, "entry");
    b->start = LLVMAppendBasicBlockInContext(b->ctx, b->fn, "start");
    LLVMPositionBuilderAtEnd(b->builder, b->start);
    LLVMValueRef g = LLVMAddGlobalInAddressSpace(b->module, LLVMArrayType2(b->types[LL_I8], 0),
                                                 "smem", 3);
    LLVMSetLinkage(g, LLVMExternalLinkage);
    LLVMSetAlignment(g, 1024);
    ll_val address = LLVMConstPtrToInt(g, b->types[LL_I32]);
    ll_asm move = {.text = "mov.b32 $0, $1;", .constraints = "=r,r", .n_out = 1, .out = {LL_I32}};
    b->smem = LL_ASM(b, &move, address);
}

ll_val ll_param(ll *b, int i) {
    return LLVMGetParam(b->fn, (unsigned)i);
}

ll_val ll_smem(ll *b) {
    return b->smem;
}

const char *ll_verify(ll *b) {
    LLVMPositionBuilderAtEnd(b->builder, b->entry);
    LLVMBuildBr(b->builder, b->start);
    char *message = NULL;
    const char *result = NULL;
    if (LLVMVerifyModule(b->module, LLVMReturnStatusAction, &message)) {
        result = arena_strdup(b->mem, message);
    }
    LLVMDisposeMessage(message);
    return result;
}

const char *ll_ir(ll *b, size_t *len) {
    char *text = LLVMPrintModuleToString(b->module);
    char *copy = arena_strdup(b->mem, text);
    LLVMDisposeMessage(text);
    *len = strlen(copy);
    return copy;
}

const char *ll_ptx(ll *b, const char **ptx, size_t *len) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(b->module, PASSES, b->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error) {
        char *text = LLVMGetErrorMessage(error);
        const char *copy = arena_printf(b->mem, "LLVM's passes failed: %s", text);
        LLVMDisposeErrorMessage(text);
        return copy;
    }
    char *message = NULL;
    LLVMMemoryBufferRef out = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(b->machine, b->module, LLVMAssemblyFile, &message,
                                            &out)) {
        const char *copy = arena_printf(b->mem, "LLVM's code generation failed: %s", message);
        LLVMDisposeMessage(message);
        return copy;
    }
    *len = LLVMGetBufferSize(out);
    *ptx = arena_strndup(b->mem, LLVMGetBufferStart(out), *len);
    LLVMDisposeMemoryBuffer(out);
    return NULL;
}

// --- Constants and arithmetic --------------------------------------------------------------------

ll_val ll_i1(ll *b, bool v) {
    return LLVMConstInt(b->types[LL_I1], v, 0);
}

ll_val ll_i16(ll *b, int v) {
    return LLVMConstInt(b->types[LL_I16], (unsigned long long)(uint16_t)v, 0);
}

ll_val ll_i32(ll *b, int64_t v) {
    return LLVMConstInt(b->types[LL_I32], (unsigned long long)(uint32_t)v, 0);
}

ll_val ll_i64(ll *b, int64_t v) {
    return LLVMConstInt(b->types[LL_I64], (unsigned long long)v, 0);
}

ll_val ll_f32(ll *b, double v) {
    return LLVMConstReal(b->types[LL_F32], v);
}

ll_val ll_undef(ll *b, ll_type t) {
    return LLVMGetUndef(b->types[t]);
}

bool ll_is_const(ll_val v, int64_t *value) {
    if (!LLVMIsAConstantInt(v)) {
        return false;
    }
    *value = LLVMConstIntGetSExtValue(v);
    return true;
}

ll_val ll_bin(ll *b, ll_op op, ll_val x, ll_val y) {
    static const LLVMOpcode codes[] = {LLVMAdd,  LLVMSub,  LLVMMul, LLVMUDiv, LLVMURem,
                                       LLVMSDiv, LLVMSRem, LLVMAnd, LLVMOr,   LLVMXor,
                                       LLVMShl,  LLVMLShr, LLVMAShr};
    return LLVMBuildBinOp(b->builder, codes[op], x, y, "");
}

ll_val ll_bini(ll *b, ll_op op, ll_val x, int64_t y) {
    if (y == 0 && (op == LL_ADD || op == LL_OR || op == LL_XOR || op == LL_SHL || op == LL_LSHR)) {
        return x;
    }
    if (y == 1 && (op == LL_MUL || op == LL_UDIV || op == LL_SDIV)) {
        return x;
    }
    return ll_bin(b, op, x, LLVMConstInt(LLVMTypeOf(x), (unsigned long long)y, 1));
}

ll_val ll_cmp(ll *b, ll_pred p, ll_val x, ll_val y) {
    static const LLVMIntPredicate ints[] = {LLVMIntEQ,  LLVMIntNE,  LLVMIntULT, LLVMIntULE,
                                            LLVMIntUGT, LLVMIntUGE, LLVMIntSLT, LLVMIntSLE,
                                            LLVMIntSGT, LLVMIntSGE};
    static const LLVMRealPredicate reals[] = {LLVMRealOEQ, LLVMRealUNE, LLVMRealOLT,
                                              LLVMRealOLE, LLVMRealOGT, LLVMRealOGE};
    if (p >= LL_FEQ) {
        return LLVMBuildFCmp(b->builder, reals[p - LL_FEQ], x, y, "");
    }
    return LLVMBuildICmp(b->builder, ints[p], x, y, "");
}

ll_val ll_cmpi(ll *b, ll_pred p, ll_val x, int64_t y) {
    return ll_cmp(b, p, x, LLVMConstInt(LLVMTypeOf(x), (unsigned long long)y, 1));
}

ll_val ll_select(ll *b, ll_val c, ll_val x, ll_val y) {
    return LLVMBuildSelect(b->builder, c, x, y, "");
}

ll_val ll_not(ll *b, ll_val x) {
    return LLVMBuildNot(b->builder, x, "");
}

static ll_val convert(ll *b, ll_val v, LLVMTypeRef to) {
    LLVMTypeRef from = LLVMTypeOf(v);
    if (from == to) {
        return v;
    }
    LLVMTypeKind f = LLVMGetTypeKind(from), t = LLVMGetTypeKind(to);
    if (f == LLVMPointerTypeKind && t == LLVMPointerTypeKind) {
        return LLVMBuildAddrSpaceCast(b->builder, v, to, "");
    }
    if (f == LLVMPointerTypeKind) {
        return LLVMBuildPtrToInt(b->builder, v, to, "");
    }
    if (t == LLVMPointerTypeKind) {
        return LLVMBuildIntToPtr(b->builder, v, to, "");
    }
    if (f == LLVMIntegerTypeKind && t == LLVMIntegerTypeKind) {
        return LLVMGetIntTypeWidth(from) < LLVMGetIntTypeWidth(to)
                   ? LLVMBuildZExt(b->builder, v, to, "")
                   : LLVMBuildTrunc(b->builder, v, to, "");
    }
    return LLVMBuildBitCast(b->builder, v, to, "");
}

ll_val ll_to(ll *b, ll_val v, ll_type t) {
    return convert(b, v, b->types[t]);
}

ll_val ll_sext(ll *b, ll_val v, ll_type t) {
    return LLVMBuildSExt(b->builder, v, b->types[t], "");
}

ll_val ll_sitofp(ll *b, ll_val v) {
    return LLVMBuildSIToFP(b->builder, v, b->types[LL_F32], "");
}

// --- Variables and memory ------------------------------------------------------------------------

ll_var ll_variable(ll *b, ll_type t, const char *name) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(b->builder);
    LLVMPositionBuilderAtEnd(b->builder, b->entry);
    ll_val slot = LLVMBuildAlloca(b->builder, b->types[t], name);
    LLVMPositionBuilderAtEnd(b->builder, here);
    return (ll_var){.slot = slot, .type = t};
}

ll_val ll_get(ll *b, ll_var v) {
    return LLVMBuildLoad2(b->builder, b->types[v.type], v.slot, "");
}

void ll_set(ll *b, ll_var v, ll_val x) {
    LLVMBuildStore(b->builder, x, v.slot);
}

// A 32-bit integer is an address in shared memory.
static ll_val pointer(ll *b, ll_val addr) {
    bool is_int = LLVMGetTypeKind(LLVMTypeOf(addr)) == LLVMIntegerTypeKind;
    return is_int ? ll_to(b, addr, LL_SHARED) : addr;
}

ll_val ll_load(ll *b, ll_type t, ll_val addr, int align, bool is_volatile) {
    ll_val v = LLVMBuildLoad2(b->builder, b->types[t], pointer(b, addr), "");
    LLVMSetAlignment(v, (unsigned)align);
    LLVMSetVolatile(v, is_volatile);
    return v;
}

void ll_store(ll *b, ll_val v, ll_val addr, int align) {
    ll_val s = LLVMBuildStore(b->builder, v, pointer(b, addr));
    LLVMSetAlignment(s, (unsigned)align);
}

void ll_load_words(ll *b, ll_val addr, int n, ll_val *out) {
    LLVMTypeRef type = n == 1 ? b->types[LL_I32] : LLVMVectorType(b->types[LL_I32], (unsigned)n);
    ll_val v = LLVMBuildLoad2(b->builder, type, pointer(b, addr), "");
    LLVMSetAlignment(v, (unsigned)(4 * n));
    for (int i = 0; i < n; i++) {
        out[i] = n == 1 ? v : ll_extract(b, v, i);
    }
}

void ll_store_words(ll *b, ll_val addr, int n, const ll_val *words) {
    ll_val v = words[0];
    if (n > 1) {
        v = LLVMGetUndef(LLVMVectorType(b->types[LL_I32], (unsigned)n));
        for (int i = 0; i < n; i++) {
            v = LLVMBuildInsertElement(b->builder, v, words[i], ll_i32(b, i), "");
        }
    }
    ll_store(b, v, addr, 4 * n);
}

// --- Control flow --------------------------------------------------------------------------------

ll_block ll_new_block(ll *b, const char *name) {
    return LLVMAppendBasicBlockInContext(b->ctx, b->fn, name);
}

void ll_at(ll *b, ll_block k) {
    LLVMPositionBuilderAtEnd(b->builder, k);
}

void ll_br(ll *b, ll_block k) {
    LLVMBuildBr(b->builder, k);
}

void ll_cond(ll *b, ll_val c, ll_block yes, ll_block no) {
    LLVMBuildCondBr(b->builder, c, yes, no);
}

void ll_ret(ll *b) {
    LLVMBuildRetVoid(b->builder);
}

ll_if ll_if_begin(ll *b, ll_val c) {
    ll_block yes = ll_new_block(b, "then");
    ll_if f = {.other = ll_new_block(b, "else")};
    f.end = f.other;
    ll_cond(b, c, yes, f.other);
    ll_at(b, yes);
    return f;
}

void ll_if_else(ll *b, ll_if *f) {
    f->end = ll_new_block(b, "end");
    ll_br(b, f->end);
    ll_at(b, f->other);
}

void ll_if_end(ll *b, ll_if f) {
    ll_br(b, f.end);
    ll_at(b, f.end);
}

ll_loop ll_loop_begin(ll *b, const char *name) {
    ll_loop l = {.head = ll_new_block(b, name)};
    ll_br(b, l.head);
    ll_at(b, l.head);
    return l;
}

void ll_loop_while(ll *b, ll_loop *l, ll_val c) {
    l->body = ll_new_block(b, "body");
    l->end = ll_new_block(b, "done");
    ll_cond(b, c, l->body, l->end);
    ll_at(b, l->body);
}

void ll_loop_end(ll *b, ll_loop l) {
    ll_br(b, l.head);
    ll_at(b, l.end);
}

// --- Calls ---------------------------------------------------------------------------------------

static void mark_convergent(ll *b, ll_val call) {
    LLVMAddCallSiteAttribute(call, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, b->convergent);
}

ll_val ll_intr(ll *b, const char *name, ll_type over, int n, const ll_val *args) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef types[1] = {b->types[over]};
    size_t n_types = over == LL_VOID ? 0 : 1;
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(b->module, id, types, n_types);
    LLVMTypeRef type = LLVMIntrinsicGetType(b->ctx, id, types, n_types);
    LLVMTypeRef *params = ARENA_ARRAY(b->mem, LLVMTypeRef, n + 1);
    LLVMGetParamTypes(type, params);
    LLVMValueRef *in = ARENA_ARRAY(b->mem, LLVMValueRef, n + 1);
    for (int i = 0; i < n; i++) {
        in[i] = convert(b, args[i], params[i]);
    }
    ll_val call = LLVMBuildCall2(b->builder, type, fn, in, (unsigned)n, "");
    mark_convergent(b, call);
    return call;
}

ll_val ll_extract(ll *b, ll_val aggregate, int i) {
    if (LLVMGetTypeKind(LLVMTypeOf(aggregate)) == LLVMVectorTypeKind) {
        return LLVMBuildExtractElement(b->builder, aggregate, ll_i32(b, i), "");
    }
    return LLVMBuildExtractValue(b->builder, aggregate, (unsigned)i, "");
}

ll_val ll_call_asm(ll *b, const ll_asm *a, int n, const ll_val *args) {
    LLVMTypeRef *outs = ARENA_ARRAY(b->mem, LLVMTypeRef, a->n_out + 1);
    for (int i = 0; i < a->n_out; i++) {
        outs[i] = b->types[a->out[a->n_out > 8 ? 0 : i]];
    }
    LLVMTypeRef result = a->n_out == 0   ? b->types[LL_VOID]
                         : a->n_out == 1 ? outs[0]
                                         : LLVMStructTypeInContext(b->ctx, outs, (unsigned)a->n_out,
                                                                   0);
    LLVMTypeRef *params = ARENA_ARRAY(b->mem, LLVMTypeRef, n + 1);
    LLVMValueRef *in = ARENA_ARRAY(b->mem, LLVMValueRef, n + 1);
    for (int i = 0; i < n; i++) {
        in[i] = args[i];
        params[i] = LLVMTypeOf(args[i]);
    }
    LLVMTypeRef type = LLVMFunctionType(result, params, (unsigned)n, 0);
    LLVMValueRef fn = LLVMGetInlineAsm(type, a->text, strlen(a->text), a->constraints,
                                       strlen(a->constraints), a->effect, 0,
                                       LLVMInlineAsmDialectATT, 0);
    ll_val call = LLVMBuildCall2(b->builder, type, fn, in, (unsigned)n, "");
    if (a->effect) {
        mark_convergent(b, call);
    }
    return call;
}
