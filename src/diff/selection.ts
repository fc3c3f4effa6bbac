/**
 * @file Results that are each one argument, moved: which one, place by place. What digits (sparsity.ts) cannot say of a roll, a
 * slice or an index tensor is found by sending the numbers of places through the references of the operations.
 */
import { isFloat } from "../core/dtype.ts";
import { numel } from "../core/shape.ts";
import { type Node, type RefArray, toposort } from "../graph/node.ts";
import { interpret } from "../ops/interpret.ts";
import { constantValue } from "../ops/leaf.ts";
import { referenceOf } from "../ops/reference/table.ts";
import { arbitrary } from "./check.ts";
import { factorOf, type Structure } from "./sparsity.ts";

/** A linear map in which each result is one argument times a number, or 0. */
export interface Selection {
  /** For each result the place of its argument; -1 for none. */
  readonly from: Int32Array;
  /** Whether the numbers are all 1. */
  readonly ones: boolean;
}

/** Values of more elements are not looked at: it takes a tenth of a second. */
const LIMIT = 2 ** 19;

/** The name of a selection among `count` arguments. */
export function nameOf({ from, ones }: Selection, count: number): Structure {
  const seen = new Uint8Array(count);
  for (const k of from) if (k >= 0) seen[k] = 1;
  if (from.length !== count || seen.includes(0)) return "selection";
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

/** A selection on its way: places count from 1, 0 is none. */
interface Moving {
  readonly places: Float64Array;
  readonly ones: boolean;
}

/** Of an elementwise operation: at each place at most one source has an argument, or all the same one. */
function together(n: Node, made: ReadonlyMap<Node, Moving>): Moving | null {
  const places = new Float64Array(numel(n.shape));
  let ones = true;
  for (const [i, s] of n.src.entries()) {
    const part = made.get(s);
    if (!part) continue;
    ones &&= part.ones && factorOf(n, i, (x) => made.has(x)) === 1;
    for (let k = 0; k < places.length; k++) {
      const place = part.places[k];
      if (place === 0) continue;
      if (places[k] !== 0) {
        if (places[k] !== place) return null;
        ones = false;
      }
      places[k] = place;
    }
  }
  return { places, ones };
}

/**
 * Of any other operation that is linear in what is made of x: its reference says where the places go, and is tried on other
 * numbers, `probe` of each place, for a sum of places may be a place, too.
 */
function moved(
  n: Node,
  made: ReadonlyMap<Node, Moving>,
  probe: Float64Array,
  dataOf: (leaf: Node) => ArrayLike<number> | undefined,
): Moving | null {
  const reference = referenceOf(n.op);
  if (!reference) return null;
  let ones = true;
  const src: RefArray[] = [];
  const tried: RefArray[] = [];
  for (const s of n.src) {
    const { shape } = s;
    const part = made.get(s);
    if (part) {
      ones &&= part.ones;
      src.push({ shape, data: part.places });
      tried.push({ shape, data: part.places.map((k) => probe[k]) });
      continue;
    }
    const data = isFloat(s.dtype) ? constantValue(s) === 0 && new Float64Array(numel(shape)) : known(s, dataOf);
    if (!data) return null;
    src.push({ shape, data });
    tried.push({ shape, data });
  }
  const places = reference(src, n);
  const wanted = reference(tried, n);
  for (let i = 0; i < places.length; i++) if (probe[places[i]] !== wanted[i]) return null;
  return { places, ones };
}

/**
 * The linear map from x to y (see sparsityOf) as a selection; null if it is none, or that cannot be told: indices that are
 * not known yet, or more than 2^19 elements. `dataOf` has the values of leaves that are known.
 */
export function selectionOf(y: Node, x: Node, dataOf: (leaf: Node) => ArrayLike<number> | undefined): Selection | null {
  const count = numel(x.shape);
  if (count > LIMIT) return null;
  const probe = arbitrary(count + 1, 1);
  probe[0] = 0;
  const all = new Float64Array(count);
  for (let i = 0; i < count; i++) all[i] = i + 1;
  const made = new Map<Node, Moving>([[x, { places: all, ones: true }]]);
  for (const n of toposort([y], (s) => s === x)) {
    if (made.has(n) || !n.src.some((s) => made.has(s))) continue;
    if (numel(n.shape) > LIMIT) return null;
    const found =
      n.op.kind === "identity"
        ? made.get(n.src[0])
        : n.op.kind === "elementwise"
          ? together(n, made)
          : moved(n, made, probe, dataOf);
    if (!found) return null;
    made.set(n, found);
  }
  const { places, ones } = made.get(y) as Moving;
  const from = new Int32Array(places.length);
  for (let i = 0; i < places.length; i++) from[i] = places[i] - 1;
  return { from, ones };
}
