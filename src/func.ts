/** @file Function transforms, with torch.func's names. */
import { isFloat } from "./core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "./core/errors.ts";
import { numel, sameShape, show } from "./core/shape.ts";
import { jvp as forward } from "./diff/jvp.ts";
import { gradients, vjp as reverse } from "./diff/vjp.ts";
import type { Node } from "./graph/node.ts";
import { constantLike } from "./ops/leaf.ts";
import { alias } from "./ops/structure.ts";
import { Tensor } from "./tensor.ts";
import { flattenTree, mapTree } from "./tree.ts";

type TensorFunction<Args extends unknown[]> = (...args: Args) => Tensor;

/**
 * f's value and its gradient with respect to the argument(s) `argnums` (default the first): a tensor for a number, an array
 * for an array of numbers. The gradient is graph like any other: transforms nest.
 * @throws ShapeError if f's value has more than one element.
 */
export function valueAndGrad<Args extends unknown[]>(
  f: TensorFunction<Args>,
  argnums: number | readonly number[] = 0,
): (...args: Args) => [Tensor, Tensor | Tensor[]] {
  const list = typeof argnums === "number" ? [argnums] : argnums;
  return (...args) => {
    const inputs = list.map((i) => {
      const x = args[i];
      if (!(x instanceof Tensor)) throw new ValueError(`grad: argument ${i} must be a tensor`);
      return new Tensor(alias(x.node));
    });
    const replaced = [...args] as Args;
    list.forEach((i, k) => {
      replaced[i] = inputs[k];
    });
    const y = f(...replaced);
    if (!(y instanceof Tensor) || numel(y.shape) !== 1)
      throw new ShapeError(`grad: the function must return one element, got shape ${y ? show(y.shape) : String(y)}`);
    const grads = gradients(
      y.node,
      inputs.map((t) => t.node),
    ).map((n) => new Tensor(n));
    return [y, typeof argnums === "number" ? grads[0] : grads];
  };
}

/** The gradient of a function of tensors that returns one element; see valueAndGrad. */
export function grad<Args extends unknown[]>(f: TensorFunction<Args>, argnums?: number): (...args: Args) => Tensor;
export function grad<Args extends unknown[]>(
  f: TensorFunction<Args>,
  argnums: readonly number[],
): (...args: Args) => Tensor[];
export function grad<Args extends unknown[]>(
  f: TensorFunction<Args>,
  argnums: number | readonly number[] = 0,
): (...args: Args) => Tensor | Tensor[] {
  const both = valueAndGrad(f, argnums);
  return (...args) => both(...args)[1];
}

/** A tree with its tensors as inputs of their own, so that derivatives stop at them, and their nodes. */
function asInputs<T>(op: string, tree: T): { tree: T; nodes: Node[] } {
  const nodes: Node[] = [];
  const copy = mapTree(tree, (t) => {
    if (!isFloat(t.dtype)) throw new DTypeError(`${op}: derivatives need float32, an argument is ${t.dtype}`);
    const n = alias(t.node);
    nodes.push(n);
    return new Tensor(n);
  }) as T;
  if (nodes.length === 0) throw new ValueError(`${op}: there is no tensor among the arguments`);
  return { tree: copy, nodes };
}

/** The nodes of a tree of tensors that is to match `like`: one tangent or cotangent for each. */
function matching(op: string, what: string, tree: unknown, like: readonly Node[]): Node[] {
  const { leaves } = flattenTree(tree);
  if (leaves.length !== like.length)
    throw new ValueError(`${op}: ${leaves.length} ${what}s for ${like.length} tensors`);
  leaves.forEach((t, i) => {
    if (!sameShape(t.shape, like[i].shape) || !isFloat(t.dtype))
      throw new ShapeError(
        `${op}: ${what} ${i} is ${t.dtype}${show(t.shape)}, its tensor is float32${show(like[i].shape)}`,
      );
  });
  return leaves.map((t) => t.node);
}

/** The tree with other nodes in the place of its tensors; null stands for zeros. */
function filled<T>(tree: T, nodes: readonly (Node | null)[]): T {
  let i = 0;
  return mapTree(tree, (t) => new Tensor(nodes[i++] ?? constantLike(t.node, 0))) as T;
}

/**
 * f's value, and a function of tangents, trees like the arguments: the derivative of f along them, by forward mode. Its
 * cost is about that of f, whatever the number of inputs; f itself is traced once.
 * @throws DTypeError for an argument that is not float32; ShapeError for a tangent unlike its argument.
 */
export function linearize<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
  ...primals: Args
): [Result, (...tangents: Args) => Result] {
  const { tree, nodes } = asInputs("linearize", primals);
  const y = f(...tree);
  const outputs = flattenTree(y).leaves.map((t) => t.node);
  return [y, (...tangents) => filled(y, forward(outputs, nodes, matching("jvp", "tangent", tangents, nodes)))];
}

/**
 * f's value, and its derivative along the tangents (Jacobian times vector), by forward mode: cheaper than reverse mode where
 * there are fewer inputs than outputs. `primals` and `tangents` are the arguments of f, trees of tensors.
 * @throws As linearize.
 */
export function jvp<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
  primals: Args,
  tangents: Args,
): [Result, Result] {
  const [y, derivative] = linearize(f, ...primals);
  return [y, derivative(...tangents)];
}

/**
 * f's value, and a function of cotangents, a tree like the value: their products with the Jacobian, by reverse mode, an array
 * with a tree for each argument. Cheaper than forward mode where there are fewer outputs than inputs.
 * @throws DTypeError for an argument that is not float32; ShapeError for a cotangent unlike its output.
 */
export function vjp<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
  ...primals: Args
): [Result, (cotangents: Result) => Args] {
  const { tree, nodes } = asInputs("vjp", primals);
  const y = f(...tree);
  const outputs = flattenTree(y).leaves.map((t) => t.node);
  return [y, (cotangents) => filled(tree, reverse(outputs, matching("vjp", "cotangent", cotangents, outputs), nodes))];
}

/**
 * The value of a function of one element, and the product of its Hessian with `vectors`, trees like the arguments: forward
 * mode over the gradient (Pearlmutter, Neural Computation 6, 1994), so it costs a few gradients and no Hessian is made.
 * @throws ShapeError if f's value has more than one element; else as linearize.
 */
export function hvp<Args extends unknown[]>(f: TensorFunction<Args>, primals: Args, vectors: Args): [Tensor, Args] {
  const { tree, nodes } = asInputs("hvp", primals);
  const y = f(...tree);
  if (!(y instanceof Tensor) || y.numel() !== 1)
    throw new ShapeError(`hvp: the function must return one element, got shape ${y ? show(y.shape) : String(y)}`);
  const tangents = matching("hvp", "vector", vectors, nodes);
  return [y, filled(tree, forward(gradients(y.node, nodes), nodes, tangents))];
}
