# PyTorch as a long-lived child: a JSON request a line on standard input, a JSON answer a line on standard output.
# The same nets, data and steps as engines/fourlane.js, checked by their losses.
#
#   python3 bench/engines/torch_engine.py THREADS
import json
import math
import sys
import time
import traceback

import torch
import torch.nn.functional as F

MASK = 0xFFFFFFFF
SEED_X, SEED_Y, SEED_LAYERS = 1, 2, 10

threads = int(sys.argv[1])
torch.set_num_threads(threads)
opened = None


def uniform(n, seed):
    """n numbers in [0, 1): workloads.js has the same, in the same order."""
    h = (torch.arange(n, dtype=torch.int64) + seed * 0x9E3779B1) & MASK
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & MASK
    return (h ^ (h >> 16)).double() / 2**32


def build(workload):
    sizes, batch = workload["sizes"], workload["batch"]
    layers = []
    for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        layer = torch.nn.Linear(inputs, outputs)
        with torch.no_grad():
            for k, p in enumerate([layer.weight, layer.bias]):
                u = uniform(p.numel(), SEED_LAYERS + 2 * i + k)
                p.copy_(((2 * u - 1) / math.sqrt(inputs)).float().reshape(p.shape))
        layers += [layer] if i == 0 else [torch.nn.ReLU(), layer]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters())
    x = uniform(batch * sizes[0], SEED_X).float().reshape(batch, sizes[0])
    y = (uniform(batch, SEED_Y) * sizes[-1]).long()
    return model, optimizer, x, y


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def open_workload(workload, checkedSteps, timedLr):
    global opened
    opened = build(workload)
    start = time.perf_counter()
    losses = [step(*opened)]
    first = (time.perf_counter() - start) * 1e3
    losses += [step(*opened) for _ in range(1, checkedSteps)]
    for group in opened[1].param_groups:
        group["lr"] = timedLr
    return {"firstMs": first, "losses": losses}


def run(steps, mode):
    start = time.perf_counter()
    for _ in range(steps):
        step(*opened)
    return {"ms": (time.perf_counter() - start) * 1e3 / steps}


def close():
    global opened
    opened = None
    return {}


def blas():
    """The library that multiplies matrices, where the system tells; "reference" is the one nobody tuned."""
    try:
        with open("/proc/self/maps") as maps:
            files = {line.split()[-1] for line in maps if "/" in line}
    except OSError:
        return "unknown"
    for name in ("openblas", "blis", "mkl_rt", "atlas"):
        if any(f"/lib{name}" in file or f"/{name}" in file for file in files):
            return name
    return "reference" if any("libblas" in file for file in files) else "unknown"


def answer(message):
    print(json.dumps(message), flush=True)


answer({"versions": {"torch": torch.__version__, "python": sys.version.split()[0], "blas": blas()}})
commands = {"open": open_workload, "run": run, "close": close}
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer(commands[request.pop("command")](**request))
    except Exception:
        answer({"error": traceback.format_exc()})
