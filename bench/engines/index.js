// The engines there are, and how each is started. All answer open, run and close; Fourlane's answer overhead too.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { layersOf } from "../networks.js";
import { CHECKED_STEPS, TIMED_LR } from "../workloads.js";
import { Child } from "./child.js";
import { openPage } from "./chromium.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
export const NODE24 = path(`../node_modules/node/bin/node${process.platform === "win32" ? ".exe" : ""}`);

/** The Nodes to measure: the one that runs, and Node 24 unless that is the same. */
export function nodes() {
  const { node, v8 } = process.versions;
  const found = [{ name: `Node ${node.split(".")[0]}`, command: process.execPath, version: `${node} (V8 ${v8})` }];
  if (found[0].name === "Node 24" || !existsSync(NODE24)) return found;
  const script = "console.log(`${process.versions.node} (V8 ${process.versions.v8})`)";
  found.push({
    name: "Node 24",
    command: NODE24,
    version: execFileSync(NODE24, ["-e", script], { encoding: "utf8" }).trim(),
  });
  return found;
}

/** Python's settings: what a user has who sets nothing, but for the number of threads. */
function torchEnvironment(threads) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(OPENBLAS|OMP|GOTO|MKL)_/.test(name)),
  );
  return { ...env, OMP_NUM_THREADS: String(threads), OPENBLAS_NUM_THREADS: String(threads) };
}

function fourlane(node, workers, math, vectors = 128) {
  const args = [path("fourlane.js"), "--workers", String(workers), "--math", math, "--vectors", String(vectors)];
  const kind = `${math === "fast" ? "" : `, ${math}`}${vectors === 128 ? "" : `, ${vectors} bits`}`;
  return {
    id: `fourlane-${node.name.replace(" ", "").toLowerCase()}-${math}-${workers}${vectors === 128 ? "" : `-${vectors}`}`,
    label: `Fourlane, ${node.name}${kind}, ${workers} worker${workers === 1 ? "" : "s"}`,
    family: "fourlane",
    host: `${node.name}${vectors === 128 ? "" : `, ${vectors} bits`}`,
    math,
    threads: workers,
    modes: ["awaited", "pipelined", "resident"],
    restMs: 2,
    start: async () => {
      const child = new Child(node.command, args);
      await child.hello;
      return child;
    },
  };
}

function torch(threads) {
  return {
    id: `torch-${threads}`,
    label: `PyTorch, ${threads} thread${threads === 1 ? "" : "s"}`,
    family: "torch",
    host: "python3",
    threads,
    modes: ["awaited"],
    restMs: threads > 1 ? 60 : 2, // its BLAS keeps its threads spinning that long
    // A python3 in front of the system's own may lack the system's packages.
    start: async () => {
      let reason;
      for (const python of ["python3", "/usr/bin/python3"]) {
        const child = new Child(python, [path("torch_engine.py"), String(threads)], torchEnvironment(threads));
        try {
          await child.hello;
          return child;
        } catch (error) {
          reason = error;
        }
      }
      throw reason;
    },
  };
}

/** An engine in a page of Chromium. */
function page(name, label, { family = name, isolated = true, threads, modes = ["awaited"], options }) {
  return {
    id: `${family}-chromium${isolated ? "" : "-open"}-${threads}`,
    label,
    family,
    host: isolated ? "Chromium" : "Chromium, not isolated",
    math: "fast",
    threads,
    modes,
    restMs: family === "fourlane" ? 10 : 60,
    start: () => openPage(name, { isolated, ...options }),
  };
}

/**
 * All engines to compare: Fourlane in each Node and kind of arithmetic, and in Chromium; what else there is in a page; and
 * PyTorch, with one and two threads.
 */
export function engines(hosts, maths) {
  const threads = [1, 2];
  const modes = ["awaited", "pipelined", "resident"];
  const own = (n) => ({ threads: n, modes, options: { workers: n } });
  return [
    ...hosts.flatMap((node) => maths.flatMap((math) => threads.map((n) => fourlane(node, n, math)))),
    // What V8 makes of the kernels when it pairs their vectors.
    ...hosts.filter(({ name }) => name === "Node 24").map((node) => fourlane(node, 2, "fast", 256)),
    ...threads.map((n) => page("fourlane", `Fourlane, Chromium, ${n} worker${n === 1 ? "" : "s"}`, own(n))),
    page("fourlane", "Fourlane, Chromium, not isolated", { ...own(1), isolated: false }),
    page("tfjs", "TensorFlow.js WASM, Chromium, 2 threads", { threads: 2, options: { threads: 2 } }),
    page("jax", "jax-js WASM, Chromium, its own threads", { threads: 2 }),
    ...threads.map((n) => torch(n)),
  ];
}

/** Makes a workload ready in a started engine. */
export function openWorkload(child, workload) {
  return child.request("open", {
    workload,
    layers: layersOf(workload),
    checkedSteps: CHECKED_STEPS,
    timedLr: TIMED_LR,
  });
}
