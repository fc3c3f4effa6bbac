/**
 * Random graphs over the differentiable operations of the table. An operation is taken if it is tame at the values it would
 * have there: smooth within KINK of them, its value and tangent no larger than BOUND, and with all values rounded to float32
 * still within torch.testing's tolerance of what they are. No operation's domain is listed.
 */
import fc from "fast-check";
import { numel, reducedShape, sameShape, type Shape, show } from "../../src/core/shape.ts";
import { jvp } from "../../src/diff/jvp.ts";
import { functionOf, interpret, type Values } from "../../src/ops/interpret.ts";
import { makeNode, type Node, type OpDef, toposort } from "../../src/graph/node.ts";
import { addmm, matmul } from "../../src/ops/contract.ts";
import { type ConvSizes, convolution, convolutionInput, convolutionKernel } from "../../src/ops/convolution.ts";
import { sumCotangents } from "../../src/ops/cotangents.ts";
import { add as plus, BINARY, cast, COMPARE, LOGICAL, SELECT, UNARY, where } from "../../src/ops/elementwise.ts";
import { type ExtendAttrs, extend, EXTENSION, REACH } from "../../src/ops/extend.ts";
import { crossEntropyRows, FUSED, logSoftmax, softmax } from "../../src/ops/fused.ts";
import { constantLike, LEAF, leaf } from "../../src/ops/leaf.ts";
import { gather, scatterAdd } from "../../src/ops/lookup.ts";
import { cumsum } from "../../src/ops/cumulative.ts";
import { maxTaps, type PoolSizes, putTaps, spreadWindows, sumWindows, takeTaps } from "../../src/ops/pooling.ts";
import { argsort } from "../../src/ops/order.ts";
import { ATTENTIONS, type AttentionAttrs } from "../../src/ops/attention.ts";
import { NORM, type NormAttrs } from "../../src/ops/norm.ts";
import { alias, fence } from "../../src/ops/identity.ts";
import * as movement from "../../src/ops/movement.ts";
import * as reductions from "../../src/ops/reduction.ts";
import { lastOf, Loop, stackOf } from "../../src/ops/scan.ts";
import { fold, windows } from "../../src/ops/windows.ts";
import { random } from "../assembly/harness.ts";
import { isClose } from "./reference.ts";

/** Elements and tangents are no larger. */
const BOUND = 8;
/** Half the width around a point in which an operation must be smooth: far more than float32 is wrong. */
const KINK = 1e-3;
/** Elements of a tensor. */
const LARGEST = 400;

/** What a step is made from; numbers are taken modulo what there is to choose from. */
interface Step {
  readonly op: number;
  readonly a: number;
  readonly b: number;
  readonly seed: number;
}

export interface Recipe {
  readonly shape: Shape;
  readonly leaves: readonly number[];
  /** A step that is undefined is left out: so failures shrink. */
  readonly steps: readonly (Step | undefined)[];
  readonly seed: number;
}

const nat = fc.noBias(fc.nat(0xffffff));

/** Recipes of graphs of `size` operations. */
export function recipes(size: number): fc.Arbitrary<Recipe> {
  const step = fc.option(fc.record({ op: nat, a: nat, b: nat, seed: nat }), { nil: undefined, freq: 1e9 });
  return fc.record({
    shape: fc.constantFrom([2, 4, 3], [3, 5, 7], [33, 9], [5, 70], [1, 4, 4], [2, 6]),
    leaves: fc.array(nat, { minLength: 2, maxLength: 4 }),
    steps: fc.array(step, { minLength: size, maxLength: size }),
    seed: nat,
  });
}

export interface RandomGraph {
  /** Float leaves; derivatives are with respect to these. */
  readonly inputs: readonly Node[];
  readonly outputs: readonly Node[];
  /** Leaves: tangents of the inputs, cotangents of the outputs. */
  readonly tangents: readonly Node[];
  readonly cotangents: readonly Node[];
  /** Of all leaves, those of indices and labels too. */
  readonly values: Values;
}

/** Choices for one step. */
class Choice {
  private readonly next: () => number;
  constructor(
    seed: number,
    readonly nodes: readonly Node[],
    readonly a: Node,
    readonly start: number,
    private readonly values: Values,
  ) {
    this.next = random(seed + 1);
    this.next();
  }

  /** An integer from 0 to below n. */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  /** One of a table. */
  of(table: Readonly<Record<string, OpDef>>): OpDef {
    return Object.values(table)[this.below(Object.keys(table).length)];
  }

  /** A node for which `fits` holds; a does. */
  other(fits: (n: Node) => boolean): Node {
    const { nodes, start } = this;
    for (let i = 0; i < nodes.length; i++) {
      const n = nodes[(start + i) % nodes.length];
      if (fits(n)) return n;
    }
    return this.a;
  }

  /** Axes, at least one if there are any. */
  axes(): number[] {
    const rank = this.a.shape.length;
    const one = this.below(rank);
    return this.a.shape.map((_, i) => i).filter((i) => i === one || this.next() < 0.3);
  }

  indices(shape: Shape, bound: number): Node {
    const n = leaf(shape, "int32");
    this.values.set(
      n,
      Float64Array.from({ length: numel(shape) }, () => this.below(bound)),
    );
    return n;
  }
}

/** The broadcast of two shapes; undefined if they do not fit. */
function together(a: Shape, b: Shape): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const at = (s: Shape, i: number): number => s[s.length - rank + i] ?? 1;
  const out = Array.from({ length: rank }, (_, i) => Math.max(at(a, i), at(b, i)));
  return out.every((d, i) => [a, b].every((s) => at(s, i) === 1 || at(s, i) === d)) ? out : undefined;
}

/** a and another node, broadcast together. */
function pair(c: Choice): [Node, Node] {
  const b = c.other((n) => together(c.a.shape, n.shape) !== undefined);
  const shape = together(c.a.shape, b.shape) as number[];
  return [movement.expand(c.a, shape), movement.expand(b, shape)];
}

function condition(c: Choice): { a: Node; b: Node; is: Node } {
  const [a, b] = pair(c);
  const compare = (): Node => makeNode(c.of(COMPARE), [a, b]);
  const op = c.of(LOGICAL);
  return { a, b, is: op === LOGICAL.not ? makeNode(op, [compare()]) : makeNode(op, [compare(), compare()]) };
}

/** Elements of some mode around a, for f. */
function extended(c: Choice, f: (n: Node) => Node): Node | undefined {
  const { shape } = c.a;
  const mode = (["reflect", "replicate", "circular"] as const)[c.below(3)];
  const counts = (): number[] => shape.map((d) => c.below(Math.min(3, REACH[mode](d) + 1)));
  const y = extend(c.a, mode, counts(), counts());
  return y === c.a ? undefined : f(y);
}

type Builder = (c: Choice) => Node | undefined;

const binary =
  (op: OpDef): Builder =>
  (c) =>
    makeNode(op, pair(c));
/** Needs an axis. */
const ranked =
  (build: Builder, rank = 1): Builder =>
  (c) =>
    c.a.shape.length < rank ? undefined : build(c);
const reduction = (f: (x: Node, axes: readonly number[], keepdim: boolean) => Node): Builder =>
  ranked((c) => f(c.a, c.axes(), c.below(2) === 1));

const shuffled = (c: Choice, n: number): number[] => {
  const rest = Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: n }, (_, i) => rest.splice(c.below(n - i), 1)[0]);
};

/** A line of samples and channels, with a piece of itself as the kernel. */
const convolved = (f: (x: Node, w: Node, of: ConvSizes, size: number[]) => Node): Builder =>
  ranked((c) => {
    const extent = c.a.shape[c.a.shape.length - 1];
    const rest = numel(c.a.shape) / extent;
    const channels = rest % 2 === 0 && rest < 100 ? 2 : 1;
    const x = movement.reshape(c.a, [rest / channels, channels, extent]);
    const taps = 1 + c.below(Math.min(3, extent));
    const [stride, padding] = [1 + c.below(2), c.below(2)];
    const w = movement.slice(x, [0, 0, 0], [1, channels, taps]);
    const count = Math.floor((extent + 2 * padding - taps) / stride) + 1;
    return f(x, w, { stride: [stride], dilation: [1], padding: [padding], groups: 1 }, [count]);
  });

/** Windows on the last axis, or two of them, and how many. */
const pooled = (f: (c: Choice, of: PoolSizes, count: number[]) => Node | undefined): Builder =>
  ranked((c) => {
    const image = c.a.shape.slice(c.below(2) - 2);
    const kernel = image.map((n) => 1 + c.below(Math.min(3, n)));
    const stride = kernel.map((k) => (c.below(2) === 0 ? k : 1 + c.below(2)));
    const padding = kernel.map((k) => c.below(Math.floor(k / 2) + 1));
    const count = image.map((n, i) => Math.floor((n + 2 * padding[i] - kernel[i]) / stride[i]) + 1);
    return f(c, { kernel, stride, dilation: kernel.map(() => 1), padding, adaptive: false }, count);
  });

/** The axes of a node as those of a norm: its rows by themselves, its columns, or groups of its rows. */
function normAxes(c: Choice): number[] {
  const { shape } = c.a;
  const extent = shape[shape.length - 1];
  const rest = numel(shape) / extent;
  const groups = rest % 2 === 0 ? 2 : 1;
  const choices = [
    [1, rest, 1, extent, 1],
    [rest, 1, extent, 1, 1],
    [1, 1, groups, rest / groups, extent],
    [rest / groups, 1, groups, 1, extent],
  ];
  return choices[c.below(choices.length)];
}

/** A norm of a, with parameters and what comes back to it made from a itself. */
function normed(c: Choice, op: OpDef<NormAttrs>): Node {
  const x = movement.reshape(c.a, normAxes(c));
  const own = x.shape.slice(2, 4);
  const w = movement.reshape(movement.slice(x, [0, 0, 0, 0, 0], [1, 1, ...own, 1]), own);
  const rest = op === NORM.standardize ? movement.flip(w, [0, 1]) : movement.flip(x, [0, 1, 2, 3, 4]);
  return makeNode(op, [x, w, rest], { eps: 0.5, centered: c.below(3) > 0 });
}

/** Attention of a to what is of its shape, with its rows turned around or not; what comes back to it is a too. */
function attended(c: Choice, op: OpDef<AttentionAttrs>): Node | undefined {
  const { shape } = c.a;
  if (shape[shape.length - 2] > 40) return;
  const like = (n: Node): boolean => sameShape(n.shape, shape);
  const [k, v] = [c.other(like), c.other(like)].map((n) => (like(n) ? n : c.a));
  const turned = c.below(2) === 0 ? movement.flip(c.a, [shape.length - 2]) : c.a;
  // What is not seen has a score of -Infinity, which is not tame.
  const attrs = { scale: 0.3, causal: false };
  return makeNode(op, op === ATTENTIONS.attention ? [turned, k, v] : [turned, k, v, c.a], attrs);
}

/** How each operation is added to a graph. */
const BUILDERS: Record<string, Builder> = {
  ...Object.fromEntries(Object.values(UNARY).map((op): [string, Builder] => [op.name, (c) => makeNode(op, [c.a])])),
  ...Object.fromEntries(Object.values(BINARY).map((op): [string, Builder] => [op.name, binary(op)])),
  // Constants are what simplification has rules for.
  constant: (c) => {
    const k = constantLike(c.a, [-1, 0, 0.5, 1, 2][c.below(5)]);
    return makeNode(c.of(BINARY), c.below(2) === 1 ? [c.a, k] : [k, c.a]);
  },
  geluSlope: (c) => makeNode(SELECT.geluSlope, [c.a]),
  reluMask: binary(SELECT.reluMask),
  relu6Mask: binary(SELECT.relu6Mask),
  softmaxGrad: ranked(binary(FUSED.softmaxGrad)),
  logSoftmaxGrad: ranked(binary(FUSED.logSoftmaxGrad)),
  where: (c) => {
    const { a, b, is } = condition(c);
    return where(is, a, b);
  },
  cast: (c) => {
    const { a, is } = condition(c);
    return makeNode(BINARY.mul, [a, cast(is, "float32")]);
  },
  expand: (c) => {
    const grown = c.a.shape.map((d) => (d === 1 ? 1 + c.below(5) : d));
    return movement.expand(c.a, c.below(2) === 1 ? [1 + c.below(3), ...grown] : grown);
  },
  sum: reduction(movement.sum),
  mean: reduction(reductions.mean),
  max: reduction(reductions.max),
  min: reduction(reductions.min),
  prod: reduction((x, axes, keepdim) => {
    const count = numel(axes.map((a) => x.shape[a]));
    // Of more factors up to BOUND some overflow float32 before a small one comes, whatever the product is.
    return count <= 40 ? reductions.prod(x, axes, keepdim) : x;
  }),
  reshape: ranked((c) => {
    const { shape } = c.a;
    const at = c.below(shape.length);
    const merged = [...shape.slice(0, at), numel(shape.slice(at, at + 2)), ...shape.slice(at + 2)];
    const d = merged[at];
    const factor = [2, 3, 5, 7].find((f) => d % f === 0);
    return movement.reshape(
      c.a,
      factor && c.below(2) === 1 ? [...merged.slice(0, at), factor, d / factor, ...merged.slice(at + 1)] : merged,
    );
  }),
  permute: ranked((c) => movement.permute(c.a, shuffled(c, c.a.shape.length)), 2),
  flip: ranked((c) => movement.flip(c.a, c.axes())),
  slice: ranked((c) => {
    const step = c.a.shape.map(() => 1 + c.below(2));
    const begin = c.a.shape.map((d) => c.below(Math.ceil(d / 2)));
    const size = c.a.shape.map((d, i) => 1 + c.below(Math.ceil((d - begin[i]) / step[i])));
    return movement.slice(c.a, begin, size, step);
  }),
  pad: ranked((c) => {
    const step = c.a.shape.map(() => 1 + c.below(2));
    const begin = c.a.shape.map(() => c.below(3));
    const shape = c.a.shape.map((d, i) => begin[i] + (d - 1) * step[i] + 1 + c.below(2));
    return makeNode(movement.MOVEMENT.pad, [c.a], { begin, step, shape });
  }),
  // What flows back to slices of one tensor that overlap or do not.
  pieces: ranked((c) => {
    const { shape } = c.a;
    const pieces = Array.from({ length: 2 + c.below(3) }, () => {
      const step = shape.map(() => 1 + c.below(2));
      const begin = shape.map((d) => c.below(d));
      const size = shape.map((d, i) => 1 + c.below(Math.ceil((d - begin[i]) / step[i])));
      return movement.padAll([{ x: movement.slice(c.a, begin, size, step), begin, step }], shape);
    });
    return sumCotangents(pieces);
  }),
  // Halves, quarters, ... of an axis, each changed, side by side.
  parts: ranked((c) => {
    const { shape } = c.a;
    const axis = c.below(shape.length);
    const count = Math.min(shape[axis], 2 + c.below(3));
    const cuts = Array.from({ length: count + 1 }, (_, i) => Math.floor((i * shape[axis]) / count));
    const changed = [UNARY.tanh, UNARY.sin, UNARY.neg];
    const parts = cuts.slice(1).map((to, i) => {
      const at = (v: number): number[] => shape.map((_, k) => (k === axis ? v : 0));
      const size = shape.map((d, k) => (k === axis ? to - cuts[i] : d));
      return makeNode(changed[c.below(3)], [movement.slice(c.a, at(cuts[i]), size)]);
    });
    return movement.concat(parts, axis);
  }),
  concat: ranked((c) => {
    const axis = c.below(c.a.shape.length);
    const off = (n: Node): Shape => reducedShape(n.shape, [axis], true);
    const b = c.other((n) => n.shape.length === c.a.shape.length && sameShape(off(n), off(c.a)));
    return movement.concat([c.a, b], axis);
  }),
  alias: (c) => alias(c.a),
  fence: (c) =>
    fence(
      c.a,
      c.other(() => true),
    ),
  windows: ranked((c) => {
    const axis = c.below(c.a.shape.length);
    const size = 1 + c.below(Math.min(3, c.a.shape[axis]));
    const dilation = size > 1 && c.a.shape[axis] > 2 * size ? 1 + c.below(2) : 1;
    return windows(c.a, axis, { size, step: 1 + c.below(3), dilation });
  }),
  fold: ranked((c) => {
    const { shape } = c.a;
    const [step, dilation] = [1 + c.below(3), 1 + c.below(2)];
    const axis = c.below(shape.length - 1);
    const least = (shape[axis] - 1) * step + dilation * (shape[shape.length - 1] - 1) + 1;
    return fold(c.a, axis, { step, dilation }, least + c.below(2));
  }, 2),
  takeTaps: pooled(({ a }, of, count) => takeTaps(a, maxTaps(a, of, count), of, 0)),
  putTaps: pooled(({ a }, of, count) => {
    const taps = maxTaps(a, of, count);
    return putTaps(takeTaps(a, taps, of, 0), taps, of, a.shape.slice(-count.length));
  }),
  sumWindows: pooled(({ a }, of, count) => sumWindows(a, of, count)),
  spreadWindows: pooled(({ a }, of, count) =>
    spreadWindows(sumWindows(a, of, count), of, a.shape.slice(-count.length)),
  ),
  extend: ranked((c) => extended(c, (n) => n)),
  retract: ranked((c) => extended(c, (n) => makeNode(EXTENSION.retract, [n], n.attrs as ExtendAttrs))),
  cumsum: ranked((c) => cumsum(c.a, c.below(c.a.shape.length), c.below(2) === 1)),
  sort: ranked((c) => gather(c.a, argsort(c.a, c.below(2) === 1), c.a.shape.length - 1)),
  gather: ranked((c) => {
    const axis = c.below(c.a.shape.length);
    const shape = c.a.shape.map((d, i) => (i === axis ? 1 + c.below(d + 2) : d));
    return gather(c.a, c.indices(shape, c.a.shape[axis]), axis);
  }),
  scatterAdd: ranked((c) => {
    const axis = c.below(c.a.shape.length);
    const extent = 1 + c.below(c.a.shape[axis] + 2);
    return scatterAdd(c.a, c.indices(c.a.shape, extent), axis, extent);
  }),
  matmul: ranked((c) => {
    const { shape } = c.a;
    const [rows, inner] = shape.slice(-2);
    const fits = (n: Node): boolean => sameShape(n.shape.slice(0, -1), [...shape.slice(0, -2), inner]);
    const b = c.other(fits);
    const precise = c.below(3) === 0;
    if (fits(b)) return matmul(c.a, b, precise);
    return rows < 40 ? matmul(c.a, movement.transposeLast(c.a), precise) : undefined;
  }, 2),
  addmm: ranked((c) => {
    const { shape } = c.a;
    const [rows, cols] = shape.slice(-2);
    if (rows > 40 && cols > 40) return undefined;
    const b = c.other((n) => sameShape(n.shape, shape));
    const inRows = movement.transposeLast(c.a);
    const products = [matmul(c.a, matmul(inRows, b)), matmul(b, matmul(inRows, c.a))];
    return c.below(2) === 0 ? products.reduce(plus) : addmm(c.a, b, matmul(inRows, c.a));
  }, 2),
  convolution: convolved((x, w, of, size) => convolution(x, w, of, size)),
  convolutionInput: convolved((x, w, of, size) =>
    convolutionInput(convolution(x, w, of, size), w, of, x.shape.slice(2)),
  ),
  convolutionKernel: convolved((x, w, of, size) =>
    convolutionKernel(x, convolution(x, w, of, size), of, w.shape.slice(2)),
  ),
  softmax: ranked((c) => softmax(c.a)),
  logSoftmax: ranked((c) => logSoftmax(c.a)),
  standardize: ranked((c) => normed(c, NORM.standardize)),
  standardizeInput: ranked((c) => normed(c, NORM.standardizeInput)),
  standardizeParameters: ranked((c) => normed(c, NORM.standardizeParameters)),
  moments: ranked((c) => makeNode(NORM.moments, [movement.reshape(c.a, normAxes(c))])),
  // Over the first axis, with the first row to begin with, and the last one for all steps.
  scan: ranked((c) => {
    const [steps, ...row] = c.a.shape;
    const at = (t: number): Node => movement.reshape(movement.slice(c.a, [t, ...row.map(() => 0)], [1, ...row]), row);
    const [h, x, w] = [0, 1, 2].map(() => leaf(row, "float32"));
    const tanh = (n: Node): Node => makeNode(UNARY.tanh, [n]);
    const product = (): Node => matmul(matmul(h, movement.transposeLast(w)), x);
    const nexts = [
      () => tanh(plus(h, makeNode(BINARY.mul, [x, w]))),
      () => plus(makeNode(BINARY.mul, [tanh(h), w]), tanh(x)),
      () => (row.length >= 2 ? tanh(product()) : tanh(makeNode(BINARY.mul, [h, x]))),
    ];
    const next = nexts[c.below(nexts.length)]();
    const loop = new Loop(steps, c.below(2) === 1, [h], [x], [w], [next]);
    const src = [at(0), c.a, at(steps - 1)];
    const taps = [makeNode(BINARY.mul, [next, x]), next, h];
    const tap = c.below(taps.length + 1);
    return tap === taps.length ? lastOf(loop, src, 0) : stackOf(loop, src, taps[tap]);
  }),
  ...Object.fromEntries(
    Object.values(ATTENTIONS).map((op): [string, Builder] => [op.name, ranked((c) => attended(c, op), 2)]),
  ),
  crossEntropyRows: ranked((c) => {
    const classes = c.a.shape[c.a.shape.length - 1];
    const rows = numel(c.a.shape) / classes;
    return crossEntropyRows(movement.reshape(c.a, [rows, classes]), c.indices([rows], classes), 0);
  }),
  crossEntropyGradRows: ranked((c) => {
    const [rows, classes] = c.a.shape;
    if (c.a.shape.length !== 2) return undefined;
    const b = c.other((n) => sameShape(n.shape, [rows]));
    if (!sameShape(b.shape, [rows])) return undefined;
    return makeNode(FUSED.crossEntropyGradRows, [c.a, c.indices([rows], classes), b], { ignore: 0 });
  }, 2),
};
const NAMES = Object.keys(BUILDERS);

/**
 * Whether a node of this value is what its derivative says within KINK of its operands: no kink, jump or tie is that near.
 * `known` are the values before it.
 */
function isSmooth(n: Node, value: Float64Array, operands: readonly Node[], known: Values, next: () => number): boolean {
  const points = operands.map((x) => known.get(x) as Float64Array);
  const f = functionOf([n], operands, known);
  const directions = operands.map((x) => leaf(x.shape, x.dtype));
  const slope = functionOf(jvp([n], operands, directions) as Node[], directions, known);
  for (let trial = 0; trial < 2; trial++) {
    const ds = points.map((p) => p.map(() => (next() < 0.5 ? -KINK : KINK) * (0.5 + next() / 2)));
    const [high, low] = [1, -1].map((s) => f(...points.map((p, i) => p.map((v, k) => v + s * ds[i][k])))[0]);
    const [change] = slope(...ds);
    const smooth = value.every(
      (v, k) =>
        Math.abs(high[k] - low[k] - 2 * change[k]) <= 0.01 * KINK && Math.abs(high[k] + low[k] - 2 * v) <= 0.1 * KINK,
    );
    if (!smooth) return false;
  }
  return true;
}

/** The graph of a recipe. */
export function build({ shape, leaves, steps, seed }: Recipe): RandomGraph {
  const next = random(seed + 1);
  next();
  /** Of every node so far, and of its tangent. */
  const known: Values = new Map();
  /** The same, each value rounded to float32. */
  const rounded: Values = new Map();
  const tangentOf = new Map<Node, Node>();
  const uniformLeaf = (own: Shape): Node => {
    const n = leaf(own, "float32");
    const value = Float64Array.from({ length: numel(own) }, () => Math.fround(2 * next() - 1));
    known.set(n, value);
    rounded.set(n, value);
    return n;
  };
  const inputs = leaves.map((bits) => {
    // Some last axes of the shape, some of them 1: all leaves broadcast together.
    const own = shape.slice(bits % (shape.length + 1)).map((d, i) => ((bits >> (4 + 2 * i)) % 4 === 0 ? 1 : d));
    const n = uniformLeaf(own);
    tangentOf.set(n, uniformLeaf(own));
    return n;
  });
  const nodes = [...inputs];
  const unused = new Set(nodes);

  /** Values of nodes, with those they are computed from; undefined if one is large that was not there before. */
  const tameValues = (...ns: Node[]): Values | undefined => {
    const near = toposort(ns, (x) => known.has(x)).filter((x) => known.has(x));
    const values = interpret(ns, new Map(near.map((x) => [x, known.get(x) as Float64Array])));
    const isTame = [...values].every(
      ([n, data]) => known.has(n) || n.dtype !== "float32" || data.every((v) => Math.abs(v) <= BOUND),
    );
    return isTame ? values : undefined;
  };
  /** Adds a node, if it is tame. */
  const add = (n: Node): boolean => {
    if (n.dtype !== "float32" || numel(n.shape) > LARGEST || tangentOf.has(n) || !tameValues(n)) return false;
    const operands = toposort([n], (x) => tangentOf.has(x)).filter((x) => tangentOf.has(x));
    const tangents = operands.map((x) => tangentOf.get(x) as Node);
    const [t] = jvp([n], operands, tangents);
    const values = t && tameValues(n, t);
    if (!t || !values) return false;
    const exact = [n, t].map((x) => values.get(x) as Float64Array);
    if (!isSmooth(n, exact[0], operands, known, next)) return false;
    // With operands as float32 has them: errors must not grow.
    const near = [...operands, ...tangents];
    const single = functionOf([n, t], near, known)(...near.map((x) => rounded.get(x) as Float64Array));
    if (!single.every((y, i) => y.every((v, k) => isClose(v, exact[i][k])))) return false;
    [n, t].forEach((x, i) => {
      known.set(x, exact[i]);
      rounded.set(x, single[i].map(Math.fround));
    });
    tangentOf.set(n, t);
    nodes.push(n);
    unused.add(n);
    for (const x of operands) unused.delete(x);
    return true;
  };
  for (const step of steps) {
    if (!step) continue;
    const from = step.a % 2 === 0 ? [...unused] : nodes;
    const a = from[(step.a >> 1) % from.length];
    const isAdded = NAMES.some((_, i) => {
      const n = BUILDERS[NAMES[(step.op + i) % NAMES.length]](new Choice(step.seed, nodes, a, step.b, known));
      return n !== undefined && add(n);
    });
    if (!isAdded) throw new Error(`no operation is tame on ${show(a.shape)}`);
  }
  const outputs = [...unused];
  const cotangents = outputs.map((n) => uniformLeaf(n.shape));
  const values: Values = new Map([...known].filter(([n]) => n.op === LEAF));
  return { inputs, outputs, tangents: inputs.map((x) => tangentOf.get(x) as Node), cotangents, values };
}
