"""Generated C on a GPU, beside torch (folder: gpu_carry.sh).

FP8 products with f32 block scales, by the driver-only form and by the TVM FFI: both within the bound
around torch's product in double precision, and equal to each other bit for bit; on a stream of the
caller's, captured in a graph, into a view with a row pitch; refusals are exceptions.
"""
import ctypes
import os
import sys
import time

import torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path.append(here)
import tvm_ffi

torch.manual_seed(3)
failures = 0


def expect(what, good):
    global failures
    failures += not good
    print("ok " if good else "BAD", what)


def operands(m, n, k):
    a = torch.randn(m, k, device="cuda").to(torch.float8_e4m3fn)
    b = torch.randn(n, k, device="cuda").to(torch.float8_e4m3fn)
    sa = torch.rand(m, -(-k // 128), device="cuda") + 0.5
    sb = torch.rand(-(-n // 128), -(-k // 128), device="cuda") + 0.5
    x = a.double() * sa.double().repeat_interleave(128, 1)[:, :k]
    y = b.double() * sb.double().repeat_interleave(128, 0)[:n].repeat_interleave(128, 1)[:, :k]
    # bf16's rounding, and the 14 bits that FP8 sums keep inside a promotion step
    bound = (x @ y.T).abs() * 2**-8 + (x.abs() @ y.abs().T) * 2**-12
    return a, sa, b, sb, x @ y.T, bound


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_uint64), ("scale", ctypes.c_uint64), ("dims", ctypes.c_int64 * 5),
                ("pitch", ctypes.c_int64)]


def tensor(t, scale=None):
    out = Tensor(t.data_ptr(), scale.data_ptr() if scale is not None else 0)
    out.dims[0], out.dims[1] = t.shape
    return ctypes.byref(out)


def same(x, y):
    return torch.equal(x.contiguous().view(torch.int16), y.contiguous().view(torch.int16))


def refused(sentence, *args):
    try:
        blocks(*args)
        expect(f"refused: {sentence}", False)
    except ValueError as e:
        expect(f"refused: {e}", sentence in str(e))


driver = ctypes.CDLL(os.path.join(here, "drv_blocks.so"))
driver.drv_blocks_last_error.restype = ctypes.c_char_p
kernels = ctypes.c_void_p()
status = driver.drv_blocks_open(0, ctypes.byref(kernels))
expect(f"driver-only opens {driver.drv_blocks_last_error()}", status == 0)
blocks = tvm_ffi.load_module(os.path.join(here, "blocks.so")).blocks

for m, n, k in ((1, 8, 16), (130, 264, 160), (1000, 512, 1024)):
    a, sa, b, sb, exact, bound = operands(m, n, k)
    d = torch.zeros(m, n, device="cuda", dtype=torch.bfloat16)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    status = driver.drv_blocks_blocks(kernels, tensor(a, sa), tensor(b, sb), tensor(d),
                                      ctypes.c_void_p(stream.cuda_stream))
    stream.synchronize()
    expect(f"driver-only {m} {n} {k}", status == 0 and bool(((d.double() - exact).abs() <= bound).all()))
    wide = torch.zeros(m, n + 64, device="cuda", dtype=torch.bfloat16)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        blocks(a, sa, b, sb, wide[:, :n])
    stream.synchronize()
    expect(f"tvm-ffi {m} {n} {k}, rows apart, own stream", same(wide[:, :n], d) and bool((wide[:, n:] == 0).all()))

e = torch.zeros_like(d)
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    blocks(a, sa, b, sb, e)
captured_only = bool((e == 0).all())
graph.replay()
torch.cuda.synchronize()
expect("captured in a graph", captured_only and same(e, d))
refused("A_scale has 160 bytes, expected 32000", a, sa[:5], b, sb, e)
refused("lies on another device", a.cpu(), sa, b, sb, e)

start = time.perf_counter()
for _ in range(1000):
    blocks(a, sa, b, sb, e)
print(f"{1e3 * (time.perf_counter() - start):.1f} us a call on the host, through Python")
torch.cuda.synchronize()
sys.exit(failures != 0)
