/** @file Graph: a function as a list of gates, which run one after another, forward and backward. */
import { type DType, isFloat } from "../core/dtype.ts";
import { FourlaneError, ShapeError, ValueError } from "../core/errors.ts";
import { sameShape, type Shape, show } from "../core/shape.ts";
import { pullback } from "../diff/vjp.ts";
import { makeNode, type Node, toposort } from "../graph/node.ts";
import { add } from "../ops/elementwise.ts";
import { constantLike, constantValue } from "../ops/leaf.ts";
import { isDetached } from "../ops/identity.ts";
import { ownerOf } from "../tensor/autograd.ts";
import { checkTensors, Tensor } from "../tensor/tensor.ts";
import { bindingOf } from "../trace/bindings.ts";
import { flush } from "../trace/evaluate.ts";
import { exampleLeaf, transformed } from "../trace/trace.ts";
import { leavesOf, mapTree, tensorsLike } from "../trace/tree.ts";
import { filled, type Gradient } from "./transforms.ts";

/** One operation of a graph, or one of its inputs, parameters or constants; and the edge from it to the gates that use it. */
export class Gate {
  /** The operation's name; "leaf" for inputs and parameters. */
  readonly op: string;
  /** What it does to the gradient, in one word: an add distributes it, a product switches, a maximum routes. */
  readonly pattern: string;
  readonly shape: Shape;
  readonly dtype: DType;
  /** The gates whose values it takes, in order. */
  readonly inputs: readonly Gate[];
  /** What it is called: its place among the gates, or what `named` gave it. */
  name: string;
  /** What it computed; null before its step forward. Lazy: read it with data(), item() or array(). */
  value: Tensor | null = null;
  /** The gradient with respect to its value, the sum over all edges that leave it; null before that, and where there is none. */
  gradient: Tensor | null = null;
  /** What its step backward sent to each input along their edge; null where there is none. */
  inputGradients: readonly (Tensor | null)[] = [];
  /** @internal */
  readonly node: Node;
  /** @internal Whether gradients are of interest: it is no constant, nor made of constants and integers alone. */
  readonly carries: boolean;
  /** @internal The gates of the node's sources; null for what is part of the gate. */
  readonly sources: readonly (Gate | null)[];

  /** @internal */
  constructor(node: Node, sources: readonly (Gate | null)[], place: number, isInput: boolean) {
    const inputs = sources.filter((g) => g !== null);
    this.node = node;
    this.sources = sources;
    this.op = isInput || (inputs.length === 0 && ownerOf(node)) ? "leaf" : node.op.name;
    this.pattern = inputs.length > 0 ? node.op.pattern : "";
    this.shape = node.shape;
    this.dtype = node.dtype;
    this.inputs = inputs;
    this.name = `%${place}`;
    const source = inputs.length === 0 ? constantValue(node) === undefined : inputs.some((g) => g.carries);
    this.carries = isFloat(node.dtype) && (isInput || source);
  }

  /** @internal */
  forgetGradients(): void {
    this.gradient = null;
    this.inputGradients = [];
  }

  /** `%2 = mul x %1 -> float32[3]` */
  toString(): string {
    const from = this.inputs.map((g) => ` ${g.name}`).join("");
    return `${this.name} = ${this.op}${from} -> ${this.dtype}${show(this.shape)}`;
  }
}

/** What a node is the value of: a parameter is the same one whatever its value. */
function identityOf(n: Node): object {
  const binding = bindingOf(n);
  return ownerOf(n) ?? (binding?.kind === "state" ? binding.variable : n);
}

/**
 * @internal The gates a node is made by, in topological order. What is detached is a source; where it is but the value of an
 * operation of one's own, it is part of that. What `isInput` says of a node, it is not looked at how that was made.
 */
export function gatesOf(output: Node, isInput: (n: Node) => boolean = () => false): Gate[] {
  const isSource = (n: Node): boolean => isDetached(n) || isInput(n);
  const order = toposort([output], isSource);
  const inner = new Set(order.flatMap((n) => (n.op.kind === "identity" ? n.src.slice(0, 1).filter(isDetached) : [])));
  const gates = new Map<Node, Gate>();
  for (const n of order) {
    if (inner.has(n)) continue;
    const sources = isSource(n) ? [] : n.src.map((s) => gates.get(s) ?? null);
    gates.set(n, new Gate(n, sources, gates.size, isInput(n)));
  }
  return [...gates.values()];
}

/** @internal Names the gates of tensors by their path in a tree. */
export function giveNames(gates: readonly Gate[], tree: unknown): void {
  const names = new Map<object, string>();
  mapTree(tree, (t, path) => names.set(identityOf(t.node), path));
  for (const gate of gates) gate.name = names.get(identityOf(gate.node)) || gate.name;
}

/** @internal Steps backward from the last gate; all have values. */
export function* sendBack(gates: readonly Gate[], gradient: Tensor): IterableIterator<Gate> {
  gates[gates.length - 1].gradient = gradient;
  for (const gate of [...gates].reverse()) {
    if (!gate.gradient) continue;
    if (gate.inputs.some((g) => g.carries)) {
      const sent = pullback((gate.value as Tensor).node, gate.gradient.node);
      gate.inputGradients = gate.sources.flatMap((input, i) => {
        if (!input) return [];
        const g = sent[i];
        if (!g || !input.carries) return [null];
        input.gradient = new Tensor(input.gradient ? add(input.gradient.node, g) : g);
        return [new Tensor(g)];
      });
    }
    yield gate;
  }
}

/**
 * A function of tensors as a graph of gates in topological order, as in a lecture: `forward` and `backward` run it, and
 * `forwardSteps` and `backwardSteps` do so gate by gate. Values and gradients of all gates and edges can be read afterwards, or
 * in between. Inputs are named as in the argument, if that is one object of tensors; else they are input0, input1, ...
 * It is meant for inspection: every operation runs by itself. To train, `compile` the function.
 *
 * The function is recorded once, for the shapes and dtypes of the examples; whatever else it depends on is fixed then, except
 * that parameters have their current values.
 * @example
 * const net = new Graph(({ x, y, z }) => x.add(y).mul(z), { x, y, z });
 * await net.forward({ x, y, z }).item();
 * for (const gate of net.backwardSteps()) console.log(String(gate), await gate.gradient.array());
 * @throws ValueError if the function does not return one tensor, or none of its arguments is one.
 */
export class Graph<Args extends unknown[] = unknown[]> {
  /** All gates, in topological order: each comes after those it takes values from. */
  readonly gates: readonly Gate[];
  private readonly inputs: readonly Node[];
  /** The arguments it was recorded with, for their structure. */
  private readonly placeholders: Args;

  constructor(f: (...args: Args) => Tensor, ...examples: Args) {
    flush(); // parameters are leaves from here on, not what they are initialised by
    const placeholders = mapTree(examples, (t) => new Tensor(exampleLeaf(t.shape, t.dtype))) as Args;
    const leaves = leavesOf(placeholders);
    if (leaves.length === 0) throw new ValueError("Graph: there is no tensor among the arguments");
    const y: unknown = transformed("Graph", f, ...placeholders);
    if (!(y instanceof Tensor)) throw new ValueError(`Graph: the function must return a tensor, got ${String(y)}`);
    this.placeholders = placeholders;
    this.inputs = leaves.map((t) => t.node);
    this.gates = gatesOf(y.node);
    const [only, ...others] = placeholders;
    const unnamed = others.length > 0 || only instanceof Tensor;
    this.named(unnamed ? Object.fromEntries(placeholders.map((t, i) => [`input${i}`, t])) : only);
  }

  /** The gate of the result. */
  get output(): Gate {
    return this.gates[this.gates.length - 1];
  }

  /** Gives the gates of tensors their path in a tree as name; those of parameters by `named(model.stateDict())`. */
  named(tensors: unknown): this {
    giveNames(this.gates, tensors);
    return this;
  }

  /** The function's value: all steps forward. */
  forward(...inputs: Args): Tensor {
    for (const _ of this.forwardSteps(...inputs));
    return this.output.value as Tensor;
  }

  /**
   * Computes a gate's value with each step, in topological order, and yields the gate. Values and gradients from before are
   * forgotten.
   * @throws ValueError or ShapeError if the inputs differ from the examples in number, shape or dtype.
   */
  forwardSteps(...inputs: Args): IterableIterator<Gate> {
    const leaves = tensorsLike("Graph.forward: the inputs are no tree like the examples", inputs, this.placeholders);
    const given = new Map<Node, Node>();
    this.inputs.forEach((n, i) => {
      const t = leaves[i];
      if (!sameShape(t.shape, n.shape) || t.dtype !== n.dtype)
        throw new ShapeError(
          `Graph.forward: tensor ${i} is ${t.dtype}${show(t.shape)}, the graph is for ${n.dtype}${show(n.shape)}`,
        );
      given.set(n, t.node);
    });
    for (const gate of this.gates) {
      gate.value = null;
      gate.forgetGradients();
    }
    return this.run(given);
  }

  private *run(known: Map<Node, Node>): IterableIterator<Gate> {
    for (const gate of this.gates) {
      for (const n of toposort([gate.node], (x) => known.has(x))) {
        if (known.has(n)) continue;
        const binding = bindingOf(n);
        if (binding?.kind === "state") known.set(n, binding.variable.node);
        else if (n.src.length === 0) known.set(n, n);
        else {
          const src = n.src.map((s) => known.get(s) as Node);
          known.set(n, makeNode(n.op, src, n.attrs));
        }
      }
      gate.value = new Tensor(known.get(gate.node) as Node);
      yield gate;
    }
  }

  /**
   * The gradients with respect to the arguments, a tree like them: all steps backward. `dLoss` is the gradient with respect to
   * the result (Caffe's top_diff); default 1, for a result of one element.
   */
  backward(dLoss?: Tensor): { [K in keyof Args]: Gradient<Args[K]> } {
    for (const _ of this.backwardSteps(dLoss));
    const found = new Map(this.gates.map((g) => [g.node, g.gradient?.node ?? null]));
    const gradients = this.inputs.map((n) => found.get(n) ?? null);
    return filled(this.placeholders, gradients) as { [K in keyof Args]: Gradient<Args[K]> };
  }

  /**
   * Propagates a gate's gradient to its inputs with each step, in reverse topological order, and yields the gate; only gates
   * that have a gradient. Where a value is used more than once, its gradients are accumulated.
   * @throws ValueError before forward; ShapeError if dLoss is not like the result.
   */
  backwardSteps(dLoss?: Tensor): IterableIterator<Gate> {
    const y = this.output.value;
    if (!y) throw new ValueError("Graph.backward: run forward first, to its end");
    if (!this.output.carries)
      throw new FourlaneError("NO_GRADIENT", "Graph.backward: the result depends on no float32 tensor");
    if (!dLoss && y.numel() !== 1)
      throw new ShapeError(
        `Graph.backward: the result has shape ${show(y.shape)}; give the gradient with respect to it`,
      );
    if (dLoss !== undefined) checkTensors("Graph.backward", { dLoss });
    if (dLoss && (!sameShape(dLoss.shape, y.shape) || !isFloat(dLoss.dtype)))
      throw new ShapeError(
        `Graph.backward: the gradient is ${dLoss.dtype}${show(dLoss.shape)}, the result float32${show(y.shape)}`,
      );
    for (const gate of this.gates) gate.forgetGradients();
    return sendBack(this.gates, dLoss ?? new Tensor(constantLike(y.node, 1)));
  }
}
