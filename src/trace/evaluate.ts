/** @file Lazy graphs to programs: reading a tensor computes it, and the assignments that wait. */
import { compileGraph } from "../compile/compile.ts";
import type { Program } from "../program/program.ts";
import type { TypedArray } from "../core/dtype.ts";
import { DisposedError, FourlaneError, ValueError } from "../core/errors.ts";
import { type Computation, mapSources, type Node, toposort } from "../graph/node.ts";
import { LEAF } from "../ops/leaf.ts";
import { session } from "../run/active.ts";
import type { LaunchArgs, Order } from "../run/launch.ts";
import type { Session } from "../run/session.ts";
import { type Binding, bindingOf, dataLeaf, type Held, keepValue, keptValue } from "./bindings.ts";
import { keyOf } from "./key.ts";
import { currentTrace } from "./trace.ts";

/** A variable with a new value that no program has computed yet. */
export interface Waiting extends Held {
  /** With which others its assignment takes place. */
  readonly party: object;
  /** The leaf of the value that the assignment is about to end, if that value is to last. */
  readonly ending: Node | undefined;
  /** Takes the assignment on. Returns what gives it up; a first value is tried again when it is asked for. */
  take(): () => void;
  /** Has a first value that could not be computed wait again. Whether there was one. */
  revive(): boolean;
}

/** What lazy evaluation keeps for a session. */
interface Lazy {
  readonly waiting: Set<Waiting>;
  /** Variables whose first value could not be computed, if there ever was one. */
  stalled?: WeakSet<Waiting>;
  readonly programs: Programs;
}

const lazies = new WeakMap<Session, Lazy>();

function lazyOf(home: Session): Lazy {
  let lazy = lazies.get(home);
  if (!lazy) lazies.set(home, (lazy = { waiting: new Set(), programs: new Programs() }));
  return lazy;
}

/** The variables of a session whose new values wait. */
export function waitingIn(home: Session): Set<Waiting> {
  return lazyOf(home).waiting;
}

/** The variables of a session whose first value could not be computed. */
export function stalledIn(home: Session): WeakSet<Waiting> {
  const lazy = lazyOf(home);
  lazy.stalled ??= new WeakSet();
  return lazy.stalled;
}

/** The session of the variables that nodes depend on, if there are any. */
function homeOf(nodes: readonly Node[]): Session | undefined {
  const seen = new Set<Node>(nodes);
  for (const n of seen) {
    const binding = n.op === LEAF ? bindingOf(n) : undefined;
    if (binding?.kind === "state") return binding.variable.home;
    if (keptValue(n) === undefined) for (const s of n.src) seen.add(s);
  }
  return undefined;
}

/** The nodes with everything that has a known value replaced by a leaf; and all they need, sources first. */
function fromKnown(roots: readonly Node[]): { known: readonly Node[]; order: readonly Node[] } {
  const order = toposort(roots, (n) => keptValue(n) !== undefined);
  if (!order.some((n) => keptValue(n) !== undefined)) return { known: roots, order };
  const done = new Map<Node, Node>();
  for (const n of order) {
    const value = keptValue(n);
    done.set(n, value ? dataLeaf(n.shape, n.dtype, value) : mapSources(n, (s) => done.get(s) as Node));
  }
  const known = roots.map((n) => done.get(n) as Node);
  return { known, order: toposort(known) };
}

/** The leaves of a graph, told apart by what they are bound to. `resident` says whether data stays in memory. */
export function collect(outs: readonly Node[], news: readonly Node[], resident: (b: Binding) => boolean): Computation {
  const inputs: Node[] = [];
  const residents: Node[] = [];
  const { known, order } = fromKnown([...outs, ...news]);
  const [outputs, updates] = [known.slice(0, outs.length), known.slice(outs.length)];
  for (const n of order) {
    if (n.op !== LEAF) continue;
    const binding = bindingOf(n);
    if (!binding) throw new FourlaneError("INTERNAL", "a leaf is bound to nothing");
    (resident(binding) ? residents : inputs).push(n);
  }
  return { inputs, residents, outputs, updates };
}

/** Most lazy programs that are kept, and most words of their code. */
const CACHE_LIMIT = 256;
const CACHE_WORDS = 2 ** 22;

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

/** Programs that compute lazy tensors, by the text of their graphs. */
class Programs {
  /** The one that was used last is the last one. */
  private readonly programs = new Map<string, Program | Promise<Program>>();
  private words = 0;

  of(graph: Computation): Program | Promise<Program> {
    const { programs } = this;
    const key = keyOf(graph);
    let program = programs.get(key);
    if (program) programs.delete(key);
    else {
      const promise = compileLater(() => compileGraph(graph));
      program = promise;
      promise.then(
        (done) => {
          if (programs.get(key) !== promise) return;
          programs.set(key, done);
          this.words += done.code.length;
        },
        () => programs.get(key) === promise && programs.delete(key),
      );
    }
    programs.set(key, program);
    while (programs.size > CACHE_LIMIT || (this.words > CACHE_WORDS && programs.size > 1))
      this.drop(programs.keys().next().value as string);
    return program;
  }

  private drop(key: string): void {
    const program = this.programs.get(key);
    this.programs.delete(key);
    if (program && !(program instanceof Promise)) this.words -= program.code.length;
  }
}

/**
 * Variables that wait, apart by what computes their new values: those that share no operation with others stand or fail by
 * themselves. First those that share one with `nodes`.
 */
function apart(nodes: readonly Node[], waiting: readonly Waiting[]): { joined: Waiting[]; others: Waiting[][] } {
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
  const isLeaf = (n: Node): boolean => n.op.kind === "leaf" || keptValue(n) !== undefined;
  sets.forEach((roots, i) => {
    if (i > 0) claim(waiting[i - 1].party, i);
    for (const n of toposort(roots, (x) => isLeaf(x) || owner.has(x))) if (!isLeaf(n)) claim(n, i);
  });
  const classes = new Map<number, Waiting[]>([[find(0), []]]);
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

/** The graph without its updates. */
function readOnly({ inputs, residents, outputs }: Computation): Computation {
  const used = new Set(toposort(outputs));
  const isUsed = (n: Node): boolean => used.has(n);
  return { inputs: inputs.filter(isUsed), residents: residents.filter(isUsed), outputs, updates: [] };
}

/** The program that computes a graph, and what it reads. */
function prepared(home: Session, graph: Computation): [Program | Promise<Program>, Bindings] {
  if (graph.inputs.some((n) => bindingOf(n)?.kind !== "data"))
    throw new FourlaneError(
      "TRACE",
      "a tensor of a compiled or batched function has no value outside of it, nor one of a step of scan: return it",
    );
  const states = graph.residents.map((n) => bindingOf(n) as Extract<Binding, { kind: "state" }>);
  // Nothing that waits may go down with a tensor of a runtime that is gone.
  if (states.some(({ variable }) => variable.home.disposed))
    throw new DisposedError("a tensor depends on a parameter made before the runtime was disposed");
  if (states.some(({ variable }) => variable.home !== home))
    throw new ValueError("a tensor depends on parameters of two runtimes");
  const inputs = graph.inputs.map((n) => (bindingOf(n) as Extract<Binding, { kind: "data" }>).array);
  return [
    lazyOf(home).programs.of(graph),
    { inputs, residents: states.map(({ variable, seen }) => variable.bound(seen)) },
  ];
}

/** One launch for nodes and for variables that wait; and what becomes of these if it fails. */
function carryOut(home: Session, nodes: readonly Node[], waiting: readonly Waiting[]): Promise<TypedArray[]> {
  const ending = waiting.flatMap((v) => v.ending ?? []);
  const news = waiting.map((v) => v.node);
  const graph = collect([...nodes, ...ending], news, (b) => b.kind === "state");
  const order = (part: Computation): [Program | Promise<Program>, Bindings] => {
    try {
      return prepared(home, part);
    } catch (error) {
      const failed = Promise.reject(error); // in its turn
      failed.catch(() => {});
      return [failed, { inputs: [], residents: [] }];
    }
  };
  const [program, bound] = order(graph);
  const drops = waiting.map((v) => v.take());
  const updates = waiting.map((v) => v.target);
  // What was read may be sound, and only what waited not. It starts from what was known when all this was asked for.
  const instead = (why: unknown): Order => {
    const [alone, read] = order(readOnly(graph));
    const failed = (): boolean => {
      for (const u of updates) u.forgive(why);
      return false;
    };
    return [alone, { ...read, updates: [], failed }];
  };
  const launched = home.launch(program, {
    ...bound,
    updates,
    holders: waiting,
    patient: nodes.length === 0,
    // Whoever reads nodes is told of what befell the workers; otherwise who uses the variables next.
    failed: (hit) => {
      for (const drop of drops) drop();
      return nodes.length === 0 || !hit;
    },
    instead: nodes.length > 0 && waiting.length > 0 ? instead : undefined,
  });
  ending.forEach((n, i) =>
    keepValue(
      n,
      launched.then((arrays) => arrays[nodes.length + i]),
    ),
  );
  return launched;
}

/** Has first values that nodes depend on, and that could not be computed, tried again before the nodes are computed. */
function reviveUsed(home: Session, nodes: readonly Node[]): void {
  if (!lazyOf(home).stalled) return;
  const used: Waiting[] = [];
  for (const n of toposort(nodes, (x) => keptValue(x) !== undefined)) {
    const binding = n.op === LEAF ? bindingOf(n) : undefined;
    const variable = binding?.kind === "state" ? (binding.variable as Waiting) : undefined;
    if (variable?.revive()) used.push(variable);
  }
  for (const list of apart([], used).others) carryOut(home, [], list).catch(() => {});
}

/**
 * Computes nodes, and with them all pending assignments: with the nodes what shares their computation, everything else in
 * programs of its own behind that. Resolves to one array per node.
 */
export function evaluate(nodes: readonly Node[]): Promise<TypedArray[]> {
  if (currentTrace())
    return Promise.reject(
      new FourlaneError("TRACE", "a tensor cannot be read inside a compiled function: return it and read it outside"),
    );
  const home = homeOf(nodes) ?? session();
  const waiting = waitingIn(home);
  if (home.disposed) waiting.clear();
  reviveUsed(home, nodes);
  const { joined, others } = waiting.size > 0 ? apart(nodes, [...waiting]) : { joined: [], others: [] };
  const result = nodes.length + joined.length > 0 ? carryOut(home, nodes, joined) : Promise.resolve([]);
  // Whoever uses what these were to change is told if they fail.
  for (const list of others) carryOut(home, [], list).catch(() => {});
  return result;
}

/** Carries out all pending assignments of a session. Whoever uses what one of them was to change is told if it fails. */
export function flush(home: Session = session()): void {
  const waiting = waitingIn(home);
  if (waiting.size === 0) return;
  for (const list of apart([], [...waiting]).others) carryOut(home, [], list).catch(() => {});
}
