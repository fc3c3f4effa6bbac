/**
 * @file What lies between tensors and programs: variables, what leaves are bound to, the trace in progress, and the
 * evaluation of lazy graphs through a cache keyed by structure.
 */
import { compileGraph } from "./compile/compile.ts";
import type { Program } from "./compile/program.ts";
import { type DType, type TypedArray } from "./core/dtype.ts";
import { checkFunction } from "./core/check.ts";
import { DisposedError, DTypeError, FourlaneError, ShapeError, WorkerError } from "./core/errors.ts";
import { numel, sameShape, type Shape, show } from "./core/shape.ts";
import { type Attrs, type Graph, mapSources, type Node, toposort } from "./graph/node.ts";
import { LEAF, leaf } from "./ops/leaf.ts";
import { detach } from "./ops/structure.ts";
import { session } from "./run/active.ts";
import type { LaunchArgs } from "./run/launch.ts";
import type { Session } from "./run/session.ts";
import type { State } from "./run/state.ts";

/** What a leaf stands for. */
export type Binding =
  /** `cut`: a program computed it from what requires a gradient, which cannot flow through. */
  | { readonly kind: "data"; readonly array: TypedArray | Promise<TypedArray>; readonly cut?: boolean }
  | { readonly kind: "state"; readonly variable: Variable; readonly seen: number }
  | { readonly kind: "setting"; readonly setting: Setting }
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

/** Keeps the value of a node. One that could not be computed is forgotten: the next read tries again. */
export function keepValue(n: Node, value: Promise<TypedArray>): void {
  values.set(n, value);
  value.catch(() => {
    if (values.get(n) === value) values.delete(n);
  }); // reported where it is read
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

/** Assignments made now belong together: all of them take place, or none. */
let group: object | undefined;

/** Runs f; the assignments it makes take place together or not at all. */
export function together<T>(f: () => T): T {
  const before = group;
  group ??= {};
  try {
    return f();
  } finally {
    group = before;
  }
}

/** Nodes that are known to depend on no argument of a function being recorded. */
const independent = new WeakSet<Node>();

/** Whether a leaf stands for what has a value only while another function is recorded. */
function isForeign(n: Node): boolean {
  const b = bindings.get(n);
  if (b?.kind === "argument") return b.trace !== trace;
  if (b?.kind === "setting") return trace?.settings.get(b.setting) !== n;
  return b?.kind === "state" && b.seen < 0 && trace?.variables.get(b.variable)?.leaf !== n;
}

/** @throws FourlaneError if a node depends on what has no value here: an example of a vmap, a tensor of another trace. */
function checkAssignable(op: string, value: Node): void {
  const known = trace ? trace.assignable : independent;
  for (const n of toposort([value], (x) => known.has(x))) {
    if (n.op === LEAF && isForeign(n)) {
      const b = bindings.get(n);
      throw new FourlaneError(
        "TRACE",
        b?.kind === "argument" && b.index < 0
          ? `${op}: the value differs from example to example (of a vmap, or a Graph); a parameter has only one`
          : `${op}: the value is a tensor of a compiled function, which has none outside of it: return it`,
      );
    }
  }
  for (const n of toposort([value], (x) => known.has(x))) known.add(n);
}

/**
 * A value that changes: a parameter, a moment, a random state. Its node is its value now; assigning makes another node its
 * value. Outside a trace, assignments are carried out with the next evaluation.
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
  /** A first value that could not be computed: it is tried again when the variable is used. */
  private stalled = false;
  /** How often the value was set from outside. */
  private sets = 0;
  /** With which others the assignment that waits was made. */
  private group: object | undefined;
  /** Called with each node that becomes the value: lets the owner recognise it. */
  onNode: ((n: Node) => void) | undefined;

  /** Whether lazy tensors that depend on a value may be read at any time: it is copied out when the next one is computed. */
  private readonly lasting: boolean;
  /** The leaf that stood for the value last, outside of traces. */
  private lastLeaf: Node | undefined;

  /** Starts as an array, one that is being computed, or the value of a node (an initialiser). */
  constructor(
    shape: Shape,
    dtype: DType,
    value: TypedArray | Promise<TypedArray> | Node,
    { lasting = false, captured = false } = {},
  ) {
    this.shape = shape;
    this.dtype = dtype;
    this.lasting = lasting;
    this.owner = session();
    const node = ArrayBuffer.isView(value) || value instanceof Promise ? undefined : value;
    if (trace && node)
      throw new FourlaneError(
        "TRACE",
        "parameters cannot be made inside a compiled function: each call would make them anew",
      );
    this.state = this.owner.state(shape, dtype, node ? null : (value as TypedArray | Promise<TypedArray>), captured);
    collected.register(this, { owner: this.owner, state: this.state }, this);
    if (node) this.initial = this.assign(node, "Parameter");
  }

  /** The value, as a node of the trace in progress, or of the lazy graph. */
  get node(): Node {
    this.revive();
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
    checkAssignable(op, value);
    const n = detach(value);
    if (trace) {
      void this.node;
      const entry = trace.variables.get(this) as TraceEntry;
      entry.value = n;
    } else {
      this.now = n;
      this.group = group;
      this.stalled = false;
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
    flush(); // what waits may depend on the value until now
    const { now } = this;
    if (now && this.nowSeen === this.state.enqueued) keepValue(now, this.owner.read(this.state));
    this.now = undefined;
    this.stalled = false;
    this.sets++;
    this.owner.write(this.state, array).catch(() => {});
  }

  /** The value, after everything asked for so far; or as it was after `seen` changes. */
  read(seen?: number): Promise<TypedArray> {
    if (seen === undefined) {
      this.revive();
      if (dirty.has(this)) flush(); // queued first
    }
    return this.owner.read(this.state, seen);
  }

  /** Frees the memory; later uses reject with a DisposedError. */
  dispose(): void {
    dirty.delete(this);
    collected.unregister(this);
    this.owner.release(this.state);
  }

  /** A first value that could not be computed waits again. */
  private revive(): void {
    if (!this.stalled || trace) return;
    this.stalled = false;
    dirty.add(this);
  }

  /** @internal What evaluate() takes on, to be given back if that fails. */
  take(): Pending {
    const { node, sets } = this;
    dirty.delete(this);
    const initial = this.state.empty ? this.initial : undefined;
    const isFree = (): boolean => !dirty.has(this) && this.sets === sets && !this.state.disposed;
    return {
      putBack: () => {
        if (!isFree()) return;
        this.now = node;
        dirty.add(this);
      },
      drop: () => {
        if (!isFree()) return;
        this.now = initial;
        this.stalled = initial !== undefined;
      },
    };
  }

  /** @internal The leaf of the value that an assignment is about to end, if that value is to last. */
  get ending(): Node | undefined {
    return this.lasting ? this.lastLeaf : undefined;
  }

  /** @internal With which others the assignment that waits takes place. */
  get party(): object {
    return this.group ?? this;
  }

  /** @internal */
  bound(seen?: number): LaunchArgs["residents"][number] {
    this.revive();
    return { state: this.state, seen, holder: this };
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
  /** It waits again, unless there is a newer one. */
  putBack(): void;
  /** It is given up; a first value is tried again when it is asked for. */
  drop(): void;
}

/**
 * A number from outside that changes between steps, as a learning rate does: programs take it as it is when they are
 * launched, so that setting it waits for nothing.
 */
export class Setting {
  private array: Float32Array;
  private leaf: Node | undefined;

  constructor(value: number) {
    this.array = Float32Array.of(value);
  }

  get value(): TypedArray {
    return this.array;
  }

  set(value: number): void {
    this.array = Float32Array.of(value);
    this.leaf = undefined;
  }

  /** The number as a node: in a trace whatever it will be, otherwise as it is now. */
  get node(): Node {
    if (!trace) {
      this.leaf ??= dataLeaf([], "float32", this.array);
      return this.leaf;
    }
    let n = trace.settings.get(this);
    if (!n) {
      n = leaf([], "float32");
      bindings.set(n, { kind: "setting", setting: this });
      trace.settings.set(this, n);
    }
    return n;
  }
}

/** Tensors from outside that compiled functions hold in memory: one copy of each, whatever the number of programs. */
const residents = new WeakMap<object, WeakRef<Variable>>();

/** The variable that holds a tensor from outside in the memory of the session in use. */
export function residentOf(n: Node, array: TypedArray | Promise<TypedArray>): Variable {
  const known = residents.get(array)?.deref();
  if (known?.home === session()) return known;
  const made = new Variable(n.shape, n.dtype, array, { captured: true });
  residents.set(array, new WeakRef(made));
  return made;
}

// --- the trace in progress ------------------------------------------------------------------------------------------------------

interface TraceEntry {
  readonly leaf: Node;
  value: Node;
}

/** What a compiled function did while it was traced. */
export class Trace {
  readonly variables = new Map<Variable, TraceEntry>();
  readonly settings = new Map<Setting, Node>();
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

/** Numbers for what a key cannot hold as text. */
const identities = new WeakMap<object, number>();
let lastIdentity = 0;

/** A number that no other object has. */
export function identityOf(x: object): number {
  let id = identities.get(x);
  if (id === undefined) {
    id = ++lastIdentity;
    identities.set(x, id);
  }
  return id;
}

/** A value of an attribute as text; -0 and NaN keep apart from 0, text from what looks like it. */
function attrKey(v: unknown): string {
  if (Array.isArray(v)) return `[${v.map(attrKey).join()}]`;
  if (typeof v === "string") return JSON.stringify(v);
  if ((typeof v === "object" && v !== null) || typeof v === "function") return `#${identityOf(v)}`;
  return Object.is(v, -0) ? "-0" : String(v);
}

function attrsKey(attrs: Attrs): string {
  let text = "";
  for (const k in attrs) if (attrs[k] !== undefined) text += `${k}:${attrKey(attrs[k])};`;
  return text;
}

/** What a node computes of its sources: the operation itself, for who defines one may name it as they like. */
function headOf({ op, attrs, dtype, shape }: Node): string {
  if (op === LEAF) return `leaf ${dtype}[${shape.join()}]`;
  // Programs know nothing of what only derivatives tell apart.
  return op.kind === "identity" ? "identity" : `${op.name}#${identityOf(op)} ${attrsKey(attrs)}`;
}

/** A text that two graphs share exactly if one program serves both. */
function structure(graph: Graph): string {
  const ids = new Map<Node, number>();
  const parts: string[] = [];
  const roots = [...graph.inputs, ...graph.residents, ...graph.outputs, ...graph.updates];
  for (const n of toposort(roots)) {
    ids.set(n, ids.size);
    parts.push(`${headOf(n)}(${n.src.map((s) => ids.get(s)).join()})`);
  }
  const list = (ns: readonly Node[]): string => ns.map((n) => ids.get(n)).join();
  parts.push(`${list(graph.inputs)}|${list(graph.residents)}|${list(graph.outputs)}|${list(graph.updates)}`);
  return parts.join("\n");
}

/** Most lazy programs that are kept, and most words of their code. */
const CACHE_LIMIT = 256;
const CACHE_WORDS = 2 ** 22;
const programs = new Map<string, Program | Promise<Program>>();
let cachedWords = 0;

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

function uncache(key: string): void {
  const program = programs.get(key);
  programs.delete(key);
  if (program && !(program instanceof Promise)) cachedWords -= program.code.length;
}

function cached(graph: Graph): Program | Promise<Program> {
  const key = structure(graph);
  let program = programs.get(key);
  if (program) programs.delete(key);
  else {
    const promise = compileLater(() => compileGraph(graph));
    program = promise;
    promise.then(
      (done) => {
        if (programs.get(key) !== promise) return;
        programs.set(key, done);
        cachedWords += done.code.length;
      },
      () => programs.get(key) === promise && programs.delete(key),
    );
  }
  programs.set(key, program); // the most recent is last
  while (programs.size > CACHE_LIMIT || (cachedWords > CACHE_WORDS && programs.size > 1))
    uncache(programs.keys().next().value as string);
  return program;
}

/**
 * Variables that wait, apart by what computes their new values: those that share no operation with others stand or fail by
 * themselves. First those that share one with `nodes`.
 */
function apart(nodes: readonly Node[], waiting: readonly Variable[]): { joined: Variable[]; others: Variable[][] } {
  const sets = [nodes, ...waiting.map((v) => [v.node])];
  const parent = sets.map((_, i) => i);
  const find = (i: number): number => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]];
    return i;
  };
  const owner = new Map<unknown, number>();
  const claim = (x: unknown, i: number): void => {
    const before = owner.get(x);
    if (before === undefined) owner.set(x, i);
    else parent[find(i)] = find(before);
  };
  const isLeaf = (n: Node): boolean => n.op.kind === "leaf" || values.has(n);
  sets.forEach((roots, i) => {
    if (i > 0) claim(waiting[i - 1].party, i);
    for (const n of toposort(roots, (x) => isLeaf(x) || owner.has(x))) if (!isLeaf(n)) claim(n, i);
  });
  const classes = new Map<number, Variable[]>([[find(0), []]]);
  waiting.forEach((v, i) => {
    const root = find(i + 1);
    const list = classes.get(root);
    if (list) list.push(v);
    else classes.set(root, [v]);
  });
  const [joined, ...others] = classes.values();
  return { joined, others };
}

type Bindings = Pick<LaunchArgs, "inputs" | "residents">;

/** The program that computes nodes and new values of variables, and what it reads. */
function prepared(nodes: readonly Node[], news: readonly Node[]): [Program | Promise<Program>, Bindings] {
  const graph = collect(nodes, news, (b) => b.kind === "state");
  if (graph.inputs.some((n) => bindings.get(n)?.kind !== "data"))
    throw new FourlaneError(
      "TRACE",
      "a tensor of a compiled or batched function has no value outside of it: return it",
    );
  const states = graph.residents.map((n) => bindings.get(n) as Extract<Binding, { kind: "state" }>);
  // Nothing that waits may go down with a tensor of a runtime that is gone.
  if (states.some(({ variable }) => variable.home.disposed))
    throw new DisposedError("a tensor depends on a parameter made before the runtime was disposed");
  const inputs = graph.inputs.map((n) => (bindings.get(n) as Extract<Binding, { kind: "data" }>).array);
  return [cached(graph), { inputs, residents: states.map(({ variable, seen }) => variable.bound(seen)) }];
}

/** One launch for nodes and for variables that wait; and what becomes of these if it fails. */
async function carryOut(nodes: readonly Node[], waiting: readonly Variable[]): Promise<TypedArray[]> {
  const ending = waiting.flatMap((v) => v.ending ?? []);
  let program: Program | Promise<Program>;
  let bound: Bindings = { inputs: [], residents: [] };
  try {
    [program, bound] = prepared(
      [...nodes, ...ending],
      waiting.map((v) => v.node),
    );
  } catch (error) {
    program = Promise.reject(error); // it fails in its turn
    program.catch(() => {});
  }
  const pending = waiting.map((v) => v.take());
  const launched = session().launch(program, {
    ...bound,
    updates: waiting.map((v) => v.target),
    holders: waiting,
    // Whoever reads nodes is told of what befell the workers; otherwise who uses the variables next.
    untold: (error) => nodes.length === 0 || !(error instanceof WorkerError),
  });
  ending.forEach((n, i) =>
    keepValue(
      n,
      launched.then((arrays) => arrays[nodes.length + i]),
    ),
  );
  try {
    return await launched;
  } catch (error) {
    const again = error instanceof WorkerError && nodes.length === 0;
    for (const p of pending) p[again ? "putBack" : "drop"]();
    if (error instanceof WorkerError || nodes.length === 0 || waiting.length === 0) throw error;
    // What was read may be sound, and only what waited not. It is read anew, not from the promise that waits for this.
    try {
      const kept = nodes.map((n) => [n, values.get(n)] as const);
      for (const n of nodes) values.delete(n);
      const alone = carryOut(nodes, []);
      for (const [n, value] of kept) if (value) values.set(n, value);
      return await alone;
    } catch (own) {
      for (const v of waiting) v.target.forgive(error);
      throw own;
    }
  }
}

/**
 * Computes nodes, and with them all pending assignments: with the nodes what shares their computation, everything else in
 * programs of its own behind that. Resolves to one array per node.
 */
export function evaluate(nodes: readonly Node[]): Promise<TypedArray[]> {
  if (trace)
    return Promise.reject(
      new FourlaneError("TRACE", "a tensor cannot be read inside a compiled function: return it and read it outside"),
    );
  for (const v of dirty) if (v.home.disposed) dirty.delete(v);
  const { joined, others } = dirty.size > 0 ? apart(nodes, [...dirty]) : { joined: [], others: [] };
  const result = nodes.length + joined.length > 0 ? carryOut(nodes, joined) : Promise.resolve([]);
  // Whoever uses what these were to change is told if they fail.
  for (const waiting of others) carryOut([], waiting).catch(() => {});
  return result;
}

/** Carries out all pending assignments. Whoever uses what one of them was to change is told if it fails. */
export function flush(): void {
  if (dirty.size > 0) evaluate([]).catch(() => {});
}

export { bindings };
