/** @file Finds what is not finite: by a cheap check in every step, or by inspecting every operation once. */
import { compileGraph } from "../compile/compile.ts";
import { loops } from "../compile/extensions/scan.ts";
import { checkFunction } from "../core/check.ts";
import { isFloat, type TypedArray } from "../core/dtype.ts";
import { NonFiniteError, ValueError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { numel, show } from "../core/shape.ts";
import { isOp, type Node, toposort } from "../graph/node.ts";
import * as ops from "../ops/assert.ts";
import { constantValue } from "../ops/leaf.ts";
import type { ScanAttrs } from "../ops/scan.ts";
import { stack } from "../tensor/functions.ts";
import { Parameter } from "../tensor/parameter.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { bindingOf } from "../trace/bindings.ts";
import { evaluate } from "../trace/evaluate.ts";
import { type Entry, launch, record, resultOf, valueOf } from "../trace/record.ts";
import { currentTrace, refuseInStep } from "../trace/trace.ts";
import { leavesOf, mapTree } from "../trace/tree.ts";
import { Origins } from "./origin.ts";
import { count, range, rounded } from "./range.ts";

/**
 * Fails the step if a tensor of the tree contains a NaN or an infinity: the compiled function's results reject with a
 * NonFiniteError that names the tensor by its path, and parameters are left unchanged. It costs two reductions per tensor.
 * Outside compiled functions the promise it returns rejects.
 * @throws ValueError if there is no tensor in the tree; numbers, modules and functions are not tensors.
 * @example assertFinite({ loss, norm: nn.utils.clipGradNorm(model.parameters(), 1) });
 */
export function assertFinite(tree: unknown): Promise<void> {
  refuseInStep("assertFinite");
  if (leavesOf(tree).length === 0)
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
  const check = ops.assertFinite(stack(checks).to("int32").node, names);
  const trace = currentTrace();
  if (!trace) return evaluate([check]).then(() => {});
  trace.required.push(check);
  return Promise.resolve();
}

/** What n has the value of: an identity is its source. */
function behind(n: Node): Node {
  return n.op.kind === "identity" ? behind(n.src[0]) : n;
}

function described(operand: Node, values: TypedArray | undefined): string {
  const n = behind(operand);
  const c = constantValue(n);
  if (c !== undefined) return `the constant ${rounded(c)}`;
  const what = `${n.dtype}${show(n.shape)}${n.src.length > 0 ? ` from ${n.op.name}` : ""}`;
  if (!values || values.length === 0) return what;
  return `${what}, ${range(values)}`;
}

type Count = ReturnType<typeof count>;

/** Nodes of one graph, the program's or a loop's body, with their values there. */
interface Level {
  readonly roots: readonly Node[];
  readonly values: ReadonlyMap<Node, TypedArray>;
  /** Of a body: the step they are of. */
  readonly where: string;
}

const isCheck = (n: Node): boolean => n.op === ops.ASSERT.assertFinite;

/**
 * The node that is to blame for what is not finite among the roots, or where a check looks, or what becomes an integer (as in
 * argmax: a NaN has no place there, an infinity may). Of operations the first one that made it; else what came in.
 */
function firstFault(roots: readonly Node[], countOf: (n: Node) => Count, nanOnly: boolean): Node | undefined {
  const isBad = (n: Node): boolean => countOf(n).nan + (nanOnly ? 0 : countOf(n).infinite) > 0;
  const floats = (nodes: readonly Node[]): Node[] => nodes.filter((n) => isFloat(n.dtype));
  const checked = roots.filter((n) => isCheck(n)).flatMap((n) => floats(toposort(n.src, (x) => isFloat(x.dtype))));
  const integers = toposort(roots).filter((n) => n.dtype === "int32" || n.dtype === "uint8");
  const lost = integers.flatMap((n) => floats(n.src)).filter((n) => countOf(n).nan > 0);
  const ends = [...roots.filter((n) => !isCheck(n)), ...checked].filter(isBad);
  const bad = toposort([...ends, ...lost], (n) => !isBad(n)).filter(isBad);
  const made = bad.filter((n) => {
    if (n.src.length === 0) return false;
    // A NaN that was written down is no operation's: what uses it is what is wrong.
    const given = n.src.map((s) => (constantValue(s) === undefined ? countOf(s) : { ...countOf(s), nan: 0 }));
    const { nan, infinite } = countOf(n);
    if (nan > 0 && given.every((g) => g.nan === 0)) return true;
    return !nanOnly && infinite > 0 && given.every((g) => g.nan + g.infinite === 0);
  });
  // Infinities that were written down are there on purpose.
  const given = bad.filter((n) => n.src.length === 0 && (constantValue(n) === undefined || countOf(n).nan > 0));
  return [...made.sort((a, b) => a.id - b.id), ...given][0];
}

function amount(n: Node, { nan, infinite }: Count): string {
  if (constantValue(n) !== undefined) return "";
  const what = [nan > 0 ? `${nan} NaN` : "", infinite > 0 ? `${infinite} infinite` : ""];
  return ` ${n.src.length > 0 ? "made" : "has"} ${what.filter(Boolean).join(" and ")} of ${numel(n.shape)} elements`;
}

/** An operation; or which of the things that the function is given. */
function what(n: Node, { graph, inputs }: Entry, args: readonly unknown[]): string {
  const spec = `${n.dtype}${show(n.shape)}`;
  if (n.src.length > 0) return `${n.op.name} -> ${spec}`;
  if (constantValue(n) !== undefined) return `the function returns ${spec} filled with ${constantValue(n)}`;
  const paths: string[] = [];
  mapTree(args, (t, path) => t instanceof Parameter || paths.push(path));
  const place = inputs[graph.inputs.indexOf(n)];
  if (typeof place === "number") return `argument ${paths[place]}, ${spec},`;
  const holds = bindingOf(n)?.kind === "state" ? "a parameter or another variable" : "a tensor from outside";
  return `${holds}, ${spec},`;
}

/** The nodes behind some whose values are looked at. */
const inspected = (roots: readonly Node[]): Node[] =>
  toposort(roots).filter(
    (n) => isFloat(n.dtype) && constantValue(n) === undefined && numel(n.shape) > 0 && !isCheck(n),
  );

function counter({ values }: Level): (n: Node) => Count {
  const counts = new Map([...values].map(([n, array]) => [n, count(array)]));
  return (n) => {
    const c = constantValue(n);
    return counts.get(n) ?? count(Float32Array.from(c === undefined ? [] : [c]));
  };
}

const faultIn = (level: Level, nanOnly: boolean): Node | undefined => firstFault(level.roots, counter(level), nanOnly);

/**
 * Runs a function and inspects the value of every operation: forward, backward and in the optimiser. The first one that
 * produces a NaN (or, with `nanOnly: false`, an infinity) from operands that have none fails the call, with its name, the
 * ranges of its operands, the user's line that created it and, within a derivative, the operation that was differentiated. It
 * counts only if it reaches a result, a parameter, a check or (a NaN) an integer: not the infinity of a mask that softmax turns
 * into 0, nor one that is clamped. A failed call changes nothing. Slow: it keeps all values. Give it the compiled step that
 * goes wrong, or any function of tensors.
 * @returns What the function returns, if all is finite.
 * @throws NonFiniteError
 * @example await detectAnomaly(step)(x, y);
 */
export function detectAnomaly<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
  options: { nanOnly?: boolean } = {},
): (...args: Args) => Promise<Result> {
  checkFunction("detectAnomaly", f);
  const { nanOnly = false } = checkOptions("detectAnomaly", options, { nanOnly: true });
  return async (...args) => {
    const origins = new Origins();
    const entry = origins.record(() => record(f, args, "detectAnomaly"));
    const values = leavesOf(args)
      .filter((t) => !(t instanceof Parameter))
      .map(valueOf);
    const { inputs, residents, outputs, updates } = entry.graph;
    /** The values of nodes of the program. */
    const valuesOf = (nodes: readonly Node[]): Promise<TypedArray[]> => {
      const graph = { inputs, residents, outputs: nodes, updates: [] };
      const program = Promise.resolve().then(() => compileGraph(graph));
      return launch({ ...entry, graph, program, updates: [] }, values);
    };
    const roots = [...outputs, ...updates];
    const seen = inspected(roots);
    const arrays = await valuesOf(seen);
    let level: Level = { roots, values: new Map(seen.map((n, i) => [n, arrays[i]])), where: "" };
    let first = faultIn(level, nanOnly);
    if (!first) return resultOf(entry, launch(entry, values)) as Result;
    // Of a loop, what its body did in the first step that was not as it should be; that may be a loop too.
    let outside = (n: Node): Node => n;
    for (let offset = 0; isOp(first, loops.scan); ) {
      const { attrs, src }: Node<ScanAttrs> = first;
      const { loop } = attrs;
      const enclosing = outside;
      outside = (n) => enclosing(loops.stackOf(loop, src, n));
      const body = inspected(loop.roots);
      const stacks: TypedArray[] = await valuesOf(body.map(outside));
      const inStep = (t: number): ReadonlyMap<Node, TypedArray> =>
        new Map(
          body.map((n, i) => {
            const at = (offset * loop.length + t) * numel(n.shape);
            return [n, stacks[i].subarray(at, at + numel(n.shape))];
          }),
        );
      let found: { level: Level; fault: Node; t: number } | undefined;
      for (let k = 0; k < loop.length && !found; k++) {
        const t = loop.reverse ? loop.length - 1 - k : k;
        const inner: Level = {
          roots: loop.roots,
          values: inStep(t),
          where: ` in step ${t}${level.where && ` of a loop${level.where}`}`,
        };
        const fault = faultIn(inner, nanOnly);
        if (fault && fault.src.length > 0) found = { level: inner, fault, t };
      }
      if (!found) break;
      offset = offset * loop.length + found.t;
      ({ level, fault: first } = found);
    }
    const countOf = counter(level);
    throw new NonFiniteError(
      [
        `detectAnomaly: ${what(first, entry, args)}${level.where}${amount(first, countOf(first))}`,
        ...first.src.map((s, i) => `  operand ${i}: ${described(s, level.values.get(s))}`),
        ...(first.src.length > 0 ? origins.lines(first) : []),
      ].join("\n"),
    );
  };
}
