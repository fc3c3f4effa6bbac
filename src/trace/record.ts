/** @file A function recorded as a program, and launched. */
import { compileGraph } from "../compile/compile.ts";
import type { Program } from "../program/program.ts";
import { laterResult } from "../core/check.ts";
import { isFloat, type TypedArray } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import { type Computation, type Node, toposort } from "../graph/node.ts";
import { isDetached } from "../ops/identity.ts";
import { session } from "../run/active.ts";
import type { LaunchArgs } from "../run/launch.ts";
import { ownerOf } from "../tensor/autograd.ts";
import { Parameter } from "../tensor/parameter.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type Adjustable, bindingOf, boundLeaf, dataLeaf, type Held } from "./bindings.ts";
import { collect, compileLater, flush } from "./evaluate.ts";
import { Trace, withTrace } from "./trace.ts";
import { leavesOf, mapTree, MOST_PARTS } from "./tree.ts";
import { residentOf } from "./variable.ts";

/** What a call of the function became. */
export interface Entry {
  /** Compiles, unless that was done. */
  readonly compiled: () => Program;
  readonly program: Promise<Program>;
  readonly graph: Computation;
  readonly guards: readonly (() => boolean)[];
  /** For each input of the program, which argument tensor it is, or the value of a tensor from outside. */
  readonly inputs: readonly (number | Adjustable | Promise<TypedArray>)[];
  readonly residents: readonly Held[];
  readonly updates: readonly Held[];
  readonly result: unknown;
  /** Of each output, whether it depends on what requires a gradient. */
  readonly cut: readonly boolean[];
}

/** Whether a tensor among the arguments is one; parameters are what they are. */
export const isArgument = (t: Tensor): boolean => !(t instanceof Parameter);

/** @internal What the function returned, with values that are being computed; of other `shapes` than the program's. */
export function resultOf(entry: Entry, outputs: Promise<TypedArray[]>, shapes?: readonly Shape[]): unknown {
  outputs.catch(() => {}); // reported where a value is read
  let i = 0;
  return mapTree(entry.result, () => {
    const k = i++;
    const n = entry.graph.outputs[k];
    const value = outputs.then((arrays) => arrays[k]);
    value.catch(() => {});
    return new Tensor(dataLeaf(shapes?.[k] ?? n.shape, n.dtype, value, entry.cut[k]));
  });
}

/** @internal Records a function as a program that is about to be compiled; `op` asked for it. */
export function record<Args extends unknown[], Result>(
  fn: (...args: Args) => Result,
  args: Args,
  op = "compile",
): Entry {
  const trace = new Trace();
  // Tensors from outside live in the memory of the runtime in use.
  const home = session();
  trace.guards.push(() => session() === home);
  const { result, outputs } = withTrace(trace, () => {
    let i = 0;
    const placeholder = (t: Tensor): Tensor => {
      if (!isArgument(t)) return t;
      const p = new Tensor(boundLeaf(t.shape, t.dtype, { kind: "argument", index: i++, trace }));
      if (t.requiresGrad) p.requiresGrad = true;
      return p;
    };
    const placeholders = mapTree(args, placeholder, "", 0, { left: MOST_PARTS, met: new Map() }) as Args;
    const value = fn(...placeholders);
    const why = laterResult(value);
    if (why) throw new FourlaneError("TRACE", `${op}: ${why}`);
    // Still inside: a parameter's node is its value after the function's assignments.
    return { result: value, outputs: [...leavesOf(value).map((t) => t.node), ...trace.required] };
  });
  const needy = new Set<Node>();
  for (const n of toposort(outputs, isDetached))
    if (isFloat(n.dtype) && (ownerOf(n)?.requiresGrad || (!isDetached(n) && n.src.some((s) => needy.has(s)))))
      needy.add(n);
  const updates: Held[] = [];
  const values: Node[] = [];
  for (const [variable, { leaf: before, value }] of trace.variables) {
    if (value === before) continue;
    updates.push(variable);
    values.push(value);
  }
  // Variables and tensors from outside stay in memory between calls.
  const graph = collect(outputs, values, (b) => (b.kind === "state" && b.seen < 0) || b.kind === "data");
  // What could not be computed may be tried again: the next call records the function anew.
  let isLost = false;
  trace.guards.push(() => !isLost);
  const watched = <T>(value: T): T => {
    if (value instanceof Promise)
      value.catch(() => {
        isLost = true; // reported by the calls that need it
      });
    return value;
  };
  const inputs = graph.inputs.map((n): Entry["inputs"][number] => {
    const binding = bindingOf(n);
    if (binding?.kind === "argument" && binding.trace === trace) return binding.index;
    if (binding?.kind === "setting" && trace.settings.get(binding.setting) === n) return binding.setting;
    if (binding?.kind !== "state")
      throw new FourlaneError(
        "TRACE",
        "compile: a tensor of another compiled function, of a vmap or a step of scan was used",
      );
    // A lazy tensor from outside means its variables as they are now, whatever becomes of them.
    return watched(binding.variable.read(binding.seen));
  });
  const residents = graph.residents.map((n): Held => {
    const binding = bindingOf(n);
    if (binding?.kind === "data") return residentOf(n, watched(binding.array));
    if (binding?.kind === "state" && trace.variables.get(binding.variable)?.leaf === n) return binding.variable;
    throw new FourlaneError("TRACE", "compile: a tensor of another compiled function was used");
  });
  let made: Program | undefined;
  const compiled = (): Program => {
    made ??= compileGraph(graph);
    return made;
  };
  return {
    compiled,
    program: compileLater(compiled),
    graph,
    guards: trace.guards,
    inputs,
    residents,
    updates,
    result,
    cut: outputs.map((n) => needy.has(n)),
  };
}

/** @internal Runs the program `count` times; `values` are those of the arguments, of all runs. Fails if what is `before` it did. */
export function launch(
  entry: Entry,
  values: readonly (TypedArray | Promise<TypedArray>)[],
  { count = 1, before, onTimes }: { count?: number; before?: Promise<unknown>; onTimes?: LaunchArgs["onTimes"] } = {},
): Promise<TypedArray[]> {
  const residents = entry.residents.map((v) => v.bound());
  // A variable of a runtime that was disposed: that one rejects.
  const home = [...entry.residents, ...entry.updates].find((v) => v.home !== session())?.home ?? session();
  flush(home); // assignments that wait come first: they are older
  return home.launch(entry.program, {
    after: before,
    count,
    onTimes,
    inputs: entry.inputs.map((i) => (typeof i === "number" ? values[i] : "value" in i ? i.value : i)),
    residents,
    updates: entry.updates.map((v) => v.target),
    holders: entry.updates,
  });
}

/** @internal */
export function valueOf(t: Tensor): TypedArray | Promise<TypedArray> {
  const binding = bindingOf(t.node);
  return binding?.kind === "data" ? binding.array : t.data();
}
