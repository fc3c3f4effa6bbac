/** @file Variables: values that change, and that the session holds. */
import type { DType, TypedArray } from "../core/dtype.ts";
import { DTypeError, FourlaneError, ShapeError } from "../core/errors.ts";
import { numel, sameShape, type Shape, show } from "../core/shape.ts";
import { type Node, toposort } from "../graph/node.ts";
import { LEAF } from "../ops/leaf.ts";
import { detach } from "../ops/identity.ts";
import { session } from "../run/active.ts";
import type { Session } from "../run/session.ts";
import type { Bound, State } from "../run/state.ts";
import { type Adjustable, bindingOf, boundLeaf, dataLeaf, keepValue } from "./bindings.ts";
import { flush, stalledIn, type Waiting, waitingIn } from "./evaluate.ts";
import { currentTrace, isForeign, type TraceEntry } from "./trace.ts";

const collected = new FinalizationRegistry<{ owner: Session; state: State }>(({ owner, state }) =>
  owner.release(state),
);

/** The variable that a node is, or was, the value of. */
const variables = new WeakMap<Node, Variable>();

export function variableOf(n: Node): Variable | undefined {
  return variables.get(n);
}

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

/** @throws FourlaneError if a node depends on what has no value here: an example of a vmap, a tensor of another trace. */
export function checkAssignable(op: string, value: Node): void {
  const known = currentTrace()?.assignable ?? independent;
  for (const n of toposort([value], (x) => known.has(x))) {
    if (n.op === LEAF && isForeign(n)) {
      const b = bindingOf(n);
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
export class Variable implements Waiting {
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
  /** With which others the assignment that waits was made. */
  private group: object | undefined;
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
    if (currentTrace() && node)
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
    const trace = currentTrace();
    if (trace) {
      let entry = trace.variables.get(this);
      if (!entry) {
        const n = boundLeaf(this.shape, this.dtype, { kind: "state", variable: this, seen: -1 });
        entry = { leaf: n, value: n };
        trace.variables.set(this, entry);
        variables.set(n, this);
      }
      return entry.value;
    }
    if (!this.now || (!this.waits.has(this) && this.nowSeen !== this.state.enqueued)) {
      this.nowSeen = this.state.enqueued;
      const n = boundLeaf(this.shape, this.dtype, { kind: "state", variable: this, seen: this.nowSeen });
      this.now = this.lastLeaf = n;
      variables.set(n, this);
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
    const trace = currentTrace();
    if (trace) {
      void this.node;
      const entry = trace.variables.get(this) as TraceEntry;
      entry.value = n;
    } else {
      this.now = n;
      this.group = group;
      this.stalled.delete(this);
      this.waits.add(this);
    }
    variables.set(n, this);
    return n;
  }

  /** Sets the value to an array of the right length, from outside any trace. */
  set(array: TypedArray): void {
    if (currentTrace())
      throw new FourlaneError("TRACE", "a variable's value cannot be set from an array inside a compiled function");
    if (array.length !== numel(this.shape))
      throw new ShapeError(`set: ${array.length} values for a variable of shape ${show(this.shape)}`);
    flush(this.owner); // what waits may depend on the value until now
    const { now } = this;
    if (now && this.nowSeen === this.state.enqueued) keepValue(now, this.owner.read(this.state, undefined, true));
    this.now = undefined;
    this.stalled.delete(this);
    this.sets++;
    this.owner.write(this.state, array).catch(() => {});
  }

  /** The value, after everything asked for so far; or as it was after `seen` changes. */
  read(seen?: number): Promise<TypedArray> {
    if (this.revive() || (seen === undefined && this.waits.has(this))) flush(this.owner); // queued first
    return this.owner.read(this.state, seen);
  }

  /** Frees the memory; later uses reject with a DisposedError. */
  dispose(): void {
    this.waits.delete(this);
    this.stalled.delete(this);
    collected.unregister(this);
    this.owner.release(this.state);
  }

  private get waits(): Set<Waiting> {
    return waitingIn(this.owner);
  }

  private get stalled(): WeakSet<Waiting> {
    return stalledIn(this.owner);
  }

  /** @internal */
  revive(): boolean {
    if (currentTrace() || !this.stalled.delete(this)) return false;
    this.waits.add(this);
    return true;
  }

  /** @internal */
  take(): () => void {
    const { sets } = this;
    this.waits.delete(this);
    const initial = this.state.empty ? this.initial : undefined;
    return () => {
      if (this.waits.has(this) || this.sets !== sets || this.state.disposed) return;
      this.now = initial;
      if (initial) this.stalled.add(this);
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
  bound(seen?: number): Bound {
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

/**
 * A number from outside that changes between steps, as a learning rate does: programs take it as it is when they are
 * launched, so that setting it waits for nothing.
 */
export class Setting implements Adjustable {
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
    const trace = currentTrace();
    if (!trace) {
      this.leaf ??= dataLeaf([], "float32", this.array);
      return this.leaf;
    }
    let n = trace.settings.get(this);
    if (!n) {
      n = boundLeaf([], "float32", { kind: "setting", setting: this });
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

/** What is made once for each session, when it is first wanted there. */
export function perSession<T extends object>(make: () => T): () => T {
  const made = new WeakMap<Session, T>();
  return () => {
    const home = session();
    let x = made.get(home);
    if (!x) made.set(home, (x = make()));
    return x;
  };
}
