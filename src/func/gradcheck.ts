/** @file Checks derivatives of a user's function: forward mode, reverse mode and finite differences, in float64. */
import { checkFunction, checkNotAsync } from "../core/check.ts";
import { isFloat, type TypedArray } from "../core/dtype.ts";
import { GradcheckError, ValueError } from "../core/errors.ts";
import { checkOptions, type Names } from "../core/options.ts";
import { numel, show, stridesOf } from "../core/shape.ts";
import { arbitrary, type CheckOptions, type Culprit, findCulprit, firstMismatch } from "../diff/check.ts";
import { type Node, toposort } from "../graph/node.ts";
import { LEAF } from "../ops/leaf.ts";
import { alias, operandsOf } from "../ops/identity.ts";
import { tensor } from "../tensor/creation.ts";
import { Tensor } from "../tensor/tensor.ts";
import { dataOf } from "../trace/bindings.ts";
import { evaluate } from "../trace/evaluate.ts";
import { transformed } from "../trace/trace.ts";
import { mapTree } from "../trace/tree.ts";
import { Origins } from "./origin.ts";
import { vjp } from "./transforms.ts";

/** Named as torch.autograd.gradcheck's. */
export interface GradcheckOptions {
  /** Half the distance between the points of a difference; default 1e-6. */
  eps?: number;
  /** A derivative d may differ from the difference by atol + rtol |d|; defaults 1e-5 and 1e-3. */
  atol?: number;
  rtol?: number;
  /** Whether to throw where derivatives differ (the default), or to return false. */
  raiseException?: boolean;
  /** Two random directions per tensor instead of all its elements; the default if one has more than 300. */
  fastMode?: boolean;
  /** Whether to check forward mode; default true. */
  checkForwardAd?: boolean;
  /** Whether to check reverse mode; default true. */
  checkBackwardAd?: boolean;
}

const NAMES: Names<GradcheckOptions> = {
  eps: true,
  atol: true,
  rtol: true,
  raiseException: true,
  fastMode: true,
  checkForwardAd: true,
  checkBackwardAd: true,
};

interface Named {
  readonly tensor: Tensor;
  readonly name: string;
}

/** The float32 tensors of a tree, each called `what` and its path. */
function floatsOf(tree: unknown, what: string): Named[] {
  const list: Named[] = [];
  mapTree(tree, (t, path) => {
    if (isFloat(t.dtype)) list.push({ tensor: t, name: path ? `${what} ${path}` : what });
  });
  return list;
}

/** A function of a list of the float32 tensors of its arguments, to the list of those it returns. */
function flattened<Args extends unknown[]>(
  op: string,
  f: (...args: Args) => unknown,
  args: Args,
): (tensors: readonly Tensor[]) => Named[] {
  checkFunction(op, f);
  return (tensors) => {
    let i = 0;
    const replaced = mapTree(args, (t) => (isFloat(t.dtype) ? tensors[i++] : t)) as Args;
    const returned = f(...replaced);
    checkNotAsync(op, returned);
    const results = floatsOf(returned, "output");
    if (results.length === 0) throw new ValueError(`${op}: the function returns no tensor of float32`);
    return results;
  };
}

/** Elements of a tensor above which random directions are tried instead of each. */
const LIMIT = 300;

async function check(
  op: string,
  f: (tensors: readonly Tensor[]) => Named[],
  inputs: readonly Named[],
  options: GradcheckOptions,
): Promise<boolean> {
  const given = checkOptions(op, options, NAMES);
  if (inputs.length === 0) throw new ValueError(`${op}: there is no tensor of float32 among the inputs`);
  const { eps = 1e-6, atol = 1e-5, rtol = 1e-3, checkForwardAd = true, checkBackwardAd = true } = given;
  for (const [name, v] of Object.entries({ eps, atol, rtol }))
    if (!Number.isFinite(v) || v < 0 || (name === "eps" && v === 0))
      throw new ValueError(`${op}: ${name} must be finite and ${name === "eps" ? "above" : "not below"} 0, got ${v}`);
  const nodes = inputs.map((x) => alias(x.tensor.node));
  const origins = new Origins();
  const results = transformed(op, () => origins.record(() => f(nodes.map((n) => new Tensor(n)))));
  const outputs = results.map((y) => y.tensor.node);

  // What was there before the function, and the leaves it made, have the values they have anywhere.
  const old = (n: Node): boolean => n.id <= nodes[nodes.length - 1].id;
  const constants = toposort(outputs, old).filter((n) => !nodes.includes(n) && (old(n) || n.op === LEAF));
  const arrays = await evaluate([...inputs.map((x) => x.tensor.node), ...constants]);
  const values = new Map([...nodes, ...constants].map((n, i) => [n, Float64Array.from(arrays[i] as TypedArray)]));

  const { fastMode = [...nodes, ...outputs].some((n) => numel(n.shape) > LIMIT), raiseException = true } = given;
  const how: CheckOptions = { eps, atol, rtol, fastMode, checkForwardAd, checkBackwardAd, dataOf };
  const found = firstMismatch(outputs, nodes, values, how);
  if (!found) return true;
  if (!raiseException) return false;
  const { mode, output, outputElement, input, inputElement, got, wanted } = found;
  const to = results[output].name + at(outputs[output], outputElement);
  const from = inputs[input].name + at(nodes[input], inputElement);
  const culprit = findCulprit(outputs, nodes, values, how, LIMIT);
  const why = culprit
    ? [blame(culprit), ...origins.lines(culprit.node)]
    : ["  each operation is right by itself: eps or the tolerances do not fit this function"];
  throw new GradcheckError(
    [
      `${op}: by ${mode} mode the derivative of ${to} with respect to ${from} is ${got}, by differences ${wanted}`,
      ...why,
    ].join("\n"),
    culprit?.node.op.name,
  );
}

function at(n: Node, element: number | undefined): string {
  if (element === undefined) return " along a random direction";
  return n.shape.length > 0
    ? ` at ${show(stridesOf(n.shape).map((s, i) => Math.floor(element / s) % n.shape[i]))}`
    : "";
}

function blame({ node: n, mismatch: { mode, input, inputElement, got, wanted } }: Culprit): string {
  const operands = operandsOf(n);
  const operand = `operand ${input}${at(operands[input], inputElement)}`;
  const on = operands.map((x) => show(x.shape)).join(" and ");
  return `  the ${mode} derivative of ${n.op.name} on ${on} with respect to ${operand} is ${got}, not ${wanted}`;
}

/**
 * Checks the derivatives of a function at a point: forward mode and reverse mode against central differences of its value.
 * Everything is computed in float64 on the calling thread, by the operations' plain references: use small inputs. The
 * function must be smooth at the point and return float32 tensors; random numbers in it are drawn once.
 * @param inputs The arguments, trees of tensors; derivatives are with respect to the float32 ones.
 * @returns true, or false where derivatives differ and `raiseException` is false.
 * @throws GradcheckError that names the elements, the operation whose own derivative is wrong, and the line that called it.
 * @example await gradcheck((x, w) => x.matmul(w).tanh(), [randn([2, 3]), randn([3, 4])]);
 */
export async function gradcheck<Args extends unknown[]>(
  f: (...args: Args) => unknown,
  inputs: Args,
  options: GradcheckOptions = {},
): Promise<boolean> {
  return check("gradcheck", flattened("gradcheck", f, inputs), floatsOf(inputs, "input"), options);
}

/**
 * Checks second derivatives: gradcheck of the gradient by reverse mode, as a function of the inputs and of the cotangents of
 * the outputs, which are arbitrary.
 * @returns As gradcheck.
 * @throws As gradcheck.
 */
export async function gradgradcheck<Args extends unknown[]>(
  f: (...args: Args) => unknown,
  inputs: Args,
  options: GradcheckOptions = {},
): Promise<boolean> {
  const values = flattened("gradgradcheck", f, inputs);
  const floats = floatsOf(inputs, "input");
  const cotangents = transformed(
    "gradgradcheck",
    values,
    floats.map((x) => x.tensor),
  ).map(({ tensor: y, name }, i) => ({
    tensor: tensor(Float32Array.from(arbitrary(y.numel(), i)), y.shape),
    name: `the cotangent of ${name}`,
  }));
  const gradient = (tensors: readonly Tensor[]): Named[] => {
    const xs = tensors.slice(0, floats.length);
    const [, pullback] = vjp((list: Tensor[]) => values(list).map((y) => y.tensor), xs);
    return pullback(tensors.slice(floats.length))[0].map((g, i) => ({
      tensor: g,
      name: `the gradient of ${floats[i].name}`,
    }));
  };
  return check("gradgradcheck", gradient, [...floats, ...cotangents], options);
}
