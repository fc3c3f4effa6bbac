/** Faults by real means: workers that are terminated, trap or hang. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { session } from "../../src/run/active.ts";
import {
  BURDEN,
  chainInput,
  chainProgram,
  type Damage,
  damaged,
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
  want.push(...(await withoutFault(2 * STEPS)));
});

describe.each(POOLS)("a worker terminated, %s", (_, options) => {
  test("in mid-step: the step and nothing else is lost", async () => {
    await fresh(options);
    const t = training();
    for (let i = 0; i < STEPS; i++) await t.step().item();
    const before = spawned().length;

    const hit = t.step(goodLabels(), BURDEN).item();
    const behind = t.step().item(); // queued: runs on the rebuilt pool, as step 4
    const alsoBehind = t.parameters();
    let pending = true;
    hit.catch(() => {
      pending = false;
    });
    await sleep(60);
    expect(pending, "the step is to be in flight").toBe(true);
    const index = before - 1; // the last worker
    await spawned()[index].terminate();

    const first = await settle(hit);
    expectFault(first, "crash", index);
    expect(first.error?.step).toBeGreaterThan(STEPS);
    expect(first.error?.message).toContain(`in step ${first.error?.step}`);
    expect(typeof (await settle(behind)).value).toBe("number");
    expect((await settle(alsoBehind)).value).toBe(want[STEPS]);
    expect(spawned().length).toBe(2 * before);

    for (let i = STEPS + 1; i < 2 * STEPS; i++) await t.step().item();
    // Equal bits two steps later: moments, step counts and the random state were kept as well.
    expect(await t.parameters()).toBe(want[2 * STEPS - 1]);
  });

  test("in mid-step, then parameters are read: they are those of the last completed step", async () => {
    await fresh(options);
    const t = training();
    for (let i = 0; i < STEPS; i++) await t.step().item();
    const hit = t.step(goodLabels(), BURDEN).item();
    hit.catch(() => {});
    await sleep(60);
    void spawned()[0].terminate();
    expectFault(await settle(hit), "crash", 0);
    expect(await t.parameters()).toBe(want[STEPS - 1]);
  });

  test("in mid-step, not compiled: the same", async () => {
    await fresh(options);
    const large = fl.tensor(new Float32Array(512 * 512).fill(1 / 512), [512, 512]);
    const x = fl.tensor(
      Float32Array.from({ length: 24 }, (_, i) => i / 24),
      [8, 3],
    );
    const make = (): { model: fl.nn.Linear; step(burden: number): fl.Tensor } => {
      fl.manualSeed(2);
      const model = new fl.nn.Linear(3, 1);
      const optimizer = new fl.optim.Adam(model.parameters(), { lr: 0.1 });
      return {
        model,
        step(burden) {
          optimizer.zeroGrad();
          let product = large;
          for (let i = 0; i < burden; i++) product = product.matmul(large);
          const loss = model
            .forward(x)
            .square()
            .mean()
            .add(product.sum().mul(burden > 0 ? 0 : 1));
          loss.backward();
          optimizer.step();
          return loss;
        },
      };
    };
    const twin = make();
    for (let i = 0; i < 4; i++) await twin.step(0).item();
    const wanted = await twin.model.weight.array();
    const { model, step } = make();
    for (let i = 0; i < 2; i++) await step(0).item();
    const before = await model.weight.array();
    const hit = step(BURDEN).item();
    hit.catch(() => {});
    await sleep(80);
    void spawned()[0].terminate();
    expectFault(await settle(hit), "crash", 0);
    expect(await model.weight.array()).toEqual(before);
    for (let i = 0; i < 2; i++) await step(0).item();
    expect(await model.weight.array()).toEqual(wanted);
  });

  test("between steps: no step was hit, so none is lost", async () => {
    await fresh(options);
    const t = training();
    for (let i = 0; i < STEPS; i++) await t.step().item();
    await spawned()[0].terminate();
    await sleep(20);
    expect((await settle(t.parameters())).value).toBe(want[STEPS - 1]);
    for (let i = STEPS; i < 2 * STEPS; i++) expect((await settle(t.step().item())).error).toBeUndefined();
    expect(await t.parameters()).toBe(want[2 * STEPS - 1]);
  });

  test("again and again, the second time during recovery", async () => {
    await fresh(options);
    const t = training();
    for (let i = 0; i < STEPS; i++) {
      await t.step().item();
      const hit = t.step(goodLabels(), BURDEN).item();
      const next = t.step(goodLabels(), BURDEN).item();
      await sleep(40);
      const count = spawned().length;
      void spawned()[count - 1].terminate();
      expect((await settle(hit)).error).toBeInstanceOf(fl.WorkerError);
      // The next one starts new workers; one of those dies as it starts.
      while (spawned().length === count) await sleep(1);
      void spawned()[count].terminate();
      const { error } = await settle(next);
      expect(error).toBeInstanceOf(fl.WorkerError);
      expect(["start", "crash"]).toContain(error?.fault);
    }
    expect(await t.parameters()).toBe(want[STEPS - 1]);
  });
});

describe.each(POOLS)("a trap, %s", (_, options) => {
  const damages: [string, Damage, "first" | "last"][] = [
    ["an address out of bounds, first worker", "address", "first"],
    ["an address out of bounds, last worker", "address", "last"],
    ["an unknown opcode, last worker", "opcode", "last"],
  ];
  test.each(damages)("%s", async (_name, damage, which) => {
    const { workers } = await fresh(options);
    const t = training();
    for (let i = 0; i < STEPS; i++) await t.step().item();
    const good = chainProgram();
    const bad = damaged(good, damage, which, workers);
    const run = (program: typeof good): Promise<fl.TypedArray[]> =>
      session().launch(program, { inputs: [chainInput()], residents: [], updates: [] });
    const [expected] = await run(good);
    const queued = [run(bad), run(good), run(bad), t.step().item()].map((p) => settle(p, 4000));
    const results = await Promise.all(queued);
    const index = which === "first" ? 0 : workers - 1;
    for (const r of [results[0], results[2]]) {
      expect(r.error).toMatchObject({ fault: "trap", worker: index });
      if (damage === "address") expect(r.error?.message).toContain("out of bounds");
    }
    expectFault(results[0], "trap", index);
    expect((results[1].value as fl.TypedArray[])[0]).toEqual(expected);
    expect(typeof results[3].value).toBe("number");
    expect(await t.parameters()).toBe(want[STEPS]);
  });
});

describe.each(POOLS)("a worker that stands still, %s", (_, options) => {
  test.each(["first", "last"] as const)("%s worker: hung, and the pool goes on", async (which) => {
    const { workers } = await fresh({ ...options, hangTimeout: 300 });
    const good = chainProgram();
    const run = (program: typeof good): Promise<fl.TypedArray[]> =>
      session().launch(program, { inputs: [chainInput()], residents: [], updates: [] });
    const [expected] = await run(good);
    const hung = run(damaged(good, "endless", which, workers));
    const behind = run(good);
    expectFault(await settle(hung), "hung", which === "first" ? 0 : workers - 1);
    expect(((await settle(behind)).value as fl.TypedArray[])[0]).toEqual(expected);
  });

  test("a step that is merely long is not hung", async () => {
    await fresh({ ...options, hangTimeout: options.shared === false ? 20_000 : 250 });
    const t = training();
    let ms = 0;
    for (let burden = 32; ms < 400; burden *= 2) {
      const start = performance.now();
      expect((await settle(t.step(goodLabels(), burden).item(), 10_000)).error).toBeUndefined();
      ms = performance.now() - start;
    }
  });

  test("a caller that was itself held up accuses nobody", async () => {
    await fresh({ ...options, hangTimeout: 200 });
    const t = training();
    await t.step().item();
    const loss = t.step().item();
    await sleep(0);
    const until = performance.now() + 500;
    while (performance.now() < until);
    expect((await settle(loss)).error).toBeUndefined();
  });
});
