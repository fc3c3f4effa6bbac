/** @file vmap: turns a function of one example into one of a batch. */
import { ShapeError, ValueError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { normalizeAxis, show } from "../core/shape.ts";
import { type Randomness, vmap as batch } from "../diff/vmap.ts";
import type { Node } from "../graph/node.ts";
import { expand, permute } from "../ops/movement.ts";
import { Tensor } from "../tensor/tensor.ts";
import { exampleLeaf, transformed } from "../trace/trace.ts";
import { mapTree } from "../trace/tree.ts";

/** Where the batch axis of each tensor is; null where it has none. A tree like the arguments, or one for a whole subtree. */
export type Axes = number | null | readonly Axes[] | { readonly [key: string]: Axes };

export interface VmapOptions {
  /** What random draws inside are for the examples: an error (default), the same, or different ones. */
  randomness?: Randomness;
}

/** The tree with each tensor replaced by f of it and its axis. */
function mapAxes(what: string, tree: unknown, axes: Axes, f: (t: Tensor, axis: number | null) => Tensor): unknown {
  if (axes === null || typeof axes === "number") return mapTree(tree, (t) => f(t, axes));
  mapTree(axes, (t) => t); // refuses what holds itself
  const keys = typeof tree === "object" && tree !== null && !(tree instanceof Tensor) ? Object.keys(tree) : [];
  const given = typeof axes === "object" ? Object.keys(axes) : [];
  if (Array.isArray(tree) !== Array.isArray(axes) || keys.join() !== given.join())
    throw new ValueError(`vmap: ${what} ${JSON.stringify(axes)} is no tree like the one it is for`);
  const parts = keys.map((k) => mapAxes(what, (tree as Record<string, unknown>)[k], (axes as never)[k], f));
  return Array.isArray(tree) ? parts : Object.fromEntries(keys.map((k, i) => [k, parts[i]]));
}

/** The node with one axis moved, the others in their order. */
function moveAxis(n: Node, from: number, to: number): Node {
  const order = n.shape.map((_, i) => i).filter((i) => i !== from);
  order.splice(to, 0, from);
  return permute(n, order);
}

/**
 * Turns a function of one example into one of a batch, computed at once: f is recorded for one example, and each of its
 * operations is applied to all.
 *
 * @param inAxes The batch axis of every tensor among the arguments (default 0): one number for all, or one entry for each
 * argument, itself a number, null (the same for all examples) or a tree of these like the argument.
 * @param outAxes Where the results have the batch axis (default 0), likewise; null for one that is the same for all examples.
 * @example const perSample = vmap(grad(loss), [null, 0, 0])(parameters, x, y);
 * @throws ShapeError if batch axes differ in extent; ValueError if no argument has one.
 */
export function vmap<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
  inAxes: Axes = 0,
  outAxes: Axes = 0,
  options: VmapOptions = {},
): (...args: Args) => Result {
  const { randomness = "error" } = checkOptions("vmap", options, { randomness: true });
  if (!["error", "same", "different"].includes(randomness))
    throw new ValueError(`vmap: randomness must be "error", "same" or "different", got ${String(randomness)}`);
  return (...args) => {
    let size = -1;
    const inputs: Node[] = [];
    const values: Node[] = [];
    const one = mapAxes("inAxes", args, inAxes, (t, axis) => {
      if (axis === null) return t;
      const { shape, node } = t;
      if (shape.length === 0)
        throw new ShapeError("vmap: a tensor of shape [] has no batch axis; give it the axis null");
      const a = normalizeAxis("vmap", axis, shape.length);
      if (size >= 0 && shape[a] !== size)
        throw new ShapeError(`vmap: axis ${axis} of shape ${show(shape)} is not of the extent ${size} of those before`);
      size = shape[a];
      const n = exampleLeaf(
        shape.filter((_, i) => i !== a),
        t.dtype,
      );
      inputs.push(n);
      values.push(moveAxis(node, a, 0));
      return new Tensor(n);
    }) as Args;
    if (size < 0) throw new ValueError("vmap: no argument has a batch axis");
    const result = transformed("vmap", f, ...one);
    const outputs: Node[] = [];
    const places: (number | null)[] = [];
    mapAxes("outAxes", result, outAxes, (t, axis) => {
      outputs.push(t.node);
      places.push(axis);
      return t;
    });
    const whole = batch(outputs, inputs, values, size, randomness);
    let i = 0;
    return mapTree(result, (t) => {
      const y = whole[i];
      const axis = places[i++];
      if (axis === null) {
        if (y) throw new ValueError(`vmap: outAxes is null for a result that differs from example to example`);
        return t;
      }
      const n = y ?? expand(t.node, [size, ...t.shape]);
      return new Tensor(moveAxis(n, 0, normalizeAxis("vmap", axis, n.shape.length)));
    }) as Result;
  };
}
