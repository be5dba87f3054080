# fp4-prepack against checkpoints made here, and its outputs read back here: nothing of the library is used.
#   checkpoints.py FP4-PREPACK
# Every kind of checkpoint that is known, random codes, scales and factors, matrices and batches of them, rows that
# end inside of a 128 x 4 tile, one of them in several files; then files with one mistake each: exit 1, a sentence,
# and no file made.
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

tool = sys.argv[1]
rnd = random.Random(7)
failures = []


def need(what, holds, text=""):
    if not holds:
        failures.append(f"{what}: {text}")


# ---- Files -----------------------------------------------------------------------------------------


def safetensors(tensors, metadata=None):
    header = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def read_safetensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    need(path, n % 8 == 0, f"a header of {n} bytes")
    header.pop("__metadata__", None)
    out = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        out[name] = (t["dtype"], t["shape"], raw[8 + n + begin:8 + n + end])
        width = {"F32": 4, "BF16": 2}.get(t["dtype"], 1)
        need(path, begin % width == 0, f"{name} of {t['dtype']} begins at {begin}")
    return out


def gguf(tensors):  # name: (type, dims outermost first, bytes)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0)
    data = b""
    for name, (kind, dims, raw) in tensors.items():
        data += b"\0" * (-len(data) % 32)
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dims))
        head += b"".join(struct.pack("<Q", d) for d in reversed(dims)) + struct.pack("<IQ", kind, len(data))
        data += raw
    data += b"\0" * (-len(data) % 32)
    return head + b"\0" * (-len(head) % 32) + data


# ---- A layer: matrices of N x K codes with a scale for 'granule' of K ------------------------------


class Layer:
    def __init__(self, e, n, k, granule, bits=4, rows=1):
        self.e, self.n, self.k, self.granule, self.rows = e, n, k, granule, rows
        self.codes = [[rnd.randrange(1 << bits) for _ in range(k)] for _ in range(e * n)]
        self.kb = -(-k // granule)
        self.sr = -(-n // rows)
        self.scales = [[rnd.randrange(1, 0x7f) for _ in range(self.kb)] for _ in range(e * self.sr)]
        self.floats = [[rnd.uniform(0.01, 2) for _ in range(self.kb)] for _ in range(e * self.sr)]

    def shape(self, *last):
        return ([self.e] if self.e > 1 else []) + list(last)

    def nibbles(self):
        return b"".join(bytes(r[i] | r[i + 1] << 4 for i in range(0, self.k, 2)) for r in self.codes)

    def data(self):
        return b"".join(bytes(r) for r in self.codes)

    def linear(self):
        return b"".join(bytes(r) for r in self.scales)

    def linear_f32(self):
        return b"".join(struct.pack(f"<{self.kb}f", *r) for r in self.floats)

    def tiles(self):  # quantization_utils.cuh of TensorRT-LLM
        words = -(-self.kb // 4)
        each = -(-self.n // 128) * words * 512
        out = bytearray(self.e * each)
        for e in range(self.e):
            for m in range(self.n):
                for kb in range(self.kb):
                    at = (m // 128 * words + kb // 4) * 512 + m % 32 * 16 + m % 128 // 32 * 4 + kb % 4
                    out[e * each + at] = self.scales[e * self.n + m][kb]
        return bytes(out)

    def blocks(self):  # ggml-common.h: scales, then per granule the first half low, the second half high
        out = bytearray()
        per = 4 if self.granule == 16 else 1
        half = self.granule // 2
        for r, s in zip(self.codes, self.scales):
            for b in range(0, self.kb, per):
                out += bytes(s[b:b + per])
                for g in range(b, b + per):
                    at = g * self.granule
                    out += bytes(r[at + j] | r[at + half + j] << 4 for j in range(half))
        return bytes(out)


def f32(x):
    return struct.pack("<f", x)


def check(what, out, name, layer, kind, factor, wide=False):
    got = {part: out.get(f"{name}.fp4_{part}") for part in ("data", "scale", "global")}
    if None in got.values():
        need(what, False, f"{name} is not there: {sorted(out)}")
        return
    fp8 = kind == "F32"
    need(what, got["data"] == ("F8_E4M3" if fp8 else "F4", layer.shape(layer.n, layer.k),
                               layer.data() if fp8 else layer.nibbles()), f"{name}: data")
    want = layer.linear_f32() if fp8 else layer.tiles()
    unit = 4 if fp8 else 1
    need(what, got["scale"] == (kind, [layer.e, len(want) // layer.e // unit], want), f"{name}: scale")
    need(what, got["global"] == ("F32", [], f32(factor)), f"{name}: global {got['global']}")


# ---- Running ---------------------------------------------------------------------------------------

folder = tempfile.mkdtemp()


def call(*args):
    done = subprocess.run([tool, *args], capture_output=True, text=True, errors="replace")
    return done.returncode, done.stdout, done.stderr


def convert(what, raw, name="in", *more):
    path, out = os.path.join(folder, name), os.path.join(folder, "out")
    open(path, "wb").write(raw)
    rc, said, err = call(path, out, *more)
    need(what, rc == 0 and err == "", f"exit {rc}: {err}")
    if rc != 0:
        return {}
    result = read_safetensors(out)
    first = open(out, "rb").read()
    # What was written is a checkpoint too: read again it gives the same bytes.
    if "--rest" not in more:
        rc, said, err = call(out, out + "2")
        need(what, rc == 0 and open(out + "2", "rb").read() == first, f"read again: exit {rc}: {err}")
        os.remove(out + "2")
    os.remove(out)
    return result


def refused(what, raw, sentence, *more, name="bad"):
    path, out = os.path.join(folder, name), os.path.join(folder, "bad.out")
    open(path, "wb").write(raw)
    rc, said, err = call(path, out, *more)
    need(what, rc == 1 and sentence in err and len(err.splitlines()) == 1, f"exit {rc}: {err}")
    left = [f for f in os.listdir(folder) if f.startswith("bad.out")]
    need(what, not left, f"left behind: {left}")


def kinds():
    for e, n, k in ((1, 130, 160), (3, 33, 96)):
        l = Layer(e, n, k, 16)
        yield "ModelOpt", {"a.weight": ("U8", l.shape(n, k // 2), l.nibbles()),
                           "a.weight_scale": ("F8_E4M3", l.shape(n, l.kb), l.linear()),
                           "a.weight_scale_2": ("F32", [], f32(0.0078125)),
                           "a.input_scale": ("F32", [], f32(3))}, "a", l, "F8_E4M3", 0.0078125
        yield "compressed-tensors NVFP4", {"b.weight_packed": ("U8", l.shape(n, k // 2), l.nibbles()),
                                           "b.weight_scale": ("F8_E4M3", l.shape(n, l.kb), l.linear()),
                                           "b.weight_global_scale": ("F32", [1], f32(512))}, "b", l, "F8_E4M3", 1 / 512
        l = Layer(e, n, k, 32)
        yield "compressed-tensors MXFP4", {"c.weight_packed": ("U8", l.shape(n, k // 2), l.nibbles()),
                                           "c.weight_scale": ("U8", l.shape(n, l.kb), l.linear())}, "c", l, "F8_E8M0", 1
        yield "DeepSeek MXFP4", {"d.weight": ("I8", l.shape(n, k // 2), l.nibbles()),
                                 "d.scale": ("F8_E8M0", l.shape(n, l.kb), l.linear())}, "d", l, "F8_E8M0", 1
        yield "gpt-oss", {"e_blocks": ("U8", l.shape(n, k // 32, 16), l.nibbles()),
                          "e_scales": ("U8", l.shape(n, k // 32), l.linear())}, "e", l, "F8_E8M0", 1
        l = Layer(e, n, k, 128, 8, 128)
        yield "DeepSeek FP8", {"f.weight": ("F8_E4M3", l.shape(n, k), l.data()),
                               "f.weight_scale_inv": ("F32", l.shape(l.sr, l.kb), l.linear_f32())}, "f", l, "F32", 1


def good():
    everything, wanted = {}, []
    for what, tensors, name, layer, kind, factor in kinds():
        check(what, convert(what, safetensors(tensors)), name, layer, kind, factor)
        prefix = f"model.{len(wanted)}\u00e9\"."  # names are any text
        everything.update({prefix + t: v for t, v in tensors.items()})
        wanted.append((what, prefix + name, layer, kind, factor))
    everything["norm"] = ("BF16", [3], b"abcdef")
    everything["odd"] = ("U8", [5], b"12345")
    out = convert("all", safetensors(everything, {"format": "pt"}), "in", "--rest")
    for what, name, layer, kind, factor in wanted:
        check(f"all: {what}", out, name, layer, kind, factor)
    rest = {n: v for n, v in out.items() if ".fp4_" not in n}
    inputs = {n: v for n, v in everything.items() if n.endswith("input_scale") or n in ("norm", "odd")}
    need("--rest", rest == inputs, sorted(rest))
    out = convert("one of all", safetensors(everything), "in", wanted[3][1])
    need("one of all", len(out) == 3, sorted(out))
    check("one of all", out, *wanted[3][1:])


def from_gguf():
    nv, mx = Layer(1, 130, 192, 16), Layer(3, 17, 96, 32)
    tensors = {"blk.0.ffn_up.weight": (40, [130, 192], nv.blocks()), "blk.0.ffn_up.scale": (0, [1], f32(0.25)),
               "blk.0.ffn_gate_exps.weight": (39, [3, 17, 96], mx.blocks()), "norm.weight": (0, [4], f32(1) * 4)}
    out = convert("GGUF", gguf(tensors))
    check("GGUF NVFP4", out, "blk.0.ffn_up", nv, "F8_E4M3", 0.25)
    check("GGUF MXFP4", out, "blk.0.ffn_gate_exps", mx, "F8_E8M0", 1)
    need("GGUF", len(out) == 6, sorted(out))
    out = convert("GGUF", gguf(tensors), "in", "--rest")
    need("GGUF --rest", out.get("norm.weight") == ("F32", [4], f32(1) * 4), sorted(out))
    path = os.path.join(folder, "in")
    rc, said, err = call("--list", path)
    need("--list", rc == 0 and said == "blk.0.ffn_up  GGUF NVFP4  nvfp4 [130, 192]  0.25\n"
         "blk.0.ffn_gate_exps  GGUF MXFP4  mxfp4 [3, 17, 96]  1\n", said + err)
    tensors["blk.0.ffn_up.scale"] = (0, [2], f32(0.25) * 2)
    refused("two factors", gguf(tensors), "its '.scale' is not one F32 number")
    tensors["blk.0.ffn_up.scale"] = (0, [1], f32(float("nan")))
    refused("no factor", gguf(tensors), "not a positive finite number")
    del tensors["blk.0.ffn_up.scale"]
    tensors["q.weight"] = (12, [2, 256], b"x" * 288)
    refused("Q4_K", gguf(tensors), "of ggml's type Q4_K, which no safetensors file holds", "--rest")
    refused("no layer", gguf(tensors), "there is no 'q.weight' of type NVFP4 or MXFP4", "q")
    raw = gguf(tensors)
    for cut in (3, 20, 100, len(raw) // 2, len(raw) - 32):
        refused(f"GGUF of {cut} bytes", raw[:cut], "")


def bad():
    l = Layer(1, 130, 160, 16)
    fine = {"a.weight": ("U8", [130, 80], l.nibbles()), "a.weight_scale": ("F8_E4M3", [130, 10], l.linear()),
            "a.weight_scale_2": ("F32", [], f32(1))}
    raw = safetensors(fine)
    for cut in (0, 7, 50, len(raw) - 1):
        refused(f"{cut} bytes", raw[:cut], "")
    refused("shape", safetensors({**fine, "a.weight_scale": ("F8_E4M3", [65, 20], l.linear())}), "its scales are not one for")
    refused("factor", safetensors({**fine, "a.weight_scale_2": ("F32", [], f32(0))}), "not a positive finite number")
    divided = {"b.weight_packed": fine["a.weight"], "b.weight_scale": fine["a.weight_scale"],
               "b.weight_global_scale": ("F32", [1], f32(1e-39))}
    refused("divisor", safetensors(divided), "the reciprocal of its global scale is not finite")
    refused("layer", raw, "'b' is not written as", "b")
    refused("layer twice", raw, "layer 'a' is named twice", "a", "a")
    refused("nothing", safetensors({"norm": ("BF16", [3], b"abcdef")}), "none of its 1 tensors is the weight of a layer")
    ready = {"a.fp4_data": ("F4", [130, 160], l.nibbles()), "a.fp4_scale": ("F8_E4M3", [1, len(l.tiles())], l.tiles()),
             "a.fp4_global": ("F32", [], f32(1))}
    cut = {**ready, "a.fp4_scale": ("F8_E4M3", [1, 512], l.tiles()[:512])}
    refused("short scales", safetensors(cut), "its scales are not those of its elements, padding included")
    refused("name taken", safetensors({**fine, "a.fp4_scale": ("U8", [1], b"x")}), "as a part of one would be", "--rest")
    path = os.path.join(folder, "in")
    open(path, "wb").write(raw)
    for args, rc, sentence in (([path], 2, "there is no OUTPUT"), ([], 2, "there is no INPUT"),
                               (["--what", path, "x"], 2, "no such option"), (["--list", path, "x"], 2, "--list takes one"),
                               ([path, os.path.join(folder, "no/such/folder")], 1, "cannot be made"),
                               ([os.path.join(folder, "nothing"), "x"], 1, "cannot be opened")):
        code, said, err = call(*args)
        need(f"{args}", code == rc and sentence in err, f"exit {code}: {err}")


# The parts of a layer may lie in different files of a checkpoint: its index stands for all of them.
def sharded():
    everything, wanted = {}, []
    for what, tensors, name, layer, kind, factor in kinds():
        everything.update({f"{len(wanted)}.{t}": v for t, v in tensors.items()})
        wanted.append((f"{len(wanted)}.{name}", layer, kind, factor))
    names = sorted(everything)
    rnd.shuffle(names)
    files = {f"m-{i}-of-3.safetensors": {n: everything[n] for n in names[i::3]} for i in range(3)}
    index = {"metadata": {"total_size": 1}, "weight_map": {n: f for f, t in files.items() for n in t}}
    for f, t in files.items():
        open(os.path.join(folder, f), "wb").write(safetensors(t))
    out = convert("several files", json.dumps(index).encode(), "m.safetensors.index.json")
    need("several files", len(out) == 3 * len(wanted), sorted(out))
    for name, layer, kind, factor in wanted:
        check("several files", out, name, layer, kind, factor)
    path = os.path.join(folder, "m-1-of-3.safetensors")
    rc, said, err = call(path, os.path.join(folder, "out"))
    need("one of several files", rc == 1 and "would be a part of what" in err, f"exit {rc}: {err}")
    first = names[0]
    for what, change, sentence in (("folder", {first: "../m-0-of-3.safetensors"}, "no name of a file beside it"),
                                   ("no name", {first: 1}, "no name of a file beside it"),
                                   ("no tensor", {"q": "m-0-of-3.safetensors"}, "tensor 'q', which no file has"),
                                   ("no file", {first: "m-3-of-3.safetensors"}, "m-3-of-3.safetensors: cannot be opened")):
        index2 = {"weight_map": {**index["weight_map"], **change}}
        refused(what, json.dumps(index2).encode(), sentence, name="m.json")
    refused("no map", b"{}", "no JSON with a 'weight_map'", name="m.json")
    open(path, "wb").write(safetensors(files["m-0-of-3.safetensors"]))
    refused("twice", json.dumps(index).encode(), "there are two tensors", name="m.json")


# A layer that lacks a part is not left out in silence.
def lone():
    l = Layer(1, 33, 64, 16)
    part = {"weight": ("U8", [33, 32], l.nibbles()), "weight_scale": ("F8_E4M3", [33, 4], l.linear()),
            "weight_scale_2": ("F32", [], f32(1))}
    whole = {f"a.{n}": v for n, v in part.items()}
    for left, dtype in (("weight", "U8"), ("weight_scale", "F8_E4M3"), ("weight_scale_2", "F32")):
        some = {f"b.{n}": v for n, v in part.items() if n != left}
        sentence = f"would be a part of what ModelOpt NVFP4 writes, but there is no 'b.{left}' of {dtype}"
        refused(f"without {left}", safetensors({**whole, **some}), sentence)
        out = convert(f"without {left}, --rest", safetensors({**whole, **some}), "in", "--rest")
        need(f"without {left}", all(out.get(n) == v for n, v in some.items()) and len(out) == 5, sorted(out))
        need("a alone", len(convert("a alone", safetensors({**whole, **some}), "in", "a")) == 3, left)
    other = {**part, "weight_scale": ("BF16", [33, 4], l.linear() * 2)}
    refused("scales of BF16", safetensors({**whole, **{f"b.{n}": v for n, v in other.items()}}),
            "there is no 'b.weight_scale' of F8_E4M3")


good()
from_gguf()
sharded()
lone()
bad()
for f in os.listdir(folder):
    os.remove(os.path.join(folder, f))
os.rmdir(folder)
print("\n".join(failures) or "all checkpoints are read as their writers meant them")
sys.exit(1 if failures else 0)
