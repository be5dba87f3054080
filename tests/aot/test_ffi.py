"""Kernels through the TVM FFI from Python: CPU tensors, which the simulator works on.

References are numpy, from the formats' definitions (OCP FP4 and FP8 tables); operands and scales are
random codes. Everything that must be refused raises, with a sentence.
"""
import os
import sys

import numpy as np
import tvm_ffi

work = sys.argv[1]
rng = np.random.default_rng(7)
failures = 0

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def e4m3(code):
    """OCP FP8 E4M3: 1-4-3, bias 7, no infinities, 0x7f NaN."""
    e, m = (code >> 3) & 15, code & 7
    value = np.where(e == 0, m * 2.0**-9, (8 + m) * 2.0 ** (e.astype(float) - 10))
    return np.where(code & 128, -value, value)


def bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def blocked(scales):
    """[rows, k blocks] -> the bytes of layout sf128x4."""
    rows, kb = scales.shape
    out = np.zeros((-(-rows // 128)) * (-(-kb // 4)) * 512, np.uint8)
    m, k = np.meshgrid(np.arange(rows), np.arange(kb), indexing="ij")
    at = (m // 128 * -(-kb // 4) + k // 4) * 512 + m % 32 * 16 + m % 128 // 32 * 4 + k % 4
    out[at] = scales
    return out


def nvfp4(rows, k):
    """Random packed codes, their scales' bytes, and the numbers they stand for."""
    packed = rng.integers(0, 256, (rows, k // 2), dtype=np.uint8)
    scales = rng.integers(0x20, 0x48, (rows, k // 16), dtype=np.uint8)
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(rows, k)
    values = E2M1[codes] * np.repeat(e4m3(scales), 16, axis=1)
    return packed, blocked(scales), values


def ffi(array):
    return tvm_ffi.from_dlpack(array)


def complain(text):
    global failures
    failures += 1
    print(text)


def check(name, got, exact, magnitude):
    """bf16: half a unit in the last place, and what sums in single precision may lose."""
    bound = np.abs(exact) * 2.0**-8 + magnitude * 2.0**-18
    worst = np.max(np.abs(got - exact) - bound)
    if not worst <= 0:
        complain(f"{name}: off by {worst} more than the bound")


def refused(kind, sentence, function, *args):
    try:
        function(*args)
    except kind as e:
        if sentence not in str(e):
            complain(f"'{e}' does not say '{sentence}'")
        return
    except Exception as e:  # another kind
        complain(f"{type(e).__name__} '{e}', expected {kind.__name__} '{sentence}'")
        return
    complain(f"not refused: '{sentence}'")


gemm = tvm_ffi.load_module(os.path.join(work, "gemm.so")).nvfp4_gemm
batched = tvm_ffi.load_module(os.path.join(work, "batched.so")).batched
quantise = tvm_ffi.load_module(os.path.join(work, "quantise.so")).quantise_out

# Products, dense and with rows apart.
for m, n, k in ((1, 8, 32), (130, 72, 320)):
    a, sa, x = nvfp4(m, k)
    b, sb, y = nvfp4(n, k)
    exact, magnitude = x @ y.T, np.abs(x) @ np.abs(y).T
    d = np.zeros((m, n), np.uint16)
    gemm(ffi(a), ffi(sa), ffi(b), ffi(sb.reshape(-1, 512)), ffi(d), 0.5)
    check(f"gemm {m} {n} {k}", bf16(d), 0.5 * exact, 0.5 * magnitude)
    wide = np.full((m, n + 24), 0xABCD, np.uint16)
    apart = np.zeros((m, k // 2 + 16), np.uint8)
    apart[:, : k // 2] = a
    gemm(ffi(apart[:, : k // 2]), ffi(sa), ffi(b), ffi(sb), ffi(wide[:, :n]), 1)
    check(f"gemm {m} {n} {k}, rows apart", bf16(wide[:, :n]), exact, magnitude)
    if np.any(wide[:, n:] != 0xABCD):
        complain("memory between the rows was written")

# Rank 3: a product per batch entry.
e, m, n, k = 3, 20, 24, 64
xs, ws = [nvfp4(m, k) for _ in range(e)], [nvfp4(n, k) for _ in range(e)]
gain = rng.uniform(0.5, 2, e).astype(np.float32)
out = np.zeros((e, m, n), np.uint16)
stack = lambda parts, i: np.ascontiguousarray(np.stack([p[i] for p in parts]))
batched(ffi(stack(xs, 0)), ffi(stack(xs, 1)), ffi(stack(ws, 0)), ffi(stack(ws, 1)), ffi(gain), ffi(out))
for i in range(e):
    exact = gain[i] * (xs[i][2] @ ws[i][2].T)
    check(f"batched {i}", bf16(out[i]), exact, gain[i] * (np.abs(xs[i][2]) @ np.abs(ws[i][2]).T))

# A scaled result: MXFP8 is within half a step of its own scale.
m, n, k = 5, 128, 64
a, sa, x = nvfp4(m, k)
b, sb, y = nvfp4(n, k)
h, sh = np.zeros((m, n), np.uint8), np.zeros(512, np.uint8)
quantise(ffi(a), ffi(sa), ffi(b), ffi(sb), 1.0, ffi(h), ffi(sh))
i, j = np.meshgrid(np.arange(m), np.arange(n // 32), indexing="ij")
scale = 2.0 ** (sh[i % 32 * 16 + i // 32 * 4 + j % 4].astype(float) - 127)
step = np.repeat(scale, 32, axis=1)
got, exact = e4m3(h) * step, x @ y.T
if np.any(np.abs(got - exact) > np.maximum(np.abs(exact) * 2.0**-4, step * 2.0**-10) * 1.001):
    complain("quantise_out: a result is more than half a step away")

# Nothing to do, and sums of nothing.
b, sb, _ = nvfp4(16, 64)
none = np.zeros(0, np.uint8)
gemm(ffi(none.reshape(0, 32)), ffi(none), ffi(b), ffi(sb), ffi(np.zeros((0, 16), np.uint16)), 1.0)
d = np.full((3, 16), 0x4142, np.uint16)
gemm(ffi(none.reshape(3, 0)), ffi(none), ffi(none.reshape(16, 0)), ffi(none), ffi(d), 1.0)
if np.any(bf16(d) != 0):
    complain("a sum of nothing is not 0")

# Refusals.
a, sa, _ = nvfp4(4, 64)
b, sb, _ = nvfp4(16, 64)
d = np.zeros((4, 16), np.uint16)
good = [ffi(a), ffi(sa), ffi(b), ffi(sb), ffi(d), 1.0]


def but(index, value):
    return good[:index] + [value] + good[index + 1 :]


gemm(*good)
refused(TypeError, "5 arguments, expected 6", gemm, *good[:5])
refused(TypeError, "A must be a tensor", gemm, *but(0, 3))
refused(TypeError, "A_scale must be a tensor", gemm, *but(1, None))
refused(TypeError, "alpha must be a number", gemm, *but(5, "one"))
refused(TypeError, "A has elements of DLPack type 2", gemm, *but(0, ffi(a.astype(np.float32))))
refused(TypeError, "D has elements of DLPack type 1 with 8 bits", gemm, *but(4, ffi(d.astype(np.uint8))))
refused(ValueError, "A has 1 dimensions, expected 2", gemm, *but(0, ffi(a.reshape(-1))))
refused(ValueError, "A_scale has 511 bytes, expected 512 (layout sf128x4", gemm, *but(1, ffi(sa[:511])))
refused(ValueError, "last axis has stride 2", gemm, *but(0, ffi(np.zeros((4, 64), np.uint8)[:, ::2])))
refused(ValueError, "A_scale is not dense", gemm, *but(1, ffi(np.zeros(1024, np.uint8)[::2])))
refused(ValueError, "M = 4 in A, but 3 in D", gemm, *but(4, ffi(np.zeros((3, 16), np.uint16))))
refused(ValueError, "N = 15 must be a multiple of 8", gemm, ffi(a), ffi(sa), ffi(b[:15]), ffi(sb),
        ffi(np.zeros((4, 15), np.uint16)), 1.0)
refused(ValueError, "row pitch of 40 bytes must be a multiple of 16", gemm,
        *but(0, ffi(np.zeros((4, 40), np.uint8)[:, :32])))
gemm(*good)
print("1 failed" if failures else "all passed", "-", failures)
sys.exit(failures != 0)
