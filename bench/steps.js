// Step times: engines x workloads. All engines are alive at once and take turns in short bursts, so that whatever else
// the machine does falls on all of them alike; the least burst counts, because other load only ever adds time.
import { openWorkload } from "./engines/index.js";
import { flopOf } from "./networks.js";

/**
 * A task of which one step takes this many bursts' time is measured in every fifth round, or in fewer the slower it is, but
 * twice: its ratios are far from any goal.
 */
const SLOW = 5;

/** And one whose step takes this many milliseconds only once. */
const VERY_SLOW = 10_000;

/** Losses of the same steps may differ by rounding only, which a workload of many layers says may be more. */
const LOSS_TOLERANCE = 2e-4;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];

/** Starts what can be started. Returns engines with a child, and why the others are missing. */
export async function startAll(engines) {
  const running = [];
  const missing = [];
  for (const engine of engines) {
    try {
      const child = await engine.start();
      running.push({ ...engine, child, hello: await child.hello });
    } catch (error) {
      missing.push({ ...engine, reason: error.message.trim().split("\n").at(-1) });
    }
  }
  await pause(2000); // what starting set going comes to rest
  return { running, missing };
}

/** Measures one workload on all running engines; `ceiling` is GFLOP/s of a worker. */
export async function measureSteps(workload, running, { bursts, burstMs, ceiling }) {
  const results = [];
  const tasks = [];
  for (const engine of running) {
    const { id, label, family, host, math, threads } = engine;
    const result = { id, label, family, host, math, threads };
    results.push(result);
    try {
      const { firstMs, losses, plan, modes = engine.modes } = await openWorkload(engine.child, workload);
      Object.assign(result, { firstMs, losses, plan });
      for (const mode of modes) tasks.push({ engine, result, mode, steps: 1, times: [] });
    } catch (error) {
      result.error = error.message;
    }
  }

  const burst = async (task) => {
    try {
      const { ms } = await task.engine.child.request("run", { steps: task.steps, mode: task.mode });
      return ms;
    } catch (error) {
      task.result.error = error.message;
      return Number.NaN;
    }
  };
  // Warm up until an engine's compilers are done, and find out how many steps make a burst.
  for (const task of tasks) {
    let ms = await burst(task);
    const until = performance.now() + 8 * burstMs;
    while (performance.now() < until && !task.result.error) {
      task.steps = Math.max(1, Math.ceil(burstMs / ms));
      ms = Math.min(ms, await burst(task));
    }
    const times = ms / (SLOW * burstMs);
    task.every = times > 1 ? Math.min(Math.max(5, Math.ceil(times)), Math.ceil(bursts / 2)) : 1;
    if (ms > VERY_SLOW) Object.assign(task, { times: [ms], every: Infinity });
  }
  for (let round = 0; round < bursts; round++) {
    // Everyone follows everyone else some time.
    for (let i = 0; i < tasks.length; i++) {
      const task = tasks[(i * (round % 2 ? tasks.length - 1 : 1) + round) % tasks.length];
      if (task.result.error || (round + 1) % task.every !== 0) continue;
      task.times.push(await burst(task));
      await pause(task.engine.restMs); // until its threads sleep
    }
  }

  for (const { result, mode, times } of tasks) {
    if (result.error || times.length === 0) continue;
    result[`${mode}Ms`] = Math.min(...times);
    result[`${mode}MedianMs`] = median(times);
  }
  // Images with channels last are another way to do the same: what counts is the faster one.
  for (const result of results) {
    if (!(result.channelsLastMs < result.awaitedMs)) continue;
    result.contiguousMs = result.awaitedMs;
    result.layout = "channels last";
    [result.awaitedMs, result.awaitedMedianMs] = [result.channelsLastMs, result.channelsLastMedianMs];
  }
  for (const { child } of running) await child.request("close").catch(() => {});
  return summary(workload, results, ceiling);
}

function summary(workload, results, ceiling) {
  const flop = flopOf(workload);
  const tolerance = workload.tolerance ?? LOSS_TOLERANCE;
  const torch = results.filter((r) => r.family === "torch" && r.awaitedMs);
  const torchBest = torch.reduce((best, r) => (best && best.awaitedMs <= r.awaitedMs ? best : r), undefined);
  const losses = results.find((r) => r.losses)?.losses ?? [];
  for (const result of results) {
    if (!result.awaitedMs) continue;
    result.gflops = flop / result.awaitedMs / 1e6;
    result.share = result.gflops / (result.threads * ceiling);
    if (torchBest) result.ratio = result.awaitedMs / torchBest.awaitedMs;
    for (const family of ["tfjs", "jax"]) {
      const other = results.find((r) => r.family === family && r.awaitedMs);
      if (other) result[`${family}Ratio`] = result.awaitedMs / other.awaitedMs;
    }
    result.agrees = result.losses.every((loss, i) => Math.abs(loss - losses[i]) <= tolerance * Math.abs(losses[i]));
  }
  const fourlane = results.filter((r) => r.family === "fourlane" && r.awaitedMs);
  const speedups = fourlane
    .filter((r) => r.threads === 1)
    .flatMap((one) => {
      const two = fourlane.find((r) => r.host === one.host && r.math === one.math && r.threads === 2);
      if (!two) return [];
      return [
        {
          host: one.host,
          math: one.math,
          awaited: one.awaitedMs / two.awaitedMs,
          pipelined: one.pipelinedMs / two.pipelinedMs,
        },
      ];
    });
  return {
    workload: workload.name,
    title: workload.title,
    batch: workload.batch,
    flop,
    ceiling,
    torchBest: torchBest && { id: torchBest.id, ms: torchBest.awaitedMs },
    plan: fourlane[0]?.plan,
    engines: results,
    speedups,
  };
}
