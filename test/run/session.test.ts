/** The life of a runtime: options, disposal at any moment, bad labels, memory that runs out, values overwritten. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { session } from "../../src/run/active.ts";
import {
  bits,
  BURDEN,
  eachByItself,
  fresh,
  goodLabels,
  POOLS,
  settle,
  sleep,
  spawned,
  training,
  watchSpawns,
} from "./support.ts";

eachByItself();

describe("init", () => {
  const wrong: [string, unknown, RegExp][] = [
    ["workers: 0", { workers: 0 }, /workers.*0/],
    ["workers: -1", { workers: -1 }, /workers.*-1/],
    ["workers: 1.5", { workers: 1.5 }, /workers.*1\.5/],
    ["workers: NaN", { workers: Number.NaN }, /workers.*NaN/],
    ["workers: 1e9", { workers: 1e9 }, /workers.*1000000000/],
    ['workers: "2"', { workers: "2" }, /workers.*2/],
    ['math: "x"', { math: "x" }, /math.*"fast" or "portable".*x/],
    ["hangTimeout: NaN", { hangTimeout: Number.NaN }, /hangTimeout.*NaN/],
    ["memoryLimit: 1000", { memoryLimit: 1000 }, /memoryLimit.*1000/],
  ];
  test.each(wrong)("%s is a ValueError and starts nothing", async (_, options, message) => {
    await fl.dispose();
    watchSpawns();
    const { error } = await settle(fl.init(options as fl.InitOptions));
    expect(error).toBeInstanceOf(fl.ValueError);
    expect(error?.message).toMatch(message);
    expect(spawned().length).toBe(0);
  });

  test("twice is a ValueError, and the first goes on", async () => {
    await fresh({ workers: 2 });
    const { error } = await settle(fl.init({ workers: 1 }));
    expect(error).toBeInstanceOf(fl.ValueError);
    expect(error?.message).toContain("dispose()");
    expect((await fl.info()).workers).toBe(2);
    expect(await fl.tensor([1, 2]).mul(2).array()).toEqual([2, 4]);
  });

  test("info says what runs, and why", async () => {
    expect(await fresh({ workers: 3, math: "portable" })).toMatchObject({
      platform: "node",
      workers: 3,
      sharedMemory: true,
      simd: true,
      relaxedSimd: false,
      math: "portable",
      reason: expect.stringMatching(/shares memory.*portable/),
    });
    expect(await fresh({ shared: false, workers: 3 })).toMatchObject({
      workers: 1,
      sharedMemory: false,
      reason: expect.stringContaining("shared: false"),
    });
  });

  test("many more workers than cores start", async () => {
    const { workers } = await fresh({ workers: 24 });
    expect(workers).toBe(24);
    expect(await fl.arange(5).sum().item()).toBe(10);
  });
});

describe.each(POOLS)("dispose, %s", (_, options) => {
  test("with a step in flight: it and all behind it reject with a DisposedError", async () => {
    watchSpawns();
    await fresh(options);
    const t = training();
    await t.step().item();
    const pending = [t.step(goodLabels(), BURDEN).item(), t.step().item(), t.parameters(), fl.ones([2]).add(1).data()];
    const settled = pending.map((p) => settle(p));
    await sleep(60);
    const disposed = settle(fl.dispose());
    for (const r of await Promise.all(settled)) expect(r.error).toBeInstanceOf(fl.DisposedError);
    expect((await disposed).error).toBeUndefined();
  });

  // Each await of the launch is a moment at which dispose() may come.
  test("at any moment: nothing stays pending", async () => {
    for (let turns = 0; turns < 24; turns++) {
      await fresh(options);
      const x = fl.tensor([1, 2, 3]);
      const w = new fl.Parameter(fl.tensor([4, 5, 6]));
      if (turns % 2) await w.mul(x).data();
      const pending = [
        w.mul(x).sum().item(),
        w.data(),
        fl
          .compile(() => w.add(1))()
          .data(),
        // An argument that is still to be computed.
        fl
          .compile((y: fl.Tensor) => w.add(y))(x.add(1))
          .data(),
      ];
      const settled = pending.map((p) => settle(p));
      for (let i = 0; i < turns; i++) await Promise.resolve();
      const disposed = settle(fl.dispose());
      for (const r of await Promise.all(settled)) if (r.error) expect(r.error).toBeInstanceOf(fl.DisposedError);
      expect((await disposed).error).toBeUndefined();
    }
  });

  test("while the workers start", async () => {
    await fl.dispose();
    const started = settle(fl.init(options));
    const used = settle(fl.ones([3]).sum().item());
    await fl.dispose();
    expect((await started).error).toBeInstanceOf(fl.DisposedError);
    expect((await used).error).toBeInstanceOf(fl.DisposedError);
  });

  test("twice, then use: a DisposedError; init: a new runtime that owes the old one nothing", async () => {
    await fresh(options);
    const t = training();
    await t.step().item();
    const outside = fl.tensor([10, 20]);
    const addOutside = fl.compile((x: fl.Tensor) => x.add(outside));
    const x = fl.tensor([1, 2]);
    expect(await addOutside(x).array()).toEqual([11, 22]);
    const unread = new fl.nn.Linear(3, 2); // its initial values wait to be computed
    await Promise.all([fl.dispose(), fl.dispose()]);
    await fl.dispose();
    const uses = [() => t.step().item(), () => t.parameters(), () => x.add(1).data(), () => unread.weight.data()];
    for (const use of uses) expect((await settle(use())).error).toBeInstanceOf(fl.DisposedError);

    await fl.init(options);
    expect(await addOutside(x).array()).toEqual([11, 22]);
    expect((await settle(t.step().item())).error).toBeInstanceOf(fl.DisposedError);
    expect((await settle(unread.forward(fl.ones([1, 3])).data())).error).toBeInstanceOf(fl.DisposedError);
    const again = training();
    expect((await settle(unread.weight.data())).error).toBeInstanceOf(fl.DisposedError);
    await again.step().item();
    expect(await again.parameters()).toMatch(/^[0-9a-f]+,/);
  });
});

describe.each(POOLS)("a tensor that is an argument again, %s", (_, options) => {
  test("is not written again, unless another came between or the workers are new", async () => {
    watchSpawns();
    await fresh(options);
    const written: number[] = [];
    const watch = async (): Promise<void> => {
      const device = await session().ready();
      const launch = device.launch.bind(device);
      device.launch = (job) => {
        written.push(job.writes.filter(({ data }) => data.byteLength === 4000).length);
        return launch(job);
      };
    };
    const [a, b, c] = [1, 2, 3].map((v) => fl.tensor(new Float32Array(1000).fill(v)));
    const step = fl.compile((x: fl.Tensor, y: fl.Tensor) => x.mul(10).add(y).mean());
    const calls: [fl.Tensor, fl.Tensor, number][] = [
      [a, b, 12],
      [a, b, 12], // where memory is shared into a second image, for the first one runs
      [a, b, 12],
      [a, b, 12],
      [b, a, 21],
      [a, c, 13],
      [b, a, 21],
      [a, b, 12],
    ];
    const wanted = options.shared === false ? [2, 0, 0, 0, 2, 2, 2, 2] : [2, 2, 0, 0, 2, 1, 0, 1];
    const go = async (): Promise<number[]> => {
      await watch();
      const results = calls.map(([x, y]) => step(x, y).item());
      return (await Promise.all(results)) as number[];
    };
    expect(await go()).toEqual(calls.map(([, , v]) => v));
    expect(written.splice(0)).toEqual(wanted);
    await spawned()[0].terminate();
    await sleep(20);
    expect(await go()).toEqual(calls.map(([, , v]) => v));
    expect(written).toEqual(wanted);
  });
});

describe.each(POOLS)("a label out of range, %s", (_, options) => {
  const bad = (position: number, label: number): fl.Tensor => {
    const labels = Int32Array.from({ length: 32 }, (_, i) => (i * 7) % 5);
    labels[position] = label;
    return fl.tensor(labels);
  };

  test("names operation, label, classes and position; the step had no effect", async () => {
    await fresh(options);
    const twin = training();
    const want: string[] = [];
    for (let i = 0; i < 3; i++) {
      await twin.step().item();
      want.push(await twin.parameters());
    }
    await fresh(options);
    const t = training();
    await t.step().item();
    for (const [position, label] of [
      [0, 5],
      [31, -1],
      [17, 2 ** 31 - 1],
      [4, -(2 ** 31)],
    ]) {
      const { error } = await settle(t.step(bad(position, label)).item());
      expect(error).toBeInstanceOf(fl.IndexError);
      expect(error).toMatchObject({ index: label, bound: 5, position, code: "INDEX" });
      expect(error?.message).toContain("crossEntropy");
      for (const text of [`label ${label}`, `position ${position}`, "5 classes"])
        expect(error?.message).toContain(text);
      expect(await t.parameters()).toBe(want[0]);
    }
    await t.step().item();
    const queued = [t.step(bad(3, 99)).item(), t.step().item()].map((p) => settle(p));
    expect((await queued[0]).error).toBeInstanceOf(fl.IndexError);
    expect((await queued[1]).error).toBeUndefined();
    // Moments and random state stood still as well.
    expect(await t.parameters()).toBe(want[2]);
  });

  test("of many the first is named, and nothing but that, whoever comes upon it", async () => {
    await fresh(options);
    const rows = 4096;
    const logits = fl.zeros([rows, 5]);
    const loss = fl.compile((labels: fl.Tensor) => fl.crossEntropy(logits, labels));
    const labels = (first: number): fl.Tensor =>
      fl.tensor(Int32Array.from({ length: rows }, (_, r) => (r < first ? 0 : 100 + r)));
    for (let i = 0; i < 20; i++) {
      const position = (i * 997) % (rows - 64);
      const { error } = await settle(loss(labels(position)).item());
      expect(error).toMatchObject({ position, index: 100 + position, bound: 5, code: "INDEX" });
    }
  });

  test("in the very first step, not compiled: the initial values survive", async () => {
    const make = (): { model: fl.nn.Linear; optimizer: fl.optim.SGD } => {
      fl.manualSeed(5);
      const model = new fl.nn.Linear(3, 4);
      return { model, optimizer: new fl.optim.SGD(model.parameters(), { lr: 0.1 }) };
    };
    await fresh(options);
    const initial = bits(await make().model.weight.data());
    const { model, optimizer } = make();
    const loss = fl.crossEntropy(model.forward(fl.ones([2, 3])), fl.tensor(Int32Array.of(1, 4)));
    loss.backward();
    optimizer.step();
    const { error } = await settle(loss.item());
    expect(error).toBeInstanceOf(fl.IndexError);
    expect(error).toMatchObject({ index: 4, position: 1, bound: 4 });
    expect(bits(await model.weight.data())).toBe(initial);
    // What was drawn is drawn: the next numbers are others.
    expect(bits(await new fl.nn.Linear(3, 4).weight.data())).not.toBe(initial);
  });

  test("of indexSelect", async () => {
    await fresh(options);
    const { error } = await settle(
      fl
        .ones([3, 2])
        .indexSelect(0, fl.tensor(Int32Array.of(0, 3)))
        .data(),
    );
    expect(error).toMatchObject({ code: "INDEX", index: 3, bound: 3, position: 1 });
    expect(error?.message).not.toContain("crossEntropy");
  });
});

describe.each(POOLS)("memory, %s", (_, options) => {
  test("that runs out is an OutOfMemoryError, and the pool goes on", async () => {
    await fresh({ ...options, memoryLimit: 8 * 2 ** 20 });
    const small = fl.compile((x: fl.Tensor) => x.mul(2).add(1));
    const x = fl.tensor([1, 2, 3]);
    const w = new fl.Parameter(fl.tensor([1, 1, 1]));
    const large = new fl.Parameter(fl.tensor(new Float32Array(3 * 2 ** 20)));
    expect(await small(x).array()).toEqual([3, 5, 7]);
    const used = session();
    for (let i = 0; i < 3; i++) {
      // An arena, then a resident that is too large, beside one that fits and has not been written yet.
      const arena = await settle(
        fl
          .ones([2000, 2000])
          .matmul(fl.ones([2000, 1]))
          .add(fl.rand([2000, 1]))
          .data(),
      );
      if (arena.error) expect(arena.error).toBeInstanceOf(fl.OutOfMemoryError);
      const both = fl.compile(() => w.add(large.sum()));
      const { error } = await settle(both().data());
      expect(error).toBeInstanceOf(fl.OutOfMemoryError);
      expect(error).toMatchObject({ code: "OUT_OF_MEMORY", limit: 8 * 2 ** 20 });
      expect(error?.requested).toBeGreaterThanOrEqual(3 * 2 ** 20);
      expect(await small(x).array()).toEqual([3, 5, 7]);
      expect(
        await fl
          .compile(() => w.mul(3))()
          .array(),
      ).toEqual([3, 3, 3]);
    }
    expect(session()).toBe(used);
    expect(await w.array()).toEqual([1, 1, 1]);
  });

  test("that cannot hold the first values: said once, and other work goes on", async () => {
    await fresh({ ...options, memoryLimit: 8 * 2 ** 20 });
    const huge = new fl.nn.Linear(2000, 2000);
    expect((await settle(huge.weight.data())).error).toBeInstanceOf(fl.OutOfMemoryError);
    const fine = new fl.nn.Linear(3, 2);
    expect(await fine.forward(fl.ones([1, 3])).data()).toHaveLength(2);
    expect((await settle(huge.weight.data())).error).toBeInstanceOf(fl.OutOfMemoryError);
    expect(await fl.tensor([1]).add(1).array()).toEqual([2]);
  });

  test("does not grow over many steps", async () => {
    await fresh(options);
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc") as () => void;
    const t = training();
    const labels = goodLabels();
    const run = async (steps: number): Promise<void> => {
      for (let i = 0; i < steps; i++) {
        const loss = t.step(labels);
        if (i % 50 === 0) {
          await loss.item();
          await fl.ones([4]).mul(3).sum().item(); // without compile, too
        }
      }
      await t.parameters();
    };
    const heap = async (): Promise<number> => {
      for (let i = 0; i < 4; i++) {
        gc();
        await sleep(5);
      }
      return process.memoryUsage().heapUsed;
    };
    await run(300);
    const { allocator } = await session().ready();
    const { used, top } = allocator;
    const before = await heap();
    await run(options.shared === false ? 1500 : 3000);
    // A freed program of the cache may leave its place, none may take more.
    expect(allocator.used).toBeLessThanOrEqual(used);
    expect(allocator.top).toBe(top);
    expect((await heap()) - before).toBeLessThan(1.5e6);
  });
});

describe("a value that was overwritten", () => {
  test("one change later it is still there, two changes later it is a StaleError", async () => {
    await fresh({ workers: 2 });
    const w = new fl.Parameter(fl.tensor([1, 2]));
    const double = fl.compile(() => w.assign(w.mul(2)));
    const now = w.add(0);
    double();
    const later = w.add(0);
    expect(await now.array()).toEqual([1, 2]);
    double();
    const stale = w.add(0);
    double();
    double();
    const { error } = await settle(stale.data());
    expect(error).toBeInstanceOf(fl.StaleError);
    expect(error?.message).toMatch(/shape \[2\].*read it before/);
    expect((await settle(later.data())).error).toBeInstanceOf(fl.StaleError);
    expect(await w.array()).toEqual([16, 32]);
  });

  test("by a value that does not depend on it, before it was ever used: it is still there", async () => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const loss = p.square().sum();
    p.assign(fl.tensor([5, 6]));
    await p.data();
    expect(await loss.item()).toBe(5);
    const q = new fl.Parameter(fl.tensor([1, 2]));
    await q.mul(1).data();
    q.assign([8, 9]);
    const before = q.mul(1);
    q.assign(fl.tensor([5, 6]));
    await q.data();
    expect(await before.array()).toEqual([8, 9]);
    const r = new fl.Parameter(fl.tensor([3, 4]));
    const old = r.mul(1);
    fl.compile(() => r.assign(fl.zeros([2])))();
    expect(await old.array()).toEqual([3, 4]);
  });

  test("an argument that failed before, and was caught, fails the step alone", async () => {
    await fresh({ workers: 2 });
    const bad = fl.tensor([1, 2]).indexSelect(0, [9]);
    expect((await settle(bad.data())).error).toBeInstanceOf(fl.IndexError);
    const step = fl.compile((x: fl.Tensor) => x.sin());
    expect((await settle(step(bad).data())).error).toBeInstanceOf(fl.IndexError);
  });

  test("by an array, once or twice: what was made of it before is still there", async () => {
    await fresh({ workers: 2 });
    const w = new fl.Parameter(fl.tensor([1, 2]));
    const [first, other] = [w.mul(2), w.mul(3)];
    w.assign([5, 6]);
    const second = w.mul(2);
    expect(await first.array()).toEqual([2, 4]);
    w.assign([7, 8]);
    w.assign([9, 10]);
    expect(await Promise.all([first, other, second, w.mul(1)].map((t) => t.array()))).toEqual([
      [2, 4],
      [3, 6],
      [10, 12],
      [9, 10],
    ]);
  });

  test("a step that failed overwrote nothing", async () => {
    await fresh({ workers: 2 });
    const w = new fl.Parameter(fl.tensor([3, 4]));
    const pick = fl.compile((i: fl.Tensor) => {
      w.assign(w.mul(2));
      return w.indexSelect(0, i);
    });
    await pick(fl.tensor(Int32Array.of(0))).data();
    const now = w.add(0);
    for (let i = 0; i < 3; i++)
      expect((await settle(pick(fl.tensor(Int32Array.of(7))).data())).error).toBeInstanceOf(fl.IndexError);
    expect(await now.array()).toEqual([6, 8]);
  });

  test("a StaleError beside a parameter that was not in memory yet: that one is not forgotten", async () => {
    await fresh({ workers: 2 });
    const w = new fl.Parameter(fl.tensor([1]));
    const b = new fl.Parameter(fl.tensor([100]));
    const stale = w.add(0);
    const next = fl.compile(() => w.assign(w.add(1)));
    next();
    next();
    expect((await settle(b.add(stale).data())).error).toBeInstanceOf(fl.StaleError);
    expect(await b.add(w).array()).toEqual([103]);
  });
});

test("parameters are the same bits on 1, 2, 3, 4 workers and on private memory, with dropout and Adam", async () => {
  const results: string[] = [];
  for (const options of [...POOLS.map(([, o]) => o), { workers: 4 }, { workers: 2 }]) {
    await fresh(options);
    const t = training();
    for (let i = 0; i < 25; i++) t.step();
    results.push(await t.parameters());
  }
  expect(new Set(results).size).toBe(1);
});
