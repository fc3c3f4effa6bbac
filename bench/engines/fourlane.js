// Fourlane as a long-lived child: a JSON request a line on standard input, a JSON answer a line on standard output.
//
//   node bench/engines/fourlane.js [--workers N] [--math fast|portable]
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { compile, crossEntropy, dispose, init, nn, optim, tensor } from "../../dist/node/index.js";
import { batchOf, CHECKED_STEPS, parametersOf, TIMED_LR } from "../workloads.js";

const { values: options } = parseArgs({ options: { workers: { type: "string" }, math: { type: "string" } } });

let open;

/** The step of a workload, as a user writes it. */
function build(workload) {
  const { sizes, batch } = workload;
  const layers = sizes.slice(1).map((outputs, i) => new nn.Linear(sizes[i], outputs));
  const model = new nn.Sequential(...layers.flatMap((layer, i) => (i === 0 ? [layer] : [new nn.ReLU(), layer])));
  parametersOf(workload).forEach((given, i) => layers[i].loadStateDict(given));
  const optimizer = new optim.Adam(model.parameters());
  const { x, y } = batchOf(workload);
  const step = compile((x, y) => {
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  });
  return { step, optimizer, x: tensor(x, [batch, sizes[0]]), y: tensor(y, [batch]) };
}

/** The program's planned memory and its ratio to the lower bound. */
function planOf(step) {
  const plan = step.plan();
  return { ...plan, ratio: plan.lowerBound > 0 ? plan.bytes / plan.lowerBound : 1 };
}

const commands = {
  async open({ workload }) {
    open = build(workload);
    const losses = [];
    const start = performance.now();
    losses.push(await open.step(open.x, open.y).item());
    const firstMs = performance.now() - start;
    while (losses.length < CHECKED_STEPS) losses.push(await open.step(open.x, open.y).item());
    open.optimizer.lr = TIMED_LR;
    return { firstMs, losses, plan: planOf(open.step) };
  },

  /** Milliseconds a step: each loss awaited before the next step, or with two steps in flight. */
  async run({ steps, mode }) {
    const { step, x, y } = open;
    const start = performance.now();
    if (mode === "pipelined") {
      let before = step(x, y);
      for (let i = 1; i < steps; i++) {
        const next = step(x, y);
        await before.item();
        before = next;
      }
      await before.item();
    } else {
      for (let i = 0; i < steps; i++) await step(x, y).item();
    }
    return { ms: (performance.now() - start) / steps };
  },

  /** What a step costs that computes next to nothing. */
  async overhead({ samples }) {
    const step = compile((x) => x.add(1));
    const x = tensor(Float32Array.of(1));
    const times = [];
    for (let i = -samples; i < samples; i++) {
      const start = performance.now();
      await step(x).item();
      if (i >= 0) times.push((performance.now() - start) * 1000);
    }
    times.sort((a, b) => a - b);
    const at = (share) => times[Math.floor(share * (samples - 1))];
    return { p50: at(0.5), p95: at(0.95), min: times[0] };
  },

  async close() {
    open = undefined;
    return {};
  },
};

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const info = await init({ workers: options.workers ? Number(options.workers) : undefined, math: options.math });
answer({ info });
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...args } = JSON.parse(line);
  try {
    answer(await commands[command](args));
  } catch (error) {
    answer({ error: String(error?.stack ?? error) });
  }
}
await dispose();
