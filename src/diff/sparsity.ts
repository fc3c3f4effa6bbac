/**
 * @file Which elements of a Jacobian may differ from zero, and which are equal, read off the graph. The row and the column
 * of an element are written as digits, one for each axis (mixed radix). A digit that row and column share is tied: the
 * element is zero unless it is the same in both. Along a digit that does not vary, the elements are equal. Diagonals,
 * permutations, Kronecker products with the identity, ... are all of this form, and so are their products and sums.
 */
import { numel, sameShape, type Shape } from "../core/shape.ts";
import type { Along, Node, RefArray } from "../graph/node.ts";
import { toposort } from "../graph/node.ts";
import { constantValue } from "../ops/leaf.ts";

/** A digit. Tied ones are the same object in rows and columns. */
export interface Axis {
  readonly extent: number;
  /** Whether elements differ along it. */
  readonly varies: boolean;
  /** Of a tied one: whether the column's digit counts down where the row's counts up. */
  readonly reversed: boolean;
}

/** The digits of rows (elements of the result) and columns (elements of the argument), the most significant first. */
export interface Sparsity {
  readonly rows: readonly Axis[];
  readonly columns: readonly Axis[];
  /** Whether all elements that the ties leave are 1. Nothing varies then. */
  readonly ones: boolean;
}

type Side = "rows" | "columns";

const other = (side: Side): Side => (side === "rows" ? "columns" : "rows");
export const extents = (axes: readonly Axis[]): number[] => axes.map((a) => a.extent);
const axis = (extent: number, varies: boolean, reversed = false): Axis => ({ extent, varies, reversed });

/** The axes that only one side has. */
export function untied(p: Sparsity, side: Side): Axis[] {
  return p[side].filter((a) => !p[other(side)].includes(a));
}

/** The axes that both sides have, in the order of the rows. */
export function tied(p: Sparsity): Axis[] {
  return p.rows.filter((a) => p.columns.includes(a));
}

function identity(shape: Shape): Sparsity {
  const axes = shape.filter((d) => d > 1).map((d) => axis(d, false));
  return merged({ rows: axes, columns: axes, ones: true });
}

/** With other axes in the place of some, on both sides. */
function replaced(p: Sparsity, by: ReadonlyMap<Axis, readonly Axis[]>): Sparsity {
  const map = (axes: readonly Axis[]): Axis[] => axes.flatMap((a) => by.get(a) ?? [a]);
  return { ...p, rows: map(p.rows), columns: map(p.columns) };
}

/** With axes that are neighbours on both sides, and alike, as one. */
function merged(p: Sparsity): Sparsity {
  for (const side of ["rows", "columns"] as const)
    for (const [k, b] of p[side].entries()) {
      const a = p[side][k - 1];
      if (!a || a.varies !== b.varies || a.reversed !== b.reversed) continue;
      const [i, j] = [a, b].map((x) => p[other(side)].indexOf(x));
      if (i < 0 ? j < 0 : j === i + 1)
        return merged(
          replaced(
            p,
            new Map([
              [a, [{ ...a, extent: a.extent * b.extent }]],
              [b, []],
            ]),
          ),
        );
    }
  return p;
}

/** How many places each axis and those before it have. */
function cuts(shape: Shape): number[] {
  let places = 1;
  return shape.map((d) => {
    places *= d;
    return places;
  });
}

/** The extents between cuts. */
const between = (list: readonly number[], from: number): number[] => list.map((c, k) => c / (list[k - 1] ?? from));

/**
 * With axes cut so that none lies across a boundary of `shape`. Where the axes there are do not allow it ([2, 6] as [3, 4])
 * they become one and are cut anew, if `recut` and they are neighbours on both sides; else their ties are lost.
 */
function refined(p: Sparsity, side: Side, shape: Shape, recut: boolean): Sparsity {
  const wanted = cuts(shape.filter((d) => d > 1));
  let result = p;
  let block: Axis[] = [];
  let [from, at] = [1, 1];
  for (const a of p[side]) {
    block.push(a);
    at *= a.extent;
    if (!wanted.includes(at)) continue;
    const inside = wanted.filter((c) => c > from && c <= at);
    result = refinedBlock(result, side, block, from, inside, recut);
    block = [];
    from = at;
  }
  return result;
}

/** `block` begins at `from` and is to be cut at `inside`; both end at the same place. */
function refinedBlock(
  p: Sparsity,
  side: Side,
  block: readonly Axis[],
  from: number,
  inside: readonly number[],
  recut: boolean,
): Sparsity {
  const own = cuts(extents(block)).map((c) => c * from);
  const all = [...new Set([...own, ...inside])].sort((a, b) => a - b);
  if (between(all, from).every(Number.isInteger)) {
    const pieces = (k: number): Axis[] => {
      const start = own[k - 1] ?? from;
      return between(
        all.filter((c) => c > start && c <= own[k]),
        start,
      ).map((extent) => ({ ...block[k], extent }));
    };
    return replaced(p, new Map(block.map((a, k) => [a, pieces(k)])));
  }
  const opposite = p[other(side)];
  const first = opposite.indexOf(block[0]);
  const { reversed } = block[0];
  const neighbours = first >= 0 && block.every((a, k) => opposite[first + k] === a && a.reversed === reversed);
  const whole = between(inside, from);
  if (recut && neighbours) {
    const varies = block.some((a) => a.varies);
    const pieces = whole.map((extent) => axis(extent, varies, reversed));
    return replaced(p, new Map(block.map((a, k) => [a, k === 0 ? pieces : []])));
  }
  const fresh = whole.map((extent) => axis(extent, true));
  return {
    ...p,
    [side]: p[side].flatMap((a) => (a === block[0] ? fresh : block.includes(a) ? [] : [a])),
    [other(side)]: opposite.map((a) => (block.includes(a) ? axis(a.extent, true) : a)),
    ones: false,
  };
}

/** The sparsity of a sum. */
function plus(p: Sparsity | null, q: Sparsity | null): Sparsity | null {
  if (!p || !q) return p ?? q;
  let [a, b] = [p, q];
  const alike = (side: Side): boolean => sameShape(extents(a[side]), extents(b[side]));
  for (let recut = true; !alike("rows") || !alike("columns"); recut = false)
    for (const side of ["rows", "columns"] as const) {
      a = refined(a, side, extents(b[side]), recut);
      b = refined(b, side, extents(a[side]), false);
    }
  // A tie of one of the two alone is none of the sum.
  const shared = new Map<Axis, Axis>();
  const common = a.rows.map((x, k) => {
    const y = b.rows[k];
    const place = a.columns.indexOf(x);
    const same = place === b.columns.indexOf(y) && (place < 0 || x.reversed === y.reversed);
    const sum = axis(x.extent, !same || x.varies || y.varies, same && x.reversed);
    if (same) shared.set(x, sum);
    return sum;
  });
  const columns = a.columns.map((x, k) => {
    const y = b.columns[k];
    const tie = a.rows.includes(x) || b.rows.includes(y);
    return shared.get(x) ?? axis(x.extent, tie || x.varies || y.varies);
  });
  return merged({ rows: common, columns, ones: false });
}

/** What an operation does with one of its sources. */
interface Step {
  readonly along: readonly Along[];
  /** For each axis of the result, whether a factor from another source differs along it. */
  readonly varies: readonly boolean[];
  /** Whether elements that are summed over may have different factors. */
  readonly weighted: boolean;
  readonly ones: boolean;
}

/** The sparsity of a node's dependence on one of its sources, times that of the source. */
function times(step: Step, n: Node, source: Shape, before: Sparsity): Sparsity {
  const p = refined(before, "rows", source, true);
  let k = 0;
  const digits = source.map((d) => {
    const from = k;
    for (let extent = 1; extent < d; k++) extent *= p.rows[k].extent;
    return p.rows.slice(from, k);
  });
  const now = new Map<Axis, Axis>();
  const rows = step.along.flatMap((link, a) => {
    if (typeof link === "string") return n.shape[a] > 1 ? axis(n.shape[a], link === "mixed" || step.varies[a]) : [];
    const [from, back] = typeof link === "number" ? [link, false] : [link.reversed, true];
    return digits[from].map((x) => {
      now.set(x, axis(x.extent, x.varies || step.varies[a], x.reversed !== back));
      return now.get(x) as Axis;
    });
  });
  const columns = p.columns.map(
    (x) => now.get(x) ?? (p.rows.includes(x) ? axis(x.extent, x.varies || step.weighted) : x),
  );
  // A sum over places that are all alike is their number.
  const counted = p.rows.some((x) => !now.has(x) && !p.columns.includes(x));
  return merged({ rows, columns, ones: p.ones && step.ones && !counted });
}

/** Where each axis of a node runs along a source; all of them "mixed" if nothing is known. */
function alongOf(n: Node, i: number): readonly Along[] {
  if (n.op.kind === "elementwise" || (n.op.kind === "identity" && i === 0)) return n.shape.map((_, a) => a);
  return typeof n.op.along === "function" ? n.op.along(n, i) : n.shape.map(() => "mixed");
}

/**
 * By which number an elementwise operation multiplies its source i, if that is the same everywhere. It is linear in those of
 * its sources that are `moving`: its value at a unit vector is the factor.
 */
export function factorOf(n: Node, i: number, moving: (s: Node) => boolean): number | undefined {
  const at = n.src.map((s, j) => (j === i ? 1 : moving(s) ? 0 : constantValue(s)));
  if (at.includes(undefined)) return undefined;
  const unit: RefArray[] = at.map((v) => ({ shape: [], data: Float64Array.of(v as number) }));
  return n.op.ref?.(unit, n)[0];
}

/**
 * The sparsity of the linear map from x to y: y is made of x by operations that are linear in what is made of x, as jvp makes
 * them. Null if all is zero.
 */
export function sparsityOf(y: Node, x: Node): Sparsity | null {
  if (numel(x.shape) === 0) return null;
  /** Of what is made of x. */
  const sparsities = new Map<Node, Sparsity | null>([[x, identity(x.shape)]]);
  /** Of what is not: whether it differs along each axis. */
  const varying = new Map<Node, readonly boolean[]>();

  const variesAlong = (n: Node, link: Along, i: number): boolean => {
    if (typeof link === "string") return link === "mixed";
    return (varying.get(n.src[i]) as boolean[])[typeof link === "number" ? link : link.reversed];
  };
  const variation = (n: Node): boolean[] => {
    if (constantValue(n) !== undefined) return n.shape.map(() => false);
    if (n.op.along === "flat") return n.shape.map((d) => d > 1 && (varying.get(n.src[0]) as boolean[]).includes(true));
    const links = n.src.map((_, i) => alongOf(n, i));
    return n.shape.map(
      (d, a) => d > 1 && (links.length === 0 || links.some((along, i) => variesAlong(n, along[a], i))),
    );
  };
  /** Whether each element of n is the sum of some of source i's, as they are. */
  const isSum = (n: Node, i: number, along: readonly Along[]): boolean => {
    if (n.op.kind !== "elementwise") return !along.includes("mixed") && n.src.every((s) => sparsities.has(s));
    return factorOf(n, i, (s) => sparsities.has(s)) === 1;
  };
  const through = (n: Node, i: number): Sparsity | null => {
    const before = sparsities.get(n.src[i]);
    if (!before || numel(n.shape) === 0) return null;
    if (n.op.along === "flat") return before;
    const along = alongOf(n, i);
    const factors = [...n.src.keys()].filter((j) => varying.has(n.src[j]));
    const links = factors.map((j) => alongOf(n, j));
    const step: Step = {
      along,
      varies: n.shape.map((_, a) => factors.some((j, k) => variesAlong(n, links[k][a], j))),
      weighted: along.includes("mixed") || factors.length > 0,
      ones: isSum(n, i, along),
    };
    return times(step, n, n.src[i].shape, before);
  };

  const known = (n: Node): boolean => sparsities.has(n) || varying.has(n);
  const visit = (root: Node): void => {
    for (const n of toposort([root], known)) {
      if (known(n)) continue;
      if (!n.src.some((s) => sparsities.has(s))) varying.set(n, variation(n));
      else if (n.op.kind !== "elementwise" && !n.op.along && n.op.decompose) {
        const parts = n.op.decompose(n);
        visit(parts);
        sparsities.set(n, sparsities.get(parts) ?? null);
      } else
        sparsities.set(
          n,
          n.src.reduce<Sparsity | null>((sum, _, i) => plus(sum, through(n, i)), null),
        );
    }
  };
  visit(y);
  return sparsities.get(y) ?? null;
}

/**
 * Up to the order of elements: zero; identity; permutation; diagonal; generalized permutation, a diagonal times a
 * permutation; sum, every result a sum of arguments times one number, none used twice; broadcast, its transpose; kronecker,
 * one block and the identity; block-diagonal, different blocks; selection, every result one argument times a number, or 0,
 * as in a slice, a pad or an index; dense, what is none of these.
 */
export type Structure =
  | "zero"
  | "identity"
  | "permutation"
  | "diagonal"
  | "generalized permutation"
  | "sum"
  | "broadcast"
  | "kronecker"
  | "block-diagonal"
  | "selection"
  | "dense";

/** The name of a sparsity. */
export function structureOf(p: Sparsity | null): Structure {
  if (!p) return "zero";
  const [rows, columns, ties] = [untied(p, "rows"), untied(p, "columns"), tied(p)];
  if (rows.length + columns.length === 0) {
    const inOrder = p.rows.every((a, k) => a === p.columns[k] && !a.reversed);
    if (inOrder) return p.ones ? "identity" : "diagonal";
    return p.ones ? "permutation" : "generalized permutation";
  }
  const varies = [...rows, ...columns, ...ties].some((a) => a.varies);
  if (!varies && rows.length === 0) return "sum";
  if (!varies && columns.length === 0) return "broadcast";
  if (ties.length === 0) return "dense";
  return ties.some((a) => a.varies) ? "block-diagonal" : "kronecker";
}
