/** @file Function transforms, with torch.func's names. */
import { isFloat } from "../core/dtype.ts";
import { checkFunction, checkNotAsync } from "../core/check.ts";
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { numel, sameShape, show } from "../core/shape.ts";
import { jvp as forward } from "../diff/jvp.ts";
import { gradients, vjp as reverse } from "../diff/vjp.ts";
import type { Node } from "../graph/node.ts";
import { constantLike } from "../ops/leaf.ts";
import { alias } from "../ops/identity.ts";
import { Tensor } from "../tensor/tensor.ts";
import { transformed } from "../trace/trace.ts";
import { leavesOf, mapTree, tensorsLike } from "../trace/tree.ts";

/** A tree of tensors: derivatives have the same keys and shapes. */
export type Gradient<T> = T extends Tensor ? Tensor : T extends object ? { [K in keyof T]: Gradient<T[K]> } : T;

/** Derivatives with respect to the argument N, or to each of a list of them. */
export type Gradients<Args extends unknown[], N> = N extends number
  ? Gradient<Chosen<Args, N>>
  : { -readonly [K in keyof N]: N[K] extends number ? Gradient<Chosen<Args, N[K]>> : never };

/** The argument of a number; a negative one, which counts from the end, may be any. */
type Chosen<Args extends unknown[], N extends number> = `${N}` extends `-${string}` ? Args[number] : Args[N];

type ScalarFunction<Args extends unknown[]> = (...args: Args) => Tensor;

/** @internal The arguments, those named by `argnums` being inputs of their own; and how to shape a list of derivatives. */
export function selectInputs<Args extends unknown[], N extends number | readonly number[]>(
  op: string,
  args: Args,
  argnums: N,
): { args: Args; nodes: Node[]; shaped: (nodes: readonly (Node | null)[]) => Gradients<Args, N> } {
  const given = (Array.isArray(argnums) ? argnums : [argnums]) as readonly number[];
  const list = given.map((i) => (i < 0 ? i + args.length : i));
  const bad = list.find((i) => !Number.isInteger(i) || i < 0 || i >= args.length);
  if (bad !== undefined || new Set(list).size !== list.length || list.length === 0)
    throw new ValueError(`${op}: argnums ${String(argnums)} do not name arguments, there are ${args.length}`);
  const chosen = asInputs(
    op,
    list.map((i) => args[i]),
  );
  const replaced = [...args] as Args;
  list.forEach((i, k) => {
    replaced[i] = chosen.tree[k];
  });
  const shaped = (nodes: readonly (Node | null)[]): Gradients<Args, N> => {
    const trees = filled(chosen.tree, nodes);
    return (typeof argnums === "number" ? trees[0] : trees) as Gradients<Args, N>;
  };
  return { args: replaced, nodes: chosen.nodes, shaped };
}

function checkScalar(op: string, y: unknown): asserts y is Tensor {
  const got = y instanceof Tensor ? `shape ${show(y.shape)}` : String(y);
  if (!(y instanceof Tensor) || numel(y.shape) !== 1)
    throw new ShapeError(`${op}: the function must return one element, got ${got}`);
  if (!isFloat(y.dtype)) throw new DTypeError(`${op}: the function must return float32, got ${y.dtype}`);
}

function valueAndGradOf<Args extends unknown[], const N extends number | readonly number[]>(
  op: string,
  f: ScalarFunction<Args>,
  argnums: N,
): (...args: Args) => [Tensor, Gradients<Args, N>] {
  return (...args) => {
    const { args: inputs, nodes, shaped } = selectInputs(op, args, argnums);
    const y = transformed(op, f, ...inputs);
    checkScalar(op, y);
    return [y, shaped(gradients(y.node, nodes))];
  };
}

/**
 * f's value and its gradient with respect to the argument(s) `argnums` (default the first, negative from the end): a tree like
 * the argument for a number, an array of these for an array. The gradient is part of the graph as usual: transforms nest.
 * @throws ShapeError if f's value has more than one element; DTypeError for an argument or a value that is not float32.
 */
export function valueAndGrad<Args extends unknown[]>(
  f: ScalarFunction<Args>,
): (...args: Args) => [Tensor, Gradients<Args, 0>];
export function valueAndGrad<Args extends unknown[], const N extends number | readonly number[]>(
  f: ScalarFunction<Args>,
  argnums: N,
): (...args: Args) => [Tensor, Gradients<Args, N>];
export function valueAndGrad<Args extends unknown[], const N extends number | readonly number[] = 0>(
  f: ScalarFunction<Args>,
  argnums: N = 0 as N,
): (...args: Args) => [Tensor, Gradients<Args, N>] {
  return valueAndGradOf("valueAndGrad", f, argnums);
}

/** The gradient of a function of tensors that returns one element; see valueAndGrad. */
export function grad<Args extends unknown[]>(f: ScalarFunction<Args>): (...args: Args) => Gradients<Args, 0>;
export function grad<Args extends unknown[], const N extends number | readonly number[]>(
  f: ScalarFunction<Args>,
  argnums: N,
): (...args: Args) => Gradients<Args, N>;
export function grad<Args extends unknown[], const N extends number | readonly number[] = 0>(
  f: ScalarFunction<Args>,
  argnums: N = 0 as N,
): (...args: Args) => Gradients<Args, N> {
  const both = valueAndGradOf("grad", f, argnums);
  return (...args) => both(...args)[1];
}

/** The same values, constant to differentiation: a tree with each tensor detached. */
export function stopGradient<T>(tree: T): T {
  return mapTree(tree, (t) => t.detach()) as T;
}

/** What f returns, with no gradient flowing through it. */
export function noGrad<T>(f: () => T): T {
  checkFunction("noGrad", f);
  const result = f();
  checkNotAsync("noGrad", result);
  return stopGradient(result);
}

function checkArguments(op: string, given: Readonly<Record<string, unknown>>): void {
  for (const [name, list] of Object.entries(given))
    if (!Array.isArray(list)) throw new ValueError(`${op}: ${name} must be an array of arguments, got ${String(list)}`);
}

/** @internal What f returns inside a transform, and the nodes of its tensors. */
export function outputsOf<Args extends unknown[], Result>(
  op: string,
  f: (...args: Args) => Result,
  args: Args,
): { result: Result; outputs: Node[] } {
  const result = transformed(op, f, ...args);
  return { result, outputs: leavesOf(result).map((t) => t.node) };
}

/** @internal A tree with its tensors as inputs of their own, so that derivatives stop at them, and their nodes. */
export function asInputs<T>(op: string, tree: T): { tree: T; nodes: Node[] } {
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

/** @internal The nodes of a tree of tensors that is to match `like`: one tangent or cotangent for each tensor. */
export function matching(op: string, what: string, tree: unknown, like: unknown): Node[] {
  const wanted = leavesOf(like);
  return tensorsLike(`${op}: the ${what}s are no tree like what they are for`, tree, like).map((t, i) => {
    if (!sameShape(t.shape, wanted[i].shape) || !isFloat(t.dtype))
      throw new ShapeError(
        `${op}: ${what} ${i} is ${t.dtype}${show(t.shape)}, its tensor is float32${show(wanted[i].shape)}`,
      );
    return t.node;
  });
}

/** @internal The tree with other nodes in the place of its tensors; null stands for zeros. */
export function filled<T>(tree: T, nodes: readonly (Node | null)[]): T {
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
  return linearized("linearize", f, primals);
}

function linearized<Args extends unknown[], Result>(
  op: string,
  f: (...args: Args) => Result,
  primals: Args,
): [Result, (...tangents: Args) => Result] {
  const { tree, nodes } = asInputs(op, primals);
  const { result, outputs } = outputsOf(op, f, tree);
  return [result, (...tangents) => filled(result, forward(outputs, nodes, matching(op, "tangent", tangents, tree)))];
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
  checkArguments("jvp", { primals, tangents });
  const [y, derivative] = linearized("jvp", f, primals);
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
  const { result, outputs } = outputsOf("vjp", f, tree);
  return [
    result,
    (cotangents) => filled(tree, reverse(outputs, matching("vjp", "cotangent", cotangents, result), nodes)),
  ];
}

/**
 * The value of a function of one element, and the product of its Hessian with `vectors`, trees like the arguments: forward
 * mode over the gradient (Pearlmutter, Neural Computation 6, 1994): it costs a few gradients, and no Hessian is materialised.
 * @throws ShapeError if f's value has more than one element; else as linearize.
 */
export function hvp<Args extends unknown[]>(f: ScalarFunction<Args>, primals: Args, vectors: Args): [Tensor, Args] {
  checkArguments("hvp", { primals, vectors });
  const { tree, nodes } = asInputs("hvp", primals);
  const y = transformed("hvp", f, ...tree);
  checkScalar("hvp", y);
  const tangents = matching("hvp", "vector", vectors, tree);
  return [y, filled(tree, forward(gradients(y.node, nodes), nodes, tangents))];
}
