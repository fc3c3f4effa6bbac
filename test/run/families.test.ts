/** Kernels that come when a program first needs them: workers that die, files that do not come, and the order of what waits. */
import { Worker } from "node:worker_threads";
import { nodeWorker } from "#embedded";
import { platform } from "#platform";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import * as fl from "../../src/index.ts";
import { session, using } from "../../src/run/active.ts";
import type { WorkerHandle } from "../../src/run/platform.ts";
import { Session } from "../../src/run/session.ts";
import {
  BURDEN,
  chainInput,
  chainProgram,
  damaged,
  eachByItself,
  expectFault,
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

const realUnpack = platform.unpack;
eachByItself(() => {
  platform.unpack = realUnpack;
});

/** Families by what is in their files, and those that were unpacked. */
const contents = new Map<string, string>();
let asked: string[] = [];
/** What happens before a family is unpacked. */
let before: (family: string) => unknown = () => {};

beforeEach(() => {
  watchSpawns();
  asked = [];
  before = () => {};
  platform.unpack = async (packed) => {
    const family = contents.get(packed) as string;
    asked.push(family);
    await before(family);
    return realUnpack(packed);
  };
});

const want: string[] = [];
beforeAll(async () => {
  const families = Object.keys(isa.Family).filter((name) => Number.isNaN(Number(name)));
  for (const family of families.map((name) => name.toLowerCase()))
    for (const variant of ["plain", "relaxed"]) {
      const { default: text } = await import(`../../dist/kernels/${family}.${variant}.js`);
      contents.set(text, family);
    }
  expect(new Set(contents.values()).size).toBe(families.length);
  want.push(...(await withoutFault(6)));
});

/** A promise, and what settles it. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Needs kernels of its own. */
const sums = (x: fl.Tensor): fl.Tensor => x.cumsum(0);
const ramp = (): fl.Tensor => fl.tensor([1, 2, 3, 4]);
const SUMS = [1, 3, 6, 10];
const image = (): fl.Tensor => fl.arange(16).float().reshape(1, 1, 4, 4);
const pooled = (): fl.Tensor => fl.nn.functional.maxPool2d(image(), 2);
const POOLED = [
  [
    [
      [5, 7],
      [13, 15],
    ],
  ],
];

describe.each(POOLS)("kernels that come later, %s", (_, options) => {
  test("a page that trains an MLP loads the core alone, others as they are needed, once each", async () => {
    await fresh(options);
    const t = training();
    for (let i = 0; i < 2; i++) await t.step().item();
    expect(asked).toEqual(["core"]);
    expect(await sums(ramp()).array()).toEqual(SUMS);
    expect(await pooled().array()).toEqual(POOLED);
    expect(await sums(ramp().add(1)).array()).toEqual([2, 5, 9, 14]);
    const kernel = fl.ones([1, 1, 3, 3]);
    expect(await fl.nn.functional.conv2d(image(), kernel).array()).toEqual([
      [
        [
          [45, 54],
          [81, 90],
        ],
      ],
    ]);
    expect(await fl.nn.functional.layerNorm(fl.tensor([1, 3]), [2], null, null, 0).array()).toEqual([-1, 1]);
    expect(asked).toEqual(["core", "various", "pooling", "convolution", "norm"]);
  });

  test("a program of several families loads them side by side, before its turn comes", async () => {
    await fresh(options);
    const g = gate();
    before = () => g.opened;
    const both = settle(
      fl
        .compile((x: fl.Tensor) => sums(fl.nn.functional.maxPool2d(x, 2).flatten()))(image())
        .array(),
    );
    await sleep(20);
    expect(asked.slice(1).sort()).toEqual(["pooling", "various"]);
    g.open();
    expect((await both).value).toEqual([5, 12, 25, 40]);
  });

  test("launches keep their order while kernels are loading", async () => {
    const results = async (waits: boolean): Promise<unknown[]> => {
      await fresh(options);
      const t = training();
      const [weight] = t.model.parameters();
      const list: Promise<unknown>[] = [];
      const g = gate();
      if (!waits) before = () => g.opened;
      for (let i = 0; i < 6; i++) {
        const running = [t.step().item()];
        if (i % 2 === 0) running.push((i === 2 ? fl.nn.functional.maxPool1d(weight, 2) : sums(weight)).data() as never);
        running.push(weight.data() as never);
        if (waits) for (const p of running) await p;
        list.push(...running);
      }
      await sleep(30);
      g.open();
      return Promise.all([...list, t.parameters()]);
    };
    const [want, got] = [await results(true), await results(false)];
    expect(got).toEqual(want);
    expect(new Set(got.map(String)).size).toBe(got.length);
  });

  test("a step is long, or one has a bad index, while the next one's kernels come", async () => {
    await fresh(options);
    const t = training();
    await t.step().item();
    const long = t.step(goodLabels(), BURDEN).item();
    const behind = pooled().array();
    const last = t.parameters();
    const all = await Promise.all([long, behind, last].map((p) => settle(p, 10_000)));
    expect(all.map((s) => s.error)).toEqual([undefined, undefined, undefined]);
    expect(all[1].value).toEqual(POOLED);
    const kept = all[2].value;

    const g = gate();
    before = () => g.opened;
    const bad = settle(t.step(fl.tensor(new Int32Array(32).fill(5))).item());
    const next = settle(sums(ramp()).array());
    const after = settle(t.parameters());
    expect((await bad).error).toBeInstanceOf(fl.IndexError);
    g.open();
    expect((await next).value).toEqual(SUMS);
    expect((await after).value).toBe(kept);
  });

  test("a worker dies while they are fetched: no step was hit, and the new workers get all there are", async () => {
    await fresh(options);
    const t = training();
    await t.step().item();
    expect(await pooled().array()).toEqual(POOLED);
    const g = gate();
    before = () => g.opened;
    const loading = settle(sums(ramp()).array(), 5000);
    const behind = settle(t.step().item(), 5000);
    await sleep(20);
    await spawned()[spawned().length - 1].terminate();
    await sleep(20);
    g.open();
    expect((await loading).value).toEqual(SUMS);
    expect((await behind).error).toBeUndefined();
    expect(await t.parameters()).toBe(want[1]);
    expect(await pooled().array()).toEqual(POOLED);
    expect(asked).toEqual(["core", "pooling", "various"]);
  });

  test("a worker dies in a step while they are fetched: that step is lost, and no other", async () => {
    await fresh(options);
    const t = training();
    await t.step().item();
    const g = gate();
    before = () => g.opened;
    const hit = t.step(goodLabels(), BURDEN).item();
    hit.catch(() => {});
    const loading = settle(sums(ramp()).array(), 5000);
    await sleep(60);
    const index = spawned().length - 1;
    void spawned()[index].terminate();
    expectFault(await settle(hit), "crash", index);
    g.open();
    expect((await loading).value).toEqual(SUMS);
    expect(await t.parameters()).toBe(want[0]);
  });

  test("a worker dies as it takes them in", async () => {
    await fresh(options);
    const real = WebAssembly.compile;
    try {
      for (let round = 0; round < 4; round++) {
        await fresh(options);
        const t = training();
        await t.step().item();
        const kills: Promise<unknown>[] = [];
        WebAssembly.compile = async (bytes: BufferSource) => {
          const module = await real(bytes);
          // Now, or when the message has been sent, or somewhat later.
          const kill = (): void => void kills.push(spawned()[spawned().length - 1].terminate());
          if (round === 0) kill();
          else if (round === 1) queueMicrotask(() => queueMicrotask(kill));
          else setTimeout(kill, round - 2);
          return module;
        };
        const loading = settle(sums(ramp()).array(), 5000);
        const behind = settle(t.step().item(), 5000);
        const [{ value, error }, next] = [await loading, await behind];
        // A worker that dies after it has loaded hits the step that runs then.
        for (const e of [error, next.error]) if (e) expect(e).toMatchObject({ fault: "crash" });
        if (!error) expect(value).toEqual(SUMS);
        WebAssembly.compile = real;
        while (kills.length === 0) await sleep(1);
        await Promise.all(kills);
        await sleep(10);
        expect((await settle(sums(ramp()).array())).value).toEqual(SUMS);
        expect(await t.parameters()).toBe(want[next.error ? 0 : 1]);
      }
    } finally {
      WebAssembly.compile = real;
    }
  });

  test("a worker that stands still never reads its message: hung, and the new ones load", async () => {
    const { workers } = await fresh({ ...options, hangTimeout: 300 });
    expect(await sums(ramp()).array()).toEqual(SUMS);
    const bad = damaged(chainProgram(), "endless", "last", workers);
    const hung = session().launch(bad, { inputs: [chainInput()], residents: [], updates: [] });
    const loading = settle(pooled().array(), 5000);
    expectFault(await settle(hung), "hung", workers - 1);
    expect((await loading).value).toEqual(POOLED);
  });

  test.each([
    ["stands still", "for (;;);", 0],
    ["throws", "throw new RangeError('no room for code');", 0],
    ["exits", "process.exit(3);", 0],
    ["stands still, one step behind", "for (;;);", 1],
  ])("a worker that %s while it takes them in is replaced: no step was hit", async (_name, what, steps) => {
    /** A worker like all others until it has more kernels than the first. */
    const odd = (): WorkerHandle => {
      const source = `const { Instance } = WebAssembly;
        let count = 0;
        WebAssembly.Instance = function (...args) { if (++count > 1) { ${what} } return new Instance(...args); };
        ${nodeWorker}`;
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
      worker.unref();
      return {
        post: (message, transfer) => worker.postMessage(message, transfer as never),
        onPulse: (callback) => worker.on("message", callback),
        onFailure(callback) {
          worker.once("error", callback);
          worker.once("exit", (code) => callback(new Error(`the worker exited with code ${code}`)));
        },
        terminate: () => worker.terminate(),
        hold: (alive) => (alive ? worker.ref() : worker.unref()),
      };
    };
    await fl.dispose();
    const last = (options.workers ?? 1) - 1;
    watchSpawns((i) => (i === last ? odd() : undefined));
    await fl.init({ ...options, hangTimeout: 300 });
    const t = training();
    for (let i = 0; i < steps; i++) void t.step();
    const before = spawned().length;
    const pending = [sums(ramp()).array(), t.step().item()].map((p) => settle(p, 5000));
    const [loading, next] = await Promise.all(pending);
    expect(loading.value).toEqual(SUMS);
    expect(next.error).toBeUndefined();
    expect(await t.parameters()).toBe(want[steps]);
    expect(spawned().length).toBe(2 * before);
  });

  test("kernels that take longer to come than a worker may stand still accuse nobody", async () => {
    await fresh({ ...options, hangTimeout: 100 });
    before = () => sleep(400);
    const count = spawned().length;
    expect(await sums(ramp()).array()).toEqual(SUMS);
    expect(spawned().length).toBe(count);
  });

  test("kernels that do not come: that step rejects, no other does, and the next one asks again", async () => {
    await fresh(options);
    const t = training();
    let broken = true;
    before = (family) => {
      if (broken && family === "various") throw new TypeError("the network is down");
    };
    const results = [t.step().item(), sums(ramp()).array(), t.step().item(), pooled().array()];
    const [first, failed, third, fourth] = await Promise.all(results.map((p) => settle(p, 5000)));
    for (const r of [first, third, fourth]) expect(r.error).toBeUndefined();
    expect(fourth.value).toEqual(POOLED);
    expect(failed.error).toBeInstanceOf(fl.FourlaneError);
    expect(failed.error?.code).toBe("LOAD");
    expect(failed.error?.message).toMatch(
      /^kernels\/various\.(plain|relaxed)\.js could not be loaded: the network is down$/,
    );
    expect(await t.parameters()).toBe(want[1]);
    expect((await settle(sums(ramp()).array())).error?.code).toBe("LOAD");
    broken = false;
    expect(await sums(ramp()).array()).toEqual(SUMS);
    await t.step().item();
    expect(await t.parameters()).toBe(want[2]);
  });

  test("kernels of an assignment that nobody waits for do not come: who reads the variable is told", async () => {
    await fresh(options);
    const w = new fl.Parameter(ramp());
    let broken = true;
    before = () => {
      if (broken) throw new TypeError("the network is down");
    };
    w.assign(sums(w));
    expect((await settle(w.data())).error?.code).toBe("LOAD");
    expect(await w.array()).toEqual([1, 2, 3, 4]);
    broken = false;
    w.assign(sums(w));
    expect(await w.array()).toEqual(SUMS);
  });

  test("disposed while they come: who waits is told, and nobody waits for the file", async () => {
    await fresh(options);
    before = () => new Promise(() => {});
    const pending = [sums(ramp()).array(), ramp().add(1).array()].map((p) => settle(p));
    await sleep(20);
    await fl.dispose();
    for (const { error } of await Promise.all(pending)) expect(error).toBeInstanceOf(fl.DisposedError);
  });

  test("disposed as workers take them in", async () => {
    await fresh(options);
    const real = WebAssembly.compile;
    try {
      let disposed: Promise<void> | undefined;
      WebAssembly.compile = async (bytes: BufferSource) => {
        const module = await real(bytes);
        setTimeout(() => {
          disposed = fl.dispose();
        });
        return module;
      };
      const { value, error } = await settle(sums(ramp()).array());
      if (error) expect(error).toBeInstanceOf(fl.DisposedError);
      else expect(value).toEqual(SUMS);
      await sleep(5);
      await disposed;
    } finally {
      WebAssembly.compile = real;
    }
  });

  test("two sessions load for themselves, and one that ends leaves the other alone", async () => {
    await fresh(options);
    const other = new Session(options);
    const g = gate();
    before = () => g.opened;
    const [here, there] = [
      settle(sums(ramp()).array()),
      settle(
        using(other, () => sums(ramp()).array()),
        5000,
      ),
    ];
    await sleep(20);
    await fl.dispose();
    expect((await here).error).toBeInstanceOf(fl.DisposedError);
    g.open();
    expect((await there).value).toEqual(SUMS);
    await other.dispose();
  });
});
