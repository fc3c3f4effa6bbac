// Single convolutions, forward, to the input and to the kernels, on one worker and on two, against the multiply-add ceiling
// measured between them; and pooling against copying the same bytes. As users write them: compiled functions of the library,
// timed from the first worker's begin to the last one's end, so without the launch.
//
//   node bench/convolution.js [--json] [--only TEXT] [--workers LIST] [--bursts N]
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { compile, dispose, init, nn, rand, vjp, zeros } from "../dist/node/index.js";
import { Bench, ceilingOf, hasRelaxed, peakTask } from "./isa.js";
import { conv, layersOf, productFlop } from "./networks.js";
import { number, table } from "./table.js";

/** How long a program runs before it is measured, so that its kernels are compiled by then, and how long a burst is, in ms. */
const WARM_MS = 100;
const BURST_MS = 8;

const shape = (name, [inputs, outputs], pixels, batch, options) => ({
  name: `${name} ${inputs}-${outputs}, ${pixels}x${pixels}, batch ${batch}`,
  input: [inputs, pixels, pixels],
  layers: [conv(outputs, { bias: false, ...options })],
  batch,
});

const CONVOLUTIONS = [
  shape("3x3", [64, 64], 28, 16),
  shape("3x3", [16, 32], 14, 32),
  shape("3x3", [3, 32], 32, 32),
  shape("3x3", [64, 64], 64, 1),
  shape("3x3, stride 2,", [64, 64], 28, 16, { stride: 2 }),
  shape("5x5", [64, 64], 28, 16, { kernel: 5 }),
  shape("1x1", [64, 256], 28, 16, { kernel: 1 }),
  shape("depthwise 3x3", [64, 64], 28, 16, { groups: 64 }),
];

export const DIRECTIONS = ["forward", "input", "kernels"];

const POOLS = [
  [32, 16, 28, 28],
  [32, 32, 32, 32],
  [32, 64, 16, 16],
];

const { conv2d, maxPool2d } = nn.functional;
const random = (size) => new nn.Buffer(rand(size));
const empty = (size) => new nn.Buffer(zeros(size));

/** A convolution's three programs: what they read and what they write stays with the workers. */
function convolution(workload) {
  const [layer] = layersOf(workload);
  const { batch } = workload;
  const { stride, padding, groups } = layer;
  const [x, w, y] = [[batch, ...layer.input], layer.weight, [batch, ...layer.output]];
  const [images, kernels, cotangent] = [random(x), random(w), random(y)];
  const [out, dx, dw] = [empty(y), empty(x), empty(w)];
  const f = (images, kernels) => conv2d(images, kernels, null, { stride, padding, groups });
  const programs = {
    forward: () => out.assign(f(images, kernels)),
    input: () => dx.assign(vjp((t) => f(t, kernels), images)[1](cotangent)[0]),
    kernels: () => dw.assign(vjp((t) => f(images, t), kernels)[1](cotangent)[0]),
  };
  const flop = productFlop(layer, batch);
  return DIRECTIONS.map((direction) => ({
    name: `${workload.name} ${direction}`,
    flop,
    step: compile(() => void programs[direction]()),
  }));
}

/** Maxima of 2 x 2 and their backward, and a copy that reads and writes as many bytes: of 5/4 of the image. */
function pooling(size) {
  const [n, channels, height, width] = size;
  const [images, cotangent] = [random(size), random([n, channels, height / 2, width / 2])];
  const [y, dx] = [empty(cotangent.shape), empty(size)];
  const many = (5 * size.reduce((a, b) => a * b, 1)) / 4;
  const [from, to] = [random([many]), empty([many])];
  const name = size.join("x");
  return [
    {
      name: `pool ${name}`,
      step: compile(() => {
        const [result, pull] = vjp((t) => maxPool2d(t, 2), images);
        y.assign(result);
        dx.assign(pull(cotangent)[0]);
      }),
    },
    { name: `copy ${name}`, step: compile(() => void to.assign(from)) },
  ];
}

/** Least seconds of a few calls, which the caller's own thread makes while the workers rest. */
function leastOf({ run }) {
  let least = Infinity;
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    run();
    least = Math.min(least, (performance.now() - start) / 1000);
  }
  return least;
}

/** Least milliseconds of each task's program, as its workers see it, by name; and what `peak` reached between. */
async function leastTimes(tasks, peak, bursts) {
  const runs = new Map();
  for (const { name, step } of tasks) {
    const until = performance.now() + WARM_MS;
    let total;
    do ({ total } = await step.profile());
    while (performance.now() < until);
    runs.set(name, Math.max(1, Math.round((BURST_MS * 1000) / total)));
  }
  const least = new Map(tasks.map(({ name }) => [name, Infinity]));
  const seconds = new Map();
  for (let burst = 0; burst < bursts; burst++)
    for (const { name, step } of tasks) {
      seconds.set(peak.name, Math.min(leastOf(peak), seconds.get(peak.name) ?? Infinity));
      for (let i = runs.get(name); i > 0; i--)
        least.set(name, Math.min(least.get(name), (await step.profile()).total / 1000));
    }
  return { least, ceiling: ceilingOf(seconds) };
}

/**
 * Measures what `only` selects, with each number of workers:
 * {node, v8, variant, ceiling, convolutions: [{name, flop, ms, gflops, ratio}], pools: [{name, ms, copyMs, ratio}]}, where ms,
 * gflops and ratio (per worker, to the ceiling) of a convolution are {direction: {workers: number}}, and of pooling
 * {workers: number}.
 */
export async function measureConvolutions({ workers = [1, 2], only = "", bursts = 20 } = {}) {
  const variant = hasRelaxed() ? "relaxed" : "plain";
  const peak = peakTask(new Bench(variant, { pages: 64 }));
  const found = new Map();
  let ceiling = 0;
  const chosen = CONVOLUTIONS.filter(({ name }) => name.includes(only));
  const pools = POOLS.filter((size) => `max pooling ${size.join("x")}`.includes(only));
  if (chosen.length + pools.length === 0) throw new Error(`no convolution's name contains ${JSON.stringify(only)}`);
  for (const n of workers) {
    await init({ workers: n });
    try {
      const tasks = [...chosen.flatMap(convolution), ...pools.flatMap(pooling)];
      const measured = await leastTimes(tasks, peak, bursts);
      found.set(n, measured.least);
      ceiling = Math.max(ceiling, measured.ceiling);
    } finally {
      await dispose();
    }
  }
  const byWorkers = (f) => Object.fromEntries(workers.map((n) => [n, f(n)]));
  const byDirection = (f) => Object.fromEntries(DIRECTIONS.map((direction) => [direction, byWorkers(f(direction))]));
  const convolutions = chosen.map((workload) => {
    const { name, batch } = workload;
    const flop = productFlop(layersOf(workload)[0], batch);
    const ms = byDirection((direction) => (n) => found.get(n).get(`${name} ${direction}`));
    const gflops = byDirection((direction) => (n) => flop / ms[direction][n] / 1e6);
    const ratio = byDirection((direction) => (n) => gflops[direction][n] / (n * ceiling));
    return { name, flop, ms, gflops, ratio };
  });
  const pooled = pools.map((size) => {
    const name = size.join("x");
    const ms = byWorkers((n) => found.get(n).get(`pool ${name}`));
    const copyMs = byWorkers((n) => found.get(n).get(`copy ${name}`));
    return { name, ms, copyMs, ratio: byWorkers((n) => ms[n] / copyMs[n]) };
  });
  return { node: process.version, v8: process.versions.v8, variant, workers, ceiling, convolutions, pools: pooled };
}

/** The tables of one measurement. */
export function printConvolutions({ node, v8, variant, workers, ceiling, convolutions, pools }) {
  const many = (n) => `${n} worker${n === 1 ? "" : "s"}`;
  const parts = [`node ${node} (V8 ${v8}), ${variant}; ceiling ${ceiling.toFixed(1)} GFLOP/s a worker`];
  if (convolutions.length > 0) {
    const header = ["GFLOP/s and share of the ceiling", ...workers.flatMap((n) => DIRECTIONS.map((d) => `${d}, ${n}`))];
    const rows = convolutions.map(({ name, gflops, ratio }) => [
      name,
      ...workers.flatMap((n) => DIRECTIONS.map((d) => `${gflops[d][n].toFixed(1)} ${ratio[d][n].toFixed(2)}`)),
    ]);
    parts.push(table(header, rows));
  }
  if (pools.length > 0) {
    const header = ["2x2 max pooling and its backward, ms", ...workers.flatMap((n) => [many(n), "copy", "ratio"])];
    const rows = pools.map(({ name, ms, copyMs, ratio }) => [
      name,
      ...workers.flatMap((n) => [number(ms[n]), number(copyMs[n]), ratio[n].toFixed(2)]),
    ]);
    parts.push(table(header, rows));
  }
  return parts.join("\n\n");
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      only: { type: "string" },
      workers: { type: "string", default: "1,2" },
      bursts: { type: "string", default: "20" },
    },
  });
  const measured = await measureConvolutions({
    workers: values.workers.split(",").map(Number),
    only: values.only,
    bursts: Number(values.bursts),
  });
  console.log(values.json ? JSON.stringify(measured) : printConvolutions(measured));
}
