/** Loops on the pool: the same bits for any number of workers, faults in a step, killed workers, profiles, many runs. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import * as fl from "../../src/index.ts";
import type { Program } from "../../src/program/program.ts";
import { session } from "../../src/run/active.ts";
import {
  bits,
  chainInput,
  eachByItself,
  endless,
  expectFault,
  fresh,
  loopProgram,
  POOLS,
  settle,
  sleep,
  spawned,
  unlessStalled,
  watchSpawns,
} from "./support.ts";

eachByItself();

type T = fl.Tensor;

function values(shape: readonly number[], seed: number): T {
  const n = shape.reduce((a, b) => a * b, 1);
  return fl.tensor(
    Float32Array.from({ length: n }, (_, i) => Math.sin(1 + i * 1.3 + seed * 7)),
    shape,
  );
}

/** What a step may do with what is carried, its x and a weight that fits. */
const MOVES: ((h: T, x: T, w: T) => T)[] = [
  (h, x) => h.add(x).tanh(),
  (h, x, w) => h.matmul(w).add(x).sigmoid(),
  (h, x) => h.sub(h.mean(0, true)).mul(x),
  (h, x) => h.softmax(1).add(x.mul(0.5)),
  (h, x) => fl.cat([x.slice([0, 0], [h.shape[0], 5]), h.slice([0, 5], [...h.shape])], 1),
  (h, _, w) => h.t().matmul(h).softmax(0).matmul(w).sum(0, true).expand(h.shape).add(h).mul(0.5),
  (h, x) => fl.scan((c: T, row: T) => [c.mul(0.9).add(row), null], h, fl.stack([x, x.neg()]))[0],
  (h, x) => h.indexSelect(0, fl.arange(h.shape[0]).mul(3).add(1).remainder(h.shape[0])).sub(x).sin(),
];

test("random bodies give the same bits on 1, 2, 3 and 4 workers, there and back", async () => {
  const recipes = fc.sample(
    fc.record({
      moves: fc.array(fc.nat(MOVES.length - 1), { minLength: 1, maxLength: 4 }),
      rows: fc.constantFrom(3, 9, 40, 130),
      steps: fc.integer({ min: 1, max: 7 }),
      reverse: fc.boolean(),
    }),
    { numRuns: 16, seed: 5 },
  );
  const width = 24;
  const run = async (workers: number): Promise<string[]> => {
    await fresh({ workers });
    const found: string[] = [];
    for (const { moves, rows, steps, reverse } of recipes) {
      const f = (h: T, xs: T, w: T): [T, T] =>
        fl.scan((c: T, x: T) => [moves.reduce((now, m) => MOVES[m](now, x, w), c), c.mul(x)], h, xs, { reverse });
      const args: [T, T, T] = [values([rows, width], 1), values([steps, rows, width], 2), values([width, width], 3)];
      const step = fl.compile((...given: [T, T, T]) => {
        const both = (...inner: [T, T, T]): T => f(...inner).reduce((sum, t) => sum.add(t.sin().mean()), fl.tensor(0));
        return [...f(...given), ...fl.grad(both, [0, 1, 2])(...given)];
      });
      found.push((await Promise.all(step(...args).map((t) => t.data()))).map(bits).join());
    }
    return found;
  };
  const one = await run(1);
  for (const workers of [2, 3, 4]) expect(await run(workers)).toEqual(one);
});

/** A step of training with a loop in it that looks rows up: of 8, `at` the last step. */
function looking(steps = 200, width = 256) {
  fl.manualSeed(3);
  const table = new fl.Parameter(values([8, width], 4));
  const w = new fl.Parameter(values([width, width], 5).mul(0.05));
  const optimizer = new fl.optim.SGD([table, w], { lr: 0.1 });
  const step = fl.compile((index: T) => {
    optimizer.zeroGrad();
    const [h] = fl.scan(
      (c: T, i: T) => [
        c
          .matmul(w)
          .add(table.gather(0, i.mul(fl.ones([1], { dtype: "int32" }))))
          .tanh(),
        null,
      ],
      values([32, width], 6),
      index,
    );
    const loss = h.square().mean();
    loss.backward();
    optimizer.step();
    return loss;
  });
  const index = (bad = -1): T =>
    fl.tensor(
      Int32Array.from({ length: steps * 32 * width }, (_, i) => (i === bad ? 99 : i % 8)),
      [steps, 32, width],
    );
  return { step, index, parameters: async () => [bits(await table.data()), bits(await w.data())].join() };
}

describe.each(POOLS)("%s", (_, options) => {
  test("an index out of range in a step is an IndexError that names the operation, and the step had no effect", async () => {
    await fresh(options);
    const t = looking(6, 16);
    await t.step(t.index()).item();
    const before = await t.parameters();
    const { error } = await settle(t.step(t.index(4 * 32 * 16 + 3)).item());
    expect(error).toBeInstanceOf(fl.IndexError);
    expect(error?.message).toMatch(/^gather: index 99 at position 3 is out of range for 8 rows/);
    expect(await t.parameters()).toBe(before);
    expect((await settle(t.step(t.index()).item())).error).toBeUndefined();
  });

  test("a worker killed in mid-loop fails that step alone", async () => {
    watchSpawns();
    await fresh(options);
    const t = looking();
    await t.step(t.index()).item();
    const before = await t.parameters();
    const count = spawned().length;
    const hit = t.step(t.index()).item();
    let pending = true;
    hit.then(
      () => (pending = false),
      () => (pending = false),
    );
    await sleep(15);
    if (pending) {
      await spawned()[count - 1].terminate();
      expectFault(await settle(hit), "crash", count - 1);
      expect(await t.parameters()).toBe(before);
    }
    expect((await settle(t.step(t.index()).item(), 10_000)).error).toBeUndefined();
  });

  test("a profile has each instruction of a loop once, with what it took in all steps, and adds up", async () => {
    await fresh(options);
    const t = looking(20, 64);
    await t.step(t.index()).item();
    const profile = await t.step.profile(t.index());
    const loop = profile.instructions.findIndex((i) => i.name === "loop of 20 steps");
    expect(loop).toBeGreaterThanOrEqual(0);
    const inside = profile.instructions.slice(loop + 1);
    expect(inside.some((i) => i.name.startsWith("matmul") && i.workers[0].duration > 0)).toBe(true);
    for (const { workers } of profile.instructions)
      for (const { begin, duration } of workers) {
        expect(begin).toBeGreaterThanOrEqual(0);
        expect(duration).toBeGreaterThanOrEqual(0);
        expect(begin + duration).toBeLessThanOrEqual(profile.total + 1e-6);
      }
    const sum = profile.instructions.reduce((s, i) => s + i.workers[0].duration, 0);
    expect(sum).toBeLessThanOrEqual(profile.total * 1.001);
  });
});

describe.each(POOLS)("a worker that stands still within loops, %s", (_, options) => {
  test.each(["first", "last"] as const)("%s worker: hung, and the pool goes on", async (which) => {
    const { workers } = await fresh({ ...options, hangTimeout: 300 });
    const good = loopProgram();
    const at = good.labels.find(({ text }) => text.startsWith("matmul"))?.word as number;
    const code = [...good.code];
    // In the place of a product, of which no address is one any more, nor moves on.
    endless(which === "first" ? 1 : workers).forEach((w, k) => k !== isa.At.Length && (code[at + k] = w));
    for (const { word } of good.labels.filter((l) => (l.inside ?? 0) > 0)) {
      const pairs = word + isa.Loop.Length + code[word + isa.Loop.Words];
      for (let p = pairs; p < word + code[word + isa.At.Length]; p += 2) code[p + 1] = 0;
    }
    const isThere = (word: number): boolean => word >= at && word < at + code[at + isa.At.Length];
    const bad: Program = {
      ...good,
      code: Int32Array.from(code),
      relocations: good.relocations.filter((_, k, all) => !isThere(all[k - (k % 2)])),
      families: [...good.families, isa.Family.Various],
      lanes: Math.max(good.lanes, workers),
    };
    const run = (program: Program): Promise<fl.TypedArray[]> =>
      session().launch(program, { inputs: [chainInput()], residents: [], updates: [] });
    const [expected] = await run(good);
    const [hung, behind] = [run(bad), run(good)];
    expectFault(await settle(hung), "hung", which === "first" ? 0 : workers - 1);
    expect(((await settle(behind)).value as fl.TypedArray[])[0]).toEqual(expected);
  });
});

test("epochs of steps with loops are steps one by one, bit for bit", async () => {
  await fresh({ workers: 2 });
  const rows = new fl.TensorDataset(
    { data: Float32Array.from({ length: 40 * 6 * 3 }, (_, i) => Math.cos(i)), shape: [40, 6, 3] },
    { data: Int32Array.from({ length: 40 }, (_, i) => i % 4) },
  );
  const train = async (whole: boolean): Promise<string> => {
    fl.manualSeed(9);
    const layer = new fl.nn.LSTM(3, 8, { batchFirst: true });
    const head = new fl.nn.Linear(8, 4);
    const optimizer = new fl.optim.Adam([...layer.parameters(), ...head.parameters()]);
    const step = fl.compile((x: T, y: T) => {
      optimizer.zeroGrad();
      const loss = fl.crossEntropy(head.forward(layer.forward(x)[0].select(1, -1)), y);
      loss.backward();
      optimizer.step();
      return loss;
    });
    const loader = new fl.DataLoader(rows, { batchSize: 8, shuffle: true, seed: 2 });
    if (whole) await step.run(loader).data();
    else for await (const [x, y] of loader) await step(x as T, y as T).item();
    return bits(await layer.stateDict().weight_hh_l0.data()) + bits(await head.weight.data());
  };
  expect(await train(true)).toBe(await train(false));
});

test("a loop that takes long gives signs of life", async () => {
  await fresh({ workers: 2, hangTimeout: 300 } as never);
  const f = fl.compile((h: T) => fl.scan((c: T) => [c.matmul(c).mul(1e-3).tanh(), null], h, null, { length: 400 })[0]);
  const { error } = await unlessStalled(() => settle(f(values([256, 256], 1)).data(), 20_000));
  expect(error).toBeUndefined();
});
