#!/usr/bin/env python3
"""How far the approximate functions of the GPU are from the correctly rounded value, over every float of some
binades. Needs CuPy and a GPU; prints one line a function: inputs, how many results are not correctly rounded,
the largest distance in units of the last place.
"""
import cupy
import numpy

FUNCTIONS = {  # PTX, reference in double, binades (exponents of the inputs), signs
    "ex2": ("ex2.approx.f32", numpy.exp2, range(-4, 4), (1, -1)),
    "lg2": ("lg2.approx.f32", numpy.log2, range(-3, 4), (1,)),
    "rcp": ("rcp.approx.f32", lambda x: 1 / x, range(-1, 2), (1,)),
    "rsqrt": ("rsqrt.approx.f32", lambda x: 1 / numpy.sqrt(x), range(0, 2), (1,)),
    "sqrt": ("sqrt.approx.f32", numpy.sqrt, range(0, 2), (1,)),
    "tanh": ("tanh.approx.f32", numpy.tanh, range(-5, 3), (1, -1)),
}


def order(x):
    """Floats as integers in their order."""
    bits = x.view(numpy.int32).astype(numpy.int64)
    return numpy.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def main():
    for name, (ptx, reference, binades, signs) in FUNCTIONS.items():
        kernel = cupy.RawKernel(
            'extern "C" __global__ void f(const float *x, float *y, int n) {'
            "int i = blockIdx.x * blockDim.x + threadIdx.x;"
            'if (i < n) { asm("%s %%0, %%1;" : "=f"(y[i]) : "f"(x[i])); } }' % ptx, "f")
        total = wrong = 0
        most = 0
        for sign in signs:
            for e in binades:
                bits = (numpy.arange(1 << 23, dtype=numpy.uint32) | ((e + 127) << 23)) | (0x80000000 if sign < 0 else 0)
                x = bits.astype(numpy.uint32).view(numpy.float32)
                want = reference(x.astype(numpy.float64)).astype(numpy.float32)
                y = cupy.empty(x.size, cupy.float32)
                kernel((x.size // 256,), (256,), (cupy.asarray(x), y, numpy.int32(x.size)))
                off = numpy.abs(order(y.get()) - order(want))
                total += x.size
                wrong += int((off != 0).sum())
                most = max(most, int(off.max()))
        print(f"{name:6} {total:10} inputs, {wrong:10} not correctly rounded ({100 * wrong / total:.3f} %), "
              f"at most {most} units of the last place")


main()
