/** @file compile(fn): a function of tensors as one program per signature. */
import { checkFunction } from "../core/check.ts";
import { ValueError } from "../core/errors.ts";
import { checkOptions, type Names } from "../core/options.ts";
import { printGraph } from "../graph/print.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { EPOCH, type Epochs, runEpoch } from "./epoch.ts";
import type { Profile } from "./profile.ts";
import { type Entry, launch, resultOf, valueOf } from "./record.ts";
import { type Recorder, recorder, SIGNATURES } from "./recorder.ts";
import { isRecording } from "./trace.ts";

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
   * One epoch of a DataLoader: what `for await (const batch of loader) fn(...batch)` computes, up to 1024 batches in one launch,
   * with no JavaScript of the caller's thread in between. The data set goes to the workers' memory with the first call and
   * stays there; only the order of its rows is sent. `scale` and `shift` of a column are computed in float32.
   *
   * If a batch fails, so do those behind it; variables are as the batch before it left them.
   * @returns What the function returns, over all batches: a tensor of shape [s] becomes one of shape [batches, s]; if the last
   * batch is smaller, one with a value for each row, [rows of the batch, s], becomes [rows of all batches, s].
   * @throws ValueError if the dataset is no TensorDataset (or Subset of one), if it makes no batch, or if the last batch,
   * being smaller, gives tensors of still other shapes; AbortedError if the loader's signal is aborted when it is called.
   */
  run(loader: Epochs): Result;
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

const NAMES: Names<CompileOptions> = { cacheSize: true };

/** Bytes of a program's intermediate values; see Compiled.plan. */
export interface MemoryPlan {
  readonly bytes: number;
  readonly lowerBound: number;
  readonly unshared: number;
}

/**
 * Compiles a function of tensors. It is called once per signature (shapes and dtypes of the tensors, values of everything
 * else) to record what it computes; then each call runs one program on the workers: forward, backward and optimiser alike.
 *
 * The function may read parameters and other tensors from outside, call backward() and optimisers, and must return tensors
 * (nested in arrays and objects, or nothing). It must not read values: return them. What it does beside tensors happens only
 * while it is recorded. Gradients do not survive a call: call zeroGrad() inside. Nor do they flow through its results, unless the
 * call is part of another compiled function or a transform: backward() refuses what was made of these, but for detach().
 *
 * Numbers, texts, dates, arrays, typed arrays, plain objects, maps, sets and URLs among the arguments count by value (up to 4096
 * numbers in arrays), modules and optimisers as themselves, functions and instances of other classes as themselves and by their
 * fields; whether two arguments are one object counts, too. What lies in private #fields or behind accessors of a class, or in
 * closures, cannot be seen: if it changes, that is not noticed. What changes from call to call should be a tensor: each new value
 * is another program. Arrays and plain objects reach the function as copies, tensors in them as arguments; what instances, maps
 * and sets hold it gets as it is, tensors as those from outside: the two are never one object.
 *
 * @returns A function with the same arguments. Its tensors are being computed when it returns; await their values.
 * @throws ValueError for an unknown option, or a cacheSize that is no positive integer; when called, for arguments that cannot be
 * compared (promises, WeakMaps, elements of a page, ...).
 */
export function compile<Args extends unknown[], Result>(
  fn: (...args: Args) => Result,
  options: CompileOptions = {},
): Compiled<Args, Result> {
  checkFunction("compile", fn);
  const { cacheSize = SIGNATURES } = checkOptions("compile", options, NAMES);
  if (!Number.isInteger(cacheSize) || cacheSize < 1)
    throw new ValueError(`compile: cacheSize must be a positive integer, got ${String(cacheSize)}`);
  const recorded = recorder(fn, cacheSize);
  const overRows = new WeakMap<object, Recorder<[Tensor]>>();
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

  const run = (loader: Epochs): Result => {
    if (typeof loader?.[EPOCH] !== "function")
      throw new ValueError(`run: a DataLoader is wanted, got ${String(loader)}`);
    const epoch = loader[EPOCH]();
    let record = overRows.get(epoch.dataset);
    if (!record) {
      record = recorder((indices: Tensor) => fn(...(epoch.batch(indices) as unknown as Args)), cacheSize);
      overRows.set(epoch.dataset, record);
    }
    const byRows = record;
    const { entry, result } = runEpoch(epoch, (indices) => byRows([indices]).entry);
    last = entry;
    return result as Result;
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
    const report = await import("./profile.ts"); // few pages need it, and none in a hurry
    return new report.Profile(entry.compiled().labels, times);
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
