import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../src/index.ts";

const { tensor, zeros, ones, full, arange, where, cat, stack } = fl;

afterAll(() => fl.dispose());

describe("making and reading", () => {
  test("nested arrays, typed arrays, scalars, booleans", async () => {
    expect(
      await tensor([
        [1, 2],
        [3, 4],
      ]).array(),
    ).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(tensor([true, false]).dtype).toBe("bool");
    expect(await tensor([[true], [false]]).array()).toEqual([[true], [false]]);
    expect(tensor(new Int32Array([1, 2])).dtype).toBe("int32");
    expect(tensor(new Uint8Array([1, 2])).dtype).toBe("uint8");
    expect(tensor(new Float64Array([0.1])).dtype).toBe("float32");
    expect(await tensor(7).item()).toBe(7);
    expect(await tensor([1, 2, 3, 4, 5, 6], [2, 3]).array()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(await tensor([], [0, 3]).array()).toEqual([]);
    expect(await tensor([0.1], { dtype: "int32" }).array()).toEqual([0]);
  });

  test("values are copied in and out", async () => {
    const source = Float32Array.of(1, 2);
    const t = tensor(source);
    source[0] = 9;
    const data = await t.data();
    expect([...data]).toEqual([1, 2]);
    data[0] = 5;
    expect(await t.array()).toEqual([1, 2]);
  });

  test("zeros, ones, full, arange", async () => {
    expect(await zeros([2]).array()).toEqual([0, 0]);
    expect(await ones([2], { dtype: "int32" }).array()).toEqual([1, 1]);
    expect(await full([1, 2], 2.5).array()).toEqual([[2.5, 2.5]]);
    expect(await arange(3).array()).toEqual([0, 1, 2]);
    expect(await arange(1, 2, 0.25).array()).toEqual([1, 1.25, 1.5, 1.75]);
    expect(await arange(5, 0, -2).array()).toEqual([5, 3, 1]);
  });

  test("bad input names what is wrong", () => {
    expect(() => tensor([[1, 2], [3]])).toThrow(fl.ShapeError);
    expect(() => tensor([1, 2, 3], [2, 2])).toThrow("3 values do not fill shape [2, 2]");
    expect(() => tensor(["x" as unknown as number])).toThrow(fl.DTypeError);
    expect(() => tensor([1], { dtype: "float16" as fl.DType })).toThrow(fl.DTypeError);
    expect(() => zeros([2, -1])).toThrow(fl.ShapeError);
    expect(() => zeros([1.5])).toThrow(fl.ShapeError);
    expect(() => zeros([2 ** 20, 2 ** 20])).toThrow(fl.ShapeError);
  });

  test("what is no tensor is named with its operation", () => {
    const x = zeros([2, 2]);
    const layer = new fl.nn.Linear(2, 2);
    const rows = new fl.TensorDataset(x);
    const none = null as never;
    const wrong: [message: string, type: unknown, call: () => unknown][] = [
      ["cat: an array of tensors is wanted, got Tensor float32[2, 2]", fl.ValueError, () => cat(x as never)],
      ["stack: tensor 1 must be a tensor, got null", fl.DTypeError, () => stack([x, none])],
      ["mseLoss: target must be a tensor, got null", fl.DTypeError, () => fl.mseLoss(x, none)],
      ["crossEntropy: input must be a tensor, got null", fl.DTypeError, () => fl.crossEntropy(none, x)],
      ["linear: input must be a tensor, got null", fl.DTypeError, () => layer.forward(none)],
      ["conv2d: the input must be a tensor, got null", fl.DTypeError, () => new fl.nn.Conv2d(1, 1, 1).forward(none)],
      ["mm: the second matrix must be a tensor, got null", fl.DTypeError, () => fl.mm(x, none)],
      ["Parameter: the value must be a tensor, got null", fl.DTypeError, () => new fl.nn.Parameter(none)],
      ["loadStateDict: an object of tensors or typed arrays is wanted", fl.ValueError, () => layer.loadStateDict(none)],
      [
        "loadStateDict: weight must be a tensor or an array of numbers, got null",
        fl.DTypeError,
        () => layer.loadStateDict({ weight: none, bias: zeros([2]) }),
      ],
      ["TensorDataset: column 0 must hold", fl.DTypeError, () => new fl.TensorDataset(none)],
      ["Subset: the dataset must have a length", fl.ValueError, () => new fl.Subset(none, [0])],
      ["Subset: indices must be an array of integers, got null", fl.ValueError, () => new fl.Subset(rows, none)],
      ["randomSplit: lengths must be an array of numbers, got null", fl.ValueError, () => fl.randomSplit(rows, none)],
    ];
    for (const [message, type, call] of wrong) {
      expect(call).toThrow(message);
      expect(call).toThrow(type as typeof fl.FourlaneError);
    }
  });

  test("a tensor prints as dtype and shape", async () => {
    const { inspect } = await import("node:util");
    expect(String(zeros([2, 3]))).toBe("Tensor float32[2, 3]");
    expect(inspect(tensor([true]))).toBe("Tensor bool[1]");
  });

  test("errors and tensors say what they are, whatever a bundler calls their classes", () => {
    const renamed = (Class: unknown): (new (...args: unknown[]) => object) =>
      class Renamed extends (Class as new (...args: unknown[]) => object) {};
    const errors = Object.entries(fl).filter(([name]) => name.endsWith("Error"));
    expect(errors.length).toBeGreaterThan(10);
    for (const [name, type] of errors) expect(new (renamed(type))("hung", 0, 0, "")).toHaveProperty("name", name);
    for (const [name, type] of Object.entries({ Tensor: fl.Tensor, Parameter: fl.Parameter, Buffer: fl.nn.Buffer })) {
      const given = type === fl.Tensor ? zeros([2]).node : zeros([2]);
      expect(String(new (renamed(type))(given))).toBe(`${name} float32[2]`);
    }
  });

  test("a read after dispose is a typed error", async () => {
    const t = tensor([1]);
    t.dispose();
    await expect(t.data()).rejects.toThrow(fl.DisposedError);
    expect(() => t.add(1)).toThrow(fl.DisposedError);
    expect(t.shape).toEqual([1]);
  });
});

describe("operations", () => {
  const a = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);

  test("broadcasting by NumPy's rules", async () => {
    expect(await a.add(tensor([10, 20, 30])).array()).toEqual([
      [11, 22, 33],
      [14, 25, 36],
    ]);
    expect(await a.mul(tensor([[2], [3]])).array()).toEqual([
      [2, 4, 6],
      [12, 15, 18],
    ]);
    expect(await a.sub(1).array()).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ]);
    expect(() => a.add(tensor([1, 2]))).toThrow("add: shapes [2, 3] and [2] do not broadcast together");
  });

  test("dtypes promote as in PyTorch", async () => {
    const i = tensor(Int32Array.of(1, 2));
    expect(i.add(1).dtype).toBe("int32");
    expect(i.add(0.5).dtype).toBe("float32");
    expect(i.div(2).dtype).toBe("float32");
    expect(i.exp().dtype).toBe("float32");
    expect(i.sum().dtype).toBe("int32");
    expect(tensor([true, true, false]).sum().dtype).toBe("int32");
    expect(await tensor([true, true, false]).sum().item()).toBe(2);
    expect(i.gt(1).dtype).toBe("bool");
    expect(await i.add(tensor([0.5, 0.5])).array()).toEqual([1.5, 2.5]);
    expect(await tensor([2.7, -2.7]).to("int32").array()).toEqual([2, -2]);
  });

  test("reductions, with negative axes and keepdim", async () => {
    expect(await a.sum().item()).toBe(21);
    expect(await a.sum(0).array()).toEqual([5, 7, 9]);
    expect(await a.sum(-1, true).array()).toEqual([[6], [15]]);
    expect(await a.mean([0, 1]).item()).toBe(3.5);
    expect(await a.max(1).array()).toEqual([3, 6]);
    expect(await a.min().item()).toBe(1);
    expect(await a.argmax(0).array()).toEqual([1, 1, 1]);
    expect(await a.argmax().item()).toBe(5);
    expect(await a.var().item()).toBeCloseTo(3.5, 6);
    expect(await zeros([0, 3]).sum(0).array()).toEqual([0, 0, 0]);
    expect(await zeros([0]).mean().item()).toBeNaN();
    expect(() => a.sum(2)).toThrow("sum: axis 2 is out of range for a tensor of rank 2");
    expect(() => a.sum([0, 0])).toThrow(fl.ValueError);
    expect(() => zeros([0, 3]).max(0)).toThrow(fl.ShapeError);
  });

  test("sums do not drift: 2^22 times 0.1", async () => {
    const s = await full([2 ** 22], 0.1)
      .sum()
      .item();
    expect(Math.abs(s / (2 ** 22 * Math.fround(0.1)) - 1)).toBeLessThan(1e-6);
  });

  test("matmul: matrices, vectors, batches", async () => {
    const b = tensor([
      [1, 0],
      [0, 1],
      [1, 1],
    ]);
    expect(await a.matmul(b).array()).toEqual([
      [4, 5],
      [10, 11],
    ]);
    expect(await a.matmul(tensor([1, 1, 1])).array()).toEqual([6, 15]);
    expect(await tensor([1, 1]).matmul(a).array()).toEqual([5, 7, 9]);
    expect(
      await tensor([1, 2, 3])
        .matmul(tensor([1, 2, 3]))
        .item(),
    ).toBe(14);
    expect((await a.expand(5, 2, 3).matmul(b)).shape).toEqual([5, 2, 2]);
    expect(a.unsqueeze(0).matmul(ones([4, 3, 2])).shape).toEqual([4, 2, 2]);
    expect(
      await a
        .unsqueeze(0)
        .matmul(b.expand(4, 3, 2))
        .sum()
        .item(),
    ).toBe(4 * 30);
    expect(() => a.matmul(a)).toThrow("matmul: shapes [2, 3] and [2, 3] cannot be multiplied");
    expect(() => a.matmul(tensor(3))).toThrow(fl.ShapeError);
    expect(
      await zeros([2, 0])
        .matmul(zeros([0, 3]))
        .array(),
    ).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  test("movement", async () => {
    expect(await a.t().array()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    expect(await a.reshape(3, -1).array()).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(await a.t().reshape(2, 3).array()).toEqual([
      [1, 4, 2],
      [5, 3, 6],
    ]);
    expect(await a.flip(1).array()).toEqual([
      [3, 2, 1],
      [6, 5, 4],
    ]);
    expect(await a.slice([0, 1]).array()).toEqual([
      [2, 3],
      [5, 6],
    ]);
    expect(await a.slice([0, 0], [2, 3], [1, 2]).array()).toEqual([
      [1, 3],
      [4, 6],
    ]);
    expect(await a.slice([-1, -2]).array()).toEqual([[5, 6]]);
    expect(await a.narrow(1, 1, 1).array()).toEqual([[2], [5]]);
    expect(await cat([a, a.neg()], 1).sum(1).array()).toEqual([0, 0]);
    expect((await stack([a, a], -1)).shape).toEqual([2, 3, 2]);
    expect(await a.indexSelect(1, tensor(Int32Array.of(2, 0))).array()).toEqual([
      [3, 1],
      [6, 4],
    ]);
    expect(a.unsqueeze(-1).shape).toEqual([2, 3, 1]);
    expect(a.unsqueeze(0).squeeze().shape).toEqual([2, 3]);
    expect(a.flatten().shape).toEqual([6]);
    expect(a.permute(-1, 0).shape).toEqual([3, 2]);
    expect(() => a.reshape(4, 2)).toThrow(fl.ShapeError);
    expect(() => a.permute(0, 0)).toThrow(fl.ValueError);
    expect(() => a.narrow(0, 1, 2)).toThrow(fl.ValueError);
  });

  test("select and clamp", async () => {
    const x = tensor([-2, -0.5, 0.5, 2]);
    expect(await where(x.gt(0), x, 0).array()).toEqual([0, 0, 0.5, 2]);
    expect(await x.clamp(-1, 1).array()).toEqual([-1, -0.5, 0.5, 1]);
    expect(await x.clamp(null, 0).array()).toEqual([-2, -0.5, 0, 0]);
    expect(await tensor([Number.NaN]).clamp(0, 1).item()).toBeNaN();
    expect(await x.gt(0).logicalNot().array()).toEqual([true, true, false, false]);
  });

  test("softmax along any axis", async () => {
    const s = await a.softmax(0).sum(0).array();
    for (const v of s as number[]) expect(v).toBeCloseTo(1, 6);
    expect(await tensor([1e4, 1e4]).softmax().array()).toEqual([0.5, 0.5]);
    expect(await tensor([3]).softmax(0).array()).toEqual([1]);
  });
});

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

describe("losses", () => {
  const logits = tensor([
    [1, 2, 3],
    [3, 1, 0],
  ]);
  const labels = tensor(Int32Array.of(2, 1));
  const nll = [0.40760596, 2.16984602];

  test("cross-entropy with every reduction, ignored labels, one row", async () => {
    expect(await fl.crossEntropy(logits, labels).item()).toBeCloseTo((nll[0] + nll[1]) / 2, 6);
    expect(await fl.crossEntropy(logits, labels, { reduction: "sum" }).item()).toBeCloseTo(nll[0] + nll[1], 5);
    expect(await fl.crossEntropy(logits, tensor(Int32Array.of(2, -100))).item()).toBeCloseTo(nll[0], 6);
    expect(await fl.crossEntropy(tensor([1, 2, 3]), tensor(2, { dtype: "int32" })).item()).toBeCloseTo(nll[0], 6);
    expect(await fl.crossEntropy(logits, labels, { reduction: "none" }).data()).toHaveLength(2);
  });

  test("labels outside the classes are a typed error that names them", async () => {
    for (const bad of [3, -1, 2 ** 30]) {
      const loss = fl.crossEntropy(logits, tensor(Int32Array.of(0, bad)));
      await expect(loss.item()).rejects.toThrow(
        `crossEntropy: label ${bad} at position 1 is out of range for 3 classes`,
      );
      await expect(fl.crossEntropy(logits, tensor(Int32Array.of(0, bad))).item()).rejects.toBeInstanceOf(fl.IndexError);
    }
    expect(() => fl.crossEntropy(logits, tensor([0, 1]))).toThrow(fl.DTypeError);
    expect(() => fl.crossEntropy(logits, tensor(Int32Array.of(1)))).toThrow("input [2, 3] and target [1]");
    await expect(
      tensor([1, 2])
        .indexSelect(0, tensor(Int32Array.of(2)))
        .data(),
    ).rejects.toThrow(fl.IndexError);
  });

  test("mean squared error", async () => {
    expect(await fl.mseLoss(tensor([1, 2]), tensor([0, 4])).item()).toBe(2.5);
    expect(() => fl.mseLoss(tensor([1, 2]), tensor([1]))).toThrow(fl.ShapeError);
  });

  test("zero-size batches give NaN or zero, never a hang", async () => {
    expect(await fl.crossEntropy(zeros([0, 3]), zeros([0], { dtype: "int32" })).item()).toBeNaN();
    expect(await fl.crossEntropy(zeros([0, 3]), zeros([0], { dtype: "int32" }), { reduction: "sum" }).item()).toBe(0);
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

describe("bad input", () => {
  test("slices take integers, cat takes no scalars", () => {
    const a = tensor([[1, 2, 3]]);
    for (const bad of [[0.5], [Number.NaN], [0, 0, 0]]) expect(() => a.slice(bad)).toThrow(fl.ValueError);
    expect(() => a.slice([0], [Number.NaN])).toThrow("must be integers");
    expect(() => a.slice(1 as unknown as number[])).toThrow(fl.ValueError);
    expect(() => cat([tensor(1), tensor(2)])).toThrow("scalars cannot be put side by side");
  });

  test("arguments of the wrong type are named", async () => {
    const a = tensor([1, 2]);
    expect(() => a.sum("0" as unknown as number)).toThrow("sum: axes must be an integer or a list of them, got 0");
    expect(() => a.sum(null as unknown as number)).toThrow(fl.ValueError);
    expect(() => fl.where(true as unknown as fl.Tensor, a, a)).toThrow("the condition must be a tensor");
    expect(() => new fl.nn.Sequential(5 as unknown as fl.nn.Module)).toThrow("layer 0 is no Module");
    await expect(fl.init({ wrkers: 3 } as fl.InitOptions)).rejects.toThrow("there is no option wrkers");
    await expect(fl.init({ shared: "no" } as unknown as fl.InitOptions)).rejects.toThrow(fl.ValueError);
  });

  test("parameters are set from any numbers, copied", async () => {
    const p = new fl.Parameter(tensor([1, 2]));
    const source = Float32Array.of(5, 6);
    p.assign(source);
    source[0] = 99;
    expect(await p.mul(1).array()).toEqual([5, 6]);
    p.assign([3, 4]);
    expect(await p.mul(1).array()).toEqual([3, 4]);
    p.assign(Float64Array.of(0.5, 0.25));
    expect(await p.mul(1).array()).toEqual([0.5, 0.25]);
    expect(() => p.assign([1])).toThrow(fl.ShapeError);
    expect(() => p.assign(["a", "b"] as unknown as number[])).toThrow(fl.DTypeError);
    expect(() => new fl.optim.SGD([tensor([1]) as fl.Parameter])).toThrow("parameters[0] is no Parameter");
    expect(() => new fl.optim.SGD(3 as never)).toThrow(fl.ValueError);
  });
});
