/** @file What is not finite, found: by a cheap check of every step, or by looking at every operation once. */
import { compileGraph } from "../compile/compile.ts";
import { isFloat, type TypedArray } from "../core/dtype.ts";
import { checkFunction, NonFiniteError, ValueError } from "../core/errors.ts";
import { numel, show } from "../core/shape.ts";
import { makeNode, type Node, toposort } from "../graph/node.ts";
import { launch, record, resultOf, valueOf } from "../jit.ts";
import { constantValue } from "../ops/leaf.ts";
import { LOOKUP } from "../ops/lookup.ts";
import { Parameter, stack, type Tensor, zeros } from "../tensor.ts";
import { currentTrace, evaluate } from "../trace.ts";
import { flattenTree, mapTree } from "../tree.ts";
import { Origins } from "./origin.ts";
import { count, range, rounded } from "./range.ts";

/**
 * Fails the step if a tensor of the tree has a NaN or an infinity: what the compiled function returns rejects with a
 * NonFiniteError that names the tensor by its path, and parameters stay as they were. It costs two reductions a tensor. Outside
 * of compiled functions the promise it returns rejects.
 * @throws ValueError if there is no tensor in the tree: a number, a module or a function is none.
 * @example assertFinite({ loss, norm: nn.utils.clipGradNorm(model.parameters(), 1) });
 */
export function assertFinite(tree: unknown): Promise<void> {
  if (flattenTree(tree).leaves.length === 0)
    throw new ValueError(`assertFinite: there is no tensor in what it is given, ${String(tree)}`);
  const names: string[] = [];
  const checks: Tensor[] = [];
  mapTree(tree, (t, path) => {
    if (!isFloat(t.dtype) || t.numel() === 0) return;
    names.push(path || "the tensor");
    // 0 if both ends are finite, else NaN. No sum: that of finite numbers may be infinite.
    checks.push(t.max().mul(0).add(t.min().mul(0)).eq(0).logicalNot());
  });
  if (names.length === 0) return Promise.resolve();
  // An index out of range fails a step: 0 is within a table of one row, the number of the first bad tensor is not.
  const bad = stack(checks).to("int32");
  const index = bad.max(0, true).mul(bad.argmax(0, true).add(1));
  const check = makeNode(LOOKUP.gather, [zeros([1]).node, index.node], { axis: 0, finite: names });
  const trace = currentTrace();
  if (!trace) return evaluate([check]).then(() => {});
  trace.required.push(check);
  return Promise.resolve();
}

function described(n: Node, values: TypedArray | undefined): string {
  const c = constantValue(n);
  if (c !== undefined) return `the constant ${rounded(c)}`;
  const what = `${n.dtype}${show(n.shape)}${n.src.length > 0 ? ` from ${n.op.name}` : ""}`;
  if (!values || values.length === 0) return what;
  return `${what}, ${range(values)}`;
}

/**
 * Runs a function and looks at the value of every operation, forward, backward and in the optimiser. The first that makes a
 * NaN (or, with `nanOnly: false`, an infinity) of operands that have none fails the call, with its name, the ranges of its
 * operands, the user's line that made it, and for one of the backward pass the operation whose gradient it computes. Nothing is
 * changed then. Slow: it keeps all values. Give it the compiled step that goes wrong, or any function of tensors.
 * @returns What the function returns, if all is well.
 * @throws NonFiniteError
 * @example await detectAnomaly(step)(x, y);
 */
export function detectAnomaly<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
  options: { nanOnly?: boolean } = {},
): (...args: Args) => Promise<Result> {
  checkFunction("detectAnomaly", f);
  const { nanOnly = false } = options;
  return async (...args) => {
    const origins = new Origins();
    const entry = origins.record(() => record(f, args));
    const values = flattenTree(args, (t) => !(t instanceof Parameter)).leaves.map(valueOf);
    const { inputs, residents, outputs, updates } = entry.graph;
    // What is given first, then in the order it was made.
    const age = (n: Node): number => (n.src.length === 0 ? 0 : n.id);
    const seen = toposort([...outputs, ...updates])
      .filter((n) => isFloat(n.dtype) && constantValue(n) === undefined && numel(n.shape) > 0 && !n.attrs.finite)
      .sort((a, b) => age(a) - age(b));
    const graph = { inputs, residents, outputs: seen, updates: [] };
    const program = Promise.resolve().then(() => compileGraph(graph));
    const arrays = await launch({ ...entry, graph, program, updates: [] }, values);
    const valueOfNode = new Map(seen.map((n, i) => [n, arrays[i]]));
    const counts = new Map(seen.map((n, i) => [n, count(arrays[i])]));
    for (const n of seen) {
      const made = counts.get(n) as ReturnType<typeof count>;
      const given = n.src.map((s) => counts.get(s) ?? count(Float32Array.of(constantValue(s) || 0))); // a NaN no operation made
      const newNaN = made.nan > 0 && given.every((g) => g.nan === 0);
      const newInfinity = !nanOnly && made.infinite > 0 && given.every((g) => g.nan + g.infinite === 0);
      if (newNaN || newInfinity)
        throw new NonFiniteError(story(n, made, origins, (s) => described(s, valueOfNode.get(s))));
    }
    return resultOf(entry, launch(entry, values)) as Result;
  };
}

function story(
  n: Node,
  made: { nan: number; infinite: number },
  origins: Origins,
  operand: (s: Node) => string,
): string {
  const what = [made.nan > 0 ? `${made.nan} NaN` : "", made.infinite > 0 ? `${made.infinite} infinite` : ""];
  const of = `${what.filter(Boolean).join(" and ")} of ${numel(n.shape)} elements`;
  const spec = `${n.dtype}${show(n.shape)}`;
  const given = n.src.length === 0;
  const lines = [
    given
      ? `detectAnomaly: a tensor ${spec} that the function is given has ${of}`
      : `detectAnomaly: ${n.op.name} -> ${spec} made ${of}`,
    ...n.src.map((s, i) => `  operand ${i}: ${operand(s)}`),
  ];
  if (!given) lines.push(...origins.lines(n));
  return lines.join("\n");
}
