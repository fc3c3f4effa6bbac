/** PyTorch's conventions where a function has no derivative, and derivatives other libraries are known to get wrong. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

afterAll(() => fl.dispose());

const { tensor, grad, where } = fl;
const F = fl.nn.functional;
const i32 = (values: number[]): fl.Tensor => tensor(values, { dtype: "int32" });
type Fn = (x: fl.Tensor) => fl.Tensor;
const at = async (f: Fn, ...x: number[]): Promise<number[]> =>
  (await grad((t: fl.Tensor) => f(t).sum())(tensor(x)).array()) as number[];

describe("gradients at the edges", () => {
  test("relu and abs are flat at 0, the root is not, the 2-norm is", async () => {
    expect(await at((x) => x.relu(), -1, 0, 1, Number.NaN)).toEqual([0, 0, 1, 1]);
    for (const f of [(x: fl.Tensor) => x.maximum(1), (x: fl.Tensor) => x.minimum(1)])
      expect(await at(f, Number.NaN)).toEqual([1]);
    expect(await at((x) => x.abs(), -1, 0, 1)).toEqual([-1, 0, 1]);
    expect(await at((x) => x.sqrt(), 0, 4)).toEqual([Infinity, 0.25]);
    expect(await at((x) => fl.norm(x), 0, 0)).toEqual([0, 0]);
  });

  test("logaddexp keeps infinities, does not overflow or lose small terms, and is smooth where its arguments meet", async () => {
    const [inf, low] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    const of = async (a: number[], b: number[]): Promise<fl.NestedArray> => fl.logaddexp(tensor(a), tensor(b)).array();
    expect(await of([inf, low, low, inf, NaN, 1], [inf, low, 2, low, 1, NaN])).toEqual([inf, low, 2, inf, NaN, NaN]);
    const finite = (await of([0, -20, 1e30, 3], [-20, 0, 1, 3])) as number[];
    [Math.log1p(Math.exp(-20)), Math.log1p(Math.exp(-20)), 1e30, 3 + Math.LN2].forEach((want, i) =>
      expect(Math.abs(finite[i] / want - 1)).toBeLessThan(1e-6),
    );
    // At a tie both have half of the gradient, and the Hessian is that of log(1 + e^x) at 0.
    const f = (a: fl.Tensor, b: fl.Tensor): fl.Tensor => fl.logaddexp(a, b);
    expect(await Promise.all(grad(f, [0, 1])(tensor(2), tensor(2)).map((g) => g.item()))).toEqual([0.5, 0.5]);
    expect(await grad(grad(f))(tensor(2), tensor(2)).item()).toBe(0.25);
    expect(await fl.gradgradcheck(fl.logaddexp, [tensor([0.5, -1, 4]), tensor([[0.3], [-2]])])).toBe(true);
    expect(() => fl.logaddexp(tensor(1), null as unknown as fl.Tensor)).toThrow("logaddexp: b must be a tensor");
  });

  test("a deviation of 0 has no slope; binary cross-entropy at 0 and 1 has that of (p - y) / 1e-12", async () => {
    expect(await at((x) => fl.std(x), 1, 1, 1)).toEqual([0, 0, 0]);
    const bce = (p: fl.Tensor): fl.Tensor => F.binaryCrossEntropy(p, tensor([0, 1, 0, 1]), { reduction: "none" });
    const ends = tensor([0, 0, 1, 1]);
    expect(await bce(ends).array()).toEqual([0, 100, 100, 0]);
    const slopes = [0, -Math.fround(1e12), Math.fround(1e12), 0];
    expect(await at(bce, 0, 0, 1, 1)).toEqual(slopes);
    expect(await fl.jvp(bce, [ends], [fl.ones([4])])[1].array()).toEqual(slopes);
    // A sigmoid saturated on the right side is done learning.
    expect(await at((x) => F.binaryCrossEntropy(x.sigmoid(), tensor([1, 0])), 200, -200)).toEqual([0, 0]);
  });

  test("the remainder's slope for its divisor fits its value, where the quotient is rounded up to a whole number too", async () => {
    for (const r of await tensor([0.7, 1]).remainder(0.1).data()) expect(r).toBeCloseTo(0.1, 6);
    expect(await at((b) => tensor([0.7, 1]).remainder(b), 0.1, 0.1)).toEqual([-6, -9]);
  });

  test("relu6 has no gradient at its limits, as PyTorch's; clamp has", async () => {
    const points = [-1, 0, 3, 6, 7, Number.NaN];
    expect(await at((x) => new fl.nn.ReLU6().forward(x), ...points)).toEqual([0, 0, 1, 0, 0, 1]);
    expect(await at((x) => x.clamp(0, 6), ...points)).toEqual([0, 1, 1, 1, 0, 1]);
    expect([...(await F.relu6(fl.tensor(points)).data())]).toEqual([0, 0, 3, 6, 6, Number.NaN]);
  });

  test("hardswish and the hinge at their corners are PyTorch's; addmm with beta 0 ignores what it would add to", async () => {
    expect(await at((x) => F.hardswish(x), -3.5, -3, 0, 3, 3.5)).toEqual([0, -0.5, 0.5, 1.5, 1]);
    const huber = (x: fl.Tensor): fl.Tensor => F.huberLoss(x, fl.zeros(x.shape), { reduction: "sum" });
    expect(await at(huber, Number.NEGATIVE_INFINITY, -1, 0.5, 3e38)).toEqual([-1, -1, 0.5, 1]);
    expect(await at(huber, Number.NaN)).toEqual([Number.NaN]);
    expect(await at((x) => F.hardswish(x), Number.NEGATIVE_INFINITY, -1e30, 1e30, Number.POSITIVE_INFINITY)).toEqual([
      0, 0, 1, 1,
    ]);
    expect(await at((x) => F.hingeEmbeddingLoss(x, tensor([-1, -1, -1]), { reduction: "sum" }), 0, 1, 2)).toEqual([
      -1, -1, 0,
    ]);
    const [row, square] = [fl.ones([1, 2]), fl.ones([2, 2])];
    expect(await fl.addmm(tensor([NaN, 0]), row, square, { beta: 0 }).array()).toEqual([[2, 2]]);
  });

  test("0^0 is 1, and neither of its slopes is NaN", async () => {
    expect(await tensor([0]).pow(0).item()).toBe(1);
    expect(await at((x) => x.pow(0), 0)).toEqual([0]);
    expect(await at((y) => tensor([0, 0]).pow(y), 0, 2)).toEqual([0, 0]);
  });

  test("where passes nothing of the branch not taken", async () => {
    expect(await at((x) => where(x.gt(0), where(x.gt(0), x, 1).log(), 0), 0, 2)).toEqual([0, 0.5]);
    expect(await where(tensor([true, false]), tensor([1, 2]), tensor([NaN, 3])).array()).toEqual([1, 3]);
  });

  test("the largest share their gradient; a sorted, a chosen or a pooled one has it alone: the first", async () => {
    expect(await at((x) => x.max(), 1, 3, 3)).toEqual([0, 0.5, 0.5]);
    expect(await at((x) => x.topk(1)[0], 1, 3, 3)).toEqual([0, 1, 0]);
    expect(await at((x) => F.maxPool1d(x.reshape(1, 3), 3), 1, 3, 3)).toEqual([0, 1, 0]);
    expect(await at((x) => x.maximum(tensor([2])), 2)).toEqual([0.5]);
  });

  test("clamp sends the gradient to what the value is; NaN stays", async () => {
    const x = tensor([-2, 0, 1, 5, NaN]);
    const [low, high] = [tensor([0, 0, 0, 0, 0]), tensor([1, 1, 1, 1, 1])];
    const f = (a: fl.Tensor, b: fl.Tensor, c: fl.Tensor): fl.Tensor => a.clamp(b, c).sum();
    const grads = grad(f, [0, 1, 2])(x, low, high) as unknown as fl.Tensor[];
    expect(await x.clamp(low, high).array()).toEqual([0, 0, 1, 1, NaN]);
    expect(await Promise.all(grads.map((g) => g.array()))).toEqual([
      [0, 1, 1, 0, 1],
      [1, 0, 0, 0, 0],
      [0, 0, 0, 1, 0],
    ]);
    expect(await tensor([1, 5]).clamp(3, 2).array()).toEqual([2, 2]);
    expect(await i32([-4, 300]).clamp(0, 255).array()).toEqual([0, 255]);
  });

  test("a product with zeros has right first and second derivatives", async () => {
    expect(await at((x) => x.prod(), 2, 0, 3)).toEqual([0, 6, 0]);
    expect(await at((x) => x.prod(), 0, 0, 3)).toEqual([0, 0, 0]);
    // d/dx of the gradient's sum is the sum of the Hessian's rows: 3 where the other zero is.
    expect(await at((x) => grad((t: fl.Tensor) => t.prod())(x), 0, 0, 3)).toEqual([3, 3, 0]);
  });
});

describe("derivatives that TensorFlow.js gets silently wrong", () => {
  const xs = [-0.7, 0, 0.4, 1.1];
  // d/dx of the sum of squared slopes is 2 f' f''.
  const nested =
    (f: Fn): Fn =>
    (x) =>
      grad((t: fl.Tensor) => f(t).sum())(x).square();
  const close = (got: number[], want: number[]): void => got.forEach((v, i) => expect(v).toBeCloseTo(want[i], 5));

  test("the second ones of exp, sigmoid and tanh", async () => {
    const s = (x: number): number => 1 / (1 + Math.exp(-x));
    close(
      await at(
        nested((x) => x.exp()),
        ...xs,
      ),
      xs.map((x) => 2 * Math.exp(2 * x)),
    );
    close(
      await at(
        nested((x) => x.sigmoid()),
        ...xs,
      ),
      xs.map((x) => 2 * (s(x) * (1 - s(x))) ** 2 * (1 - 2 * s(x))),
    );
    close(
      await at(
        nested((x) => x.tanh()),
        ...xs,
      ),
      xs.map((x) => -4 * (1 - Math.tanh(x) ** 2) ** 2 * Math.tanh(x)),
    );
    // The same through the values themselves, squared: f'^2 + f f'' twice over.
    close(
      await at((x) => grad((t: fl.Tensor) => t.exp().square().sum())(x), ...xs),
      xs.map((x) => 4 * Math.exp(2 * x)),
    );
  });

  test("the gradient of cumsum runs backwards along its own axis, whichever that is", async () => {
    const weights = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const g = (axis: number): Promise<fl.NestedArray> =>
      grad((x: fl.Tensor) => x.cumsum(axis).mul(weights).sum())(fl.ones([2, 3])).array();
    expect(await g(0)).toEqual([
      [5, 7, 9],
      [4, 5, 6],
    ]);
    expect(await g(1)).toEqual([
      [6, 5, 3],
      [15, 11, 6],
    ]);
    expect(await g(-2)).toEqual(await g(0));
  });
});

describe("values and dtypes", () => {
  test("a value that an integer dtype cannot hold is refused, a fraction is cut off", async () => {
    expect(await i32([1.9, -1.9, 2 ** 31 - 1]).array()).toEqual([1, -1, 2 ** 31 - 1]);
    for (const bad of [2 ** 31, Number.NaN, Number.NEGATIVE_INFINITY])
      expect(() => i32([0, bad])).toThrow(`tensor: ${bad} is no value of dtype int32`);
    expect(() => tensor(Int32Array.of(256), { dtype: "uint8" })).toThrow("256 is no value of dtype uint8");
    expect(() => fl.full([2], undefined as never)).toThrow("full: value must be a number or a boolean, got undefined");
  });

  test("logsumexp counts in float32, norm refuses integers, tril and maskedFill keep the dtype", async () => {
    const bytes = tensor([1, 200], { dtype: "uint8" });
    expect(await fl.logsumexp(bytes, 0).item()).toBe(200);
    expect(() => fl.norm(bytes)).toThrow("norm: x must be float32, got uint8");
    expect(fl.tril(tensor([[true], [true]])).dtype).toBe("bool");
    const filled = fl.maskedFill(i32([1, 2]), tensor([true, false]), 7.5);
    expect([filled.dtype, await filled.array()]).toEqual(["int32", [7, 2]]);
  });

  test("booleans are a mask, not places", async () => {
    const x = tensor([1, 2, 3]);
    expect(await x.index([true, false, true]).array()).toEqual([1, 3]);
    expect(() => x.index([true, false])).toThrow("index: the mask [2] does not fit the axes [3]");
    expect(() => x.index(true as never)).toThrow("index: an index must be a tensor or an array of integers, got true");
    expect(() => x.index(tensor(false))).toThrow("index: a mask must have an axis");
    expect(() => x.index([0.7, 1.2])).toThrow("index: an index holds integers (dtype int32), got float32");
    expect(() => x.indexSelect(0, [true] as never)).toThrow(fl.DTypeError);
  });
});

describe("zero sizes", () => {
  test("logsumexp of nothing is log 0; a scalar has no axis to narrow, and one window", async () => {
    expect(await fl.logsumexp(fl.zeros([2, 0]), 1).array()).toEqual([
      Number.NEGATIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
    expect(fl.logsumexp(fl.zeros([2, 0]), 1, true).shape).toEqual([2, 1]);
    expect(() => tensor(5).narrow(0, 0, 1)).toThrow("narrow: a scalar has no axis");
    expect(await tensor(5).unfold(0, 1, 1).array()).toEqual([5]);
    expect(() => tensor(5).unfold(0, 2, 1)).toThrow(fl.ShapeError);
    expect(await grad((x: fl.Tensor) => x.unfold(0, 1, 1).sum())(tensor(5)).item()).toBe(1);
  });

  test("have results of the right shape and their neutral elements", async () => {
    const x = fl.zeros([0, 3]);
    expect(await x.sum(0).array()).toEqual([0, 0, 0]);
    expect(await x.prod(0).array()).toEqual([1, 1, 1]);
    expect(await x.cumsum(0).array()).toEqual([]);
    expect(x.sort(0).map((t) => t.shape)).toEqual([
      [0, 3],
      [0, 3],
    ]);
    expect(
      await fl
        .ones([2, 3])
        .gather(0, fl.zeros([0, 3], { dtype: "int32" }))
        .array(),
    ).toEqual([]);
    expect(await fl.ones([2]).scatterAdd(0, i32([]), tensor([])).array()).toEqual([1, 1]);
    expect(await fl.ones([2]).scatter(0, i32([]), 7).array()).toEqual([1, 1]);
    expect(await F.conv2d(fl.zeros([0, 2, 5, 5]), fl.ones([3, 2, 3, 3])).array()).toEqual([]);
    expect(await grad((t: fl.Tensor) => t.prod(1).sum())(x).array()).toEqual([]);
    expect(await fl.einsum("ij,jk->ik", fl.ones([2, 0]), fl.ones([0, 2])).array()).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });
});

describe("bad input", () => {
  test("an index out of range is an IndexError with its value, place and bound, and no effect", async () => {
    const x = fl.arange(12).float().reshape(3, 4);
    const bad = tensor([0, 1, 9, 0], [1, 4], { dtype: "int32" });
    for (const [y, position] of [
      [x.gather(0, bad), 2],
      [x.scatterAdd(0, bad, fl.ones([1, 4])), 2],
      [x.scatter(0, bad, fl.ones([1, 4])), 2],
      [x.scatter(0, bad, fl.ones([1, 4]), { reduce: "multiply" }), 2],
      [x.indexSelect(0, i32([0, 9])), 1],
      [x.indexAdd(0, i32([0, 9]), fl.ones([2, 4])), 1],
      [F.embedding(i32([0, 9]), x), 1],
      [fl.oneHot(i32([0, 9]), 4), 1],
      [F.nllLoss(x, i32([0, 9, 1])), 1],
    ] as const)
      await expect(y.data()).rejects.toMatchObject({ code: "INDEX", index: 9, position });
    await expect(x.gather(0, bad).data()).rejects.toThrow("index 9 at position 2 is out of range for 3");
    await expect(fl.oneHot(i32([-2]), 4).data()).rejects.toMatchObject({ index: -2, bound: 4 });
  });

  test("what does not fit is named with its shapes", () => {
    const x = fl.ones([3, 4]);
    expect(() => x.gather(0, i32([1, 2]))).toThrow("gather: the index [2] does not fit [3, 4]");
    expect(() => x.gather(0, tensor([[1]]))).toThrow("an index holds integers (dtype int32), got float32");
    expect(() => x.scatterAdd(0, tensor([[0, 0]], { dtype: "int32" }), fl.ones([1, 1]))).toThrow(fl.ShapeError);
    expect(() => x.scatter(0, tensor([[0]], { dtype: "int32" }), fl.ones([1, 1], { dtype: "int32" }))).toThrow(
      fl.DTypeError,
    );
    expect(() => x.topk(5)).toThrow("k must be from 0 to 4");
    expect(() => x.cumsum(2)).toThrow("axis 2 is out of range");
    expect(() => F.conv2d(x, fl.ones([1, 1, 2, 2]))).toThrow("the input must have 3 or 4 axes, got shape [3, 4]");
    expect(() => F.conv2d(fl.ones([1, 3, 4, 4]), fl.ones([2, 2, 3, 3]))).toThrow(
      "input [1, 3, 4, 4] and weight [2, 2, 3, 3]",
    );
    expect(() => F.conv2d(fl.ones([1, 1, 2, 2]), fl.ones([1, 1, 3, 3]))).toThrow("is larger than the padded input");
    expect(() => F.conv2d(fl.ones([1, 1, 4, 4]), fl.ones([1, 1, 3, 3]), null, { stride: 0 })).toThrow("stride must be");
    expect(() => F.pad(x, [4, 0], "reflect")).toThrow("4 and 0 elements cannot be added to axis 1 of shape [3, 4]");
    expect(() => F.maxPool2d(fl.ones([1, 1, 4, 4]), 2, { padding: 2 })).toThrow("at most half the kernel");
    expect(() => F.interpolate(fl.ones([1, 1, 4]), { size: 2, mode: "bilinear" })).toThrow(
      "does not fit shape [1, 1, 4]",
    );
    expect(() => F.nllLoss(x, i32([1, 2]))).toThrow("input [3, 4] and target [2]");
    expect(() => F.embedding(i32([0]), x, { paddingIdx: 3 })).toThrow("paddingIdx 3 is out of range for 3 rows");
    expect(() => fl.oneHot(tensor([1]))).toThrow(fl.DTypeError);
    expect(() => fl.oneHot(i32([1]).add(1))).toThrow("numClasses must be given");
    expect(() => fl.einsum("ij,jk", x)).toThrow("does not name the axes of 1 tensors");
    expect(() => fl.einsum("ij,jk->ik", x, x)).toThrow('axis "j" of "ij,jk->ik" has the extents 4 and 3');
    expect(() => fl.einsum("ij->iz", x)).toThrow("must name axes of the operands");
    expect(() => fl.einsum("i2->i", x)).toThrow("is no name of an axis");
  });
});
