/**
 * @file Results that are each one argument, moved: which one, place by place. What digits (pattern.ts) cannot say of a roll, a
 * slice or an index tensor is found by sending the numbers of places through the references of the operations.
 */
import { isFloat } from "../core/dtype.ts";
import { numel } from "../core/shape.ts";
import { type Node, type RefArray, toposort } from "../graph/node.ts";
import { interpret } from "../ops/interpret.ts";
import { constantValue } from "../ops/leaf.ts";
import { referenceOf } from "../ops/reference.ts";
import { arbitrary } from "./check.ts";
import { factorOf, type Structure } from "./pattern.ts";

/** A linear map in which each result is one argument times a number, or 0. */
export interface Selection {
  /** For each result the place of its argument; -1 for none. */
  readonly from: Int32Array;
  /** Whether the numbers are all 1. */
  readonly ones: boolean;
}

/** Values of more elements are not looked at: it takes the time of a few passes in JavaScript. */
const LIMIT = 2 ** 20;

/** The name of a selection among `count` arguments. */
export function nameOf({ from, ones }: Selection, count: number): Structure {
  if (from.length !== count || from.includes(-1) || new Set(from).size !== count) return "selection";
  if (from.every((k, i) => k === i)) return ones ? "identity" : "diagonal";
  return ones ? "permutation" : "generalized permutation";
}

/** The values of integers that are made of known leaves alone. */
function known(n: Node, dataOf: (leaf: Node) => ArrayLike<number> | undefined): Float64Array | undefined {
  const given = new Map<Node, Float64Array>();
  for (const m of toposort([n])) {
    if (numel(m.shape) > LIMIT) return undefined;
    const data = dataOf(m);
    if (data) given.set(m, Float64Array.from(data));
    else if (m.src.length === 0 && !referenceOf(m.op)) return undefined;
  }
  return interpret([n], given).get(n);
}

/** Of an elementwise operation: at each place at most one source has an argument, or all the same one. */
function together(n: Node, made: ReadonlyMap<Node, Selection>): Selection | null {
  const from = new Int32Array(numel(n.shape)).fill(-1);
  let ones = true;
  for (const [i, s] of n.src.entries()) {
    const part = made.get(s);
    if (!part) continue;
    ones &&= part.ones && factorOf(n, i, (x) => made.has(x)) === 1;
    for (let k = 0; k < from.length; k++) {
      if (part.from[k] < 0) continue;
      if (from[k] >= 0 && from[k] !== part.from[k]) return null;
      if (from[k] >= 0) ones = false;
      from[k] = part.from[k];
    }
  }
  return { from, ones };
}

/** Of any other operation that is linear in what is made of x: found by its reference, and tried on other numbers. */
function moved(
  n: Node,
  made: ReadonlyMap<Node, Selection>,
  dataOf: (leaf: Node) => ArrayLike<number> | undefined,
): Selection | null {
  const reference = referenceOf(n.op);
  if (!reference) return null;
  const parts: Selection[] = [];
  const places: RefArray[] = [];
  for (const s of n.src) {
    const part = made.get(s);
    let data: Float64Array | undefined;
    if (part) {
      const before = parts.reduce((sum, p) => sum + p.from.length, 0);
      data = Float64Array.from(part.from, (_, k) => before + k + 1);
      parts.push(part);
    } else if (!isFloat(s.dtype)) data = known(s, dataOf);
    else if (constantValue(s) === 0) data = new Float64Array(numel(s.shape));
    if (!data) return null;
    places.push({ shape: s.shape, data });
  }
  const arguments_ = parts.flatMap((p) => [...p.from]);
  const other = Float64Array.of(0, ...arbitrary(arguments_.length, 1));
  const at = reference(places, n);
  const values = reference(
    places.map(({ shape, data }, i) => ({ shape, data: made.has(n.src[i]) ? data.map((k) => other[k]) : data })),
    n,
  );
  if (!at.every((k, i) => other[k] === values[i])) return null;
  return { from: Int32Array.from(at, (k) => (k > 0 ? arguments_[k - 1] : -1)), ones: parts.every((p) => p.ones) };
}

/**
 * The linear map from x to y (see patternOf) as a selection; null if it is none, or that cannot be told: indices that are
 * not known yet, or more than 2^20 elements. `dataOf` has the values of leaves that are known.
 */
export function selectionOf(y: Node, x: Node, dataOf: (leaf: Node) => ArrayLike<number> | undefined): Selection | null {
  if (numel(x.shape) > LIMIT) return null;
  const made = new Map<Node, Selection>([
    [x, { from: Int32Array.from({ length: numel(x.shape) }, (_, i) => i), ones: true }],
  ]);
  for (const n of toposort([y], (s) => s === x)) {
    if (made.has(n) || !n.src.some((s) => made.has(s))) continue;
    if (numel(n.shape) > LIMIT) return null;
    const found =
      n.op.kind === "identity"
        ? (made.get(n.src[0]) ?? null)
        : n.op.kind === "elementwise"
          ? together(n, made)
          : moved(n, made, dataOf);
    if (!found) return null;
    made.set(n, found);
  }
  return made.get(y) ?? null;
}
