/** Two runtimes in one process: what belongs to one is computed there, and its faults stay there. */
import { afterEach, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { using } from "../../src/run/active.ts";
import { Session } from "../../src/run/session.ts";
import { bits, expectNoUnhandledRejections, settle } from "../run/support.ts";

expectNoUnhandledRejections();

let sessions: Session[] = [];
const start = (options: fl.InitOptions): Session => {
  const made = new Session(options);
  sessions.push(made);
  return made;
};

afterEach(async () => {
  await Promise.all(sessions.map((s) => s.dispose()));
  sessions = [];
  await fl.dispose();
});

/** A model that trains in a session. */
function training(home: Session): { step(): fl.Tensor; parameters(): Promise<string> } {
  return using(home, () => {
    fl.manualSeed(4);
    const model = new fl.nn.Sequential(new fl.nn.Linear(5, 7), new fl.nn.Dropout(0.2), new fl.nn.Linear(7, 3));
    const optimizer = new fl.optim.Adam(model.parameters(), { lr: 0.01 });
    const compiled = fl.compile((x: fl.Tensor) => {
      optimizer.zeroGrad();
      const loss = model.forward(x).square().mean();
      loss.backward();
      optimizer.step();
      return loss;
    });
    const x = fl.arange(20).reshape(4, 5).mul(0.1);
    return {
      step: () => using(home, () => compiled(x)),
      parameters: async () => (await Promise.all(model.parameters().map((p) => p.data()))).map((d) => bits(d)).join(),
    };
  });
}

test("train side by side, with the bits each has alone", async () => {
  const alone = training(start({ workers: 2 }));
  for (let i = 0; i < 5; i++) alone.step();
  const want = await alone.parameters();
  const both = [training(start({ workers: 1 })), training(start({ shared: false }))];
  for (let i = 0; i < 5; i++) for (const t of both) t.step();
  expect(await Promise.all(both.map((t) => t.parameters()))).toEqual([want, want]);
});

test("assignments wait in the runtime they belong to", async () => {
  await fl.init({ workers: 1 });
  const [a, b] = [start({ workers: 1 }), start({ workers: 1 })];
  const make = (home: Session): fl.Parameter => using(home, () => new fl.Parameter(fl.tensor([1, 2])));
  const [p, q] = [make(a), make(b)];
  p.assign(p.indexSelect(0, [0, 9]));
  q.assign(q.add(1));
  expect(await q.mul(2).array()).toEqual([4, 6]);
  expect(await fl.tensor([1]).add(1).array()).toEqual([2]);
  expect((await settle(p.data())).error).toBeInstanceOf(fl.IndexError);
  expect(await p.array()).toEqual([1, 2]);
  const { error } = await settle(p.add(q).data());
  expect(error).toBeInstanceOf(fl.ValueError);
  expect(error?.message).toBe("a tensor depends on parameters of two runtimes");
});

test("one may end, the other goes on", async () => {
  const [a, b] = [start({ workers: 1 }), start({ workers: 1 })];
  const [first, second] = [training(a), training(b)];
  await Promise.all([first.step().item(), second.step().item()]);
  await a.dispose();
  expect((await settle(first.step().item())).error).toBeInstanceOf(fl.DisposedError);
  expect(await second.step().item()).toBeGreaterThan(0);
});
