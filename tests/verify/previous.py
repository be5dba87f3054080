# Programmatic dependent launch: the verifier accepts what the compiler makes of tests/programs/chain.tk, and refuses
# it with any one griddepcontrol.wait blanked out; elementwise and grouped programs with the fact as well.
#   previous.py FP4C ROOT
import os
import re
import subprocess
import sys
import tempfile

fp4c, root = sys.argv[1:3]
folder = tempfile.mkdtemp()
wrong = []
dropped = 0


def call(*args):
    done = subprocess.run([fp4c, *args], capture_output=True, text=True, errors="replace")
    return done.returncode, done.stdout + done.stderr


def with_fact(name, fact):  # a program whose schedules say one thing more
    text = open(os.path.join(root, name)).read()
    if "schedule " in text:
        text = re.sub(r"(schedule [^{]*\{)", r"\1 " + fact, text)
    else:
        kernel = re.search(r"kernel (\w+)", text).group(1)
        text += "".join(f"\nschedule {kernel} on {a} {{ {fact} }}\n" for a in ("sm_90a", "sm_100a", "sm_120a"))
    path = os.path.join(folder, os.path.basename(name))
    open(path, "w").write(text)
    return path


def verify(path):
    return call("verify", path)


def check(path, arch, waits):
    global dropped
    module = os.path.join(folder, "m.tkm")
    rc, said = call(path, "-arch", arch, "-o", module)
    if rc != 0:
        wrong.append(f"{path} on {arch}: {said}")
        return
    raw = open(module, "rb").read()
    rc, said = verify(module)
    places = [m.start() for m in re.finditer(rb"griddepcontrol\.wait;", raw)]
    if rc != 0 or len(places) != waits or raw.count(b"griddepcontrol.launch_dependents;") != 1 or b'"pdl":true' not in raw:
        wrong.append(f"{path} on {arch}: {len(places)} waits instead of {waits}, verify: {said}")
    for at in places:
        cut = raw[:at] + b" " * len(b"griddepcontrol.wait;") + raw[at + len(b"griddepcontrol.wait;"):]
        open(module, "wb").write(cut)
        rc, said = verify(module)
        dropped += 1
        if rc != 1 or "before griddepcontrol.wait" not in said:
            wrong.append(f"{path} on {arch}: without the wait at byte {at}: exit {rc}, {said}")


chain = os.path.join(root, "tests/programs/chain.tk")
for arch in ("sm_90a", "sm_100a", "sm_120a"):
    check(chain, arch, 2)
check(with_fact("tests/programs/transpose.tk", "pdl wait X;"), "sm_120a", 1)
check(with_fact("tests/programs/parts_both.tk", "pdl wait D;"), "sm_100a", 3)
check(with_fact("tests/programs/ragged.tk", "pdl wait X launch first;"), "sm_100a", 3)
for name in os.listdir(folder):
    os.remove(os.path.join(folder, name))
os.rmdir(folder)
print("\n".join(wrong) or f"{dropped} waits dropped, all refused")
sys.exit(1 if wrong or dropped < 8 else 0)
