/** @file compile(fn): a function of tensors as one program per signature. */
import { compileGraph } from "./compile/compile.ts";
import type { Program } from "./compile/program.ts";
import { allocate, isFloat, type TypedArray } from "./core/dtype.ts";
import { checkFunction } from "./core/check.ts";
import { FourlaneError, ValueError } from "./core/errors.ts";
import { sameShape, type Shape, show } from "./core/shape.ts";
import { rootOf, type TensorDataset } from "./data/dataset.ts";
import { DataLoader, stopped } from "./data/loader.ts";
import { printGraph } from "./graph/print.ts";
import { type Graph, type Node, toposort } from "./graph/node.ts";
import { leaf } from "./ops/leaf.ts";
import { isDetached } from "./ops/structure.ts";
import { Profile } from "./profile.ts";
import { session } from "./run/active.ts";
import type { LaunchArgs } from "./run/launch.ts";
import { ownerOf, Parameter, Tensor } from "./tensor.ts";
import {
  bindingOf,
  bindings,
  collect,
  compileLater,
  dataLeaf,
  flush,
  isRecording,
  residentOf,
  Setting,
  Trace,
  Variable,
  withTrace,
} from "./trace.ts";
import { signatureOf } from "./signature.ts";
import { isPlain, leavesOf, mapTree } from "./tree.ts";

/** A compiled function: the function itself, and what it became. */
export interface Compiled<Args extends unknown[], Result> {
  (...args: Args): Result;
  /**
   * The program the arguments would run, as text: instructions by phase, the memory plan and its ratio to the lower bound.
   * Without arguments, that of the last call.
   */
  explain(...args: Args | []): string;
  /** The traced graph before optimisation, as text. */
  graph(...args: Args | []): string;
  /**
   * One epoch of the loader: what `for await (const batch of loader) fn(...batch)` computes, up to 1024 batches in one launch,
   * with no JavaScript of the caller's thread in between. The data set goes to the workers' memory with the first call and
   * stays there; only the order of its rows is sent. `scale` and `shift` of a column are computed in float32.
   *
   * If a batch fails, so do those behind it; variables are as the batch before it left them.
   * @returns What the function returns, over all batches: a tensor of shape [s] becomes one of shape [batches, s]; if the last
   * batch is smaller, one with a value for each row, [rows of the batch, s], becomes [rows of all batches, s].
   * @throws ValueError if the dataset is no TensorDataset (or Subset of one), if it makes no batch, or if the last batch,
   * being smaller, gives tensors of still other shapes; AbortedError if the loader's signal is aborted when it is called.
   */
  run(loader: DataLoader): Result;
  /**
   * Runs the function once, with all its effects, and measures every instruction on every worker. Warm up first: kernels are
   * slow until the engine has optimised them.
   * @example const profile = await step.profile(x, y); console.log(String(profile)); writeFileSync("trace.json", profile.toTrace());
   */
  profile(...args: Args): Promise<Profile>;
  /** The program's memory plan, in bytes: planned, the least any plan needs, and without sharing places. */
  plan(...args: Args | []): MemoryPlan;
}

export interface CompileOptions {
  /**
   * Most signatures whose programs are kept; beyond that the one that was used longest ago is recorded anew when it comes
   * again. Default 64.
   */
  cacheSize?: number;
}

/** Bytes of a program's intermediate values; see Compiled.plan. */
export interface MemoryPlan {
  readonly bytes: number;
  readonly lowerBound: number;
  readonly unshared: number;
}

/** @internal */
export interface Entry {
  /** Compiles, unless that was done. */
  readonly compiled: () => Program;
  readonly program: Promise<Program>;
  readonly graph: Graph;
  readonly guards: readonly (() => boolean)[];
  /** For each input of the program, which argument tensor it is, or the value of a tensor from outside. */
  readonly inputs: readonly (number | Setting | Promise<TypedArray>)[];
  readonly residents: readonly Variable[];
  readonly updates: readonly Variable[];
  readonly result: unknown;
  /** Of each output, whether it depends on what requires a gradient. */
  readonly cut: readonly boolean[];
}

/** Most batches of one launch: what is behind it in the queue waits for a whole one. */
const RUN_LIMIT = 1024;

const isArgument = (t: Tensor): boolean => !(t instanceof Parameter);

/**
 * Compiles a function of tensors. It is called once per signature (shapes and dtypes of the tensors, values of everything
 * else) to record what it computes; then each call runs one program on the workers: forward, backward and optimiser alike.
 *
 * The function may read parameters and other tensors from outside, call backward() and optimisers, and must return tensors
 * (nested in arrays and objects, or nothing). It must not read values: return them. What it does beside tensors happens only
 * while it is recorded. Gradients do not survive a call: call zeroGrad() inside. Nor do they flow through its results, unless the
 * call is part of another compiled function or a transform: backward() refuses what was made of these, but for detach().
 *
 * Numbers, texts, dates, arrays, plain objects, maps and sets among the arguments count by value (up to 4096 numbers in arrays),
 * functions, modules and optimisers as themselves, instances of other classes as themselves and by their public fields. What
 * changes from call to call should be a tensor: each new value is another program.
 *
 * @returns A function with the same arguments. Its tensors are being computed when it returns; await their values.
 * @throws ValueError for an unknown option, or a cacheSize that is no positive integer.
 */
export function compile<Args extends unknown[], Result>(
  fn: (...args: Args) => Result,
  options: CompileOptions = {},
): Compiled<Args, Result> {
  checkFunction("compile", fn);
  if (!isPlain(options)) throw new ValueError(`compile: options must be an object, got ${String(options)}`);
  const { cacheSize = SIGNATURES, ...others } = options as CompileOptions;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new ValueError(`compile: there is no option ${unknown}, only cacheSize`);
  if (!Number.isInteger(cacheSize) || cacheSize < 1)
    throw new ValueError(`compile: cacheSize must be a positive integer, got ${String(cacheSize)}`);
  const recorded = recorder(fn, cacheSize);
  const overRows = new WeakMap<TensorDataset, Recorder<[Tensor]>>();
  let last: Entry | undefined;

  const entryFor = (args: Args): { entry: Entry; tensors: Tensor[] } => {
    const found = recorded(args);
    last = found.entry;
    return found;
  };

  const call = (...args: Args): Result => {
    if (isRecording()) return fn(...args); // part of what is being recorded
    const { entry, tensors } = entryFor(args);
    return resultOf(entry, launch(entry, tensors.map(valueOf))) as Result;
  };

  const run = (loader: DataLoader): Result => {
    if (!(loader instanceof DataLoader)) throw new ValueError(`run: a DataLoader is wanted, got ${String(loader)}`);
    const { batchSize, length, signal } = loader;
    if (signal?.aborted) throw stopped(signal);
    const root = rootOf(loader.dataset, length > 0 ? loader.beginEpoch() : []);
    if (!root) throw new ValueError("run: the loader's dataset must be a TensorDataset or a Subset of one");
    if (length === 0) throw new ValueError(`run: ${loader.dataset.length} rows make no batch of ${batchSize}`);
    root.dataset.resident(); // its place in memory cannot be made while tracing
    let record = overRows.get(root.dataset);
    if (!record) {
      const rows = root.dataset;
      record = recorder((indices: Tensor) => fn(...(rows.resident()(indices) as unknown as Args)), cacheSize);
      overRows.set(root.dataset, record);
    }
    const rows = Int32Array.from(root.rows);
    const part = (from: number, batches: number): Int32Array =>
      rows.subarray(from * batchSize, Math.min(rows.length, (from + batches) * batchSize));
    const launches: { entry: Entry; from: number; count: number }[] = [];
    for (let from = 0, count = 0; from < length; from += count) {
      const first = part(from, 1);
      const { entry } = record([new Tensor(dataLeaf([first.length], "int32", first))]);
      count = Math.max(1, Math.min(Math.floor(rows.length / batchSize) - from, RUN_LIMIT));
      launches.push({ entry, from, count });
    }
    last = launches[0].entry;
    const made = launches.map(({ entry, from, count }) => ({
      shapes: entry.graph.outputs.map((n) => n.shape),
      rows: part(from, 1).length,
      count,
    }));
    const shapes = made[0].shapes.map((_, k) => overBatches(made.map((m) => ({ ...m, shape: m.shapes[k] }))));
    let before: Promise<TypedArray[]> | undefined;
    const parts = launches.map(({ entry, from, count }) => {
      before = launch(entry, [part(from, count)], { count, before });
      return before;
    });
    const { outputs } = last.graph;
    const all = Promise.all(parts).then((pieces) => joined(outputs, pieces));
    return resultOf(last, all, shapes) as Result;
  };

  const shown = (args: Args | []): Entry => {
    const entry = args.length > 0 ? entryFor(args as Args).entry : last;
    if (!entry) throw new ValueError("explain: call the compiled function first, or give arguments");
    return entry;
  };
  const profile = async (...args: Args): Promise<Profile> => {
    const { entry, tensors } = entryFor(args);
    let times: Float64Array[] = [];
    const onTimes = (t: Float64Array[]): void => {
      times = t;
    };
    await launch(entry, tensors.map(valueOf), { onTimes });
    return new Profile(entry.compiled().labels, times);
  };
  return Object.assign(call, {
    run,
    profile,
    explain: (...args: Args | []) => shown(args).compiled().print(),
    graph: (...args: Args | []) => printGraph(shown(args).graph),
    plan: (...args: Args | []): MemoryPlan => {
      const { bytes, lowerBound, unshared } = shown(args).compiled().plan;
      return { bytes, lowerBound, unshared };
    },
  });
}

type Recorder<Args extends unknown[]> = (args: Args) => { entry: Entry; tensors: Tensor[] };

/** Signatures of a function that are kept. */
const SIGNATURES = 64;
/** Records of a function after which something is wrong with how it is called. */
const MANY = 32;

/** Finds the program for the signature of the arguments; records it if there is none. */
function recorder<Args extends unknown[]>(fn: (...args: Args) => unknown, cacheSize: number): Recorder<Args> {
  /** The entry that was used last is the last one. */
  const entries = new Map<Entry, string>();
  let newest: Entry | undefined;
  const bySignature = new Map<string, Set<Entry>>();
  const changes = new Changes(fn.name);
  return (args) => {
    const { leaves, text } = signatureOf("compile", args, isArgument);
    const list = bySignature.get(text) ?? new Set();
    let entry: Entry | undefined;
    for (const e of list) if (!entry && e.guards.every((g) => g())) entry = e;
    if (!entry) {
      changes.note(args);
      // Entries whose guards failed may hold again (train and eval take turns), so they stay.
      entry = record(fn, args);
      bySignature.set(text, list.add(entry));
    }
    if (entry !== newest) {
      entries.delete(entry);
      entries.set(entry, text);
      newest = entry;
    }
    if (entries.size > cacheSize) {
      const [[oldest, signature]] = entries;
      const others = bySignature.get(signature);
      others?.delete(oldest);
      if (others?.size === 0) bySignature.delete(signature);
      entries.delete(oldest);
    }
    return { entry, tensors: leaves };
  };
}

/** Why a function is recorded again and again: said once, for it costs milliseconds where a call takes microseconds. */
class Changes {
  private readonly name: string;
  private count = 0;
  /** What stood at each place of the arguments. */
  private readonly seen = new Map<string, Set<string>>();

  constructor(name: string) {
    this.name = name || "the function";
  }

  note(args: readonly unknown[]): void {
    if (this.count > MANY) return;
    this.count++;
    signatureOf("compile", args, isArgument, (path, text) => {
      let texts = this.seen.get(path);
      if (!texts) this.seen.set(path, (texts = new Set()));
      texts.add(text.length > 80 ? `${text.slice(0, 60)}... ${text.length}` : text);
    });
    if (this.count <= MANY) return;
    let [most, where] = [1, ""];
    for (const [path, { size }] of this.seen) if (size > most) [most, where] = [size, path];
    const why =
      where === ""
        ? "what it read from outside changed (train, eval, requiresGrad)"
        : `${where} keeps changing (${[...(this.seen.get(where) as Set<string>)].slice(-3).join(", ")}): ` +
          ([...(this.seen.get(where) as Set<string>)][0].startsWith("T")
            ? "each shape is another program; pad to a few sizes"
            : "make it a tensor, then one program serves all values");
    console.warn(`fourlane: ${this.name} was compiled more than ${MANY} times; ${why}`);
    this.seen.clear();
  }
}

/**
 * The shape of a result over launches of `count` batches each: one entry for each batch; or, if only the first extents differ
 * and are the rows of each batch, one for each row.
 */
function overBatches(launches: readonly { shape: Shape; rows: number; count: number }[]): Shape {
  const [{ shape }] = launches;
  const total = (of: (l: (typeof launches)[number]) => number): number => launches.reduce((s, l) => s + of(l), 0);
  if (launches.every((l) => sameShape(l.shape, shape))) return [total((l) => l.count), ...shape];
  if (launches.every((l) => l.shape[0] === l.rows && sameShape(l.shape.slice(1), shape.slice(1))))
    return [total((l) => l.count * l.rows), ...shape.slice(1)];
  const other = launches.find((l) => !sameShape(l.shape, shape));
  throw new ValueError(`run: the last batch gives ${show(other?.shape ?? [])} instead of ${show(shape)}; use dropLast`);
}

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

/** The outputs of several launches, each one after the other. */
function joined(outputs: readonly Node[], pieces: readonly TypedArray[][]): TypedArray[] {
  if (pieces.length === 1) return pieces[0];
  return outputs.map(({ dtype }, k) => {
    const length = pieces.reduce((n, p) => n + p[k].length, 0);
    const all = allocate(dtype, length);
    let at = 0;
    for (const p of pieces) {
      all.set(p[k], at);
      at += p[k].length;
    }
    return all;
  });
}

/** @internal Records a function as a program that is about to be compiled; `op` asked for it. */
export function record<Args extends unknown[], Result>(
  fn: (...args: Args) => Result,
  args: Args,
  op = "compile",
): Entry {
  const trace = new Trace();
  const arguments_: Node[] = [];
  // Tensors from outside live in the memory of the runtime in use.
  const home = session();
  trace.guards.push(() => session() === home);
  const { result, outputs } = withTrace(trace, () => {
    let i = 0;
    const placeholders = mapTree(args, (t) => {
      if (!isArgument(t)) return t;
      const n = leaf(t.shape, t.dtype);
      bindings.set(n, { kind: "argument", index: i++, trace });
      arguments_.push(n);
      const p = new Tensor(n);
      if (t.requiresGrad) p.requiresGrad = true;
      return p;
    }) as Args;
    const value = fn(...placeholders);
    if (value instanceof Promise)
      throw new FourlaneError("TRACE", `${op}: the function is async; it must return tensors, to be awaited outside`);
    // Still inside: a parameter's node is its value after the function's assignments.
    return { result: value, outputs: [...leavesOf(value).map((t) => t.node), ...trace.required] };
  });
  const needy = new Set<Node>();
  for (const n of toposort(outputs, isDetached))
    if (isFloat(n.dtype) && (ownerOf(n)?.requiresGrad || (!isDetached(n) && n.src.some((s) => needy.has(s)))))
      needy.add(n);
  const updates: Variable[] = [];
  const values: Node[] = [];
  for (const [variable, { leaf: before, value }] of trace.variables) {
    if (value === before) continue;
    updates.push(variable);
    values.push(value);
  }
  // Variables and tensors from outside stay in memory between calls.
  const graph = collect(outputs, values, (b) => (b.kind === "state" && b.seen < 0) || b.kind === "data");
  const inputs = graph.inputs.map((n): Entry["inputs"][number] => {
    const binding = bindingOf(n);
    if (binding?.kind === "argument" && binding.trace === trace) return binding.index;
    if (binding?.kind === "setting" && trace.settings.get(binding.setting) === n) return binding.setting;
    if (binding?.kind !== "state")
      throw new FourlaneError("TRACE", "compile: a tensor of another compiled function, or of a vmap, was used");
    // A lazy tensor from outside means its variables as they are now, whatever becomes of them.
    const captured = binding.variable.read(binding.seen);
    captured.catch(() => {}); // reported by the calls that need it
    return captured;
  });
  const residents = graph.residents.map((n): Variable => {
    const binding = bindingOf(n);
    if (binding?.kind === "data") return residentOf(n, binding.array);
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
  flush(); // assignments that wait come first: they are older
  // A variable of a runtime that was disposed: that one rejects.
  const home = [...entry.residents, ...entry.updates].find((v) => v.home !== session())?.home ?? session();
  return home.launch(entry.program, {
    after: before,
    count,
    onTimes,
    inputs: entry.inputs.map((i) => (typeof i === "number" ? values[i] : i instanceof Setting ? i.value : i)),
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
