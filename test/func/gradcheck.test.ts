/** gradcheck: what is right passes, what is wrong is named. */
import { describe, expect, test } from "vitest";
import { makeNode, type OpDef } from "../../src/graph/node.ts";
import * as fl from "../../src/index.ts";
import { cast, mul, scale } from "../../src/ops/elementwise.ts";
import { OPS } from "../../src/ops/table.ts";

const { gradcheck, gradgradcheck, nn, tensor } = fl;

fl.manualSeed(11);
const x = fl.randn([2, 3]);
const w = fl.randn([3, 4]);
await Promise.all([x.data(), w.data()]);
const both = async <A extends unknown[]>(f: (...args: A) => unknown, inputs: A): Promise<boolean[]> => [
  await gradcheck(f, inputs),
  await gradgradcheck(f, inputs),
];

/** Square, with rules as given: what a mistake in the op table would be. */
const square = (rules: Partial<OpDef>): ((t: fl.Tensor) => fl.Tensor) => {
  const op: OpDef = { ...OPS.square, name: "mySquare", ...rules };
  return (t) => new fl.Tensor(makeNode(op, [t.node]));
};

async function failure(check: Promise<boolean>): Promise<fl.GradcheckError> {
  const error = await check.then(
    () => undefined,
    (e) => e,
  );
  expect(error).toBeInstanceOf(fl.GradcheckError);
  expect(error.code).toBe("GRADCHECK");
  return error;
}

describe("what is right passes", () => {
  test("expressions, several outputs, trees, broadcasting", async () => {
    const f = (p: { a: fl.Tensor; list: fl.Tensor[] }, b: fl.Tensor): unknown => ({
      y: p.a.matmul(b).tanh(),
      z: [p.list[0].exp().mul(p.a), p.a.sum()],
    });
    expect(await both(f, [{ a: x, list: [fl.randn([3])] }, w])).toEqual([true, true]);
  });

  test("a network with dropout, normalisation and a loss over integer labels", async () => {
    const model = new nn.Sequential(new nn.Linear(3, 5), new nn.BatchNorm1d(5), new nn.Tanh(), new nn.Dropout(0.5));
    const labels = tensor([1, 4, 0, 2], { dtype: "int32" });
    const loss = (t: fl.Tensor, y: fl.Tensor): fl.Tensor => fl.crossEntropy(model.forward(t), y);
    expect(await both(loss, [fl.randn([4, 3]), labels])).toEqual([true, true]);
  });

  test("what derivatives stop at on purpose: logsumexp's maximum", async () => {
    expect(await both((t: fl.Tensor) => fl.logsumexp(t, 1), [x])).toEqual([true, true]);
  });

  test("compiled, checkpointed and batched functions", async () => {
    const f = (a: fl.Tensor, b: fl.Tensor): fl.Tensor => a.matmul(b).sigmoid();
    for (const g of [fl.compile(f), fl.checkpoint(f)]) expect(await both(g, [x, w])).toEqual([true, true]);
    expect(await gradcheck((a: fl.Tensor) => fl.vmap((r: fl.Tensor) => r.mul(r.sum()))(a), [x])).toBe(true);
  });

  test("many elements, along random directions", async () => {
    const [a, b] = [fl.randn([30, 40]), fl.randn([40, 10])];
    expect(await both((s: fl.Tensor, t: fl.Tensor) => s.matmul(t).sin(), [a, b])).toEqual([true, true]);
    const wrong = square({ vjp: (n, g) => [scale(mul(g, n.src[0]), 2.1)] });
    expect((await failure(gradcheck(wrong, [a]))).message).toContain("of output along a random direction");
  });

  test("tensors from outside mean what they do elsewhere: parameters, and lazy ones whose parameter has changed", async () => {
    const p = new fl.Parameter(tensor([1, 2, 3]));
    const lazy = p.mul(2);
    await lazy.data();
    for (let i = 0; i < 3; i++) {
      p.assign(p.add(1));
      await p.data();
    }
    expect(await gradcheck((t: fl.Tensor) => t.mul(lazy).mul(p).sin(), [x])).toBe(true);
  });
});

describe("what is wrong is named: operation, operand, element, line", () => {
  const line = (): number => Number(/gradcheck\.test\.ts:(\d+)/.exec(new Error().stack?.split("\n")[2] ?? "")?.[1]);

  test("a wrong reverse rule", async () => {
    const wrong = square({ vjp: (n, g) => [mul(g, n.src[0])] });
    let called = 0;
    const f = (a: fl.Tensor, b: fl.Tensor): fl.Tensor => {
      const product = a.matmul(b).tanh();
      called = line() + 1;
      const squared = wrong(product);
      return squared.exp().sum(1);
    };
    const error = await failure(gradcheck(f, [x, w]));
    expect(error.operation).toBe("mySquare");
    const [what, which, , place] = error.message.split("\n");
    expect(what).toMatch(
      /^gradcheck: by reverse mode the derivative of output at \[0\] with respect to input 0 at \[0, 0\] is -?\d.*, by differences -?\d/,
    );
    expect(which).toMatch(
      /^ {2}the reverse derivative of mySquare on \[2, 4\] with respect to operand 0 at \[0, 0\] is -?\d.*, not -?\d/,
    );
    // The innermost frame of another file than the library's is in `square` above; then f.
    expect(error.message).toContain(`gradcheck.test.ts:${called}:`);
    expect(place).toMatch(/^ {4}at .*gradcheck\.test\.ts/);
    expect(error.message).not.toMatch(/src\/(func|ops|tensor)/);
    expect(await gradcheck(f, [x, w], { raiseException: false })).toBe(false);
    expect(await gradcheck(f, [x, w], { checkBackwardAd: false })).toBe(true);
  });

  test("a wrong forward rule", async () => {
    const wrong = square({ jvp: (n, [t]) => t && mul(t, n) });
    const error = await failure(gradcheck((t: fl.Tensor) => wrong(t.sin()), [x]));
    expect(error.message).toMatch(
      /the forward derivative of mySquare on \[2, 3\] with respect to operand 0 at \[0, 0\]/,
    );
    expect(await gradcheck((t: fl.Tensor) => wrong(t.sin()), [x], { checkForwardAd: false })).toBe(true);
  });

  test("a rule wrong for the second operand, at one element, with equal operands", async () => {
    const product: OpDef = {
      ...OPS.mul,
      name: "myProduct",
      vjp: (n, g) => [mul(g, n.src[1]), mul(g, makeNode(OPS.maximum, [n.src[0], scale(n.src[0], 0.5)]))],
    };
    // max(a, a/2) is a where a is positive.
    const a = tensor([1, 2, -3]);
    const error = await failure(gradcheck((t: fl.Tensor) => new fl.Tensor(makeNode(product, [t.node, t.node])), [a]));
    expect(error.message).toContain("of output at [2] with respect to input 0 at [2] is -4.5, by differences -6.0");
    expect(error.message).toContain("myProduct on [3] and [3] with respect to operand 1 at [2] is -1.5, not -2.99");
  });

  test("a derivative that is wrong in the second order alone", async () => {
    // The right gradient, but by way of an operation that is no function of x to forward and reverse mode.
    const double: OpDef = { ...OPS.neg, name: "myDouble", vjp: (_, g) => [g], ref: ([s]) => s.data.map((v) => 2 * v) };
    const f = square({ vjp: (n, g) => [mul(g, makeNode(double, [n.src[0]]))] });
    expect(await gradcheck(f, [x])).toBe(true);
    const error = await failure(gradgradcheck(f, [x], { checkForwardAd: false }));
    expect(error.operation).toBe("myDouble");
    expect(error.message).toMatch(
      /^gradgradcheck: by reverse mode .* the gradient of input 0 at \[0, 0\] with respect to/,
    );
    expect(error.message).toContain("in the backward pass of mySquare on [2, 3], made");
  });

  test("a derivative that stops, and one at a kink", async () => {
    const stopped = await failure(gradcheck((t: fl.Tensor) => t.detach().mul(t), [x]));
    expect(stopped.operation).toBe("detach");
    const kink = await failure(gradcheck((t: fl.Tensor) => t.relu().mul(3), [tensor([1, 0])]));
    expect(kink.message).toMatch(
      /forward derivative of relu on \[2\] with respect to operand 0 at \[1\] is 0, not 0.5/,
    );
  });

  test("no operation, if the differences are taken too far apart", async () => {
    const error = await failure(gradcheck((t: fl.Tensor) => t.mul(3).sin(), [x], { eps: 1, rtol: 1e-9 }));
    expect(error.operation).toBe("sin");
    const far = await failure(gradcheck((t: fl.Tensor) => t.mul(t).mul(t), [tensor([2])], { eps: 0.3 }));
    expect(far.operation).toBeUndefined();
    expect(far.message).toContain("each operation is right by itself");
  });

  test("a rule that is not there", async () => {
    const without = square({ jvp: undefined, vjp: undefined, decompose: undefined });
    await expect(gradcheck(without, [x])).rejects.toMatchObject({ code: "NO_GRADIENT" });
    // Its tangent is its vjp transposed.
    expect(await gradcheck(square({ jvp: undefined, decompose: undefined }), [x])).toBe(true);
    const blind = square({ ref: undefined });
    await expect(gradcheck(blind, [x])).rejects.toMatchObject({ code: "NO_REFERENCE" });
  });
});

test("it is computed in float64: rounding to float32 shows nowhere", async () => {
  // (1 + x) - 1 keeps three digits of 1e-4 in float32; its derivative by differences would have none.
  const f = (t: fl.Tensor): fl.Tensor => t.add(1).log().sub(0).exp().sub(1).div(t);
  expect(await gradcheck(f, [tensor([1e-4, 2e-4])], { eps: 1e-7, atol: 1e-3 })).toBe(true);
});

test("what cannot be checked says so", async () => {
  await expect(gradcheck((t: fl.Tensor) => t.mul(x), [tensor([1], { dtype: "int32" })])).rejects.toThrow(
    "gradcheck: there is no tensor of float32 among the inputs",
  );
  await expect(gradcheck((t: fl.Tensor) => t.argmax(1), [x])).rejects.toThrow("returns no tensor of float32");
  await expect(gradgradcheck((t: fl.Tensor) => new fl.Tensor(cast(t.node, "int32")), [x])).rejects.toThrow(
    "returns no tensor of float32",
  );
  await expect(gradcheck((t: fl.Tensor) => t, [x], { eps: 0 })).rejects.toThrow("gradcheck: eps must be");
  await expect(gradcheck((t: fl.Tensor) => t, [x], { rtol: Number.NaN })).rejects.toThrow(fl.ValueError);
});

test("of custom operations the wrong one is blamed, by its own operand, wherever it stands", async () => {
  const times = (name: string, slope: number) =>
    fl.defineOp({
      name,
      forward: (a: fl.Tensor, b: fl.Tensor) => a.square().mul(b),
      backward: (dTop, { inputs: [a, b] }) => [dTop.mul(a).mul(b).mul(2), dTop.mul(a.square()).mul(slope)],
    });
  const [right, wrong] = [times("right", 1), times("wrong", 3)];
  expect(await both(right, [x, x.add(1)])).toEqual([true, true]);
  const point = [tensor([0.5, 2]), tensor([1.5, -1])];
  for (const f of [
    (a: fl.Tensor, b: fl.Tensor) => wrong(right(a, b), b),
    (a: fl.Tensor, b: fl.Tensor) => right(a, wrong(b, a)),
  ]) {
    const error = await failure(gradcheck(f, point as [fl.Tensor, fl.Tensor]));
    expect(error.message).toMatch(/derivative of wrong on \[2\] and \[2\] with respect to operand 1 at \[0\] is/);
  }
});
