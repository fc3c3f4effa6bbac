/** Many steps in one launch, and steps started behind others: the same bits as one after the other, whatever happens. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import {
  bits,
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
} from "./support.ts";

eachByItself();

const ROWS = 50;
const FEATURES = 12;
const CLASSES = 4;
const pixels = Uint8Array.from({ length: ROWS * FEATURES }, (_, i) => (i * 37) % 256);
const features = Float32Array.from({ length: ROWS * 3 }, (_, i) => Math.sin(i));
const labels = (bad: number): Int32Array => Int32Array.from({ length: ROWS }, (_, i) => (i === bad ? 99 : i % CLASSES));

/** Bytes, floats, int32 labels, and bytes whose rows are no words. */
function rows(bad = -1): fl.TensorDataset {
  return new fl.TensorDataset(
    { data: pixels, shape: [ROWS, FEATURES], dtype: "float32" },
    { data: features, shape: [ROWS, 3] },
    fl.tensor(labels(bad)),
    Uint8Array.from({ length: ROWS }, (_, i) => i % 3),
  );
}

function net() {
  fl.manualSeed(5);
  const { nn } = fl;
  const model = new nn.Sequential(
    new nn.Linear(FEATURES + 3, 16),
    new nn.ReLU(),
    new nn.Dropout(0.2),
    new nn.Linear(16, CLASSES),
  );
  const optimizer = new fl.optim.Adam(model.parameters(), { lr: 0.01 });
  const step = fl.compile((a: fl.Tensor, b: fl.Tensor, y: fl.Tensor, weight: fl.Tensor) => {
    optimizer.zeroGrad();
    const x = fl.cat([a.div(255), b], 1);
    const loss = fl.crossEntropy(model.forward(x), y).add(weight.to("float32").mean());
    loss.backward();
    optimizer.step();
    return { loss };
  });
  return {
    step,
    async parameters(): Promise<string> {
      const all: string[] = [];
      for (const p of model.parameters()) all.push(bits(await p.data()));
      return all.join();
    },
  };
}

type Net = ReturnType<typeof net>;

/** Parameters after 0, 1, 2, ... batches, and the losses, one step after the other. */
async function stepwise(t: Net, loader: fl.DataLoader): Promise<{ after: string[]; losses: number[] }> {
  const after = [await t.parameters()];
  const losses: number[] = [];
  for await (const [a, b, y, w] of loader) {
    losses.push(await t.step(a, b, y, w).loss.item());
    after.push(await t.parameters());
  }
  return { after, losses };
}

describe.each(POOLS)("an epoch in one launch, %s", (_, options) => {
  test("the bits of one step after the other, epoch by epoch", async () => {
    await fresh(options);
    const make = (): fl.DataLoader => new fl.DataLoader(rows(), { batchSize: 8, shuffle: true, seed: 3 });
    const one = net();
    const loader = make();
    const want = [await stepwise(one, loader), await stepwise(one, loader), await stepwise(one, loader)];
    const t = net();
    const same = make();
    for (const { after, losses } of want.slice(0, 2)) {
      const { loss } = t.step.run(same);
      expect(loss.shape).toEqual([7]); // six of 8 rows, one of 2
      expect([...(await loss.data())]).toEqual(losses);
      expect(await t.parameters()).toBe(after[7]);
    }
    expect(same.epoch).toBe(2);
    // And back to single steps.
    expect(await stepwise(t, same)).toEqual(want[2]);
  });

  test("of a subset of a subset, without waiting", async () => {
    await fresh(options);
    const some = new fl.Subset(rows().subset(5, 45), [3, 1, 7, 0, 39, 20]);
    const loader = new fl.DataLoader(some, { batchSize: 2 });
    const one = net();
    const want = [await stepwise(one, loader), await stepwise(one, loader), await stepwise(one, loader)];
    const t = net();
    const results = [t.step.run(loader), t.step.run(loader), t.step.run(loader)];
    for (const [i, r] of results.entries()) expect([...(await r.loss.data())]).toEqual(want[i].losses);
    expect(await t.parameters()).toBe(want[2].after[3]);
  });

  test("many batches, then one, of one program, without waiting: it is not adjusted while it runs", async () => {
    await fresh(options);
    const all = rows();
    const loaders = [500, 1, 3, 1, 1, 1].map(
      (batches) =>
        new fl.DataLoader(
          new fl.Subset(
            all,
            Int32Array.from({ length: 8 * batches }, (_x, i) => (i * 11) % ROWS),
          ),
          {
            batchSize: 8,
          },
        ),
    );
    const one = net();
    const want: number[][] = [];
    for (const loader of loaders) want.push([...(await one.step.run(loader).loss.data())]);
    const t = net();
    const results = loaders.map((loader) => t.step.run(loader).loss.data());
    for (const [i, r] of results.entries()) expect([...(await r)]).toEqual(want[i]);
    expect(await t.parameters()).toBe(await one.parameters());
  });

  test("a bad label: the batches before it count, nothing after it", async () => {
    await fresh(options);
    const { after } = await stepwise(net(), new fl.DataLoader(rows(), { batchSize: 8 }));
    const t = net();
    const { error } = await settle(t.step.run(new fl.DataLoader(rows(29), { batchSize: 8 })).loss.data());
    expect(error).toBeInstanceOf(fl.IndexError);
    expect(error?.message).toMatch(/crossEntropy: label 99 at position 5 .* 4 classes/);
    expect(await t.parameters()).toBe(after[3]);
    const { losses } = await stepwise(t, new fl.DataLoader(rows().subset(24, 50), { batchSize: 8 }));
    expect(losses.every(Number.isFinite)).toBe(true);
  });

  test("a worker terminated in the middle: what was completed stays, nothing else", async () => {
    watchSpawns();
    await fresh(options);
    // So many that they take far longer than the worker has to live.
    const many = 80_000;
    const indices = Int32Array.from({ length: 8 * many }, (_x, i) => (i * 7) % 48);
    const all = rows();
    const loader = (steps: number): fl.DataLoader =>
      new fl.DataLoader(new fl.Subset(all, indices.subarray(0, 8 * steps)), { batchSize: 8 });
    const t = net();
    const start = await t.parameters();
    await t.step.run(loader(1)).loss.data(); // compiled by now
    const known = new Set([start, await t.parameters()]);
    const pending = settle(t.step.run(loader(many)).loss.data());
    await sleep(5);
    await spawned()[spawned().length - 1].terminate();
    const settled = await pending;
    const left = await t.parameters();
    const one = net();
    await one.step.run(loader(1)).loss.data();
    if (!settled.error) {
      // It died between two launches of the epoch: nothing was hit, so nothing is lost.
      await one.step.run(loader(many)).loss.data();
      expect(left).toBe(await one.parameters());
      return;
    }
    expectFault(settled, "crash", options.shared === false ? 0 : (options.workers as number) - 1);
    // One step after the other comes by the same place.
    let found = known.has(left);
    for await (const [a, b, y, w] of loader(many)) {
      if (found) break;
      void one.step(a, b, y, w);
      found = (await one.parameters()) === left;
    }
    expect(found).toBe(true);
  });

  test("disposed in the middle: rejects", async () => {
    await fresh(options);
    const t = net();
    await t.step.run(new fl.DataLoader(rows(), { batchSize: 8 })).loss.data();
    const many = new fl.Subset(rows(), new Int32Array(200_000));
    const pending = settle(t.step.run(new fl.DataLoader(many, { batchSize: 8 })).loss.data());
    await sleep(20);
    await fl.dispose();
    expect((await pending).error).toBeInstanceOf(fl.DisposedError);
  });

  test("a bad label in a step with others started behind it: those take place", async () => {
    await fresh(options);
    const one = training();
    const want: number[] = [];
    for (let i = 0; i < 4; i++) want.push(await one.step().item());
    const final = await one.parameters();
    const t = training();
    const good = goodLabels();
    const bad = fl.tensor(Int32Array.from({ length: 32 }, (_x, i) => (i === 7 ? 5 : 0)));
    const steps = [good, bad, good, bad, bad, good, good].map((y) => t.step(y));
    const settled = await Promise.all(steps.map((s) => settle(s.item())));
    expect(settled.map((s) => s.error instanceof fl.IndexError)).toEqual([
      false,
      true,
      false,
      true,
      true,
      false,
      false,
    ]);
    expect(settled.flatMap((s) => (s.error ? [] : [s.value]))).toEqual(want);
    expect(await t.parameters()).toBe(final);
  });
});

test("what cannot be run says so", async () => {
  await fresh({ workers: 1 });
  const { step } = net();
  const own = { length: 3, batch: (indices: ArrayLike<number>) => [fl.zeros([indices.length, 2])] };
  expect(() => step.run(new fl.DataLoader(own) as never)).toThrow(/TensorDataset/);
  expect(() => step.run([] as never)).toThrow(/run: a DataLoader is wanted/);
  const few = rows().subset(0, 3);
  expect(() => step.run(new fl.DataLoader(few, { batchSize: 8, dropLast: true }))).toThrow(/3 rows make no batch of 8/);
  const controller = new AbortController();
  controller.abort();
  expect(() => step.run(new fl.DataLoader(rows(), { signal: controller.signal }))).toThrow(fl.AbortedError);
  const data = new fl.TensorDataset({ data: features, shape: [ROWS, 3] });
  const turned = fl.compile((x: fl.Tensor) => x.t());
  expect(() => turned.run(new fl.DataLoader(data, { batchSize: 8 }))).toThrow(
    /\[3, 2\] instead of \[3, 8\]; use dropLast/,
  );
});

test("a value for each row comes as one tensor of all rows where the last batch is smaller", async () => {
  await fresh({ workers: 2 });
  const data = new fl.TensorDataset({ data: features, shape: [ROWS, 3] });
  const both = fl.compile((x: fl.Tensor) => [x.mul(2), x.sum(1), x.sum()] as const);
  const doubled = [...features].map((v) => Math.fround(2 * v));
  const loader = (options: fl.DataLoaderOptions): fl.DataLoader => new fl.DataLoader(data, options);
  const [all, sums, totals] = both.run(loader({ batchSize: 8 }));
  expect([all.shape, sums.shape, totals.shape]).toEqual([[ROWS, 3], [ROWS], [7]]);
  expect([...(await all.data())]).toEqual(doubled);
  expect((await sums.data())[ROWS - 1]).toBeCloseTo(features.slice(-3).reduce((a, b) => a + b));
  const [whole] = both.run(loader({ batchSize: 8, dropLast: true }));
  expect(whole.shape).toEqual([6, 8, 3]);
  expect([...(await whole.data())]).toEqual(doubled.slice(0, 48 * 3));
});
