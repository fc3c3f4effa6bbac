/** Jacobians as linear operators: their structure, by composition too, and their products. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { close, numbers, same } from "./support.ts";

type Map = (x: fl.Tensor) => fl.Tensor;

/** Numbers between -1 and 1 that have nothing to do with each other. */
const noise = (shape: readonly number[], seed = 0): fl.Tensor =>
  fl
    .arange(shape.reduce((a, b) => a * b, 1))
    .add(7 * seed + 1)
    .mul(12.9898)
    .sin()
    .reshape(shape);

const x = noise([4, 6]);
const w = noise([3, 6], 1);
const square = noise([6, 6], 2);
const gamma = noise([6], 3);
const image = noise([2, 3, 5, 5], 4);

/** The operator of f at a point, after its matrix and its products were found to be those of jacrev. */
async function checked(f: Map, at: fl.Tensor): Promise<fl.JacobianOperator> {
  const j = fl.jacobianOperator(f, at);
  const [m, n] = j.shape;
  const want = fl.jacrev(f)(at).reshape([m, n]);
  await same(j.toDense(), want);
  const v = noise(at.shape, 5);
  await same(j.jvp(v).flatten(), want.matmul(v.flatten()));
  const u = noise(f(at).shape, 5);
  await same(j.vjp(u).flatten(), u.flatten().matmul(want));
  return j;
}

/** What it is, with respect to x [4, 6] unless said otherwise. */
const CASES: [what: string, structure: fl.Structure, f: Map, at?: fl.Tensor][] = [
  ["a chain of elementwise operations", "diagonal", (t) => t.sin().mul(t.detach()).add(1).relu()],
  ["a function of the argument twice", "diagonal", (t) => t.mul(t.exp()).sub(t.mul(3))],
  ["the argument itself", "identity", (t) => t],
  ["a sum with a constant", "identity", (t) => t.add(gamma)],
  ["a reshape, there and back", "identity", (t) => t.reshape([3, 8]).add(1).reshape([4, 6])],
  ["an elementwise operation on another shape", "diagonal", (t) => t.reshape([3, 8]).sin().reshape([4, 6]).mul(t)],
  ["a transpose", "permutation", (t) => t.t()],
  ["a transpose of a transpose", "identity", (t) => t.t().t()],
  ["axes split and moved", "permutation", (t) => t.reshape([2, 2, 3, 2]).permute(3, 0, 2, 1)],
  ["a flip", "permutation", (t) => t.flip([1])],
  ["a flip of a flip", "identity", (t) => t.flip([0, 1]).flip([1]).flip([0])],
  ["a flip, weighted", "generalized permutation", (t) => t.flip([0]).sin()],
  ["a transpose, scaled", "generalized permutation", (t) => t.t().mul(2)],
  ["transpose, function, transpose", "diagonal", (t) => t.t().tanh().t()],
  ["a sum", "sum", (t) => t.sum()],
  ["a sum of columns", "sum", (t) => t.sum(0)],
  ["a mean", "sum", (t) => t.mean(1, true)],
  ["a sum of a permutation", "sum", (t) => t.t().sum(1)],
  ["a broadcast", "broadcast", (t) => t.expand([5, 4, 6])],
  ["a bias", "broadcast", (t) => x.matmul(square).add(t), gamma],
  ["a sum, broadcast", "dense", (t) => t.sum().expand([3])],
  ["a difference from the mean of rows", "kronecker", (t) => t.sub(t.mean(1, true))],
  ["a loss", "dense", (t) => t.square().mean()],
  ["losses of rows", "block-diagonal", (t) => t.square().sum(1)],
  ["a layer", "kronecker", (t) => fl.linear(t, w, noise([3], 5))],
  ["two layers", "kronecker", (t) => t.matmul(square).matmul(w.t())],
  ["a layer, scaled by column", "kronecker", (t) => t.matmul(square).mul(gamma)],
  ["a residual layer", "kronecker", (t) => t.add(t.matmul(square))],
  ["a layer's weights", "kronecker", (t) => x.matmul(t.t()), w],
  ["a function of a layer", "block-diagonal", (t) => t.matmul(square).relu()],
  ["a layer of a function", "block-diagonal", (t) => t.relu().matmul(w.t())],
  ["softmax of rows", "block-diagonal", (t) => t.softmax()],
  ["softmax of columns", "block-diagonal", (t) => t.softmax(0)],
  ["attention", "block-diagonal", (t) => t.matmul(t.transpose(-1, -2)).softmax().matmul(t), image],
  ["layer normalisation", "block-diagonal", (t) => fl.nn.functional.layerNorm(t, [6])],
  ["a network", "block-diagonal", (t) => t.matmul(square).tanh().matmul(w.t()).softmax()],
  [
    "rows that mix along both axes",
    "dense",
    (t) =>
      t
        .matmul(square)
        .t()
        .matmul(fl.tril(fl.ones([4, 4]))),
  ],
  ["a convolution", "kronecker", (t) => fl.nn.functional.conv2d(t, fl.ones([4, 3, 3, 3])), image],
  ["a row looked up", "kronecker", (t) => t.indexSelect(0, [1, 1, 3])],
  ["columns of a slice", "kronecker", (t) => t.narrow(1, 2, 3)],
  ["halves, side by side, weighted", "diagonal", (t) => fl.cat([t.narrow(1, 0, 3).mul(2), t.narrow(1, 3, 3)], 1)],
  ["halves, side by side", "identity", (t) => fl.cat([t.narrow(0, 0, 2), t.narrow(0, 2, 2)])],
  ["halves, swapped", "permutation", (t) => fl.cat([t.narrow(1, 3, 3), t.narrow(1, 0, 3)], 1)],
  ["a roll", "permutation", (t) => fl.roll(t, 1), gamma],
  ["a roll along both axes, and back", "identity", (t) => fl.roll(fl.roll(t, [1, 2], [0, 1]), [-1, -2], [0, 1])],
  ["a function of a roll", "generalized permutation", (t) => fl.roll(t, 2, 1).sin().mul(gamma)],
  ["an index that permutes", "permutation", (t) => t.index([3, 1, 0, 2])],
  ["an index that permutes, counted from the end", "permutation", (t) => t.index([-1, 1, 0, -2])],
  ["an index that permutes, and its inverse", "identity", (t) => t.index([3, 1, 0, 2]).index([2, 1, 3, 0])],
  [
    "a gather that permutes",
    "permutation",
    (t) => t.gather(0, fl.tensor([2, 0, 1, 5, 4, 3], { dtype: "int32" })),
    gamma,
  ],
  ["an index that repeats", "selection", (t) => t.index([3, 1, 1]), gamma],
  ["a slice", "selection", (t) => t.narrow(0, 1, 3), gamma],
  ["a slice, weighted", "selection", (t) => t.square().slice([1], [6], [2]), gamma],
  ["zeros around", "selection", (t) => fl.nn.functional.pad(t, [1, 2]), gamma],
  ["a diagonal", "selection", (t) => fl.einsum("ii->i", t), square],
  ["one element of many", "selection", (t) => t.index(0, 0)],
  ["neighbours, added", "dense", (t) => t.narrow(0, 1, 5).add(t.narrow(0, 0, 5)), gamma],
  [
    "the two halves of one, each with zeros",
    "identity",
    (t) => fl.nn.functional.pad(t.narrow(0, 0, 3), [0, 3]).add(fl.nn.functional.pad(t.narrow(0, 3, 3), [3, 0])),
    gamma,
  ],
  ["sorted", "generalized permutation", (t) => t.mul(2).sort()[0], gamma],
  ["running sums", "kronecker", (t) => t.cumsum(0)],
  [
    "a permutation that fits no common axes",
    "dense",
    (t) =>
      t
        .t()
        .reshape([8, 3])
        .matmul(fl.ones([3, 3])),
  ],
  ["what does not depend on it", "zero", (t) => t.detach().mul(2)],
  ["a step", "zero", (t) => t.floor()],
  ["what cancels in shape alone", "diagonal", (t) => t.sub(t)],
  ["one element", "diagonal", (t) => t.exp(), fl.tensor(0.5)],
  ["nothing", "zero", (t) => t.mul(2), fl.zeros([0, 3])],
  ["the sum of two orders", "dense", (t) => t.add(t.t()), square],
  ["the sum of a function and a row-wise one", "block-diagonal", (t) => t.exp().add(t.softmax())],
];

describe("structure", () => {
  test.each(CASES)("%s: %s", async (_, structure, f, at = x) => {
    const j = await checked(f, at);
    expect(j.structure).toBe(structure);
  });

  test("an index whose values are not known yet leaves it dense", async () => {
    const order = fl.tensor([5, 4, 3, 2, 1, 0], { dtype: "int32" });
    const j = await checked((t) => t.indexSelect(0, order.mul(1)), gamma);
    expect(j.structure).toBe("permutation");
    const lazy = fl.compile(() => order.mul(1))();
    expect((await checked((t) => t.indexSelect(0, lazy), gamma)).structure).toBe("dense");
  });

  test("a roll of many elements is a permutation, of too many dense", () => {
    const rolled = (n: number): fl.JacobianOperator => fl.jacobianOperator((t) => fl.roll(t, 1), fl.ones([n, 1024]));
    expect(String(rolled(400))).toBe("JacobianOperator 409600 x 409600 permutation, 0 bytes of 671088640000");
    expect(rolled(513).structure).toBe("dense");
  });

  test("says what it can do without its matrix, and nothing else", () => {
    const refusal = (f: Map, shape: number[]): string => {
      try {
        fl.jacobianOperator(f, fl.ones(shape)).toDense();
      } catch (error) {
        return (error as Error).message.replace(/^.*268435456; /, "");
      }
      return "";
    };
    const n = 10_000;
    expect(refusal((t) => t.relu(), [n])).toBe("jvp, vjp, diagonal and blocks do without");
    expect(refusal((t) => t.cumsum(0), [n])).toBe("jvp and vjp do without");
    expect(refusal((t) => t.floor(), [n])).toBe("jvp and vjp do without");
    expect(refusal((t) => t.flip([0]), [n])).toBe("jvp, vjp and blocks do without");
  });

  test("of relu on [100, 4096]: a diagonal of 409600, nothing else is kept", async () => {
    const big = noise([100, 4096], 5);
    const j = fl.jacobianOperator((t: fl.Tensor) => t.relu(), big);
    expect(j.shape).toEqual([409_600, 409_600]);
    expect(j.structure).toBe("diagonal");
    expect(j.bytes).toBe(1_638_400);
    expect(j.denseBytes).toBe(671_088_640_000);
    const mask = await numbers(big.gt(0).float());
    expect(await numbers(j.diagonal())).toEqual(mask);
    const v = noise(big.shape, 6);
    const want = (await numbers(v)).map((value, i) => value * mask[i] + 0);
    for (const product of [j.jvp(v), j.vjp(v)])
      expect((await numbers(product)).map((value) => value + 0)).toEqual(want);
    expect(() => j.toDense()).toThrow(
      "toDense: a diagonal Jacobian of 409600 x 409600 would take 671088640000 bytes, the limit is 268435456",
    );
    expect(() => j.toDense()).toThrow(fl.ShapeError);
    expect(String(j)).toBe("JacobianOperator 409600 x 409600 diagonal, 1638400 bytes of 671088640000");
  });
});

describe("blocks", () => {
  test("of a layer are its weights, with respect to its weights its input", async () => {
    const layer = fl.jacobianOperator((t: fl.Tensor) => t.matmul(w.t()), x);
    expect(layer.shape).toEqual([12, 24]);
    expect(layer.bytes).toBe(4 * 18);
    await same(layer.blocks(), w.unsqueeze(0));
    const weights = fl.jacobianOperator((t: fl.Tensor) => x.matmul(t.t()), w);
    expect(weights.shape).toEqual([12, 18]);
    expect(weights.bytes).toBe(4 * 24);
    await same(weights.blocks(), x.unsqueeze(0));
    const both = fl.jacobianOperator((t: fl.Tensor) => t.matmul(square).matmul(w.t()), x);
    await same(both.blocks(), w.matmul(square.t()).unsqueeze(0));
  });

  test("of softmax are diag(s) - s s', one for each row", async () => {
    const j = fl.jacobianOperator((t: fl.Tensor) => t.softmax(), x);
    expect(j.bytes).toBe(4 * 4 * 6 * 6);
    const s = x.softmax();
    const eye = fl.arange(6).unsqueeze(1).eq(fl.arange(6)).float();
    await same(j.blocks(), eye.mul(s.unsqueeze(1)).sub(s.unsqueeze(2).mul(s.unsqueeze(1))));
  });

  test("of diagonals, sums and permutations: what the structure leaves open, once", async () => {
    const of = (f: Map): fl.JacobianOperator => fl.jacobianOperator(f, x);
    await same(of((t) => t.sin()).blocks(), x.cos().reshape([24, 1, 1]));
    await close(of((t) => t.mul(2)).blocks(), [2], [1, 1, 1]);
    expect(of((t) => t.mul(2)).bytes).toBe(4);
    await close(of((t) => t.mean(1)).blocks(), new Array(6).fill(1 / 6), [1, 1, 6]);
    expect(of((t) => t.mean(1)).bytes).toBe(4);
    for (const f of [(t: fl.Tensor) => t, (t: fl.Tensor) => t.t(), (t: fl.Tensor) => t.sum()])
      expect(of(f).bytes).toBe(0);
    // Reversed, the diagonal counts by rows of the matrix.
    await same(of((t) => t.flip([0, 1]).mul(x)).blocks(), x.reshape([24, 1, 1]));
  });

  test("by reverse mode where rows are fewer, a flip beside it", async () => {
    const scores = (t: fl.Tensor): fl.Tensor => t.flip([0]).mul(x).sum(1);
    const j = await checked(scores, x);
    expect(j.structure).toBe("block-diagonal");
    await same(j.blocks(), x.unsqueeze(1));
  });
});

test("compiled, differentiated, batched: products are graph", async () => {
  const v = noise(x.shape, 5);
  const along = (t: fl.Tensor, by: fl.Tensor): fl.Tensor => fl.jacobianOperator((s: fl.Tensor) => s.sin(), t).jvp(by);
  await same(fl.compile(along)(x, v), x.cos().mul(v));
  await same(fl.grad((t: fl.Tensor) => along(t, v).sum())(x), x.sin().mul(v).neg());
  const diagonals = (t: fl.Tensor): fl.Tensor => fl.jacobianOperator((s: fl.Tensor) => s.sin(), t).diagonal();
  await same(fl.vmap(diagonals)(x), x.cos());
  await same(fl.compile(diagonals)(x), x.cos());
});

test("what does not fit is refused", () => {
  const j = fl.jacobianOperator((t: fl.Tensor) => t.matmul(w.t()), x);
  expect(() => j.diagonal()).toThrow("diagonal: the Jacobian [12, 24] is kronecker, not diagonal");
  expect(() => j.diagonal()).toThrow(fl.ValueError);
  expect(() => j.jvp(fl.ones([3]))).toThrow("jvp: the tangent has shape [3], [4, 6] is wanted");
  expect(() => j.vjp(x)).toThrow("vjp: the cotangent has shape [4, 6], [4, 3] is wanted");
  for (const bad of [5, [x], undefined])
    expect(() => j.jvp(bad as never)).toThrow(/^jvp: the tangent must be a tensor/);
  expect(() => j.vjp(fl.ones([4, 3], { dtype: "int32" }))).toThrow(fl.DTypeError);
  const none = fl.jacobianOperator((t: fl.Tensor) => t.floor(), x);
  expect(() => none.blocks()).toThrow("blocks: the Jacobian [24, 24] is zero, it has none");
  expect(() => fl.jacobianOperator((t: fl.Tensor) => t.argmax(), x)).toThrow(fl.DTypeError);
  expect(() => fl.jacobianOperator((t: fl.Tensor) => t, fl.arange(3).to("int32"))).toThrow(fl.DTypeError);
  expect(() => fl.jacobianOperator((t) => [t] as never, x)).toThrow("f must return a tensor, got an array");
  expect(() => fl.jacobianOperator((t) => t, [x] as never)).toThrow("x must be a tensor, got an array");
  const wide = fl.jacobianOperator((t: fl.Tensor) => t.softmax(), fl.zeros([1, 40_000]));
  expect(wide.structure).toBe("dense");
  expect(() => wide.blocks()).toThrow(/blocks: the dense Jacobian of 40000 x 40000 takes 40000 vectors/);
});
