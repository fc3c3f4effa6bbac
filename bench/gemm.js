// Matrix products on one worker, packing included, against the multiply-add ceiling measured between them.
//
//   node bench/gemm.js [--json] [--plain] [--only TEXT] [--bursts N]
//
// FOURLANE_KERNELS=/some/directory/ measures the binaries there instead of those in build/.
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Bench, ceilingOf, fastest, hasRelaxed, isa, peakTask } from "./isa.js";

/** Work of one burst: long against the clock's resolution, short against the scheduler's slice. */
const BURST_FLOP = 6e7;

// [M, K, N] and what it is for.
const SHAPES = [
  [256, 256, 256, "square"],
  [512, 512, 512, "square"],
  [128, 784, 128, "wide layer"],
  [64, 784, 128, "forward: NT"],
  [128, 64, 784, "weight gradient: TN"],
  [64, 10, 128, "input gradient of 10 classes"],
  [64, 128, 10, "forward, 10 classes"],
  [1, 784, 128, "one sample"],
  [8, 784, 128, "few samples"],
];
const LAYOUTS = ["NN", "NT", "TN"];

const next = (() => {
  let s = 1;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32 - 0.5;
  };
})();

function product(bench, m, k, n, layout) {
  const { Gemm, Opcode } = isa;
  const block = Math.ceil(m / 4) * 4;
  const ip = bench.instruction(Opcode.Gemm, Gemm.Length, 1, {
    [Gemm.C]: bench.f32(m * n),
    [Gemm.A]: bench.f32(m * k, next),
    [Gemm.B]: bench.f32(k * n, next),
    [Gemm.M]: m,
    [Gemm.N]: n,
    [Gemm.K]: k,
    [Gemm.CRow]: n,
    [Gemm.ARow]: layout[0] === "T" ? 1 : k,
    [Gemm.ACol]: layout[0] === "T" ? m : 1,
    [Gemm.BRow]: layout[1] === "T" ? 1 : n,
    [Gemm.BCol]: layout[1] === "T" ? k : 1,
    [Gemm.Batch]: 1,
    [Gemm.Block]: block,
  });
  const { Gemm: gemm } = bench.kernels;
  const { scratch } = bench;
  return () => gemm(ip, 0, 1, scratch);
}

/**
 * Measures the products whose "MxKxN" contains `only`, with the relaxed binary if asked for and this engine takes it.
 * Each row has GFLOP/s, the share of the ceiling, and what the best layout has over the worst.
 */
export async function measureProducts({ relaxed = true, only = "", bursts = 30, directory } = {}) {
  const variant = relaxed && hasRelaxed(directory) ? "relaxed" : "plain";
  const bench = new Bench(variant, { directory });
  const shapes = SHAPES.filter(([m, k, n]) => `${m}x${k}x${n}`.includes(only));
  const peak = peakTask(bench);
  const tasks = [];
  for (const [m, k, n] of shapes)
    for (const layout of LAYOUTS)
      tasks.push(peak, {
        name: `${m}x${k}x${n} ${layout}`,
        run: product(bench, m, k, n, layout),
        calls: Math.max(1, Math.round(BURST_FLOP / (2 * m * k * n))),
      });

  const seconds = await fastest(tasks, { bursts });
  const ceiling = ceilingOf(seconds);
  const rows = shapes.map(([m, k, n, use]) => {
    const gflops = LAYOUTS.map((layout) => (2 * m * k * n) / seconds.get(`${m}x${k}x${n} ${layout}`) / 1e9);
    return {
      m,
      k,
      n,
      use,
      gflops: Object.fromEntries(LAYOUTS.map((layout, i) => [layout, gflops[i]])),
      ratio: Object.fromEntries(LAYOUTS.map((layout, i) => [layout, gflops[i] / ceiling])),
      spread: Math.max(...gflops) / Math.min(...gflops) - 1,
    };
  });
  return { node: process.version, v8: process.versions.v8, variant, ceiling, rows };
}

/** The table of one measurement. */
export function printProducts({ node, v8, variant, ceiling, rows }) {
  const lines = [
    `node ${node} (V8 ${v8}), ${variant}`,
    `ceiling ${ceiling.toFixed(1)} GFLOP/s; below: GFLOP/s and its share of the ceiling`,
    "",
    `${"M x K x N".padEnd(16)}${LAYOUTS.map((layout) => layout.padEnd(14)).join("")}spread`,
  ];
  for (const { m, k, n, use, gflops, ratio, spread } of rows) {
    const cells = LAYOUTS.map((layout) => `${gflops[layout].toFixed(1).padStart(5)} ${ratio[layout].toFixed(2)}`);
    lines.push(
      `${`${m}x${k}x${n}`.padEnd(16)}${cells.map((cell) => cell.padEnd(14)).join("")}` +
        `${`${(spread * 100).toFixed(0)} %`.padStart(6)}  ${use}`,
    );
  }
  return lines.join("\n");
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      plain: { type: "boolean", default: false },
      only: { type: "string" },
      bursts: { type: "string", default: "30" },
    },
  });
  const kernels = process.env.FOURLANE_KERNELS;
  const measured = await measureProducts({
    relaxed: !values.plain,
    only: values.only,
    bursts: Number(values.bursts),
    directory: kernels ? new URL(kernels, "file:///") : undefined,
  });
  console.log(values.json ? JSON.stringify(measured) : printProducts(measured));
}
