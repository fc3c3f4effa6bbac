/** Workers that never start, by real means, and what is left of those that are gone. */
import { Worker } from "node:worker_threads";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import type { WorkerHandle } from "../../src/run/platform.ts";
import {
  BURDEN,
  expectFault,
  eachByItself,
  fresh,
  goodLabels,
  POOLS,
  settle,
  sleep,
  spawned,
  training,
  watchSpawns,
  withoutFault,
} from "./support.ts";

eachByItself();
beforeEach(() => watchSpawns());

const STEPS = 3;

const want: string[] = [];
beforeAll(async () => {
  want.push(...(await withoutFault(STEPS)));
});

describe.each(POOLS)("a worker that never starts, %s", (_, options) => {
  /** A worker that runs a script of its own instead. */
  const imposter = (source: string): WorkerHandle => {
    const worker = new Worker(source, { eval: true, stderr: true });
    worker.unref();
    return {
      post: (message, transfer) => worker.postMessage(message, transfer as never),
      onPulse() {},
      onFailure(callback) {
        worker.once("error", callback);
        worker.once("exit", (code) => callback(new Error(`the worker exited with code ${code}`)));
      },
      terminate: () => worker.terminate(),
      hold: (alive) => (alive ? worker.ref() : worker.unref()),
    };
  };
  const causes: [string, (name: string) => WorkerHandle, RegExp][] = [
    ["it never answers", () => imposter("setInterval(() => {}, 1000)"), /handshake/],
    ["its script throws", () => imposter("throw new TypeError('broken script')"), /broken script/],
    ["it throws what is no error", () => imposter("throw undefined"), /undefined/],
    ["it exits at once", () => imposter("process.exit(7)"), /code 7/],
    [
      "it cannot be made",
      () => {
        throw new RangeError("no more threads");
      },
      /no more threads/,
    ],
  ];

  test.each(causes)("%s", async (_name, make, message) => {
    await fl.dispose();
    const last = (options.workers ?? 1) - 1;
    let broken = true;
    watchSpawns((i, real) => (broken && i === last ? make("") : real("")));
    const started = await settle(fl.init(options));
    expectFault(started, "start", last);
    expect(started.error?.message).toMatch(message);
    expect(started.error?.step).toBe(-1);

    // A failed init leaves nothing behind: the next one may succeed.
    broken = false;
    await fl.init(options);
    expect(await fl.tensor([1, 2]).add(1).array()).toEqual([2, 3]);
  });

  test("first use without init: everything pending rejects, and nothing is forgotten", async () => {
    await fresh(options);
    // The pool that init started goes; the one that training wants does not come.
    await spawned()[0].terminate();
    await sleep(20);
    let broken = true;
    watchSpawns((_i, real) => (broken ? imposter("process.exit(1)") : real("")));
    const t = training();
    const pending = [t.step().item(), t.step().item(), t.parameters(), fl.tensor([1]).add(1).data()];
    for (const r of await Promise.all(pending.map((p) => settle(p, 4000)))) {
      expect(r.error).toBeInstanceOf(fl.WorkerError);
      expect(r.error?.fault).toBe("start");
    }
    broken = false;
    // The initial values, which no program had computed yet, are still those of the seed.
    for (let i = 0; i < STEPS; i++) await t.step().item();
    expect(await t.parameters()).toBe(want[STEPS - 1]);
  });
});

test("abandoned memory is not kept alive", async () => {
  const real = WebAssembly.Memory;
  const memories: WeakRef<WebAssembly.Memory>[] = [];
  WebAssembly.Memory = class extends real {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      super(descriptor);
      memories.push(new WeakRef(this));
    }
  };
  try {
    await fresh({ workers: 2 });
    const t = training();
    await t.step().item(); // what is hit is a step, not the first values
    for (let i = 0; i < 4; i++) {
      const hit = t.step(goodLabels(), BURDEN).item();
      await sleep(40);
      void spawned()[spawned().length - 1].terminate();
      expect((await settle(hit)).error).toBeInstanceOf(fl.WorkerError);
      await t.step().item();
    }
    expect(memories.length).toBe(5);
    const { setFlagsFromString } = await import("node:v8");
    const { runInNewContext } = await import("node:vm");
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc") as () => void;
    for (let i = 0; i < 20; i++) {
      gc();
      await sleep(10);
    }
    expect(memories.filter((m) => m.deref()).length).toBeLessThanOrEqual(2);
    await t.step().item();
  } finally {
    WebAssembly.Memory = real;
  }
});
