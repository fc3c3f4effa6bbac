/** vmap: against loops over the examples, alone and nested in other transforms. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { close, numbers, same } from "./support.ts";

const { tensor, vmap } = fl;

fl.manualSeed(11);
const xs = fl.randn([5, 3]);
const ys = fl.randn([5, 4]);
const w = fl.randn([4, 3]);

/** The function on each example, stacked. */
function loop(f: (...args: fl.Tensor[]) => fl.Tensor, ...batches: fl.Tensor[]): fl.Tensor {
  return fl.stack(Array.from({ length: batches[0].shape[0] }, (_, i) => f(...batches.map((b) => b.select(0, i)))));
}

const layer = (x: fl.Tensor): fl.Tensor => w.matmul(x).tanh();
const loss = (x: fl.Tensor, y: fl.Tensor): fl.Tensor => layer(x).sub(y).square().mean();

describe("vmap", () => {
  test("is the function on each example", async () => {
    await same(vmap(layer)(xs), loop(layer, xs));
    await same(vmap(loss)(xs, ys), loop(loss, xs, ys));
    await same(fl.compile(vmap(loss))(xs, ys), loop(loss, xs, ys));
  });

  test("knows the batch by its axis, in and out", async () => {
    await same(vmap(layer, 1)(xs.t()), loop(layer, xs));
    await same(vmap(layer, -1, 1)(xs.t()), loop(layer, xs).t());
    await same(
      vmap(loss, [0, null])(xs, ys.select(0, 2)),
      loop((x) => loss(x, ys.select(0, 2)), xs),
    );
    const tree = vmap(
      (p: { x: fl.Tensor; n: number; w: fl.Tensor }) => ({ y: p.w.matmul(p.x).mul(p.n), w: p.w }),
      [{ x: 0, n: null, w: null }] as const,
      { y: 1, w: null },
    );
    const got = tree({ x: xs, n: 2, w });
    await same(got.y, xs.matmul(w.t()).mul(2).t());
    await same(got.w, w);
  });

  test("copies what is the same for all examples, and keeps other values", async () => {
    const got = vmap((x: fl.Tensor) => ({ one: tensor([1, 2]), x, name: "n" }))(xs);
    await close(got.one, [1, 2, 1, 2, 1, 2, 1, 2, 1, 2], [5, 2]);
    await same(got.x, xs);
    expect(got.name).toBe("n");
  });

  test("nests", async () => {
    const outer = vmap(
      vmap((a: fl.Tensor, b: fl.Tensor) => a.mul(b).sum(), [null, 0]),
      [0, null],
    );
    await same(outer(xs, xs), xs.matmul(xs.t()));
  });

  test("of layers and losses of rows", async () => {
    const labels = tensor([[0], [2], [1], [3], [-100]], { dtype: "int32" });
    const logits = ys.unsqueeze(1);
    const f = (l: fl.Tensor, t: fl.Tensor): fl.Tensor => fl.crossEntropy(l, t, { reduction: "sum" });
    await same(vmap(f)(logits, labels), loop(f, logits, labels));
    const images = fl.randn([3, 2, 2, 6, 6]);
    const kernel = fl.randn([3, 2, 3, 3]);
    const conv = (x: fl.Tensor): fl.Tensor => fl.nn.functional.maxPool2d(fl.nn.functional.conv2d(x, kernel), 2);
    await same(vmap(conv)(images), loop(conv, images));
    const table = fl.randn([6, 4]);
    const index = tensor(
      [
        [0, 5],
        [2, 2],
        [1, 0],
      ],
      { dtype: "int32" },
    );
    const rows = (t: fl.Tensor, i: fl.Tensor): fl.Tensor => fl.nn.functional.embedding(i, t).sum(0);
    await same(
      vmap(rows, [null, 0])(table, index),
      loop((i) => rows(table, i), index),
    );
    const perSample = vmap(
      fl.grad((t: fl.Tensor, i: fl.Tensor) => rows(t, i).square().sum()),
      [null, 0],
    )(table, index);
    await same(
      perSample,
      loop((i) => fl.grad((t: fl.Tensor) => rows(t, i).square().sum())(table), index),
    );
  });
});

describe("with other transforms", () => {
  test("vmap of grad: gradients of each sample; grad of vmap", async () => {
    const g = fl.grad(loss);
    await same(vmap(g)(xs, ys), loop(g, xs, ys));
    await same(fl.compile(vmap(g))(xs, ys), loop(g, xs, ys));
    const total = fl.grad((x: fl.Tensor) => vmap(loss)(x, ys).sum());
    await same(total(xs), loop(g, xs, ys));
  });

  test("gradients of each sample with respect to the parameters of a model", async () => {
    const model = new fl.nn.Linear(3, 4);
    const f = (p: { weight: fl.Tensor; bias: fl.Tensor }, x: fl.Tensor, y: fl.Tensor): fl.Tensor =>
      fl.linear(x, p.weight, p.bias).sub(y).square().sum();
    const parameters = { weight: model.weight as fl.Tensor, bias: model.bias as fl.Tensor };
    const got = vmap(fl.grad(f), [null, 0, 0])(parameters, xs, ys);
    expect(got.weight.shape).toEqual([5, 4, 3]);
    const rest = xs.matmul(model.weight.t()).add(parameters.bias).sub(ys).mul(2);
    await same(got.bias, rest);
    await same(got.weight, rest.unsqueeze(2).mul(xs.unsqueeze(1)));
  });

  test("jvp and vjp of vmap, vmap of jvp and hvp", async () => {
    const v = fl.randn([5, 3]);
    const along = (x: fl.Tensor, d: fl.Tensor): fl.Tensor => fl.jvp(layer, [x], [d])[1];
    await same(vmap(along)(xs, v), fl.jvp(vmap(layer), [xs], [v])[1]);
    const [, pull] = fl.vjp(vmap(layer), xs);
    await same(
      pull(ys)[0],
      loop((x, y) => fl.vjp(layer, x)[1](y)[0], xs, ys),
    );
    const curvature = (x: fl.Tensor, y: fl.Tensor, d: fl.Tensor): fl.Tensor =>
      fl.hvp((z: fl.Tensor) => loss(z, y), [x], [d])[1][0];
    await same(vmap(curvature)(xs, ys, v), loop(curvature, xs, ys, v));
  });
});

describe("random draws", () => {
  const noisy = (x: fl.Tensor): fl.Tensor => x.add(fl.rand([3]));

  test("must be said to be the same or different", async () => {
    expect(() => vmap(noisy)(xs)).toThrow(/draws random numbers.*randomness/);
    const equal = await numbers(vmap(noisy, 0, 0, { randomness: "same" })(fl.zeros([4, 3])));
    expect(equal.slice(3)).toEqual([...equal.slice(0, 3), ...equal.slice(0, 3), ...equal.slice(0, 3)]);
    const different = await numbers(vmap(noisy, 0, 0, { randomness: "different" })(fl.zeros([4, 3])));
    expect(new Set(different).size).toBe(12);
    expect(() => vmap(noisy, 0, 0, { randomness: "some" as never })).toThrow(fl.ValueError);
  });

  test("made outside are not meant", async () => {
    const noise = fl.rand([3]);
    await same(vmap((x: fl.Tensor) => x.add(noise))(xs), xs.add(noise));
  });
});

describe("what does not fit says so", () => {
  test("axes", () => {
    expect(() => vmap(layer)(tensor(1))).toThrow(/shape \[\] has no batch axis/);
    expect(() => vmap(layer, 2)(xs)).toThrow(/axis 2 is out of range/);
    expect(() => vmap(layer, null)(xs)).toThrow(/no argument has a batch axis/);
    expect(() => vmap(loss)(xs, xs.t())).toThrow(/shape \[3, 5\] is not of the extent 5/);
    expect(() => vmap(loss, [0])(xs, ys)).toThrow(/inAxes \[0\] is no tree like the one it is for/);
    expect(() => vmap(layer, 0, null)(xs)).toThrow(/outAxes is null for a result that differs/);
  });

  test("reading a value of one example", async () => {
    let seen: fl.Tensor | undefined;
    vmap((x: fl.Tensor) => {
      seen = x.mul(2);
      return x;
    })(xs);
    expect(() => fl.compile((x: fl.Tensor) => x.add(seen as fl.Tensor))(tensor([1, 2, 3]))).toThrow(
      /of a vmap or a step of scan/,
    );
    await expect((seen as fl.Tensor).data()).rejects.toThrow(/compiled or batched function has no value outside/);
  });
});
