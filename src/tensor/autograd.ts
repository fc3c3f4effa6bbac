/** @file What backward() fills, and with what. */
import { FourlaneError, ShapeError } from "../core/errors.ts";
import { numel, sameShape, type Shape, show } from "../core/shape.ts";
import { vjp } from "../diff/vjp.ts";
import { type Node, toposort } from "../graph/node.ts";
import { isDetached } from "../ops/identity.ts";
import { constantLike } from "../ops/leaf.ts";
import { bindingOf } from "../trace/bindings.ts";
import { currentTrace, guard } from "../trace/trace.ts";
import { type Variable, variableOf } from "../trace/variable.ts";

/** A tensor, as far as gradients go; the class stands above this file. */
export interface Owner {
  readonly node: Node;
  readonly shape: Shape;
  readonly requiresGrad: boolean;
  grad: Owner | null;
}

/** Which tensor's gradient that of a node is, or that of a variable, whatever node is its value. */
const owners = new WeakMap<Node | Variable, WeakRef<Owner>>();

/** The gradient of a node, or of a variable's value, is that of this tensor. */
export function setOwner(of: Node | Variable, owner: Owner): void {
  owners.set(of, new WeakRef(owner));
}

/** The tensor that a node is the value of, if backward() may fill its gradient. */
export function ownerOf(n: Node): Owner | undefined {
  const variable = variableOf(n);
  return (owners.get(n) ?? (variable && owners.get(variable)))?.deref();
}

/** The gradient of y, times the given one, of every tensor with requiresGrad that it was made from. */
export function gradients(y: Node, given?: Node): [Owner, Node][] {
  if (!given && numel(y.shape) !== 1)
    throw new ShapeError(
      `backward: the tensor has shape ${show(y.shape)}; give a gradient, or reduce it to one element`,
    );
  if (given && !sameShape(given.shape, y.shape))
    throw new ShapeError(`backward: the gradient has shape ${show(given.shape)}, the tensor ${show(y.shape)}`);
  const leaves: Node[] = [];
  const tensors: Owner[] = [];
  for (const n of toposort([y], isDetached)) {
    const binding = bindingOf(n);
    if (binding?.kind === "data" && binding.cut)
      throw new FourlaneError(
        "NO_GRADIENT",
        `backward: no gradient flows through a compiled function's result of shape ${show(n.shape)}; detach() it, or ` +
          "compile all of it",
      );
    const t = ownerOf(n);
    if (!t || !guard(() => t.requiresGrad)) continue;
    leaves.push(n);
    tensors.push(t);
  }
  if (leaves.length === 0)
    throw new FourlaneError(
      "NO_GRADIENT",
      "backward: the tensor does not depend on any tensor that requires a gradient",
    );
  return vjp([y], [given ?? constantLike(y, 1)], leaves).flatMap((g, i) => (g ? [[tensors[i], g]] : []));
}

/**
 * While a function is traced, a gradient is about to be assigned: when the trace ends it is undone, and refused if it would
 * have to survive from one call to the next.
 */
export function traceGradient(t: Owner, value: unknown, undo: () => void): void {
  const trace = currentTrace();
  if (!trace) return;
  trace.undo.push(undo);
  if (value === null) trace.zeroed.add(t);
  else
    trace.checks.push(() => {
      if (t.grad !== null && !trace.zeroed.has(t))
        throw new FourlaneError(
          "TRACE",
          `compile: the gradient of a tensor of shape ${show(t.shape)} would have to survive from one call to the ` +
            "next; call zeroGrad() inside the compiled function",
        );
    });
}
