/**
 * @file What lies between tensors and programs: variables, what leaves are bound to, the trace in progress, and the
 * evaluation of lazy graphs through a cache keyed by structure.
 */
import { compileGraph } from "./compile/compile.ts";
import type { Program } from "./compile/program.ts";
import { allocate, type DType, type TypedArray } from "./core/dtype.ts";
import { checkFunction } from "./core/check.ts";
import { DisposedError, DTypeError, FourlaneError, ShapeError, WorkerError } from "./core/errors.ts";
import { numel, sameShape, type Shape, show } from "./core/shape.ts";
import { type Attrs, type Graph, mapSources, type Node, toposort } from "./graph/node.ts";
import { LEAF, leaf } from "./ops/leaf.ts";
import { detach } from "./ops/structure.ts";
import { type Bound, type Session, session, type State } from "./run/session.ts";

/** What a leaf stands for. */
export type Binding =
  /** `cut`: a program computed it from what requires a gradient, which cannot flow through. */
  | { readonly kind: "data"; readonly array: TypedArray | Promise<TypedArray>; readonly cut?: boolean }
  | { readonly kind: "state"; readonly variable: Variable; readonly seen: number }
  | { readonly kind: "argument"; readonly index: number; readonly trace: Trace };

const bindings = new WeakMap<Node, Binding>();

export function bindingOf(n: Node): Binding | undefined {
  return bindings.get(n);
}

/** The values of a leaf that was made from them, if nothing has to be computed or awaited. */
export function dataOf(n: Node): TypedArray | undefined {
  const binding = bindings.get(n);
  return binding?.kind === "data" && ArrayBuffer.isView(binding.array) ? binding.array : undefined;
}

/** Values that were computed and read: nodes keep their place in the graph, later programs start from the value. */
const values = new WeakMap<Node, Promise<TypedArray>>();

/** Keeps the value of a node, or why it has none. */
export function keepValue(n: Node, value: Promise<TypedArray>): void {
  values.set(n, value);
  value.catch(() => {}); // reported where it is read
}

/** The value of a node, if it was computed before. */
export function keptValue(n: Node): Promise<TypedArray> | undefined {
  return values.get(n);
}

/** The nodes with everything that has a known value replaced by a leaf; and all they need, sources first. */
function fromKnown(roots: readonly Node[]): { known: readonly Node[]; order: readonly Node[] } {
  const order = toposort(roots, (n) => values.has(n));
  if (!order.some((n) => values.has(n))) return { known: roots, order };
  const done = new Map<Node, Node>();
  for (const n of order) {
    const value = values.get(n);
    done.set(n, value ? dataLeaf(n.shape, n.dtype, value) : mapSources(n, (s) => done.get(s) as Node));
  }
  const known = roots.map((n) => done.get(n) as Node);
  return { known, order: toposort(known) };
}

/** A leaf with a value: an array, or one that is being computed. */
export function dataLeaf(shape: Shape, dtype: DType, array: TypedArray | Promise<TypedArray>, cut?: boolean): Node {
  const n = leaf(shape, dtype);
  bindings.set(n, { kind: "data", array, cut });
  return n;
}

// --- variables ---------------------------------------------------------------------------------------------------------------

const collected = new FinalizationRegistry<{ owner: Session; state: State }>(({ owner, state }) =>
  owner.release(state),
);

/** Variables with a new value that no program has computed yet. */
const dirty = new Set<Variable>();

/**
 * A value that changes: a parameter, a moment, a learning rate, a random state. Its node is its value now; assigning makes
 * another node its value. Outside a trace, assignments are carried out with the next evaluation.
 */
export class Variable {
  readonly shape: Shape;
  readonly dtype: DType;
  private readonly owner: Session;
  private readonly state: State;
  private now: Node | undefined;
  private nowSeen = -1;
  /** The node of the first value, if it is computed. */
  private readonly initial: Node | undefined;
  /** How often the value was set from outside. */
  private sets = 0;
  /** Called with each node that becomes the value: lets the owner recognise it. */
  onNode: ((n: Node) => void) | undefined;

  /** Whether lazy tensors that depend on a value may be read at any time: it is copied out when the next one is computed. */
  private readonly lasting: boolean;
  /** The leaf that stood for the value last, outside of traces. */
  private lastLeaf: Node | undefined;

  /** Starts as an array, or as the value of a node (an initialiser). */
  constructor(shape: Shape, dtype: DType, value: TypedArray | Node, { lasting = false } = {}) {
    this.shape = shape;
    this.dtype = dtype;
    this.lasting = lasting;
    this.owner = session();
    const isArray = ArrayBuffer.isView(value);
    if (trace && !isArray)
      throw new FourlaneError(
        "TRACE",
        "parameters cannot be made inside a compiled function: each call would make them anew",
      );
    this.state = this.owner.state(shape, dtype, isArray ? value : allocate(dtype, numel(shape)), !isArray);
    collected.register(this, { owner: this.owner, state: this.state }, this);
    if (isArray) return;
    const n = this.assign(value);
    if (!trace) this.initial = n;
  }

  /** The value, as a node of the trace in progress, or of the lazy graph. */
  get node(): Node {
    if (trace) {
      let entry = trace.variables.get(this);
      if (!entry) {
        const n = leaf(this.shape, this.dtype);
        bindings.set(n, { kind: "state", variable: this, seen: -1 });
        entry = { leaf: n, value: n };
        trace.variables.set(this, entry);
        this.onNode?.(n);
      }
      return entry.value;
    }
    if (!this.now || (!dirty.has(this) && this.nowSeen !== this.state.enqueued)) {
      this.now = this.lastLeaf = leaf(this.shape, this.dtype);
      this.nowSeen = this.state.enqueued;
      bindings.set(this.now, { kind: "state", variable: this, seen: this.nowSeen });
      this.onNode?.(this.now);
    }
    return this.now;
  }

  /** Makes the value of a node the new value. Gradients do not flow through. Returns the node that now is the value. */
  assign(value: Node, op = "assign"): Node {
    if (!sameShape(value.shape, this.shape))
      throw new ShapeError(
        `${op}: a value of shape ${show(value.shape)} cannot be assigned to one of ${show(this.shape)}`,
      );
    if (value.dtype !== this.dtype)
      throw new DTypeError(`${op}: a value of dtype ${value.dtype} cannot be assigned to one of ${this.dtype}`);
    const n = detach(value);
    if (trace) {
      void this.node;
      const entry = trace.variables.get(this) as TraceEntry;
      entry.value = n;
    } else {
      this.now = n;
      dirty.add(this);
    }
    this.onNode?.(n);
    return n;
  }

  /** Sets the value to an array of the right length, from outside any trace. */
  set(array: TypedArray): void {
    if (trace)
      throw new FourlaneError("TRACE", "a variable's value cannot be set from an array inside a compiled function");
    if (array.length !== numel(this.shape))
      throw new ShapeError(`set: ${array.length} values for a variable of shape ${show(this.shape)}`);
    flush("retry").catch(() => {}); // what waits may depend on the value until now
    const { now } = this;
    if (now && this.nowSeen === this.state.enqueued) keepValue(now, this.owner.read(this.state));
    this.now = undefined;
    this.sets++;
    this.owner.write(this.state, array).catch(() => {});
  }

  /** The value, after everything asked for so far; or as it was after `seen` changes. */
  async read(seen?: number): Promise<TypedArray> {
    if (seen !== undefined) return this.owner.read(this.state, seen);
    // Queued at once, so that whoever waits in the queue for this value stands behind it.
    const flushed = dirty.has(this) ? flush() : undefined;
    const value = this.owner.read(this.state);
    value.catch(() => {});
    await flushed;
    return value;
  }

  /** Frees the memory; later uses reject with a DisposedError. */
  dispose(): void {
    dirty.delete(this);
    collected.unregister(this);
    this.owner.release(this.state);
  }

  /** @internal What evaluate() takes on, to be given back if that fails. */
  take(): Pending {
    const { node, sets } = this;
    dirty.delete(this);
    return {
      variable: this,
      node,
      initial: this.state.empty ? this.initial : undefined,
      putBack: (n) => {
        if (dirty.has(this) || this.sets !== sets || this.state.disposed) return;
        this.now = n;
        dirty.add(this);
      },
    };
  }

  /** @internal The leaf of the value that an assignment is about to end, if that value is to last. */
  get ending(): Node | undefined {
    return this.lasting ? this.lastLeaf : undefined;
  }

  /** @internal */
  bound(seen?: number): Bound {
    return { state: this.state, seen };
  }

  /** @internal */
  get target(): State {
    return this.state;
  }

  /** @internal */
  get home(): Session {
    return this.owner;
  }
}

/** An assignment on its way to a program. */
interface Pending {
  readonly variable: Variable;
  readonly node: Node;
  /** The node of the first value, if no program has computed it yet. */
  readonly initial: Node | undefined;
  /** Makes n the value that waits, unless there is a newer one. */
  putBack(n: Node): void;
}

// --- the trace in progress ------------------------------------------------------------------------------------------------------

interface TraceEntry {
  readonly leaf: Node;
  value: Node;
}

/** What a compiled function did while it was traced. */
export class Trace {
  readonly variables = new Map<Variable, TraceEntry>();
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
    return f(...args);
  } finally {
    transforms--;
  }
}

/** Whether what is computed now is only recorded, by a trace or a transform. */
export function isRecording(): boolean {
  return trace !== undefined || transforms > 0;
}

/** A leaf for one of many examples: it has no value of its own. */
export function exampleLeaf(shape: Shape, dtype: DType): Node {
  const n = leaf(shape, dtype);
  bindings.set(n, { kind: "argument", index: -1, trace: new Trace() });
  return n;
}

/** Tells the trace in progress, if any, that it depends on a value from outside that may change. */
export function guard<T>(read: () => T): T {
  const value = read();
  trace?.guards.push(() => Object.is(read(), value));
  return value;
}

// --- graphs to programs ---------------------------------------------------------------------------------------------------------

/** A program and what its leaves are bound to. */
export interface Bindable {
  readonly program: Program;
  readonly inputs: readonly Node[];
  readonly residents: readonly Node[];
}

/** The leaves of a graph, told apart by what they are bound to. `resident` says whether data stays in memory. */
export function collect(outs: readonly Node[], news: readonly Node[], resident: (b: Binding) => boolean): Graph {
  const inputs: Node[] = [];
  const residents: Node[] = [];
  const { known, order } = fromKnown([...outs, ...news]);
  const [outputs, updates] = [known.slice(0, outs.length), known.slice(outs.length)];
  for (const n of order) {
    if (n.op !== LEAF) continue;
    const binding = bindings.get(n);
    if (!binding) throw new FourlaneError("INTERNAL", "a leaf is bound to nothing");
    (resident(binding) ? residents : inputs).push(n);
  }
  return { inputs, residents, outputs, updates };
}

/** Attributes as text; -0 and NaN keep apart from 0. */
function attrsKey(attrs: Attrs): string {
  let text = "";
  for (const k in attrs) {
    const v = attrs[k];
    text += `${k}:${Array.isArray(v) ? `[${v.join()}]` : Object.is(v, -0) ? "-0" : String(v)};`;
  }
  return text;
}

/** A text that two graphs share exactly if one program serves both. */
function structure(graph: Graph): string {
  const ids = new Map<Node, number>();
  const parts: string[] = [];
  const roots = [...graph.inputs, ...graph.residents, ...graph.outputs, ...graph.updates];
  for (const n of toposort(roots)) {
    ids.set(n, ids.size);
    const head = n.op === LEAF ? `leaf ${n.dtype}[${n.shape.join()}]` : `${n.op.name} ${attrsKey(n.attrs)}`;
    parts.push(`${head}(${n.src.map((s) => ids.get(s)).join()})`);
  }
  const list = (ns: readonly Node[]): string => ns.map((n) => ids.get(n)).join();
  parts.push(`${list(graph.inputs)}|${list(graph.residents)}|${list(graph.outputs)}|${list(graph.updates)}`);
  return parts.join("\n");
}

const CACHE_LIMIT = 256;
const programs = new Map<string, Program | Promise<Program>>();

/**
 * Compiles in a task of its own: tracing and compiling in one, or several programs one after the other, would hold up
 * the page for too long.
 */
export function compileLater(compile: () => Program): Promise<Program> {
  const program = new Promise<void>((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else setTimeout(resolve);
  }).then(compile);
  program.catch(() => {}); // reported where a value is read
  return program;
}

function cached(graph: Graph): Program | Promise<Program> {
  const key = structure(graph);
  let program = programs.get(key);
  if (program) programs.delete(key);
  else {
    program = compileLater(() => compileGraph(graph));
    program.then(
      (done) => programs.has(key) && programs.set(key, done),
      () => programs.delete(key),
    );
  }
  programs.set(key, program); // the most recent is last
  if (programs.size > CACHE_LIMIT) programs.delete(programs.keys().next().value as string);
  return program;
}

/**
 * After a launch that failed: what becomes of the assignments it was to carry out. The caller was told, so they are
 * dropped like the step they belong to - but never an initial value, nor the random state it was drawn from. With
 * "retry" nobody was told, and all of them wait again if it was the workers' fault.
 */
function recover(error: unknown, nodes: readonly Node[], pending: readonly Pending[], failed: "drop" | "retry"): void {
  const fault = error instanceof WorkerError;
  if (fault && failed === "retry") {
    for (const p of pending) p.putBack(p.node);
    return;
  }
  const initials = pending.flatMap((p) => p.initial ?? []);
  if (initials.length === 0) return;
  const sources = new Set(toposort(initials).map((n) => variableOf(n)));
  const kept = pending.filter((p) => p.initial || sources.has(p.variable));
  // They may be what cannot be computed: then they have had their turn.
  if (!fault && nodes.length === 0 && kept.length === pending.length) return;
  for (const p of kept) p.putBack(p.initial ?? p.node);
  if (!fault) flush().catch(() => {});
}

/** The variable a leaf is the value of. */
function variableOf(n: Node): Variable | undefined {
  const binding = bindings.get(n);
  return binding?.kind === "state" ? binding.variable : undefined;
}

/** Computes nodes, and with them all pending assignments. Resolves to one array per node. */
export function evaluate(nodes: readonly Node[], failed: "drop" | "retry" = "drop"): Promise<TypedArray[]> {
  if (trace)
    return Promise.reject(
      new FourlaneError("TRACE", "a tensor cannot be read inside a compiled function: return it and read it outside"),
    );
  let graph: Graph;
  let program: Program | Promise<Program>;
  for (const v of dirty) if (v.home.disposed) dirty.delete(v);
  const variables = [...dirty];
  const ending = variables.flatMap((v) => v.ending ?? []);
  try {
    graph = collect(
      [...nodes, ...ending],
      variables.map((v) => v.node),
      (b) => b.kind === "state",
    );
    if (graph.inputs.some((n) => bindings.get(n)?.kind === "argument"))
      throw new FourlaneError(
        "TRACE",
        "a tensor of a compiled or batched function has no value outside of it: return it",
      );
    // Nothing that waits may go down with a tensor of a runtime that is gone.
    if (graph.residents.some((n) => variableOf(n)?.home.disposed))
      throw new DisposedError("a tensor depends on a parameter made before the runtime was disposed");
    program = cached(graph);
  } catch (error) {
    return Promise.reject(error);
  }
  const inputs = graph.inputs.map((n) => {
    const binding = bindings.get(n) as Extract<Binding, { kind: "data" }>;
    return binding.array;
  });
  const residents = graph.residents.map((n) => {
    const binding = bindings.get(n) as Extract<Binding, { kind: "state" }>;
    return binding.variable.bound(binding.seen);
  });
  const pending = variables.map((v) => v.take());
  const result = session().launch(program, { inputs, residents, updates: variables.map((v) => v.target) });
  ending.forEach((n, i) =>
    keepValue(
      n,
      result.then((arrays) => arrays[nodes.length + i]),
    ),
  );
  result.catch((error) => {
    for (const n of ending) values.delete(n); // they did not end
    if (pending.length > 0) recover(error, nodes, pending, failed);
  });
  return result;
}

/** Carries out all pending assignments. */
export async function flush(failed: "drop" | "retry" = "drop"): Promise<void> {
  if (dirty.size > 0) await evaluate([], failed);
}

export { bindings };
