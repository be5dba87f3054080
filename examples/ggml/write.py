"""A GGUF file with one NVFP4 weight and its global scale, for blocks.c: write.py FILE."""
import random
import struct
import sys

N, K, ALIGNMENT = 72, 192, 32
random.seed(4)


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def tensor(name, dims, kind, offset):
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def pad(data):
    return data + bytes(-len(data) % ALIGNMENT)


# block_nvfp4: a UE4M3 scale for each 16 elements, then 64 elements of 4 bits
blocks = b"".join(
    bytes(random.randrange(0x28, 0x50) for _ in range(4)) + random.randbytes(32)
    for _ in range(N * K // 64)
)
scale = struct.pack("<f", 0.0078125 * 1.5)
header = b"GGUF" + struct.pack("<IQQ", 3, 2, 1)
header += text("general.architecture") + struct.pack("<I", 8) + text("example")
header += tensor("blk.0.ffn_up.weight", [K, N], 40, 0)
header += tensor("blk.0.ffn_up.scale", [1], 0, len(pad(blocks)))
with open(sys.argv[1], "wb") as file:
    file.write(pad(header) + pad(blocks) + pad(scale))
