// Fourlane measured beside what one would use instead.
//
//   npm run bench -- [--json] [--quick] [--only TEXT] [--engines LIST] [--math fast,portable]
//
//   --json        one JSON object on standard output and nothing else
//   --quick       fewer and shorter bursts
//   --only TEXT   only jobs whose name contains TEXT: digits, gemm, convolution, start, compile, overhead, steps tiny,
//                 steps mlp, ..., growth
//   --engines LIST  only engines whose id contains one of these: fourlane, node24, chromium, torch, tfjs, jax, ...
//   --math KINDS  Fourlane's arithmetic in the step times (default: fast)
import { execFile, execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { measureCompile, printCompile } from "./compile.js";
import { printConvolutions } from "./convolution.js";
import { measureDigits } from "./digits.js";
import { engines, NODE24, nodes } from "./engines/index.js";
import { printProducts } from "./gemm.js";
import { judge } from "./goals.js";
import { measureGrowth } from "./growth.js";
import { measureSteps, startAll } from "./steps.js";
import { number, percent, printGoals, table } from "./table.js";
import { WORKLOADS } from "./workloads.js";

const USAGE = "usage: npm run bench -- [--json] [--quick] [--only TEXT] [--engines LIST] [--math fast,portable]";

function readOptions() {
  try {
    return parseArgs({
      options: {
        json: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        only: { type: "string", default: "" },
        engines: { type: "string", default: "" },
        math: { type: "string", default: "fast" },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    process.exit(1);
  }
}

const options = readOptions();
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
const { json, quick, only } = options;
const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const run = promisify(execFile);

/** What happens, on standard error: standard output is for the results. */
const say = (text) => process.stderr.write(`${text}\n`);
const show = (text) => {
  if (!json) console.log(`${text}\n`);
};
const notes = [];
const note = (text) => {
  notes.push(text);
  say(`note: ${text}`);
};

if (!existsSync(path("../dist/node/index.js"))) {
  say("There is no build yet: run `npm run build` first.");
  process.exit(1);
}
if (!existsSync(NODE24) || !existsSync(path("node_modules/@jax-js/jax"))) {
  say("Installing the bench's own dependencies (npm install --prefix bench) ...");
  try {
    execFileSync("npm", ["install", "--prefix", path("."), "--no-audit", "--no-fund"], {
      stdio: ["ignore", "ignore", "pipe"],
      shell: process.platform === "win32",
    });
  } catch (error) {
    say(String(error.stderr ?? error));
  }
  if (!existsSync(NODE24)) note("Node 24 could not be installed: its rows are missing");
}

const hosts = nodes();

// --- jobs ------------------------------------------------------------------------------------------------------------

const results = { steps: [] };

async function gemm() {
  results.gemm = [];
  for (const node of hosts) {
    for (const plain of [false, true]) {
      const args = [path("gemm.js"), "--json", "--bursts", quick ? "8" : "30", ...(plain ? ["--plain"] : [])];
      const { stdout } = await run(node.command, args);
      const measured = { host: node.name, ...JSON.parse(stdout) };
      // Without relaxed SIMD both runs are the same.
      if (!plain && measured.variant.endsWith("plain")) continue;
      results.gemm.push(measured);
      show(`Matrix products, one worker, packing included: ${printProducts(measured)}`);
    }
  }
}

async function start() {
  const order = (values) => values.toSorted((a, b) => a - b);
  results.start = hosts.map((node) => ({ host: node.name, node, runs: [] }));
  for (let i = 0; i < (quick ? 4 : 7); i++)
    for (const { node, runs } of results.start)
      runs.push(JSON.parse((await run(node.command, [path("engines/start.js")])).stdout));
  for (const entry of results.start) {
    delete entry.node;
    const of = (pick) => order(entry.runs.map(pick));
    const withBoot = of((r) => r.total);
    const withoutBoot = of((r) => r.total - r.boot);
    const middle = Math.floor((withBoot.length - 1) / 2);
    entry.min = { withBoot: withBoot[0], withoutBoot: withoutBoot[0] };
    entry.median = { withBoot: withBoot[middle], withoutBoot: withoutBoot[middle] };
    entry.parts = Object.fromEntries(["boot", "import", "init", "step"].map((part) => [part, of((r) => r[part])[0]]));
  }
  const rows = results.start.map(({ host, min, median, parts }) => [
    host,
    ...[min.withoutBoot, median.withoutBoot, min.withBoot, median.withBoot].map(number),
    ...[parts.boot, parts.import, parts.init, parts.step].map(number),
  ]);
  const header = ["Start, ms", "min", "median", "min + boot", "median + boot", "boot", "import", "init", "first step"];
  show(`Import, init and first step of the MLP in a fresh process; the parts are minima.\n\n${table(header, rows)}`);
}

async function compile() {
  results.compile = await measureCompile({ quick, say });
  show(printCompile(results.compile));
}

async function overhead(running) {
  results.overhead = [];
  for (const { id, label, family, host, child } of running) {
    if (family !== "fourlane") continue;
    const best = { p50: Infinity, p95: Infinity, min: Infinity };
    for (let i = 0; i < (quick ? 2 : 5); i++) {
      const got = await child.request("overhead", { samples: 500 });
      for (const key of Object.keys(best)) best[key] = Math.min(best[key], got[key]);
    }
    results.overhead.push({ id, label, host, ...best });
  }
  const rows = results.overhead.map(({ label, p50, p95, min }) => [label, number(p50), number(p95), number(min)]);
  show(`One awaited step of x + 1, microseconds\n\n${table(["Engine", "p50", "p95", "min"], rows)}`);
}

/** GFLOP/s of a worker in the newest Node: the most of all times it was asked, because other load only ever takes some. */
async function ceiling() {
  const { stdout } = await run(hosts.at(-1).command, [path("ceiling.js")]);
  results.ceiling = Math.max(results.ceiling ?? 0, Number(stdout));
  return results.ceiling;
}

async function steps(workload, running) {
  const result = await measureSteps(workload, running, {
    ...(quick ? { bursts: 8, burstMs: 15 } : { bursts: 60, burstMs: 30 }),
    ceiling: await ceiling(),
  });
  results.steps.push(result);
  for (const { label, error, agrees } of result.engines) {
    if (error) note(`${workload.name}: ${label} failed: ${error.split("\n")[0]}`);
    else if (!agrees) note(`${workload.name}: ${label} has other losses than the first engine`);
  }
  const rows = result.engines.map((e) => [
    e.layout ? `${e.label}, ${e.layout}` : e.label,
    ...[e.firstMs, e.awaitedMs, e.awaitedMedianMs, e.pipelinedMs, e.residentMs, e.gflops, e.share].map(number),
    ...[e.ratio, e.tfjsRatio, e.jaxRatio].map(number),
  ]);
  const header = [
    "Engine",
    "first",
    "step",
    "median",
    "2 in flight",
    "run()",
    "GFLOP/s",
    "share",
    "/ PyTorch",
    "/ tfjs",
    "/ jax-js",
  ];
  const { name, title, batch } = workload;
  const head = `${name}: ${title}, batch ${batch}, one Adam step, ms; share of ${number(result.ceiling)} GFLOP/s a worker`;
  const failed = result.engines.filter((e) => e.error).map((e) => `${e.label}: ${e.error.split("\n")[0]}`);
  show([head, "", table(header, rows), ...failed].join("\n"));
}

async function growth(running) {
  const host = hosts.at(-1).name;
  const own = running.filter((e) => e.family === "fourlane" && e.host === host && e.math === "fast");
  results.growth = await measureGrowth(own, quick ? { bursts: 3, burstMs: 20 } : { bursts: 10, burstMs: 60 });
  const most = await ceiling();
  const header = ["1 worker, ms", "2 workers, ms", "ratio", "GFLOP/s", "share", "arena, KB", "/ lower bound"];
  for (const of of new Set(results.growth.map((row) => row.of))) {
    const rows = results.growth
      .filter((row) => row.of === of)
      .map(({ series, value, flop, ms, plan }) => [
        `${series} ${value}`,
        ...[ms[1], ms[2], ms[1] / ms[2], flop / ms[2] / 1e6, flop / ms[2] / 1e6 / (2 * most)].map(number),
        (plan.bytes / 1024).toFixed(0),
        plan.ratio.toFixed(3),
      ]);
    show(`How a step grows, ${host}\n\n${table([`${of}, but`, ...header], rows)}`);
  }
}

async function convolution() {
  results.convolution = [];
  for (const node of hosts) {
    const args = [path("convolution.js"), "--json", "--bursts", quick ? "5" : "20"];
    const measured = { host: node.name, ...JSON.parse((await run(node.command, args)).stdout) };
    results.convolution.push(measured);
    show(`Single convolutions, and pooling: ${printConvolutions(measured)}`);
  }
}

async function digits() {
  results.digits = await measureDigits({ quick, node: hosts.at(-1).command });
  const { testAccuracy, trainSeconds, identical, fullSize, cnn, text } = results.digits;
  const rows = [
    ["test accuracy", percent(testAccuracy)],
    ["training, s", number(trainSeconds)],
    ["parameters for 2, 2, 1, 3, 4 workers", identical ? "identical" : "different"],
  ];
  rows.push(
    [`cnn, ${hosts.at(-1).name}: test accuracy`, percent(cnn.testAccuracy)],
    ["cnn: training, s", number(cnn.trainSeconds)],
    [
      "gpt: loss of the held-out text, entropy of its pairs",
      `${number(text.finalLoss)}, ${number(text.bigramEntropy)}`,
    ],
    ["gpt: training, s", number(text.trainSeconds)],
    ["cnn: parameters for 1, 2, 3, 4 workers", cnn.identical ? "identical" : "different"],
  );
  if (fullSize) rows.push(["60,000 images, s per epoch", number(fullSize.secondsPerEpoch)]);
  show(`The main job\n\n${table(["Digits", "measured"], rows)}`);
}

// --- the run ---------------------------------------------------------------------------------------------------------

const load = loadavg()[0];
if (load > 0.5) note(`the machine was busy before the run (load ${load.toFixed(1)}): take it again when it is not`);

const jobs = [
  { name: "digits", job: digits },
  { name: "gemm", job: gemm },
  { name: "convolution", job: convolution },
  { name: "start", job: start },
  { name: "compile", job: compile },
  { name: "overhead", engines: true, job: overhead },
  ...WORKLOADS.map((workload) => ({
    name: `steps ${workload.name}`,
    engines: true,
    job: (running) => steps(workload, running),
  })),
  { name: "growth", engines: true, job: growth },
].filter(({ name }) => name.includes(only));
if (jobs.length === 0) {
  say(`No job's name contains ${JSON.stringify(only)}.`);
  process.exit(1);
}

let running = [];
const versions = Object.fromEntries(hosts.map(({ name, version }) => [name, version]));
try {
  for (const { name, engines: needed, job } of jobs) {
    if (needed && running.length === 0) {
      const wanted = options.engines.split(",");
      const chosen = engines(hosts, options.math.split(",")).filter(({ id }) =>
        wanted.some((text) => id.includes(text)),
      );
      if (chosen.length === 0) throw new Error(`No engine's id contains any of ${JSON.stringify(wanted)}.`);
      const started = await startAll(chosen);
      running = started.running;
      for (const { label, family, reason } of started.missing)
        note(`${label} is absent${family === "torch" ? " (Debian: python3-torch)" : ""}: ${reason}`);
      for (const { hello } of running) Object.assign(versions, hello.versions);
      if (versions.blas === "reference")
        note("PyTorch multiplies with the reference BLAS, which is slow; install libopenblas0-pthread to compare");
    }
    say(`${name} ...`);
    await job(running);
  }
} finally {
  await Promise.all(running.map(({ child }) => child.stop()));
}

if (results.steps.length > 0) {
  const speedups = results.steps.flatMap(({ workload, speedups }) =>
    speedups.map((s) => [
      `${workload}, ${s.host}${s.math === "fast" ? "" : `, ${s.math}`}`,
      number(s.awaited),
      number(s.pipelined),
    ]),
  );
  show(`Two workers against one\n\n${table(["Workload", "step", "2 in flight"], speedups)}`);
  const kb = (bytes) => (bytes / 1024).toFixed(1);
  const plans = results.steps
    .filter(({ plan }) => plan)
    .map(({ workload, plan: { bytes, lowerBound, unshared, ratio } }) => {
      return [workload, kb(bytes), kb(lowerBound), kb(unshared), ratio.toFixed(3)];
    });
  show(`Planned memory, KB\n\n${table(["Workload", "arena", "lower bound", "unshared", "ratio"], plans)}`);
}

results.goals = judge({ ...results, blas: versions.blas });
if (results.goals.length > 0) show(printGoals(results.goals));

const machine = {
  cpu: cpus()[0]?.model ?? "unknown",
  cores: availableParallelism(),
  memoryGB: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${process.arch}`,
  loadBefore: load,
};
const { version } = JSON.parse(readFileSync(path("../package.json"), "utf8"));
if (json) {
  console.log(
    JSON.stringify({
      fourlane: version,
      date: new Date().toISOString(),
      machine,
      versions,
      options,
      ...results,
      notes,
    }),
  );
} else {
  show(
    `${machine.cpu}, ${machine.cores} cores, ${machine.system}; ` +
      Object.entries(versions)
        .map(([name, v]) => `${name} ${v}`)
        .join(", "),
  );
  if (notes.length > 0) show(notes.map((text) => `Note: ${text}.`).join("\n"));
}
