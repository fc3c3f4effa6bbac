// How the cost of a step grows: with the batch, the width, the depth, and the number of workers.
import { openWorkload } from "./engines/index.js";
import { averagePool, conv, flatten, flopOf, linear, lstm, mlp, relu } from "./networks.js";
import { languageModel } from "./workloads.js";

const INPUTS = 256;
const CLASSES = 10;

const doubling = (from, to) => Array.from({ length: Math.log2(to / from) + 1 }, (_, i) => from * 2 ** i);

const net = (width, depth, batch = 128) => ({
  input: [INPUTS],
  layers: mlp([INPUTS, ...new Array(depth - 1).fill(width), CLASSES]),
  batch,
});

/** A step whose time is a convolution's, in all three directions: the one before it, of a grey image, is small beside it. */
const convolutions = (pixels, channels) => ({
  input: [1, pixels, pixels],
  layers: [conv(channels), relu, conv(channels), relu, averagePool, flatten, linear(CLASSES)],
  batch: 8,
});

/** Time steps, of a batch that both workers have rows of. */
const recurrent = (steps) => ({ input: [steps, 32], layers: [lstm(64), linear(CLASSES)], batch: 16 });

/** One thing varies at a time: what it is, of what, its values, and the network it makes. `depth` counts layers with parameters. */
const MLP = "256-256-256-10, batch 128";
const CONVOLUTIONS = "conv 1-32-32, 32x32, mean, linear 10, batch 8";
export const SERIES = [
  { name: "batch", of: MLP, values: doubling(64, 4096), workload: (batch) => net(256, 3, batch) },
  { name: "width", of: MLP, values: doubling(64, 2048), workload: (width) => net(width, 3) },
  { name: "depth", of: MLP, values: doubling(2, 64), workload: (depth) => net(256, depth) },
  { name: "pixels", of: CONVOLUTIONS, values: doubling(16, 128), workload: (pixels) => convolutions(pixels, 32) },
  { name: "channels", of: CONVOLUTIONS, values: doubling(8, 256), workload: (channels) => convolutions(32, channels) },
  { name: "time steps", of: "LSTM 32-64, batch 16", values: doubling(8, 512), workload: recurrent },
  // As many places in all: what grows is attention.
  {
    name: "context",
    of: "transformer of 2 layers, width 64, 4 heads, 1024 places in all",
    values: doubling(32, 1024),
    workload: (context) => languageModel(context, 1024 / context),
  },
];

/** The least time of a step on each engine, with the losses awaited, and the plan's memory. */
export async function measureGrowth(engines, { bursts, burstMs }) {
  const rows = [];
  for (const { name, of, values, workload } of SERIES)
    for (const value of values) {
      const work = { name: `${name} ${value}`, ...workload(value) };
      const row = { series: name, of, value, flop: flopOf(work), ms: {} };
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
