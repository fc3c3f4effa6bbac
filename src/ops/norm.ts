/**
 * @file Normalisation: elements less their mean, divided by their standard deviation, times a weight, plus a bias.
 *
 * Every norm has one shape, [A, Q, G, J, S]: the statistics of each (Q, G) are those of its elements over samples A, channels J
 * and places S, and each (G, J) has a weight and a bias. The norm of a batch is [N, 1, C, 1, S], that of a layer
 * [1, rows, 1, columns, 1], that of groups [1, N, G, C / G, S], that of instances [1, N, C, 1, S].
 */
import { isFloat } from "../core/dtype.ts";
import { DTypeError, ShapeError } from "../core/errors.ts";
import { type Shape, show } from "../core/shape.ts";
import { makeNode, type NoAttrs, type Node, type OpDef } from "../graph/node.ts";
import { add, apply, mul, sub, UNARY } from "./elementwise.ts";
import { constantLike } from "./leaf.ts";
import { concat, expand, forEveryExample, permute, reshape, slice, sum } from "./movement.ts";
import { mean } from "./reduction.ts";

export type NormAttrs = {
  /** Added to the variance. */
  readonly eps: number;
  /** Whether the mean is taken off; else the variance is the mean of squares. */
  readonly centered: boolean;
};

/** Axes that statistics are over, and those that gradients of weight and bias are summed over. */
const STATISTICS = [0, 3, 4];
const OTHERS = [0, 1, 4];

function checked(name: string, x: Node, likeX: readonly Node[], parameters: readonly Node[]): void {
  for (const n of [x, ...likeX, ...parameters])
    if (!isFloat(n.dtype)) throw new DTypeError(`${name}: dtype ${n.dtype} is not supported, only float32`);
  const [a, , g, j] = x.shape;
  // A sum over samples as well as over channels beside each other has no kernel.
  if (x.shape.length !== 5 || (a !== 1 && j !== 1))
    throw new ShapeError(`${name}: shape ${show(x.shape)} is not [A, Q, G, J, S] with A or J of 1`);
  if (a * j * x.shape[4] === 0) throw new ShapeError(`${name}: shape ${show(x.shape)} has nothing to take the mean of`);
  for (const n of likeX)
    if (show(n.shape) !== show(x.shape))
      throw new ShapeError(`${name}: shapes ${show(x.shape)}, ${show(n.shape)} differ`);
  for (const n of parameters)
    if (show(n.shape) !== show([g, j]))
      throw new ShapeError(`${name}: shape ${show(n.shape)} is not that of a parameter, ${show([g, j])}`);
}

const averaged = (x: Node): Node => expand(mean(x, STATISTICS, true), x.shape);

/** A weight or bias for every element. */
const spread = (w: Node, shape: Shape): Node => expand(reshape(w, [1, 1, w.shape[0], w.shape[1], 1]), shape);

/** x standardised, and what it was multiplied by for that. */
function parts(x: Node, { eps, centered }: NormAttrs): { xhat: Node; scale: Node } {
  const d = centered ? sub(x, averaged(x)) : x;
  const variance = mean(apply(UNARY.square, d), STATISTICS, true);
  const scale = expand(apply(UNARY.rsqrt, add(variance, constantLike(variance, eps))), x.shape);
  return { xhat: mul(d, scale), scale };
}

/** Sums for weight and bias: [2, G, J], that of the bias first. */
function sums(forBias: Node, forWeight: Node): Node {
  const each = [forBias, forWeight].map((s) => sum(s, OTHERS));
  return concat(
    each.map((s) => reshape(s, [1, ...s.shape])),
    0,
  );
}

/** The axes with A and Q in each other's place. */
const swapped = (x: Node): Node => permute(x, [1, 0, ...x.shape.map((_, i) => i).slice(2)]);

/** Examples are more of Q, where weight and bias are the same for all. */
const moreRows: OpDef<NormAttrs>["batch"] = (n, src, has) => {
  const isParameter = (i: number): boolean => n.src[i].shape.length === 2;
  if (src.some((_, i) => has[i] && isParameter(i))) return;
  const count = src[has.indexOf(true)].shape[0];
  const [a, q, ...rest] = n.shape;
  const sources = src.map((s, i) => {
    if (isParameter(i)) return s;
    const [all] = forEveryExample([s], [has[i]], count);
    return reshape(swapped(all), [a, count * q, ...rest]);
  });
  return swapped(reshape(makeNode(n.op, sources, n.attrs), [a, count, q, ...rest]));
};

/** x [A, Q, G, J, S], weight [G, J], bias [G, J]. */
const STANDARDIZE: OpDef<NormAttrs> = {
  name: "standardize",
  kind: "other",
  pattern: "mixes",
  infer: ([x, w, b]) => {
    checked("standardize", x, [], [w, b]);
    return { shape: x.shape, dtype: x.dtype };
  },
  vjp: (n, g) => {
    const [x, w] = n.src;
    const p = makeNode(STANDARDIZE_PARAMETERS, [x, w, g], n.attrs);
    const part = (i: number): Node => reshape(slice(p, [i, 0, 0], [1, ...w.shape]), w.shape);
    return [makeNode(STANDARDIZE_INPUT, [x, w, g], n.attrs), part(1), part(0)];
  },
  decompose: (n) => {
    const [x, w, b] = n.src;
    return add(mul(parts(x, n.attrs).xhat, spread(w, x.shape)), spread(b, x.shape));
  },
  batch: moreRows,
};

/** What standardize sends back to x, given x, weight and what comes back to the result. */
const STANDARDIZE_INPUT: OpDef<NormAttrs> = {
  name: "standardizeInput",
  kind: "other",
  pattern: "mixes",
  infer: ([x, w, g]) => {
    checked("standardizeInput", x, [g], [w]);
    return { shape: x.shape, dtype: x.dtype };
  },
  decompose: (n) => {
    const [x, w, g] = n.src;
    const { xhat, scale } = parts(x, n.attrs);
    const weighted = mul(g, spread(w, x.shape));
    const centered = n.attrs.centered ? sub(weighted, averaged(weighted)) : weighted;
    return mul(scale, sub(centered, mul(xhat, averaged(mul(weighted, xhat)))));
  },
  batch: moreRows,
};

/**
 * What standardize sends back to bias and weight, [2, G, J], in this order, given what standardizeInput is given: both come from
 * the same sums, and so the compiler makes them at once. It does not depend on the weight.
 */
const STANDARDIZE_PARAMETERS: OpDef<NormAttrs> = {
  name: "standardizeParameters",
  kind: "other",
  pattern: "mixes",
  infer: ([x, w, g]) => {
    checked("standardizeParameters", x, [g], [w]);
    return { shape: [2, ...w.shape], dtype: x.dtype };
  },
  decompose: (n) => {
    const [x, , g] = n.src;
    return sums(g, mul(g, parts(x, n.attrs).xhat));
  },
};

/** x [A, Q, G, J, S] to the mean of each (Q, G) and the mean of squares of what differs from it: [2, Q, G]. */
const MOMENTS: OpDef<NoAttrs> = {
  name: "moments",
  kind: "other",
  pattern: "mixes",
  infer: ([x]) => {
    checked("moments", x, [], []);
    return { shape: [2, x.shape[1], x.shape[2]], dtype: x.dtype };
  },
  decompose: (n) => {
    const [x] = n.src;
    const both = [mean(x, STATISTICS), mean(apply(UNARY.square, sub(x, averaged(x))), STATISTICS)];
    return concat(
      both.map((m) => reshape(m, [1, ...m.shape])),
      0,
    );
  },
};

/** x [A, Q, G, J, S] standardised, times weight [G, J], plus bias [G, J]. */
export function standardize(x: Node, weight: Node, bias: Node, attrs: NormAttrs): Node {
  return makeNode(STANDARDIZE, [x, weight, bias], attrs);
}

/** Mean and variance (over n, not n - 1) of each (Q, G) of x [A, Q, G, J, S]: [2, Q, G]. */
export function moments(x: Node): Node {
  return makeNode(MOMENTS, [x]);
}

export const NORM = {
  standardize: STANDARDIZE,
  standardizeInput: STANDARDIZE_INPUT,
  standardizeParameters: STANDARDIZE_PARAMETERS,
  moments: MOMENTS,
};
