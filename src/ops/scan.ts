/**
 * @file A loop: a graph, its body, for each step of a number of them. What a step leaves the next one finds (carry), of what is
 * given for all steps it has its own part (xs), the rest is the same for all (consts). Each result of a loop is a node, and all
 * have the same sources: what is carried after the last step, or what a node of the body was in every step.
 */
import { bytesOf, isFloat } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import { sameShape, show } from "../core/shape.ts";
import {
  type Computation,
  type GraphAttr,
  isOp,
  makeNode,
  mapSources,
  type Node,
  type OpDef,
  type Spec,
  toposort,
} from "../graph/node.ts";
import { CONTRACT, matmul } from "./contract.ts";
import { ADD, addCotangents, CAST, cast } from "./elementwise.ts";
import { constantLike, constantValue, leaf } from "./leaf.ts";
import type { ReduceAttrs } from "./linear.ts";
import { expand, MOVEMENT, permute, reshape, sum } from "./movement.ts";

/** The body of a loop and what it is over. The leaves it has are the loop's own. Steps go from the last to the first if `reverse`. */
export class Loop implements GraphAttr {
  /** Nodes of the body that results are made of: more are asked for as derivatives are taken. */
  readonly taps: Node[] = [];
  /** What was made from this one for derivatives and batches, by what was asked for. */
  private readonly variants = new Map<string, unknown>();
  private key: { readonly taps: number; readonly text: string } | undefined;

  constructor(
    readonly length: number,
    readonly reverse: boolean,
    /** Leaves: what is carried into a step. */
    readonly carry: readonly Node[],
    readonly xs: readonly Node[],
    readonly consts: readonly Node[],
    /** What each of them is for the next step. */
    readonly next: readonly Node[],
  ) {}

  /** The leaves in the order of the sources of the loop's results. */
  get leaves(): readonly Node[] {
    return [...this.carry, ...this.xs, ...this.consts];
  }

  /** All that steps may compute. */
  get roots(): readonly Node[] {
    return [...this.next, ...this.taps];
  }

  /** What was made before under this name, or is made now: results of one loop stay results of one loop. */
  variant<T>(key: string, make: () => T): T {
    if (!this.variants.has(key)) this.variants.set(key, make());
    return this.variants.get(key) as T;
  }

  keyOf(key: (graph: Computation) => string): string {
    if (this.key?.taps !== this.taps.length) {
      const { length, reverse, carry, xs, consts, leaves, roots } = this;
      const body = key({ inputs: leaves, residents: [], outputs: roots, updates: [] });
      const head = [length, reverse, ...[carry, xs, consts].map((list) => list.length)].join();
      this.key = { taps: this.taps.length, text: `{${head}\n${body}}` };
    }
    return this.key.text;
  }

  /** The number of the result that has a node's value in each step. */
  outputOf(n: Node): number {
    const at = this.taps.indexOf(n);
    return this.carry.length + (at >= 0 ? at : this.taps.push(n) - 1);
  }
}

export type ScanAttrs = {
  readonly loop: Loop;
  /** The number of what is carried, for its last value; those of taps follow, for the values of all steps. */
  readonly output: number;
};

/** What result `output` of a loop is in a step, or after the last. */
export const resultOf = ({ loop, output }: ScanAttrs): Node => loop.roots[output];

/** Whether it has an axis of steps in front. */
export const isStacked = ({ loop, output }: ScanAttrs): boolean => output >= loop.carry.length;

type Rules = NonNullable<OpDef<ScanAttrs>["loop"]>;

/** Whether two nodes are results of one loop with the same sources. */
export const together: Rules["together"] = (a, b) =>
  a.attrs.loop === b.attrs.loop && a.src.every((s, i) => s === b.src[i]);

/** Whether values lie as words of four bytes, which all that steps hand on does. */
export const isWord = ({ dtype }: Spec): boolean => bytesOf(dtype) === 4;

/** The result `output` of a loop: of what is carried, that after the last step. */
export function lastOf(loop: Loop, src: readonly Node[], output: number): Node {
  return makeNode(SCAN, src, { loop, output });
}

/** What a node of the body is in every step, [steps, ...shape]: of a leaf or a constant what is known of it. */
export function stackOf(loop: Loop, src: readonly Node[], n: Node): Node {
  const at = loop.leaves.indexOf(n);
  const x = at - loop.carry.length;
  if (x >= 0 && x < loop.xs.length) return src[at];
  const all = [loop.length, ...n.shape];
  if (x >= loop.xs.length) return expand(reshape(src[at], [1, ...n.shape]), all);
  const v = constantValue(n);
  if (v !== undefined) return constantLike({ shape: all, dtype: n.dtype }, v);
  if (!isWord(n)) return cast(stackOf(loop, src, cast(n, "int32")), n.dtype);
  return lastOf(loop, src, loop.outputOf(n));
}

/** The same, with views of the body as views of what was stacked. */
function stackOfView(loop: Loop, src: readonly Node[], n: Node): Node {
  if (isOp(n, MOVEMENT.permute))
    return permute(stackOfView(loop, src, n.src[0]), [0, ...n.attrs.axes.map((a) => a + 1)]);
  if (isOp(n, MOVEMENT.reshape)) return reshape(stackOfView(loop, src, n.src[0]), [loop.length, ...n.shape]);
  return stackOf(loop, src, n);
}

/** A matrix product's term, summed over all steps, as one product: of operands that lie side by side along what is summed. */
function productOverSteps(a: Node, b: Node, precise: boolean): Node {
  const [t, r] = [a.shape[0], a.shape.length];
  const lead = Array.from({ length: r - 3 }, (_, i) => i + 1);
  const [m, k] = a.shape.slice(-2);
  const n = b.shape[r - 1];
  const batch = a.shape.slice(1, -2);
  const left = reshape(permute(a, [...lead, r - 2, 0, r - 1]), [...batch, m, t * k]);
  const right = reshape(permute(b, [...lead, 0, r - 2, r - 1]), [...batch, t * k, n]);
  return matmul(left, right, precise);
}

/** Nodes that depend on one of `on`, of those in topological order. */
function dependents(order: readonly Node[], on: ReadonlySet<Node>): Set<Node> {
  const found = new Set(on);
  for (const n of order) if (n.src.some((s) => found.has(s))) found.add(n);
  return found;
}

/** Whether backward computes n again rather than have it kept: what only moves elements, or little of what is there already. */
const isCheap = (n: Node, made: ReadonlySet<Node>): boolean =>
  n.op.kind === "view" || n.op.kind === "identity" || n.op === CAST || (n.op.kind === "elementwise" && !made.has(n));

/** A term of what flows back to a const: nodes of the body backward, and what is made of all steps' behind the loop. */
interface Term {
  readonly operands: readonly Node[];
  /** Absent: it is added up in the loop. */
  readonly finish?: (stacked: readonly Node[]) => Node;
}

/** The terms of a sum that is taken over all steps: of products and sums, all steps at once. */
function termsOf(g: Node): Term[] {
  if (g.op === ADD) return g.src.flatMap(termsOf);
  const inner = g.op === MOVEMENT.reshape || g.op === MOVEMENT.permute ? g.src[0] : g;
  const outer = (x: Node): Node => (inner === g ? x : mapSources(g, () => x));
  if (isOp(inner, CONTRACT.matmul))
    return [{ operands: inner.src, finish: ([a, b]) => outer(productOverSteps(a, b, inner.attrs.precise === true)) }];
  if (isOp(inner, MOVEMENT.sum)) return [{ operands: inner.src, finish: ([x]) => outer(sumOverSteps(x, inner)) }];
  return [{ operands: [g] }];
}

/**
 * The rule of reverse mode, for all results at once: a loop over the steps the other way round, that carries the cotangents of
 * what was carried. What it needs of the steps forward becomes results of their loop. Cotangents of what is the same for all
 * steps are sums over these: of products, one product over all steps, behind the loop.
 */
const back: Rules["back"] = (nodes, gs, vjp) => {
  const { loop } = nodes[0].attrs;
  const { src } = nodes[0];
  const count = loop.carry.length;
  const seeds = new Map<number, Node>();
  const tapped: Node[] = [];
  const flows: Node[] = [];
  const xs = new Map<Node, Node>();
  nodes.forEach(({ attrs: { output } }, k) => {
    const g = gs[k];
    if (!g) return;
    const before = seeds.get(output);
    if (output < count) seeds.set(output, before ? addCotangents(before, g) : g);
    else {
      const y = loop.roots[output];
      const flow = leaf(y.shape, y.dtype);
      tapped.push(y);
      flows.push(flow);
      xs.set(flow, g);
    }
  });
  // What is carried has a cotangent if a result has one that it reaches, in any number of steps.
  const carried = new Map<number, Node>();
  const carry = (i: number): unknown => carried.set(i, leaf(loop.carry[i].shape, loop.carry[i].dtype));
  for (const i of seeds.keys()) carry(i);
  const floats = loop.leaves.filter((n) => isFloat(n.dtype));
  const found = new Map<Node, Node | null>();
  for (let before = -1; before !== carried.size; ) {
    before = carried.size;
    const outs = [...tapped, ...[...carried.keys()].map((i) => loop.next[i])];
    vjp(outs, [...flows, ...carried.values()], floats).forEach((g, i) => found.set(floats[i], g));
    loop.carry.forEach((n, i) => found.get(n) && !carried.has(i) && carry(i));
  }

  // The body backward, before it is cut off from the body forward.
  const next = [...carried].map(([i, flow]) => found.get(loop.carry[i]) ?? constantLike(flow, 0));
  const terms = loop.consts.map((n) => {
    const g = found.get(n);
    return g ? termsOf(g) : [];
  });
  const added = terms.flat().filter((t) => !t.finish);
  const totals = added.map(({ operands: [g] }) => leaf(g.shape, g.dtype));
  added.forEach(({ operands: [g] }, i) => next.push(addCotangents(totals[i], g)));
  const flowsTo = loop.xs.map((n) => found.get(n) ?? null);
  const roots = [...next, ...flowsTo, ...terms.flat().flatMap((t) => t.operands)].filter((n) => n !== null);
  const order = toposort(roots);
  const ours = new Set([...flows, ...carried.values(), ...totals]);
  const leaves = new Set(loop.leaves);
  const late = dependents(order, ours);
  const moves = dependents(order, leaves);
  const made = new Set(toposort(loop.roots));
  const isCopied = (n: Node): boolean => n.src.length > 0 && (late.has(n) || !moves.has(n) || isCheap(n, made));
  const needed = new Set(roots);
  for (let k = order.length - 1; k >= 0; k--)
    if (needed.has(order[k]) && isCopied(order[k])) for (const s of order[k].src) needed.add(s);

  const body = new Map<Node, Node>();
  const consts = new Map<Node, Node>();
  const at = (n: Node): Node => body.get(n) as Node;
  for (const n of order) {
    if (!needed.has(n)) continue;
    if (isCopied(n)) body.set(n, mapSources(n, at));
    else if (ours.has(n) || !moves.has(n)) body.set(n, n);
    else if (loop.consts.includes(n)) {
      consts.set(n, src[loop.leaves.indexOf(n)]);
      body.set(n, n);
    } else {
      // Bytes are kept as words.
      const word = isWord(n) ? n : cast(n, "int32");
      const kept = leaves.has(n) ? n : leaf(n.shape, word.dtype);
      xs.set(kept, stackOf(loop, src, word));
      body.set(n, cast(kept, n.dtype));
    }
  }
  const inits = [...carried].map(([i, flow]) => seeds.get(i) ?? constantLike(flow, 0));
  for (const t of totals) inits.push(constantLike(t, 0));
  const reversed = new Loop(
    loop.length,
    !loop.reverse,
    [...carried.values(), ...totals],
    [...xs.keys()],
    [...consts.keys()],
    next.map(at),
  );
  const from = [...inits, ...xs.values(), ...consts.values()];
  const places = [...carried.keys()];
  const behind = (n: Node): Node => stackOfView(reversed, from, at(n));
  const value = (t: Term): Node =>
    t.finish ? t.finish(t.operands.map(behind)) : lastOf(reversed, from, places.length + added.indexOf(t));
  return [
    ...loop.carry.map((_, i) => (carried.has(i) ? lastOf(reversed, from, places.indexOf(i)) : null)),
    ...flowsTo.map((g) => g && behind(g)),
    ...terms.map((list) => (list.length > 0 ? list.map(value).reduce(addCotangents) : null)),
  ];
};

/** The rule of forward mode: a loop that carries tangents beside the values. */
const forward: Rules["forward"] = (n, tangents, jvp) => {
  const { loop, output } = n.attrs;
  const count = loop.carry.length;
  const made = loop.variant(`tangents ${tangents.map((t) => (t ? 1 : 0)).join("")}`, () => {
    const tangentOf = new Map<Node, Node>();
    const give = (x: Node): unknown => tangentOf.set(x, leaf(x.shape, x.dtype));
    loop.leaves.forEach((x, i) => tangents[i] && give(x));
    let next: (Node | null)[] = [];
    for (let before = -1; before !== tangentOf.size; ) {
      before = tangentOf.size;
      next = jvp(loop.next, [...tangentOf.keys()], [...tangentOf.values()]);
      loop.carry.forEach((x, i) => next[i] && !tangentOf.has(x) && give(x));
    }
    const both = (list: readonly Node[]): Node[] => [...list, ...list.flatMap((x) => tangentOf.get(x) ?? [])];
    const places = loop.carry.map((x, i) => ({ x, i })).filter(({ x }) => tangentOf.has(x));
    const flows = places.map(({ x, i }) => next[i] ?? constantLike(x, 0));
    const leaves = [loop.carry, loop.xs, loop.consts].map(both);
    return {
      tangentOf,
      places: places.map(({ i }) => i),
      loop: new Loop(loop.length, loop.reverse, leaves[0], leaves[1], leaves[2], [...loop.next, ...flows]),
    };
  });
  const known = new Map<Node, Node>();
  loop.leaves.forEach((x, i) => {
    const t = made.tangentOf.get(x);
    known.set(x, n.src[i]);
    if (t) known.set(t, tangents[i] ?? constantLike(n.src[i], 0));
  });
  const src = made.loop.leaves.map((x) => known.get(x) as Node);
  if (output < count) {
    const k = made.places.indexOf(output);
    return k < 0 ? null : lastOf(made.loop, src, count + k);
  }
  const [t] = jvp([loop.roots[output]], [...made.tangentOf.keys()], [...made.tangentOf.values()]);
  return t && stackOf(made.loop, src, t);
};

/** The rule for a batch: the body is one of all examples. */
const batch: Rules["batch"] = (n, src, has, size, vmap) => {
  const { loop, output } = n.attrs;
  const count = loop.carry.length;
  const made = loop.variant(`batch ${size} ${has.map((h) => (h ? 1 : 0)).join("")}`, () => {
    const wholeOf = new Map<Node, Node>();
    const give = (x: Node): unknown => wholeOf.set(x, leaf([size, ...x.shape], x.dtype));
    loop.leaves.forEach((x, i) => has[i] && give(x));
    let next: (Node | null)[] = [];
    for (let before = -1; before !== wholeOf.size; ) {
      before = wholeOf.size;
      next = vmap(loop.next, [...wholeOf.keys()], [...wholeOf.values()], size);
      loop.carry.forEach((x, i) => next[i] && !wholeOf.has(x) && give(x));
    }
    const all = (list: readonly Node[]): Node[] => list.map((x) => wholeOf.get(x) ?? x);
    const nexts = loop.next.map((x, i) =>
      wholeOf.has(loop.carry[i]) ? (next[i] ?? expand(reshape(x, [1, ...x.shape]), [size, ...x.shape])) : x,
    );
    const [carry, xs, consts] = [loop.carry, loop.xs, loop.consts].map(all);
    return { wholeOf, loop: new Loop(loop.length, loop.reverse, carry, xs, consts, nexts) };
  });
  const swapped = (x: Node): Node => permute(x, [1, 0, ...x.shape.slice(2).map((_, i) => i + 2)]);
  const repeated = (x: Node): Node => expand(reshape(x, [1, ...x.shape]), [size, ...x.shape]);
  const from = loop.leaves.map((x, i) => {
    if (i >= count && i < count + loop.xs.length) return has[i] ? swapped(src[i]) : src[i];
    return made.wholeOf.has(x) && !has[i] ? repeated(src[i]) : src[i];
  });
  if (output < count) {
    const last = lastOf(made.loop, from, output);
    return made.wholeOf.has(loop.carry[output]) ? last : repeated(last);
  }
  const y = loop.roots[output];
  const [whole] = vmap([y], [...made.wholeOf.keys()], [...made.wholeOf.values()], size);
  return whole ? swapped(stackOf(made.loop, from, whole)) : repeated(stackOf(made.loop, from, y));
};

/** A sum of the body, over all steps too. */
function sumOverSteps(x: Node, inner: Node<ReduceAttrs>): Node {
  const { axes, keepdim } = inner.attrs;
  const all = sum(x, [0, ...axes.map((a) => a + 1)]);
  return keepdim ? reshape(all, inner.shape) : all;
}

const SCAN: OpDef<ScanAttrs> = {
  name: "scan",
  kind: "other",
  pattern: "repeats",
  infer: (src, attrs) => {
    const { loop, output } = attrs;
    const { leaves, carry, xs } = loop;
    const fits = leaves.every(({ shape, dtype }, i) => {
      const isPart = i >= carry.length && i < carry.length + xs.length;
      return src[i]?.dtype === dtype && sameShape(src[i].shape, isPart ? [loop.length, ...shape] : shape);
    });
    if (!fits || src.length !== leaves.length)
      throw new FourlaneError("INTERNAL", `scan: ${src.map((s) => show(s.shape)).join(" ")} do not fit the body`);
    const { shape, dtype } = loop.roots[output];
    return { shape: isStacked(attrs) ? [loop.length, ...shape] : shape, dtype };
  },
  loop: { together, back, forward, batch },
};

export const SCANS = { scan: SCAN };
