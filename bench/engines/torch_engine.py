# PyTorch as a long-lived child: a JSON request a line on standard input, a JSON answer a line on standard output.
# The same nets, data and steps as engines/fourlane.js, checked by their losses.
#
#   python3 bench/engines/torch_engine.py THREADS
import ctypes
import json
import math
import os
import re
import sys
import tempfile
import time
import traceback

import torch
import torch.nn.functional as F

MASK = 0xFFFFFFFF
SEED_X, SEED_Y, SEED_LAYERS = 1, 2, 10

threads = int(sys.argv[1])
torch.set_num_threads(threads)
opened = {}  # by mode


def uniform(n, seed):
    """n numbers in [0, 1): workloads.js has the same, in the same order."""
    h = (torch.arange(n, dtype=torch.int64) + seed * 0x9E3779B1) & MASK
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & MASK
    return (h ^ (h >> 16)).double() / 2**32


class Residual(torch.nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class Lstm(torch.nn.Module):
    """What a sequence [batch, steps, inputs] leaves after its last step."""

    def __init__(self, layer):
        super().__init__()
        inputs = layer["input"][1]
        self.lstm = torch.nn.LSTM(inputs, layer["outputs"], batch_first=True)
        both = given(torch.nn.Linear(layer["weight"][1], layer["weight"][0]), layer)
        with torch.no_grad():
            self.lstm.weight_ih_l0.copy_(both.weight[:, :inputs])
            self.lstm.weight_hh_l0.copy_(both.weight[:, inputs:])
            self.lstm.bias_ih_l0.copy_(both.bias)
            self.lstm.bias_hh_l0.zero_()

    def forward(self, x):
        return self.lstm(x)[0][:, -1]


class Positions(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.weight = given(torch.nn.Embedding(*layer["weight"]), layer).weight

    def forward(self, x):
        return x + self.weight


class Attention(torch.nn.Module):
    """Causal attention of queries, keys and values side by side, in heads."""

    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, x):
        batch, places, width = x.shape
        parts = x.view(batch, places, 3, self.heads, width // 3 // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            future = torch.ones(places, places, dtype=torch.bool).triu(1)
            scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
            y = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        return y.transpose(1, 2).reshape(batch, places, width // 3)


def given(module, layer):
    """The module with the initial parameters of a layer: workloads.js has the same."""
    bound = 1 / math.sqrt(math.prod(layer["weight"][1:]))
    with torch.no_grad():
        for k, p in enumerate([module.weight, getattr(module, "bias", None)]):
            if p is not None:
                u = uniform(p.numel(), SEED_LAYERS + 2 * layer["index"] + k)
                p.copy_(((2 * u - 1) * bound).float().reshape(p.shape))
    return module


MAKE = {
    "linear": lambda a: given(torch.nn.Linear(a["input"][-1], a["outputs"]), a),
    "conv": lambda a: given(
        torch.nn.Conv2d(
            a["input"][0],
            a["outputs"],
            a["kernel"],
            stride=a["stride"],
            padding=a["padding"],
            groups=a["groups"],
            bias=a["bias"] is not None,
        ),
        a,
    ),
    "lstm": Lstm,
    "embedding": lambda a: given(torch.nn.Embedding(*a["weight"]), a),
    "positions": Positions,
    "layerNorm": lambda a: torch.nn.LayerNorm(a["channels"]),
    "gelu": lambda a: torch.nn.GELU(),
    "attention": lambda a: Attention(a["heads"]),
    "batchNorm": lambda a: torch.nn.BatchNorm2d(a["channels"]),
    "relu": lambda a: torch.nn.ReLU(),
    "relu6": lambda a: torch.nn.ReLU6(),
    "maxPool": lambda a: torch.nn.MaxPool2d(2),
    "averagePool": lambda a: torch.nn.AdaptiveAvgPool2d(1),
    "flatten": lambda a: torch.nn.Flatten(),
    "residual": lambda a: Residual(chain(a["body"]), chain(a["shortcut"])),
}


def chain(layers):
    return torch.nn.Sequential(*[MAKE[layer["op"]](layer) for layer in layers])


def build(workload, layers, memory_format):
    shape = [workload["batch"], *workload["input"]]
    model = chain(layers)
    x = uniform(math.prod(shape), SEED_X)
    x = ((x * workload["kinds"]).long() if "kinds" in workload else x.float()).reshape(shape)
    if len(shape) == 4:
        model, x = model.to(memory_format=memory_format), x.contiguous(memory_format=memory_format)
    optimizer = torch.optim.Adam(model.parameters())
    *rows, classes = layers[-1]["output"]
    y = (uniform(shape[0] * math.prod(rows), SEED_Y) * classes).long()
    return model, optimizer, x, y


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x).flatten(0, -2), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def open_workload(workload, layers, checkedSteps, timedLr):
    """Builds the network once for every layout of images there is: which is faster depends on the network."""
    opened.clear()
    opened["awaited"] = build(workload, layers, torch.contiguous_format)
    if len(workload["input"]) == 3:
        opened["channelsLast"] = build(workload, layers, torch.channels_last)
    start = time.perf_counter()
    losses = [step(*opened["awaited"])]
    first = (time.perf_counter() - start) * 1e3
    losses += [step(*opened["awaited"]) for _ in range(1, checkedSteps)]
    for mode, (_, optimizer, _, _) in opened.items():
        if mode != "awaited":
            for _ in range(checkedSteps):
                step(*opened[mode])
        for group in optimizer.param_groups:
            group["lr"] = timedLr
    return {"firstMs": first, "losses": losses, "modes": list(opened)}


def run(steps, mode):
    start = time.perf_counter()
    for _ in range(steps):
        step(*opened[mode])
    return {"ms": (time.perf_counter() - start) * 1e3 / steps}


def close():
    opened.clear()
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


def vectors():
    """The widest vectors in use: ATen's own loops, and oneDNN's, which tells only in what it prints about an operation."""
    if hasattr(torch.backends, "cpu"):
        aten = torch.backends.cpu.get_cpu_capability()
    else:
        aten = re.search(r"CPU capability usage: (.*)", torch.__config__.show()).group(1)
    return f"ATen {aten}, oneDNN {onednn()}"


def onednn():
    if not hasattr(torch.backends.mkldnn, "verbose"):
        return "unknown"
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                torch.nn.Conv2d(16, 16, 3)(torch.zeros(16, 16, 8, 8))  # of one sample, PyTorch computes itself
        finally:
            ctypes.CDLL(None).fflush(None)  # what C has printed
            os.dup2(kept, 1)
            os.close(kept)
        printed.seek(0)
        found = re.search(r"isa:([^\n]*)", printed.read().decode())
    return found.group(1) if found else "unknown"


def answer(message):
    print(json.dumps(message), flush=True)


answer({"versions": {"torch": torch.__version__, "python": sys.version.split()[0], "blas": blas(), "vectors": vectors()}})
commands = {"open": open_workload, "run": run, "close": close}
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer(commands[request.pop("command")](**request))
    except Exception:
        answer({"error": traceback.format_exc()})
