/** What fails and is tried again, at once or later: every value is still the one that was meant, and everybody gets theirs. */
import { afterEach, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import {
  BURDEN,
  expectNoUnhandledRejections,
  fresh,
  POOLS,
  restoreSpawn,
  settle,
  sleep,
  spawned,
  watchSpawns,
} from "../run/support.ts";

expectNoUnhandledRejections();

afterEach(async () => {
  restoreSpawn();
  await fl.dispose();
});

const MB = 2 ** 20;

/** 0, after some hundred milliseconds of every worker's time. */
function burden(): fl.Tensor {
  const size = 512;
  const large = fl.tensor(new Float32Array(size * size).fill(1 / size), [size, size]);
  let product = large;
  for (let i = 0; i < BURDEN; i++) product = product.matmul(large);
  return product.sum().mul(0);
}

/** Has everything that waits begin, and ends a worker while it runs. */
async function hit(): Promise<void> {
  await fl.tensor([1]).add(1).data(); // what shares nothing with this comes behind it
  await sleep(60);
  await spawned()[spawned().length - 1].terminate();
}

/** An assignment whose value has no result. */
const bad = (p: fl.Parameter, by: fl.Tensor): void =>
  p.assign(by.indexSelect(0, fl.tensor(Int32Array.of(0, 9))).mul(1));

describe("several reads of what shares its computation with an assignment that fails", () => {
  test("of an optimiser's step: each is told", async () => {
    await fresh({ workers: 2 });
    const model = new fl.nn.Linear(3, 4);
    const optimizer = new fl.optim.SGD(model.parameters(), { lr: 0.1 });
    const loss = fl.crossEntropy(model.forward(fl.ones([1, 3])), fl.tensor(Int32Array.of(7)));
    loss.backward();
    optimizer.step();
    const both = await Promise.all([settle(loss.item()), settle(loss.mul(2).item())]);
    for (const { error } of both) expect(error).toBeInstanceOf(fl.IndexError);
    expect(await fl.tensor([2]).add(3).item()).toBe(5);
  });

  test("of what is sound: each has its value, and what is compiled and begun behind it too", async () => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const q = new fl.Parameter(fl.tensor([3, 4]));
    await fl.stack([p, q]).data();
    const double = fl.compile((x: fl.Tensor) => x.mul(2));
    const step = fl.compile(() => q.assign(q.mul(10)));
    const t = q.mul(5);
    bad(p, t);
    const reads = [t.data(), t.add(1).data(), double(t).data(), t.data()];
    for (let i = 0; i < 3; i++) step();
    const all = await Promise.all(reads.map((r) => settle(r)));
    expect(all.map(({ value }) => [...(value as Float32Array)])).toEqual([
      [15, 20],
      [16, 21],
      [30, 40],
      [15, 20],
    ]);
    expect(await q.array()).toEqual([3000, 4000]);
    expect((await settle(p.data())).error).toBeInstanceOf(fl.IndexError);
    expect(await p.array()).toEqual([1, 2]);
  });
});

describe("a first value that could not be computed", () => {
  test("for want of memory: what was made of it before is the first value, whoever asks first", async () => {
    for (const first of ["snapshot", "parameter"]) {
      await fresh({ workers: 2, memoryLimit: 32 * MB });
      const large = new fl.Parameter(fl.tensor(new Float32Array(7 * MB)));
      await large.sum().item();
      const p = new fl.Parameter(fl.ones([MB]).mul(3));
      const pending = settle(p.data(), 10_000);
      const snapshot = p.float(); // of what that is to become
      const derived = snapshot.add(1);
      expect((await pending).error).toBeInstanceOf(fl.OutOfMemoryError);
      const later = p.float();
      expect((await settle(derived.data(), 10_000)).error).toBeInstanceOf(fl.OutOfMemoryError);
      large.dispose();
      if (first === "parameter") expect((await p.data())[7]).toBe(3);
      expect((await derived.data())[7]).toBe(4);
      expect((await later.data())[7]).toBe(3);
      expect((await snapshot.data())[7]).toBe(3);
      // And one change later.
      const before = p.float();
      p.assign(p.mul(2));
      expect((await p.data())[7]).toBe(6);
      for (const t of [before, snapshot]) expect((await t.mul(2).data())[7]).toBe(6);
    }
  });
});

describe.each(POOLS)("a worker terminated in an assignment nobody waits for, %s", (_, options) => {
  test("it takes place nevertheless: what was made of the new value has it, and so do first values", async () => {
    watchSpawns();
    await fresh(options);
    const p = new fl.Parameter(fl.tensor([1, 2]));
    await p.mul(2).data();
    p.assign(p.mul(10).add(burden()));
    const made = new fl.Parameter(fl.tensor([3, 4]).add(burden()));
    await hit();
    const after = p.float();
    const first = made.float();
    p.assign(p.mul(10));
    expect(await after.array()).toEqual([10, 20]);
    expect(await p.array()).toEqual([100, 200]);
    expect(await first.array()).toEqual([3, 4]);
    expect(await made.array()).toEqual([3, 4]);
  });

  test("of an optimiser: the whole step, though one parameter is set anew", async () => {
    watchSpawns();
    await fresh(options);
    const [a, b] = [new fl.Parameter(fl.tensor([1, 2])), new fl.Parameter(fl.tensor([3, 4]))];
    const optimizer = new fl.optim.SGD([a, b], { lr: 1 });
    await fl.stack([a, b]).data();
    const loss = a.sum().add(b.mul(2).sum()).add(a.mul(burden()).sum());
    loss.backward();
    optimizer.step();
    await hit();
    a.assign(fl.tensor([7, 8]));
    expect(await b.array()).toEqual([1, 2]);
    expect(await a.array()).toEqual([7, 8]);
  });

  test("again and again: who uses it next is told, once, and it has not taken place", async () => {
    watchSpawns();
    await fresh(options);
    const p = new fl.Parameter(fl.tensor([1, 2]));
    await p.mul(2).data();
    const before = spawned().length;
    p.assign(p.mul(10).add(burden()));
    await hit();
    while (spawned().length < 2 * before) await sleep(5);
    await (await import("../../src/run/active.ts")).session().ready();
    await sleep(60); // it runs by now
    await spawned()[spawned().length - 1].terminate();
    const next = await settle(p.data());
    if (next.error) {
      expect(next.error).toBeInstanceOf(fl.WorkerError);
      expect(await p.array()).toEqual([1, 2]);
    } else expect(await p.array()).toEqual([10, 20]); // it had been done by then
    expect(await fl.tensor([2]).add(3).item()).toBe(5);
  });
});

describe.each(POOLS)("workers that do not start, %s", (_, options) => {
  /** The next so many workers are ones that end at once. */
  let broken = 0;
  const watch = (): void =>
    watchSpawns((_i, real) => {
      if (broken === 0) return undefined;
      broken--;
      const handle = real("broken");
      void handle.terminate();
      return handle;
    });

  test("an assignment in flight, hit before, waits for the next ones; what was behind it still is", async () => {
    broken = 0;
    watch();
    await fresh(options);
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const step = fl.compile(() => {
      p.assign(p.add(1));
      return p.mul(1);
    });
    await step().data();
    p.assign(p.mul(10).add(burden()));
    await fl.tensor([1]).add(1).data();
    const behind = settle(step().array(), 20_000);
    await sleep(60);
    broken = 1;
    await spawned()[spawned().length - 1].terminate();
    const { value, error } = await behind;
    if (error) expect(error).toBeInstanceOf(fl.WorkerError);
    else expect(value).toEqual([21, 31]);
    expect(await p.array()).toEqual(error ? [20, 30] : [21, 31]);
  });

  test("a result that was lost with them is no fault of those that use it: they fail, and are told", async () => {
    broken = 0;
    watch();
    await fresh(options);
    const [p, q] = [new fl.Parameter(fl.tensor([1, 2])), new fl.Parameter(fl.tensor([3, 4]))];
    await fl.stack([p, q]).data();
    const double = fl.compile((x: fl.Tensor) => x.mul(2));
    broken = 1;
    await spawned()[0].terminate();
    await sleep(20);
    const lost = double(fl.tensor([1, 2]));
    expect((await settle(lost.data(), 10_000)).error).toBeInstanceOf(fl.WorkerError);
    expect(await fl.tensor([1]).add(1).array()).toEqual([2]); // they are back
    p.assign(p.add(lost));
    expect(await fl.tensor([1]).add(5).array()).toEqual([6]);
    q.assign(p.add(1));
    expect(await fl.tensor([1]).add(7).array()).toEqual([8]);
    const told = [await settle(q.array()), await settle(p.array())].filter((r) => r.error);
    expect(told.length).toBeGreaterThan(0);
    expect(await p.array()).toEqual([1, 2]);
  });
});

describe("a compiled function", () => {
  test("that uses a tensor from outside which could not be computed tries again", async () => {
    await fresh({ workers: 2, memoryLimit: 32 * MB });
    const large = new fl.Parameter(fl.tensor(new Float32Array(6 * MB)));
    await large.sum().item();
    const x = fl.ones([2 * MB]).mul(fl.tensor([3]));
    const value = x.add(1);
    const pending = settle(value.data(), 10_000);
    const f = fl.compile(() => value.narrow(0, 0, 2).mul(2));
    expect((await settle(f().data(), 10_000)).error).toBeInstanceOf(fl.OutOfMemoryError);
    expect((await pending).error).toBeInstanceOf(fl.OutOfMemoryError);
    large.dispose();
    expect(await f().array()).toEqual([8, 8]);
    expect(await f().array()).toEqual([8, 8]);
  });

  test("that uses what was made of a parameter with a first value that could not be computed tries again", async () => {
    await fresh({ workers: 2, memoryLimit: 32 * MB });
    const large = new fl.Parameter(fl.tensor(new Float32Array(7 * MB)));
    await large.sum().item();
    const p = new fl.Parameter(fl.ones([2 * MB]).mul(3));
    const pending = settle(p.data(), 10_000);
    const made = p.float();
    expect((await pending).error).toBeInstanceOf(fl.OutOfMemoryError);
    const f = fl.compile(() => made.narrow(0, 0, 2).mul(2));
    expect((await settle(f().data(), 10_000)).error).toBeInstanceOf(fl.OutOfMemoryError);
    large.dispose();
    expect(await f().array()).toEqual([6, 6]);
  });
});

test("a step that failed is told of, though one of its parameters is set to an array", async () => {
  await fresh({ workers: 2 });
  const [a, b] = [new fl.Parameter(fl.tensor([1, 2])), new fl.Parameter(fl.tensor([3, 4]))];
  const optimizer = new fl.optim.SGD([a, b], { lr: 1 });
  await fl.stack([a, b]).data();
  const loss = a
    .indexSelect(0, fl.tensor(Int32Array.of(9)))
    .add(b)
    .sum();
  loss.backward();
  optimizer.step();
  const other = fl.tensor([1]).add(1).data(); // has the step begin
  const kept = a.float();
  a.assign([7, 8]);
  await other;
  expect(await kept.array()).toEqual([1, 2]);
  expect((await settle(b.data())).error).toBeInstanceOf(fl.IndexError);
  expect(await b.array()).toEqual([3, 4]);
  expect(await a.array()).toEqual([7, 8]);
});

describe("the value before the last change", () => {
  test("may be used by the next one, in place of which it lies", async () => {
    await fresh({ workers: 2 });
    const n = 300;
    const values = Float32Array.from({ length: n * n }, (_, i) => Math.sin(i));
    const p = new fl.Parameter(fl.tensor(values, [n, n]));
    const step = fl.compile(() => p.assign(p.mul(2)));
    await p.mul(1).data();
    const start = fl.tensor(values, [n, n]);
    const want = await start.mul(2).matmul(start).data();
    for (let i = 0; i < 2; i++) {
      p.assign(start);
      await p.data();
      const before = p.float();
      step();
      p.assign(p.matmul(before));
      expect(await p.data()).toEqual(want);
      const after = p.float();
      // What was the current one then is the one before now, wherever it lies.
      p.assign(fl.zeros([n, n]));
      expect((await p.data())[1]).toBe(0);
      expect(await after.data()).toEqual(want);
    }
    const { memory } = await fl.info();
    for (let i = 0; i < 20; i++) {
      const before = p.float();
      step();
      p.assign(p.add(before));
      await p.data();
    }
    expect((await fl.info()).memory.parameters).toBe(memory.parameters);
    expect((await fl.info()).memory.free).toBeGreaterThan(memory.free - MB);
  });

  test("and if that launch fails, both are what they were", async () => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const step = fl.compile(() => p.assign(p.mul(10)));
    await p.mul(1).data();
    const before = p.float();
    step();
    bad(p, before.add(p));
    const { memory } = await fl.info();
    expect((await settle(p.data())).error).toBeInstanceOf(fl.IndexError);
    expect(await p.array()).toEqual([10, 20]);
    expect(await before.array()).toEqual([1, 2]);
    p.assign(p.add(before));
    expect(await p.array()).toEqual([11, 22]);
    expect((await fl.info()).memory.free).toBeGreaterThan(memory.free - MB);
  });

  test.each(POOLS)("is gone when a launch that failed has written there, %s", async (_, options) => {
    await fresh(options);
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const step = fl.compile((at: fl.Tensor) => {
      p.assign(p.mul(10));
      return fl.ones([2]).indexSelect(0, at).mul(1);
    });
    const [good, bad_] = [0, 9].map((at) => fl.tensor(Int32Array.of(at)));
    await step(good).data();
    const before = p.float();
    await step(good).data();
    expect((await settle(step(bad_).data())).error).toBeInstanceOf(fl.IndexError);
    const { value, error } = await settle(before.mul(1).array());
    if (error) expect(error).toBeInstanceOf(fl.StaleError);
    else expect(value).toEqual([10, 20]);
    expect(await p.array()).toEqual([100, 200]);
  });

  test("is told from the one now, whatever failed behind one that failed", async () => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const first = fl.compile((at: fl.Tensor) => {
      const late = burden();
      p.assign(p.mul(10));
      return fl.ones([2]).add(late).indexSelect(0, at);
    });
    const second = fl.compile((x: fl.Tensor) => {
      p.assign(p.add(x));
      return x.mul(1);
    });
    const index = (at: number): fl.Tensor => fl.tensor(Int32Array.of(at));
    await first(index(0)).data();
    await second(fl.tensor([0, 0])).data();
    const lost = fl.compile((at: fl.Tensor) => fl.ones([2]).indexSelect(0, at).mul(1))(index(9));
    await settle(lost.data());
    const both = await Promise.all([settle(first(index(9)).data(), 20_000), settle(second(lost).data(), 20_000)]);
    for (const { error } of both) expect(error).toBeInstanceOf(fl.IndexError);
    expect(await p.array()).toEqual([10, 20]);
    const snapshot = p.float();
    p.assign(p.mul(3));
    expect(await p.array()).toEqual([30, 60]);
    expect(await snapshot.mul(1).array()).toEqual([10, 20]);
  });

  test.each(POOLS.slice(0, 3))("survives the workers, %s", async (_, options) => {
    watchSpawns();
    await fresh(options);
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const step = fl.compile(() => p.assign(p.mul(10)));
    await p.mul(1).data();
    const before = p.float();
    step();
    await p.data();
    await spawned()[0].terminate();
    await sleep(20);
    expect(await before.mul(1).array()).toEqual([1, 2]);
    expect(await p.array()).toEqual([10, 20]);
    p.assign(p.add(before));
    expect(await p.array()).toEqual([11, 22]);
  });

  test("survives memory that is put together", async () => {
    await fresh({ workers: 2, memoryLimit: 64 * MB });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const step = fl.compile(() => p.assign(p.mul(10)));
    await p.mul(1).data();
    const before = p.float();
    step();
    await p.data();
    // Every other one of many goes: half of the memory is free, in pieces.
    const many = Array.from({ length: 54 }, (_, i) => new fl.Parameter(fl.tensor(new Float32Array(MB / 4).fill(i))));
    for (const m of many) await m.narrow(0, 0, 1).mul(1).data();
    many.forEach((m, i) => i % 2 && m.dispose());
    const large = new fl.Parameter(fl.tensor(new Float32Array(5 * MB).fill(1)));
    expect(await large.sum().item()).toBe(5 * MB);
    expect(await before.mul(1).array()).toEqual([1, 2]);
    expect(await p.array()).toEqual([10, 20]);
    p.assign(p.add(before));
    expect(await p.array()).toEqual([11, 22]);
  });
});
