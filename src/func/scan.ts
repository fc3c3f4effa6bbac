/** @file scan: a loop within the program. */
import { loops } from "../compile/extensions/scan.ts";
import { checkFunction, checkNotAsync } from "../core/check.ts";
import { DTypeError, FourlaneError, ShapeError, ValueError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { sameShape, show } from "../core/shape.ts";
import { vmap as batch } from "../diff/vmap.ts";
import { type Node, observed, toposort, withSources } from "../graph/node.ts";
import { CONTRACT } from "../ops/contract.ts";
import { cast } from "../ops/elementwise.ts";
import { CONSTANT, constantLike } from "../ops/leaf.ts";
import { ownerOf } from "../tensor/autograd.ts";
import { Tensor } from "../tensor/tensor.ts";
import { asStep, exampleLeaf, transformed } from "../trace/trace.ts";
import { isPlain, keysOf, leavesOf, mapTree, tensorsLike } from "../trace/tree.ts";

export interface ScanOptions {
  /** From the last step to the first; results of steps stay in the order of `xs` (default false). */
  reverse?: boolean;
  /** How many steps, where `xs` has no tensor to tell. */
  length?: number;
}

/** Steps: the extent of the first axis of all xs. */
function lengthOf(xs: readonly Tensor[], { length }: ScanOptions): number {
  if (length !== undefined && (!Number.isSafeInteger(length) || length < 0))
    throw new ValueError(`scan: length must be an integer from 0 on, got ${String(length)}`);
  let steps = length;
  for (const { shape } of xs) {
    if (shape.length === 0) throw new ShapeError("scan: a tensor of xs has shape [], and so no axis of steps");
    if (steps !== undefined && shape[0] !== steps)
      throw new ShapeError(`scan: a tensor of xs has shape ${show(shape)}, but there are ${steps} steps`);
    steps = shape[0];
  }
  if (steps === undefined)
    throw new ValueError("scan: xs has no tensor that tells the number of steps: give it a length");
  return steps;
}

/** A leaf that stands for a tensor in a step, and the tensor f is given: bytes are handed on as words. */
function placeholder(spec: { readonly shape: readonly number[]; readonly dtype: Tensor["dtype"] }): {
  leaf: Node;
  tensor: Tensor;
} {
  const leaf = exampleLeaf(spec.shape, loops.isWord(spec) ? spec.dtype : "int32");
  return { leaf, tensor: new Tensor(cast(leaf, spec.dtype)) };
}

const asWord = (n: Node): Node => (loops.isWord(n) ? n : cast(n, "int32"));

/** What else than tensors a tree has, with the path to it; null and undefined are nothing. */
function othersOf(tree: unknown, path = ""): [path: string, value: unknown][] {
  if (tree === null || tree === undefined || tree instanceof Tensor) return [];
  if (!Array.isArray(tree) && !isPlain(tree)) return [[path, tree]];
  return keysOf(tree)
    .filter((k) => !(Array.isArray(tree) && k === "length"))
    .flatMap((k) => othersOf((tree as Record<PropertyKey, unknown>)[k], path ? `${path}.${String(k)}` : String(k)));
}

/** Numbers and the like, which no step could change, are no part of what is carried or stacked. */
function checkTensorsOnly(what: string, tree: unknown): void {
  leavesOf(tree); // refuses what holds itself
  for (const [path, value] of othersOf(tree))
    throw new ValueError(
      `scan: ${what}${path && `'s ${path}`} is ${typeof value === "object" ? "an object of a class" : String(value)}, no tensor`,
    );
}

/** The tensors of a step's carry, checked against those before the first step. */
function checkCarry(next: unknown, before: unknown): Tensor[] {
  const want = leavesOf(before);
  const paths: string[] = [];
  mapTree(before, (t, path) => paths.push(path) && t);
  return tensorsLike("scan: what f carries on is no tree like what it was given", next, before).map((t, i) => {
    const what = paths[i] ? `the carry's ${paths[i]}` : "the carry";
    if (!sameShape(t.shape, want[i].shape))
      throw new ShapeError(
        `scan: ${what} has shape ${show(want[i].shape)} before a step and ${show(t.shape)} after it`,
      );
    if (t.dtype !== want[i].dtype)
      throw new DTypeError(`scan: ${what} is ${want[i].dtype} before a step and ${t.dtype} after it`);
    return t;
  });
}

/** Refuses what would change something outside of a step, or check it: f is called once. */
function refuse(what: string): never {
  throw new FourlaneError(
    "TRACE",
    `${what}: not within a step of scan, which is recorded once: parameters, running statistics and gradients would change once, ` +
      "not in every step. Carry what changes, return what is to be looked at, take gradients with grad()",
  );
}

/** Operations that are done for all steps at once, before the loop, where nothing that is carried goes into them. */
const isWorthIt = ({ op }: Node): boolean => op === CONTRACT.matmul;

/**
 * A loop over the first axis of `xs`: `f(carry, x)` gives [the next step's carry, y], and the result is [the last carry, all y
 * stacked]. It is part of the program once, whatever the number of steps, is differentiable to any order in both modes, and works
 * inside compile, vmap, checkpoint and other scans. What it means is jax.lax.scan's. f is called once, to record a step: it must
 * assign to no variable, so no `backward()` and no training-mode running statistics. Products of x alone are computed for all
 * steps before the loop, gradients of weights from all steps behind it; what random draws give differs from step to step.
 *
 * @param init What the first step is given to carry: a tensor, or a tree of tensors. f must give back a tree like it.
 * @param xs A tree of tensors [steps, ...]: f is given a slice [...] of each. null where there is none, with `length`.
 * @example const [h, all] = scan((h, x) => { const next = x.add(h).tanh(); return [next, next]; }, zeros([8]), xs);
 * @throws ShapeError if tensors of xs differ in their first extent, or the carry changes its shape; DTypeError if it changes its
 * dtype; ValueError if it changes its structure, if it or y holds what is no tensor, or nothing tells the number of steps;
 * FourlaneError if f assigns to a variable, or calls backward(), an optimiser's step or assertFinite.
 */
export function scan<Carry, X, Y>(
  f: (carry: Carry, x: X) => [Carry, Y],
  init: Carry,
  xs: X,
  options: ScanOptions = {},
): [Carry, Y] {
  checkFunction("scan", f);
  const { reverse = false } = checkOptions("scan", options, { reverse: true, length: true });
  if (typeof reverse !== "boolean") throw new ValueError(`scan: reverse must be true or false, got ${String(reverse)}`);
  const inits = leavesOf(init);
  checkTensorsOnly("the carry", init);
  const stacks = leavesOf(xs);
  const length = lengthOf(stacks, options);
  // Older than what f makes: what was drawn before is the same in all steps.
  const mark = exampleLeaf([], "float32");
  const carry = inits.map(placeholder);
  const parts = stacks.map(({ shape, dtype }) => placeholder({ shape: shape.slice(1), dtype }));
  let i = 0;
  const givenCarry = mapTree(init, () => carry[i++].tensor) as Carry;
  i = 0;
  const givenPart = mapTree(xs, () => parts[i++].tensor) as X;
  const draws: Node[] = [];
  const result: unknown = observed(
    (n, copied) => n.op.random && !copied && draws.push(n),
    () => asStep(refuse, () => transformed("scan", f, givenCarry, givenPart)),
  );
  checkNotAsync("scan", result);
  if (!Array.isArray(result) || result.length !== 2)
    throw new ValueError("scan: f must return [carry, y], an array of two; y may be null");
  checkTensorsOnly("the carry", result[0]);
  checkTensorsOnly("y", result[1]);
  const next = checkCarry(result[0], init).map((t) => asWord(t.node));
  const ys = leavesOf(result[1]);
  if (length === 0) {
    const none = mapTree(result[1], (t) => new Tensor(constantLike({ shape: [0, ...t.shape], dtype: t.dtype }, 0)));
    return [init, none as Y];
  }

  const leaves = parts.map((p) => p.leaf);
  const values = stacks.map((t) => asWord(t.node));
  const outputs = [...next, ...ys.map((t) => asWord(t.node))];
  // What is the same in all steps comes from outside; what only x goes into is made for all steps at once, if it is worth it.
  const order = toposort(outputs);
  const reached = (from: readonly Node[]): Set<Node> => {
    const found = new Set(from);
    for (const n of order) if (n.src.some((s) => found.has(s))) found.add(n);
    return found;
  };
  const ofCarry = reached(carry.map((c) => c.leaf));
  const drawn = new Set(draws);
  const inside = reached([...carry.map((c) => c.leaf), ...leaves, ...draws]);
  const early = order.filter((n) => (drawn.has(n) || (inside.has(n) && isWorthIt(n))) && !ofCarry.has(n));
  const wholes = batch(
    early,
    [mark, ...leaves],
    [constantLike({ ...mark, shape: [length] }, 0), ...values],
    length,
    "different",
  );
  const body = new Map<Node, Node>();
  const madeBefore = new Map<Node, Node>();
  early.forEach((n, k) => {
    const whole = wholes[k];
    if (!whole) return;
    const leaf = exampleLeaf(n.shape, n.dtype);
    madeBefore.set(leaf, whole);
    body.set(n, leaf);
  });
  const consts = new Map<Node, Node>();
  const at = (n: Node): Node => {
    const known = body.get(n);
    if (known) return known;
    if (n.op === CONSTANT && !ownerOf(n)) return n;
    const leaf = exampleLeaf(n.shape, n.dtype);
    consts.set(leaf, n);
    body.set(n, leaf);
    return leaf;
  };
  for (const c of [...carry, ...parts]) body.set(c.leaf, c.leaf);
  for (const n of order)
    if (inside.has(n) && !body.has(n)) body.set(n, { ...withSources(n, n.src.map(at)), region: n.region });
  const made = outputs.map(at);
  const loop = new loops.Loop(
    length,
    reverse,
    carry.map((c) => c.leaf),
    [...leaves, ...madeBefore.keys()],
    [...consts.keys()],
    made.slice(0, next.length),
  );
  const src = [...inits.map((t) => asWord(t.node)), ...values, ...madeBefore.values(), ...consts.values()];
  let k = 0;
  const last = mapTree(init, (t) => new Tensor(cast(loops.lastOf(loop, src, k++), t.dtype)));
  const all = mapTree(result[1], (t) => new Tensor(cast(loops.stackOf(loop, src, made[k++]), t.dtype)));
  return [last as Carry, all as Y];
}
