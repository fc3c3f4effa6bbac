/** Memory that is short: programs, models and shapes that come and go, with no collection forced by anyone. */
import { describe, expect, test, vi } from "vitest";
import * as fl from "../../src/index.ts";
import { eachByItself, fresh, settle } from "./support.ts";

eachByItself(() => vi.restoreAllMocks());

const MB = 2 ** 20;
const POOLS: [string, fl.InitOptions][] = [
  ["shared memory", { workers: 2, memoryLimit: 64 * MB }],
  ["private memory", { shared: false, memoryLimit: 64 * MB }],
];

/** Bytes handed out. */
async function used(): Promise<number> {
  const { limit, free } = (await fl.info()).memory;
  return limit - free;
}

describe.each(POOLS)("in 64 MB, %s", (_, options) => {
  test("a hundred models of 6 MB with their moments, made, trained and dropped", async () => {
    await fresh(options);
    let most = 0;
    for (let i = 0; i < 100; i++) {
      const model = new fl.nn.Linear(1000, 500);
      const optimizer = new fl.optim.Adam(model.parameters());
      const step = fl.compile((x: fl.Tensor) => {
        optimizer.zeroGrad();
        const loss = model.forward(x).square().mean();
        loss.backward();
        optimizer.step();
        return loss;
      });
      expect(await step(fl.ones([2, 1000])).item()).toBeGreaterThan(0);
      most = Math.max(most, await used());
    }
    expect(most).toBeLessThan(64 * MB);
  });

  test("parameters of 4 MB that nobody needs any more, not compiled", async () => {
    await fresh(options);
    for (let i = 0; i < 60; i++) {
      const p = new fl.Parameter(fl.ones([MB]));
      p.assign(p.add(i));
      expect(await p.max().item()).toBe(1 + i);
    }
  });

  test("a hundred shapes of 4 MB, read one after the other", async () => {
    await fresh(options);
    for (let i = 0; i < 100; i++) {
      const values = await fl
        .arange(MB + i)
        .mul(2)
        .data();
      expect(values[MB + i - 1]).toBe(2 * (MB + i - 1));
      expect((await fl.info()).memory.programs).toBeLessThan(20 * MB);
    }
  });

  test("eighty batch sizes of 2 MB, one tensor from outside of 16 MB, awaited and in flight", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
    await fresh(options);
    const outside = fl.tensor(new Float32Array(4 * MB).fill(0.5));
    const f = fl.compile((x: fl.Tensor) => x.sum().add(outside.sum()));
    const wanted: Promise<number>[] = [];
    for (let i = 0; i < 80; i++) {
      wanted.push(f(fl.tensor(new Float32Array(MB / 2 + i).fill(1))).item());
      if (i % 3 === 0) await wanted[i];
    }
    expect(await Promise.all(wanted)).toEqual(wanted.map((_, i) => MB / 2 + i + 2 * MB));
    const { captured, limit, parameters } = (await fl.info()).memory;
    expect(captured).toBe(16 * MB);
    expect(parameters).toBe(0);
    expect(limit).toBe(64 * MB);
  });

  test("what is free in pieces is put together, and every value is still there", async () => {
    await fresh(options);
    const pieces = Array.from({ length: 28 }, (_, i) => new fl.Parameter(fl.tensor(new Float32Array(MB / 4).fill(i))));
    const optimizer = new fl.optim.SGD(pieces, { lr: 1 });
    const step = fl.compile((list: number[]) => {
      optimizer.zeroGrad();
      for (const i of list) pieces[i].sum().backward();
      optimizer.step();
    });
    const all = [...pieces.keys()];
    step(all);
    await pieces[0].data();
    for (const i of all) if (i % 2) pieces[i].dispose();
    // 28 MB are free, 2 of them side by side at the most.
    const large = new fl.Parameter(fl.tensor(new Float32Array(5 * MB).fill(1)));
    expect(await large.sum().item()).toBe(5 * MB);
    const rest = all.filter((i) => i % 2 === 0);
    step(rest);
    for (const i of rest) expect((await pieces[i].data())[i]).toBe(i - 2);
    expect(await large.sum().item()).toBe(5 * MB);
  });

  test("what is really held is named in the error, and the next one goes through", async () => {
    await fresh(options);
    const held: fl.Parameter[] = [];
    let error: unknown;
    while (!error) {
      const p = new fl.Parameter(fl.ones([MB]));
      p.assign(p.add(1));
      ({ error } = await settle(p.sum().item(), 10_000));
      held.push(p);
      expect(held.length).toBeLessThan(20);
    }
    expect(error).toBeInstanceOf(fl.OutOfMemoryError);
    const { use, message } = error as fl.OutOfMemoryError;
    expect(use?.parameters).toBeGreaterThan(40 * MB);
    expect(use?.free).toBeLessThan(16 * MB);
    expect(message).toContain(`parameters and moments hold ${use?.parameters}`);
    held.length = 1;
    expect(
      await fl
        .ones([2 * MB])
        .mul(2)
        .sum()
        .item(),
    ).toBe(4 * MB);
    expect(await held[0].sum().item()).toBe(2 * MB);
  });
});

test("a parameter whose program is still to come is not freed because nobody else refers to it", async () => {
  await fresh({ workers: 2, memoryLimit: 64 * MB });
  const { collectGarbage } = await import("../../src/run/garbage.ts");
  const pending: Promise<number>[] = [];
  for (let i = 0; i < 20; i++) {
    const model = new fl.nn.Linear(300, 300);
    const x = fl.ones([200, 300]);
    pending.push(
      model
        .forward(model.forward(model.forward(x)))
        .mul(0)
        .add(i)
        .mean()
        .item(),
    );
    if (i % 5 === 4) expect(await collectGarbage()).toBe(true);
  }
  expect(await Promise.all(pending)).toEqual(pending.map((_, i) => i));
});

test("a result that is used by other compiled functions is in memory once, and fails them if it failed", async () => {
  await fresh({ workers: 2 });
  const make = fl.compile((x: fl.Tensor) => x.mul(2));
  const doubled = make(fl.ones([MB]));
  const sum = fl.compile((x: fl.Tensor) => doubled.sum().add(x));
  const most = fl.compile((x: fl.Tensor) => doubled.max().mul(x));
  expect(await sum(fl.tensor(1)).item()).toBe(2 * MB + 1);
  expect(await sum(fl.tensor([1, 2])).array()).toEqual([2 * MB + 1, 2 * MB + 2]);
  expect(await most(fl.tensor(3)).item()).toBe(6);
  expect((await fl.info()).memory.captured).toBe(4 * MB);
  const bad = fl.compile((x: fl.Tensor) => x.indexSelect(0, [9]))(fl.ones([2]));
  const uses = fl.compile(() => bad.sum());
  for (let i = 0; i < 2; i++) expect((await settle(uses().item())).error).toBeInstanceOf(fl.IndexError);
});
