/** Transforms of transforms: random chains of them, each held to one of reverse mode alone, in float64. */
import { expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { type Node, toposort } from "../../src/graph/node.ts";
import { bindingOf } from "../../src/trace/bindings.ts";
import { random } from "../assembly/harness.ts";
import { evaluateRef } from "../ops/reference.ts";

type T = fl.Tensor;
type Fn = (x: T) => T;

const F = fl.nn.functional;
const w = fl.tensor([
  [0.3, -0.2, 0.5],
  [0.1, 0.7, -0.4],
  [-0.6, 0.2, 0.8],
]);
const labels = fl.tensor(Int32Array.of(0, 2, 1));
const cube = fl.defineOp({
  name: "cube",
  forward: (x: T) => x.mul(x).mul(x),
  backward: (d, { inputs: [x] }) => d.mul(x).mul(x).mul(3),
});

/** Functions of three numbers. */
const FUNCTIONS: readonly Fn[] = [
  (x) => x.matmul(w).tanh().matmul(w.t()).sigmoid(),
  (x) => x.mul(2).softmax().mul(x),
  (x) => F.layerNorm(x, [3]).mul(x.exp()),
  (x) => x.prod().mul(x.square()),
  (x) => x.cumsum(0).sin().mul(fl.roll(x, 1)),
  (x) => x.sort()[0].mul(w.select(0, 0)).add(x),
  (x) => fl.where(x.gt(0.1), x.square(), x.exp()),
  (x) => fl.einsum("i,ij,j->i", x, w, x),
  (x) => fl.logsumexp(x.unsqueeze(1).mul(w), 0),
  (x) => F.crossEntropy(x.unsqueeze(0).mul(w), labels, { reduction: "none" }),
  (x) => x.index([2, 0, 0]).mul(x),
  (x) => cube(x).add(x),
  (x) => x.mul(fl.std(x)),
];

interface Transforms {
  grad(f: Fn): Fn;
  forwardJacobian(f: Fn): Fn;
  reverseJacobian(f: Fn): Fn;
  jvp(f: Fn): Fn;
  linearize(f: Fn): Fn;
  vjp(f: Fn): Fn;
  hvp(f: Fn): Fn;
  vmap(f: Fn): Fn;
  checkpoint(f: Fn): Fn;
}
const sum =
  (f: Fn): Fn =>
  (x) =>
    f(x).sum();
const examples = (x: T): T[] => [x, x.mul(2).sub(0.3)];

const TRANSFORMS: Transforms = {
  grad: (f) => fl.grad(sum(f)),
  forwardJacobian: (f) => fl.jacfwd(f),
  reverseJacobian: (f) => fl.jacrev(f),
  jvp: (f) => (x) => fl.jvp(f, [x], [x.mul(0.5).add(1)])[1],
  linearize: (f) => (x) => fl.linearize(f, x)[1](x.sin()),
  vjp: (f) => (x) => {
    const [y, pullback] = fl.vjp(f, x);
    return pullback(y.mul(2))[0];
  },
  hvp: (f) => (x) => fl.hvp(sum(f), [x], [x.cos()])[1][0],
  vmap: (f) => (x) =>
    fl
      .vmap(f)(fl.stack(examples(x)))
      .sum(0),
  checkpoint: (f) => fl.checkpoint(f),
};

/** u^T J. */
const pulled = (f: Fn, x: T, u: (y: T) => T): T => {
  const [y, pullback] = fl.vjp(f, x);
  return pullback(u(y))[0];
};
/** J v: the derivative of u^T J by u. */
const pushed = (f: Fn, x: T, v: T): T =>
  pulled(
    (u) => pulled(f, x, () => u),
    fl.zeros(f(x).shape),
    () => v,
  );
const rows =
  (f: Fn): Fn =>
  (x) => {
    const { shape } = f(x);
    const n = shape.reduce((a, b) => a * b, 1);
    const unit = (i: number): T => fl.arange(n).eq(i).float().reshape(shape);
    return fl.stack(Array.from({ length: n }, (_, i) => pulled(f, x, () => unit(i)))).reshape([...shape, ...x.shape]);
  };
const REVERSE: Transforms = {
  grad: (f) => (x) => pulled(sum(f), x, () => fl.tensor(1)),
  forwardJacobian: rows,
  reverseJacobian: rows,
  jvp: (f) => (x) => pushed(f, x, x.mul(0.5).add(1)),
  linearize: (f) => (x) => pushed(f, x, x.sin()),
  vjp: (f) => (x) => pulled(f, x, (y) => y.mul(2)),
  hvp: (f) => (x) =>
    pulled(
      (t) => pulled(sum(f), t, () => fl.tensor(1)),
      x,
      () => x.cos(),
    ),
  vmap: (f) => (x) => fl.stack(examples(x).map((t) => f(t))).sum(0),
  checkpoint: (f) => f,
};

const NAMES = Object.keys(TRANSFORMS) as (keyof Transforms)[];
const isMatrix = (name: string): boolean => name.endsWith("Jacobian");

/** A tensor's value in float64. */
function value(t: T): Float64Array {
  const values = new Map<Node, Float64Array>();
  for (const n of toposort([t.node])) {
    const binding = bindingOf(n);
    if (binding?.kind === "data") values.set(n, Float64Array.from(binding.array as Float32Array));
  }
  return evaluateRef([t.node], values)[0];
}

test("300 random chains of transforms are what reverse mode alone makes of them", () => {
  const next = random(7);
  const pick = <X>(list: readonly X[]): X => list[Math.floor(next() * list.length)];
  const point = fl.tensor([0.4, -0.3, 1.1]);
  for (let k = 0; k < 300; k++) {
    const which = Math.floor(next() * FUNCTIONS.length);
    const chain = Array.from({ length: 1 + Math.floor(next() * 4) }, () => pick(NAMES));
    if (chain.filter(isMatrix).length > 1) continue; // matrices of matrices take long
    const through = (by: Transforms): T => chain.reduce((f, name) => by[name](f), FUNCTIONS[which])(point);
    const [got, want] = [through(TRANSFORMS), through(REVERSE)];
    const what = `${chain.join(", ")} of function ${which}`;
    expect(got.shape, what).toEqual(want.shape);
    const wanted = value(want);
    const size = wanted.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-3);
    value(got).forEach((v, i) => expect(Math.abs(v - wanted[i]), what).toBeLessThan(1e-9 * size));
  }
});
