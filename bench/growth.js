// How the cost of a step grows: with the batch, the width, the depth, and the number of workers.
import { openWorkload } from "./engines/index.js";
import { flopOf } from "./workloads.js";

const INPUTS = 256;
const CLASSES = 10;

const doubling = (from, to) => Array.from({ length: Math.log2(to / from) + 1 }, (_, i) => from * 2 ** i);
const net = (width, depth) => [INPUTS, ...new Array(depth - 1).fill(width), CLASSES];

/** One thing varies at a time: what it is, its values, and the network it makes. `depth` counts layers with parameters. */
export const SERIES = [
  { name: "batch", values: doubling(64, 4096), workload: (batch) => ({ sizes: net(256, 3), batch }) },
  { name: "width", values: doubling(64, 2048), workload: (width) => ({ sizes: net(width, 3), batch: 128 }) },
  { name: "depth", values: doubling(2, 64), workload: (depth) => ({ sizes: net(256, depth), batch: 128 }) },
];

/** The least time of a step on each engine, with the losses awaited, and the plan's memory. */
export async function measureGrowth(engines, { bursts, burstMs }) {
  const rows = [];
  for (const { name, values, workload } of SERIES)
    for (const value of values) {
      const work = { name: `${name} ${value}`, ...workload(value) };
      const row = { series: name, value, flop: flopOf(work), ms: {} };
      for (const { child } of engines) ({ plan: row.plan } = await openWorkload(child, work));
      const steps = new Map();
      for (let round = -2; round < bursts; round++)
        for (const { threads, child } of engines) {
          const { ms } = await child.request("run", { steps: steps.get(threads) ?? 2, mode: "awaited" });
          steps.set(threads, Math.max(2, Math.ceil(burstMs / ms)));
          if (round >= 0) row.ms[threads] = Math.min(row.ms[threads] ?? Infinity, ms);
        }
      for (const { child } of engines) await child.request("close");
      rows.push(row);
    }
  return rows;
}
