/** Gradients of tensors: what backward() fills, conventions at kinks, higher derivatives, and that reading disturbs none. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

const { tensor, ones, where } = fl;

afterAll(() => fl.dispose());

describe("gradients", () => {
  test("backward adds up over every use, and over calls", async () => {
    const x = tensor([1, 2, 3], { requiresGrad: true });
    x.mul(x).add(x).sum().backward();
    expect(await x.grad?.array()).toEqual([3, 5, 7]);
    x.sum().backward();
    expect(await x.grad?.array()).toEqual([4, 6, 8]);
    x.grad = null as fl.Tensor | null;
    x.mul(2).backward(tensor([1, 10, 100]));
    expect(await x.grad?.array()).toEqual([2, 20, 200]);
  });

  test("broadcasting is summed back", async () => {
    const b = tensor([1, 2, 3], { requiresGrad: true });
    const s = tensor(2, { requiresGrad: true });
    ones([4, 3]).mul(b).mul(s).sum().backward();
    expect(await b.grad?.array()).toEqual([8, 8, 8]);
    expect(await s.grad?.item()).toBe(24);
  });

  test("detached and unused inputs get nothing", async () => {
    const x = tensor([1, 2], { requiresGrad: true });
    const unused = tensor([1], { requiresGrad: true });
    x.detach().mul(x).sum().backward();
    expect(await x.grad?.array()).toEqual([1, 2]);
    expect(unused.grad).toBeNull();
    expect(() => tensor([1]).sum().backward()).toThrow("does not depend on any tensor that requires a gradient");
    // A compiled function called from outside gives values: what would be lost is refused, not dropped.
    const p = new fl.Parameter(tensor([1, 2]));
    const lazy = tensor([1, 1]).add(1);
    await lazy.data();
    const losing = fl.compile((t: fl.Tensor) => [t.mul(lazy).sum(), t.mul(lazy).mul(p).sum()]);
    const [free, bound] = losing(tensor([1, 1]));
    expect(() => bound.add(p.sum()).backward()).toThrow(/no gradient flows through a compiled function's result/);
    bound.detach().add(free.mul(p).sum()).backward();
    expect(await (p.grad as fl.Tensor).array()).toEqual([4, 4]);
    expect(() => x.mul(2).backward()).toThrow(fl.ShapeError);
  });

  test("PyTorch's conventions at kinks", async () => {
    const grad = async (f: (x: fl.Tensor) => fl.Tensor, at: number[]): Promise<unknown> =>
      fl
        .grad((x: fl.Tensor) => f(x).sum())(tensor(at))
        .array();
    expect(await grad((x) => x.relu(), [-1, 0, 1])).toEqual([0, 0, 1]);
    expect(await grad((x) => x.abs(), [-1, 0, 1])).toEqual([-1, 0, 1]);
    expect(await grad((x) => x.maximum(0), [-1, 0, 1])).toEqual([0, 0.5, 1]);
    expect(await grad((x) => x.max(), [3, 1, 3])).toEqual([0.5, 0, 0.5]);
    expect(await grad((x) => x.sqrt(), [0, 4])).toEqual([Number.POSITIVE_INFINITY, 0.25]);
    expect(await grad((x) => x.pow(0), [0, 2])).toEqual([0, 0]);
    expect(await grad((x) => where(x.gt(0), x.log(), 0), [-1, 2])).toEqual([0, 0.5]);
    expect(await grad((x) => x.clamp(-1, 1), [-2, -1, 0, 1, 2])).toEqual([0, 1, 1, 1, 0]);
  });

  test("transforms nest: higher derivatives", async () => {
    const f = (x: fl.Tensor): fl.Tensor => x.sin().mul(x).sum();
    const d1 = fl.grad(f);
    const d2 = fl.grad((x: fl.Tensor) => d1(x).sum());
    const d3 = fl.grad((x: fl.Tensor) => d2(x).sum());
    const at = [0.3, 1.2];
    const want2 = at.map((x) => 2 * Math.cos(x) - x * Math.sin(x));
    const want3 = at.map((x) => -3 * Math.sin(x) - x * Math.cos(x));
    for (const [got, want] of [
      [await d2(tensor(at)).array(), want2],
      [await d3(tensor(at)).array(), want3],
    ] as [number[], number[]][])
      got.forEach((v, i) => expect(v).toBeCloseTo(want[i], 5));
  });

  test("a captured tensor is not the argument: no perturbation confusion", async () => {
    const inner = (x: fl.Tensor): fl.Tensor => fl.grad((y: fl.Tensor) => x.mul(y))(tensor(1));
    expect(
      await fl
        .grad((x: fl.Tensor) => x.mul(inner(x)))(tensor(3))
        .item(),
    ).toBe(6);
    const [value, grads] = fl.valueAndGrad((a: fl.Tensor, b: fl.Tensor) => a.mul(b).sum(), [0, 1])(
      tensor(3),
      tensor(4),
    );
    expect(await value.item()).toBe(12);
    expect(await Promise.all((grads as fl.Tensor[]).map((g) => g.item()))).toEqual([4, 3]);
  });
});

describe("deep graphs", () => {
  const deep = (x: fl.Tensor): fl.Tensor => {
    let y = x;
    for (let i = 0; i < 10_000; i++) y = y.add(x);
    return y;
  };

  test("10,000 operations on one another have a value, a gradient and a tangent, compiled or not", async () => {
    const x = tensor([1, 2], { requiresGrad: true });
    const y = deep(x);
    y.sum().backward();
    expect(await y.array()).toEqual([10_001, 20_002]);
    expect(await x.grad?.array()).toEqual([10_001, 10_001]);
    expect(await fl.compile(deep)(x).array()).toEqual([10_001, 20_002]);
    const [, tangent] = fl.jvp(deep, [x], [fl.ones([2])]);
    expect(await tangent.array()).toEqual([10_001, 10_001]);
  });
});

describe("reading and differentiating do not disturb each other", () => {
  test("a tensor that was read still has its gradient", async () => {
    const w = tensor([1, 2], { requiresGrad: true });
    const h = w.mul(3);
    expect(await h.array()).toEqual([3, 6]);
    const loss = h.square().sum();
    expect(await loss.item()).toBe(45);
    loss.backward();
    expect(await w.grad?.array()).toEqual([18, 36]);
    const g = fl.grad((z: fl.Tensor) => {
      const m = z.mul(3);
      void m.data().catch(() => {});
      return m.square().sum();
    });
    expect(await g(tensor([1, 2])).array()).toEqual([18, 36]);
  });

  test("a value that was read stays, whatever becomes of the random state it was drawn from", async () => {
    const x = fl.randn([4]);
    const before = await x.array();
    await fl.randn([4]).array();
    await fl.randn([4]).array();
    expect(await x.array()).toEqual(before);
    expect(await x.mul(1).array()).toEqual(before);
  });

  test("second derivatives through softmax and cross-entropy, where the gradient depends on the result", async () => {
    const y = tensor([1], { dtype: "int32" });
    const byHand = (z: fl.Tensor): fl.Tensor => z.exp().div(z.exp().sum(1, true));
    const pairs: [(z: fl.Tensor) => fl.Tensor, (z: fl.Tensor) => fl.Tensor][] = [
      [(z) => z.softmax(1).square().sum(), (z) => byHand(z).square().sum()],
      [(z) => z.logSoftmax(1).square().sum(), (z) => byHand(z).log().square().sum()],
      [
        (z) => fl.crossEntropy(z, y, { reduction: "none" }).square().sum(),
        (z) => byHand(z).log().neg().narrow(1, 1, 1).square().sum(),
      ],
    ];
    const at = tensor([[1, 2, 0.5]]);
    const v = tensor([[1, -2, 0.5]]);
    const hvp = (f: (z: fl.Tensor) => fl.Tensor): fl.Tensor =>
      fl.grad((z: fl.Tensor) => fl.grad(f)(z).mul(v).sum())(at);
    for (const [f, g] of pairs) {
      const [a, b] = [await hvp(f).data(), await hvp(g).data()];
      a.forEach((value, i) => expect(value).toBeCloseTo(b[i], 5));
    }
  });

  test("steps that nobody reads do not make later ones slower", async () => {
    const p = new fl.Parameter(tensor([1]));
    const optimizer = new fl.optim.SGD([p], { lr: 0.001 });
    for (let i = 0; i < 1500; i++) {
      optimizer.zeroGrad();
      p.square().sum().backward();
      optimizer.step();
    }
    expect(await p.item()).toBeCloseTo(0.998 ** 1500, 5);
  });
});
