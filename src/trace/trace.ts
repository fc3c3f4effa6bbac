/** @file The trace in progress: what a compiled function does while it is recorded. */
import { checkFunction, checkNotAsync } from "../core/check.ts";
import type { DType } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { type Adjustable, bindingOf, boundLeaf, type Held } from "./bindings.ts";

/** A variable in a trace: its value when the trace began, and now. */
export interface TraceEntry {
  readonly leaf: Node;
  value: Node;
}

/** What a compiled function did while it was traced. */
export class Trace {
  readonly variables = new Map<Held, TraceEntry>();
  readonly settings = new Map<Adjustable, Node>();
  /** Nodes that depend on nothing but this trace's arguments and what has a value. */
  readonly assignable = new WeakSet<Node>();
  /** Conditions the trace relied on: it may be reused only while all of them hold. */
  readonly guards: (() => boolean)[] = [];
  /** Undone when the trace ends: a trace changes programs, not tensors. */
  readonly undo: (() => void)[] = [];
  /** Tensors whose gradient was forgotten. */
  readonly zeroed = new Set<unknown>();
  /** Computed with the results, though nobody reads them: they fail the step. */
  readonly required: Node[] = [];
  /** Checked when the trace ends. */
  readonly checks: (() => void)[] = [];
}

let trace: Trace | undefined;

export function currentTrace(): Trace | undefined {
  return trace;
}

/**
 * Fails the trace in progress, if there is one, because a tensor is read in it, and returns a promise that never settles: nobody
 * need await what is read, and then nobody would know.
 */
export function refuseRead(): Promise<never> | undefined {
  if (!trace) return undefined;
  const error = new FourlaneError(
    "TRACE",
    "a tensor cannot be read inside a compiled function, where it has no value yet: return it and read it outside",
  );
  trace.checks.unshift(() => {
    throw error;
  });
  return new Promise(() => {});
}

/** Runs f as a trace. */
export function withTrace<T>(t: Trace, f: () => T): T {
  if (trace) throw new FourlaneError("TRACE", "compile: a compiled function was called while another one was traced");
  trace = t;
  try {
    const result = f();
    for (const check of t.checks) check();
    return result;
  } finally {
    trace = undefined;
    for (const u of t.undo.reverse()) u();
  }
}

let transforms = 0;

/** Runs a function inside a transform: what it compiles is recorded with it, for the transform to see. */
export function transformed<Args extends unknown[], T>(op: string, f: (...args: Args) => T, ...args: Args): T {
  checkFunction(op, f);
  transforms++;
  try {
    const result = f(...args);
    checkNotAsync(op, result);
    return result;
  } finally {
    transforms--;
  }
}

let refusal: ((what: string) => never) | undefined;

/** Runs a function that is recorded once for what happens often, and must change nothing outside of it: `refuse` says so. */
export function asStep<T>(refuse: (what: string) => never, f: () => T): T {
  const before = refusal;
  refusal = refuse;
  try {
    return f();
  } finally {
    refusal = before;
  }
}

/** Refuses, within such a function, what changes something outside of it. */
export function refuseInStep(what: string): void {
  refusal?.(what);
}

/** Whether what is computed now is only recorded, by a trace or a transform. */
export function isRecording(): boolean {
  return trace !== undefined || transforms > 0;
}

/** A leaf for one of many examples: it has no value of its own. */
export function exampleLeaf(shape: Shape, dtype: DType): Node {
  return boundLeaf(shape, dtype, { kind: "argument", index: -1, trace: {} });
}

/** Tells the trace in progress, if any, that it depends on a value from outside that may change. */
export function guard<T>(read: () => T): T {
  const value = read();
  trace?.guards.push(() => Object.is(read(), value));
  return value;
}

/** Whether a leaf stands for what has a value only while another function is recorded. */
export function isForeign(n: Node): boolean {
  const b = bindingOf(n);
  if (b?.kind === "argument") return b.trace !== trace;
  if (b?.kind === "setting") return trace?.settings.get(b.setting) !== n;
  return b?.kind === "state" && b.seen < 0 && trace?.variables.get(b.variable)?.leaf !== n;
}
