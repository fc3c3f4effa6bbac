// Where the time of a step of the bench goes: by operation, the fastest of many profiles.
//
//   node bench/profile.js [--json] [--only TEXT] [--workers LIST] [--most N]
//
//   --only TEXT     only workloads whose name contains TEXT (default: all)
//   --workers LIST  default: 1,2
//   --most N        how many operations to print (default: 12)
import { parseArgs } from "node:util";
import * as library from "../dist/node/index.js";
import { fourlaneCommands } from "./engines/commands.js";
import { table } from "./table.js";
import { WORKLOADS } from "./workloads.js";

/** How long a step runs before it is profiled, and is profiled, in ms. */
const WARM_MS = 1000;
const PROFILED_MS = 2000;

/** {total, busy, operations: [{name, us, share, count}]}: microseconds, of all workers together but for `total`. */
async function profileOf(commands, workload) {
  await commands.open({ workload });
  const begin = performance.now();
  while (performance.now() < begin + WARM_MS) await commands.run({ steps: 1, mode: "awaited" });
  let best;
  while (performance.now() < begin + WARM_MS + PROFILED_MS) {
    const profile = await commands.profile();
    if (!best || profile.total < best.total) best = profile;
  }
  await commands.close();
  const operations = new Map();
  let busy = 0;
  for (const { name, workers } of best.instructions) {
    const us = workers.reduce((sum, { duration }) => sum + duration, 0);
    // A fused group's name lists its operations, and how it is cut does not matter here.
    const entry = operations.get(name) ?? { name, us: 0, count: 0 };
    operations.set(name, { name, us: entry.us + us, count: entry.count + 1 });
    busy += us;
  }
  const list = [...operations.values()].sort((a, b) => b.us - a.us);
  return { total: best.total, busy, operations: list.map((entry) => ({ ...entry, share: entry.us / busy })) };
}

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    workers: { type: "string", default: "1,2" },
    most: { type: "string", default: "12" },
  },
});
const results = [];
for (const workers of values.workers.split(",").map(Number)) {
  await library.init({ workers });
  const commands = fourlaneCommands(library);
  for (const workload of WORKLOADS.filter(({ name }) => name.includes(values.only))) {
    const profile = await profileOf(commands, workload);
    results.push({ workload: workload.name, workers, ...profile });
    if (values.json) continue;
    const rows = profile.operations
      .slice(0, Number(values.most))
      .map(({ name, us, share, count }) => [name, count, us.toFixed(0), `${(100 * share).toFixed(1)} %`]);
    const head = `${workload.name}, ${workers} worker${workers === 1 ? "" : "s"}, ${(profile.total / 1000).toFixed(2)} ms`;
    console.log(`${table([head, "instructions", "us of all workers", "share"], rows)}\n`);
  }
  await library.dispose();
}
if (values.json) console.log(JSON.stringify(results));
