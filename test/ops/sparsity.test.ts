/** For every operation and sample: the structure its entry gives it is that of its Jacobian, and so is every element. */
import { describe, expect, test } from "vitest";
import { isFloat } from "../../src/core/dtype.ts";
import { numel } from "../../src/core/shape.ts";
import { jvp } from "../../src/diff/jvp.ts";
import { type Node, toposort } from "../../src/graph/node.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { JacobianOperator, type Structure } from "../../src/func/operator.ts";
import * as fl from "../../src/index.ts";
import { bindingOf } from "../../src/trace/bindings.ts";
import { random } from "../assembly/harness.ts";
import { evaluateRef } from "./reference.ts";
import { ALL, type Sample, samplesOf } from "./samples.ts";

/** Larger Jacobians are left out; every operation has smaller ones. */
const LIMIT = 10_000;

/** One source of one sample; the node and the source are float32 and not too large. */
interface Case {
  readonly sample: Sample;
  readonly source: number;
}

const casesOf = (samples: readonly Sample[]): Case[] =>
  samples.flatMap((sample) =>
    sample.node.src.flatMap((s, source) =>
      isFloat(s.dtype) && isFloat(sample.node.dtype) && numel(s.shape) * numel(sample.node.shape) <= LIMIT
        ? { sample, source }
        : [],
    ),
  );

const DIFFERENTIABLE = ALL.map(([name, op]) => [name, op, casesOf(samplesOf(op))] as const).filter(
  ([, , cases]) => cases.length > 0,
);

/** The values, and those of the leaves of y that were made from theirs. */
function withData(y: Node, values: ReadonlyMap<Node, Float64Array>): Map<Node, Float64Array> {
  const all = new Map(values);
  for (const n of toposort([y])) {
    const binding = bindingOf(n);
    if (binding?.kind === "data") all.set(n, Float64Array.from(binding.array as Float32Array));
  }
  return all;
}

/** The Jacobian column by column, [m * n], by forward mode in float64. */
function columns(y: Node, x: Node, values: ReadonlyMap<Node, Float64Array>): Float64Array {
  const [m, n] = [numel(y.shape), numel(x.shape)];
  const dense = new Float64Array(m * n);
  const t = leaf(x.shape, "float32");
  const [image] = jvp([y], [x], [t]);
  if (!image) return dense;
  for (let c = 0; c < n; c++) {
    const unit = new Float64Array(n);
    unit[c] = 1;
    const [column] = evaluateRef([image], new Map([...withData(image, values), [t, unit]]));
    column.forEach((v, r) => {
      dense[r * n + c] = v;
    });
  }
  return dense;
}

/** The operator's matrix is the one wanted. */
function expectDense(j: JacobianOperator, want: Float64Array, values: ReadonlyMap<Node, Float64Array>, what: string) {
  const dense = j.toDense().node;
  const [got] = evaluateRef([dense], withData(dense, values));
  expect(got.length, what).toBe(want.length);
  got.forEach((v, i) => {
    if (!Object.is(v, want[i]) && !(Math.abs(v - want[i]) <= 1e-12 * (1 + Math.abs(want[i]))))
      throw new Error(`${what}, ${j.structure}: element ${i} is ${v}, wanted ${want[i]}`);
  });
}

/** Of operations that are not elementwise: the structures their samples have where they are not empty. */
const STRUCTURES: Record<string, Structure[]> = {
  expand: ["broadcast"],
  sum: ["sum"],
  reshape: ["identity"],
  permute: ["permutation"],
  flip: ["permutation"],
  slice: ["selection"], // all axes are cut
  pad: ["selection", "kronecker"], // with rows whole
  extend: ["selection", "kronecker"],
  retract: ["dense", "kronecker"],
  concat: ["kronecker", "diagonal"], // the other operand is empty
  max: ["dense", "block-diagonal"],
  min: ["dense", "block-diagonal"],
  prod: ["dense", "block-diagonal"],
  alias: ["identity"],
  detach: ["zero"],
  scaleGradient: ["identity", "zero"],
  fence: ["identity", "zero"],
  windows: ["selection", "kronecker"],
  fold: ["dense", "kronecker"],
  // Examples apart: each its own where taps say which elements, all alike where all are summed.
  takeTaps: ["block-diagonal", "dense"],
  putTaps: ["block-diagonal", "dense"],
  sumWindows: ["kronecker", "dense"],
  spreadWindows: ["kronecker", "dense"],
  cumsum: ["dense", "kronecker"],
  addmm: ["identity", "kronecker", "block-diagonal"],
  matmul: ["kronecker", "diagonal", "block-diagonal"], // one element by one element, batches
  // Samples apart; channels of the result apart.
  convolution: ["dense", "kronecker"],
  convolutionInput: ["dense", "kronecker"],
  convolutionKernel: ["kronecker"],
  gather: ["block-diagonal", "dense"],
  scatterAdd: ["block-diagonal", "dense"],
  softmax: ["dense", "block-diagonal"], // one row, several
  scan: ["dense", "zero"],
  softmaxGrad: ["block-diagonal"],
  logSoftmax: ["dense", "block-diagonal"],
  logSoftmaxGrad: ["diagonal", "block-diagonal"], // of the row's output, of the cotangent
  crossEntropyRows: ["block-diagonal"],
  // Rows apart, of several or of one place; parameters for several rows, of which each has one, or for one.
  standardize: ["block-diagonal", "broadcast", "diagonal", "selection"],
  standardizeInput: ["block-diagonal", "dense", "diagonal", "selection"],
  standardizeParameters: ["block-diagonal", "zero", "dense"], // not of the weight
  moments: ["block-diagonal"],
  // Examples apart, queries apart; columns of values are all alike. Without keys there is nothing.
  attention: ["block-diagonal", "dense", "kronecker", "zero"],
  attentionQuery: ["block-diagonal", "dense", "zero"],
  attentionKey: ["dense", "block-diagonal", "zero"],
  attentionValue: ["dense", "zero", "kronecker", "block-diagonal"],
  crossEntropyGradRows: ["block-diagonal"],
};

describe.each(DIFFERENTIABLE)("%s", (name, op, cases) => {
  test("has the elements its structure says", () => {
    for (const { sample, source } of cases) {
      const { node, values, name: what } = sample;
      const x = node.src[source];
      const operator = new JacobianOperator(x, node);
      expectDense(operator, columns(node, x, values), values, `${what}, source ${source}`);
    }
  });

  test("has the structure that is known of it", () => {
    const found = cases.flatMap(({ sample: { node }, source }) => {
      const { structure, shape } = new JacobianOperator(node.src[source], node);
      const empty = shape.includes(0);
      if (empty) expect(structure).toBe("zero");
      return empty ? [] : structure;
    });
    const known = op.kind === "elementwise" ? ["identity", "diagonal", "zero"] : STRUCTURES[name];
    if (op.kind === "elementwise") for (const structure of found) expect(known).toContain(structure);
    else expect([...new Set(found)]).toEqual(known);
  });
});

test("every operation with a derivative is among them", () => {
  const names = DIFFERENTIABLE.map(([name]) => name);
  const rest = ALL.filter(([name, { jvp: rule, decompose }]) => (rule || decompose) && !names.includes(name));
  for (const [name, op] of rest)
    for (const { node } of samplesOf(op))
      expect(isFloat(node.dtype) && node.src.some((s) => isFloat(s.dtype)), name).toBe(false);
});

/** A step of a random function: what becomes of the tensors there are, chosen by random numbers in [0, 1). */
const STEPS: ((ts: readonly fl.Tensor[], next: () => number) => fl.Tensor)[] = [
  ([t]) => t.sin(),
  ([t]) => t.mul(2),
  ([t], next) => t.permute(t.shape.map((_, i) => i).sort(() => next() - 0.5)),
  ([t], next) => t.flip([Math.floor(next() * t.ndim)]),
  ([t], next) => fl.roll(t, 1 + Math.floor(2 * next()), Math.floor(next() * t.ndim)),
  ([t], next) =>
    t.indexSelect(
      0,
      [...new Array(t.shape[0]).keys()].sort(() => next() - 0.5),
    ),
  // All places move up by one, the first is 0.
  ([t]) => fl.nn.functional.pad(t, [1, -1]),
  ([t], next) => t.sum(Math.floor(next() * t.ndim), true).expand(t.shape),
  ([t], next) => t.cumsum(Math.floor(next() * t.ndim)),
  ([t], next) => t.softmax(Math.floor(next() * t.ndim)),
  ([t]) => t.matmul(weights(t.shape[t.ndim - 1])),
  ([t], next) =>
    t.mul(
      weights(t.shape[Math.floor(next() * t.ndim)])
        .sum()
        .expand(t.shape),
    ),
  ([t], next) => t.mul(Math.floor(next() * 2) === 0 ? t.detach() : t.select(0, 0).detach()),
  // The same elements under another shape, there for good or for one step.
  ([t], next) => t.reshape(SHAPES_OF_24[Math.floor(next() * SHAPES_OF_24.length)]),
  ([t], next) =>
    t
      .reshape(SHAPES_OF_24[Math.floor(next() * SHAPES_OF_24.length)])
      .cumsum(0)
      .reshape(t.shape),
  // Paths that meet again.
  (ts, next) => ts[0].add(ts[Math.floor(next() * ts.length)].reshape(ts[0].shape)),
  (ts, next) => ts[0].mul(ts[Math.floor(next() * ts.length)].reshape(ts[0].shape)),
];
const SHAPES_OF_24 = [[24], [4, 6], [3, 8], [2, 12], [2, 3, 4], [4, 3, 2], [3, 2, 2, 2], [1, 8, 3]];
const weights = (n: number): fl.Tensor =>
  fl
    .arange(n * n)
    .mul(0.7)
    .cos()
    .reshape([n, n]);

test("random compositions have the elements their structure says", () => {
  const found = new Set<Structure>();
  for (let seed = 1; seed <= 600; seed++) {
    const next = random(seed);
    const x = leaf([4, 6], "float32");
    const ts = [new fl.Tensor(x)];
    for (let k = 0; k < 2 + (seed % 5); k++) ts.unshift(STEPS[Math.floor(next() * STEPS.length)](ts, next));
    const j = new JacobianOperator(x, ts[0].node);
    const values = new Map([[x, Float64Array.from({ length: 24 }, () => 2 * next() - 1)]]);
    expectDense(j, columns(ts[0].node, x, values), values, `seed ${seed}`);
    found.add(j.structure);
  }
  expect([...found].sort()).toEqual([
    "block-diagonal",
    "dense",
    "diagonal",
    "generalized permutation",
    "identity",
    "kronecker",
    "permutation",
    "selection",
  ]);
});
