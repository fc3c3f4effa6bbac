/** Assignments that wait, values that were read, snapshots of parameters: what each of them means, whatever fails beside it. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { eachByItself, fresh, settle, sleep, spawned, watchSpawns } from "../run/support.ts";

eachByItself();

/** Everything that may give back the node it was given. */
const SNAPSHOTS: [string, (p: fl.Tensor) => fl.Tensor][] = [
  ["float", (p) => p.float()],
  ["to", (p) => p.to("float32")],
  ["reshape", (p) => p.reshape(p.shape)],
  ["reshape with -1", (p) => p.reshape(-1, 2)],
  ["flatten of one axis", (p) => p.flatten(0, 0)],
  ["expand", (p) => p.expand(p.shape)],
  ["permute", (p) => p.permute(0, 1)],
  ["transpose", (p) => p.transpose(0, 0)],
  ["squeeze", (p) => p.squeeze()],
  ["unsqueeze and squeeze", (p) => p.unsqueeze(0).squeeze(0)],
  ["narrow", (p) => p.narrow(0, 0, 2)],
  ["slice", (p) => p.slice([0, 0])],
  ["index", (p) => p.index("...")],
  ["flip of no axis", (p) => p.flip([])],
  ["sum over no axis", (p) => p.sum([])],
  ["mean over no axis", (p) => p.mean([])],
  ["max over no axis", (p) => p.max([])],
  ["cat of one", (p) => fl.cat([p])],
  ["clamp", (p) => p.clamp(-1000)],
  ["detach", (p) => p.detach()],
  ["mul", (p) => p.mul(1)],
  ["where", (p) => fl.where(fl.ones([2, 2]).gt(0), p, 0)],
  ["stopGradient", (p) => fl.stopGradient(p)],
  ["dropout in evaluation", (p) => fl.dropout(p, 0.5, false)],
  ["scatterAdd of nothing", (p) => p.scatterAdd(0, fl.zeros([0, 2], { dtype: "int32" }), fl.zeros([0, 2]))],
  ["einsum", (p) => fl.einsum("ij->ij", p)],
  ["roll by nothing", (p) => fl.roll(p, 0, 0)],
  ["pad by nothing", (p) => fl.nn.functional.pad(p.reshape(1, 1, 2, 2), [0, 0, 0, 0], "reflect").reshape(2, 2)],
  ["t of a vector", (p) => p.reshape(4).t().reshape(2, 2)],
  ["scatter of nothing", (p) => p.scatter(0, fl.zeros([0, 2], { dtype: "int32" }), fl.zeros([0, 2]))],
  [
    "adaptiveAvgPool2d to its own size",
    (p) => fl.nn.functional.adaptiveAvgPool2d(p.reshape(1, 1, 2, 2), 2).reshape(2, 2),
  ],
  ["checkpoint", (p) => fl.checkpoint((x: fl.Tensor) => x)(p)],
  ["vmap", (p) => fl.vmap((x: fl.Tensor) => x)(p)],
  ["compile", (p) => fl.compile((x: fl.Tensor) => x)(p.float())],
];

describe("a tensor made of a parameter", () => {
  test.each(SNAPSHOTS)("by %s keeps the value it was made of", async (_, make) => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(
      fl.tensor([
        [1, 2],
        [3, 4],
      ]),
    );
    const step = fl.compile(() => p.assign(p.mul(10)));
    await p.mul(2).data(); // in memory
    const before = make(p);
    step();
    expect(await before.array()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    // By an array, and by a tensor that has yet to be computed.
    const second = make(p);
    p.assign([5, 6, 7, 8]);
    const third = make(p);
    p.assign(
      fl.tensor([
        [9, 9],
        [9, 9],
      ]),
    );
    expect(await second.array()).toEqual([
      [10, 20],
      [30, 40],
    ]);
    expect(await third.array()).toEqual([
      [5, 6],
      [7, 8],
    ]);
    expect(await p.array()).toEqual([
      [9, 9],
      [9, 9],
    ]);
  });

  test.each(SNAPSHOTS)("by %s and read too late is a StaleError, never a newer value", async (name, make) => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(
      fl.tensor([
        [1, 2],
        [3, 4],
      ]),
    );
    const step = fl.compile(() => p.assign(p.mul(10)));
    step();
    const before = make(p);
    for (let i = 0; i < 3; i++) step();
    const { value, error } = await settle(before.array());
    // A compiled function has its value with the call.
    if (name === "compile")
      expect(value).toEqual([
        [10, 20],
        [30, 40],
      ]);
    else expect(error).toBeInstanceOf(fl.StaleError);
  });

  test("is what a compiled function, a dataset and another parameter make of it", async () => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    await p.mul(1).data();
    const snapshot = p.float();
    const copy = new fl.Parameter(snapshot);
    const rows = new fl.TensorDataset(snapshot);
    const argument = fl.compile((x: fl.Tensor) => x.mul(1))(snapshot);
    const captured = fl.compile(() => snapshot.mul(1))();
    const batch = rows.batch([0, 1]);
    fl.compile(() => p.assign(p.mul(10)))();
    expect(await p.array()).toEqual([10, 20]);
    for (const t of [copy, argument, captured, (await batch)[0]]) expect(await t.array()).toEqual([1, 2]);
  });
});

test("operations of one name are not taken for each other", async () => {
  await fresh({ workers: 2 });
  const x = fl.tensor([1, 2, 3]);
  const define = (name: string): ((x: fl.Tensor) => fl.Tensor) =>
    fl.defineOp({ name, forward: (t: fl.Tensor) => t.mul(2), backward: (g: fl.Tensor) => g.mul(200) });
  // The same names of operations, the same operands.
  const doubled = x.mul(2).detach();
  expect(await doubled.add(x).array()).toEqual([3, 6, 9]);
  expect(await define("add")(x).array()).toEqual([2, 4, 6]);
  expect(await doubled.sub(x).array()).toEqual([1, 2, 3]);
  expect(await define("sub")(x).array()).toEqual([2, 4, 6]);
  expect(
    await fl
      .grad((t: fl.Tensor) => define("add")(t).sum())(x)
      .array(),
  ).toEqual([200, 200, 200]);
});

describe("a read that failed", () => {
  test("for want of memory succeeds once there is some, and so does what was derived of it", async () => {
    await fresh({ workers: 2, memoryLimit: 32 * 2 ** 20 });
    const large = new fl.Parameter(fl.tensor(new Float32Array(5 * 2 ** 20).fill(2)));
    expect(await large.sum().item()).toBe(10 * 2 ** 20);
    const y = fl
      .rand([3 * 2 ** 20])
      .mul(0)
      .add(3);
    const z = y.add(1).sum();
    expect((await settle(y.data())).error).toBeInstanceOf(fl.OutOfMemoryError);
    expect((await settle(z.data())).error).toBeInstanceOf(fl.OutOfMemoryError);
    large.dispose();
    expect(await z.item()).toBe(12 * 2 ** 20);
    expect((await y.data())[7]).toBe(3);
  });

  test("with its worker succeeds on the next ones", async () => {
    watchSpawns();
    await fresh({ workers: 2 });
    await fl.ones([2]).mul(2).data();
    const y = fl
      .rand([700, 700])
      .matmul(fl.rand([700, 700]))
      .sin()
      .cos()
      .matmul(fl.ones([700, 700]))
      .sum();
    const z = y.mul(0).add(5);
    const first = settle(y.item(), 5000);
    await sleep(3);
    await spawned()[1].terminate();
    const { error } = await first;
    if (error) expect(error).toBeInstanceOf(fl.WorkerError);
    expect(await z.item()).toBe(5);
    expect(await y.item()).toEqual(expect.any(Number));
  });
});

describe("an assignment that cannot be", () => {
  /** Whether other tensors and parameters are as if nothing had been. */
  const unharmed = async (): Promise<void> => {
    expect(await fl.tensor([2]).add(3).item()).toBe(5);
    const fine = new fl.nn.Linear(2, 2);
    expect(await fine.forward(fl.ones([1, 2])).data()).toHaveLength(2);
    const q = new fl.Parameter(fl.tensor([1, 2]));
    q.assign(q.add(1));
    expect(await q.array()).toEqual([2, 3]);
  };

  test("of a value that differs from example to example is refused where it is made", async () => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const x = fl.tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const optimizer = new fl.optim.Adam([p]);
    const norm = new fl.nn.BatchNorm1d(2);
    const wrong: [string, () => unknown][] = [
      ["assign", () => fl.vmap((t: fl.Tensor) => (p.assign(t), t))(x)],
      [
        "an optimiser's step",
        () =>
          fl.vmap((t: fl.Tensor) => {
            optimizer.zeroGrad();
            p.mul(t).sum().backward();
            optimizer.step();
            return t;
          })(x),
      ],
      ["BatchNorm in training", () => fl.vmap((t: fl.Tensor) => norm.forward(t))(x.unsqueeze(1).expand(3, 4, 2))],
      ["within compile", () => fl.compile((all: fl.Tensor) => fl.vmap((t: fl.Tensor) => (p.assign(t), t))(all))(x)],
    ];
    for (const [name, f] of wrong) {
      expect(f, name).toThrow(/assign: the value differs from example to example/);
      await unharmed();
    }
    expect(await p.array()).toEqual([1, 2]);
    expect(await norm.num_batches_tracked?.item()).toBe(0);
    // What does not depend on the example is as good as anywhere.
    fl.vmap((t: fl.Tensor) => (p.assign(p.add(1)), t))(x);
    expect(await p.array()).toEqual([2, 3]);
    await norm.forward(x).data();
    expect(await norm.num_batches_tracked?.item()).toBe(1);
  });

  test("of a tensor that leaked from a compiled function is refused where it is made", async () => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const leaked: fl.Tensor[] = [];
    fl.compile((x: fl.Tensor) => (leaked.push(x.mul(2), p.mul(2)), x))(fl.tensor([1, 2]));
    for (const t of leaked) {
      expect(() => p.assign(t)).toThrow(/assign: the value is a tensor of a compiled function/);
      expect(() => new fl.Parameter(t)).toThrow(/Parameter: the value is a tensor of a compiled function/);
      expect(() => fl.compile(() => p.assign(t))()).toThrow(/a tensor of a compiled function/);
      await unharmed();
    }
    expect(await p.array()).toEqual([1, 2]);
  });

  test("whose value has no result fails what depends on it, once, and nothing else", async () => {
    await fresh({ workers: 2 });
    const p = new fl.Parameter(fl.tensor([1, 2]));
    const q = new fl.Parameter(fl.tensor([10, 20]));
    const bad = (): void => p.assign(p.indexSelect(0, fl.tensor(Int32Array.of(0, 9))));
    await fl.stack([p, q]).data();
    // Reads of other things, before and after.
    bad();
    q.assign(q.add(1));
    await unharmed();
    expect(await q.array()).toEqual([11, 21]);
    const { error } = await settle(p.data());
    expect(error).toBeInstanceOf(fl.IndexError);
    expect(error).toMatchObject({ index: 9, bound: 2 });
    expect(await p.array()).toEqual([1, 2]);
    // A compiled function that uses it, and one that does not.
    const step = fl.compile(() => p.mul(2));
    const other = fl.compile(() => q.mul(2));
    bad();
    expect(await other().array()).toEqual([22, 42]);
    expect((await settle(step().data())).error).toBeInstanceOf(fl.IndexError);
    expect(await step().array()).toEqual([2, 4]);
    // What shares a part of the computation, but not the part that fails.
    const half = q.mul(0.5);
    p.assign(half.indexSelect(0, fl.tensor(Int32Array.of(5, 0))));
    expect(await half.array()).toEqual([5.5, 10.5]);
    expect((await settle(p.mul(1).data())).error).toBeInstanceOf(fl.IndexError);
    // Set anew, nothing of it is left.
    bad();
    p.assign([3, 4]);
    expect(await p.array()).toEqual([3, 4]);
    bad();
    p.assign(fl.tensor([5, 6]));
    expect(await p.array()).toEqual([5, 6]);
  });

  test("of an optimiser's step leaves all of it undone", async () => {
    await fresh({ workers: 2 });
    const make = (): [fl.Parameter, fl.Parameter, fl.optim.Adam] => {
      const [a, b] = [
        [1, 2],
        [3, 4],
      ].map((v) => new fl.Parameter(fl.tensor(v)));
      return [a, b, new fl.optim.Adam([a, b], { lr: 0.1 })];
    };
    const train = (a: fl.Parameter, b: fl.Parameter, optimizer: fl.optim.Adam, at: number): void => {
      optimizer.zeroGrad();
      a.square().sum().backward();
      b.indexSelect(0, fl.tensor(Int32Array.of(at)))
        .sum()
        .backward();
      optimizer.step();
    };
    const [a, b, optimizer] = make();
    train(a, b, optimizer, 1);
    const want = [await a.array(), await b.array()];
    const [c, d, other] = make();
    train(c, d, other, 7);
    expect((await settle(c.data())).error).toBeInstanceOf(fl.IndexError);
    await settle(d.data());
    expect([await c.array(), await d.array()]).toEqual([
      [1, 2],
      [3, 4],
    ]);
    // Moments and the count of steps too.
    train(c, d, other, 1);
    expect([await c.array(), await d.array()]).toEqual(want);
  });
});

test("a learning rate that is set does not wait for the step in flight, and belongs to the steps after it", async () => {
  await fresh({ workers: 2 });
  const p = new fl.Parameter(fl.tensor([0]));
  const optimizer = new fl.optim.SGD([p], { lr: 1 });
  const a = fl.rand([600, 600]);
  const step = fl.compile(() => {
    optimizer.zeroGrad();
    p.sum().backward();
    optimizer.step();
    return a.matmul(a).matmul(a).sum();
  });
  await step().item();
  const { session } = await import("../../src/run/active.ts");
  const device = await session().ready();
  const launch = device.launch.bind(device);
  let [flying, most] = [0, 0];
  device.launch = async (job) => {
    most = Math.max(most, ++flying);
    return launch(job).finally(() => flying--);
  };
  const steps: Promise<number>[] = [];
  for (let i = 0; i < 6; i++) {
    optimizer.lr = 10 ** (i + 1);
    steps.push(step().item());
  }
  await Promise.all(steps);
  expect(most).toBe(2);
  expect(await p.item()).toBe(-1111111);
});
