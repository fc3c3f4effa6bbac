/** @file explain: a loss gate by gate, with values, gradients and what each gate does to them. */
import { type DType, isFloat, type TypedArray } from "../core/dtype.ts";
import { ShapeError, ValueError } from "../core/errors.ts";
import { type Shape, show } from "../core/shape.ts";
import { constantLike } from "../ops/leaf.ts";
import { Tensor } from "../tensor/tensor.ts";
import { evaluate } from "../trace/evaluate.ts";
import { leavesOf } from "../trace/tree.ts";
import { type Gate, gatesOf, giveNames, Graph, sendBack } from "./graph.ts";
import { range, rounded } from "./range.ts";

/** A gate with its numbers, in row-major order; null for what has not been computed, or has no gradient. */
export interface ExplainedGate {
  readonly name: string;
  readonly op: string;
  /** What the gate does to the gradient, in one word; "" for inputs, parameters and constants. */
  readonly pattern: string;
  readonly shape: Shape;
  readonly dtype: DType;
  /** Positions in the list of the gates it takes values from. */
  readonly inputs: readonly number[];
  readonly value: TypedArray | null;
  /** The gradient of the result with respect to the value: the sum over all edges that leave the gate. */
  readonly gradient: TypedArray | null;
  /** The gradient sent to each input, along its edge. */
  readonly inputGradients: readonly (TypedArray | null)[];
}

/** Up to four numbers as they are, of more the range. */
function brief(values: TypedArray | null, shape: Shape): string {
  if (!values) return "";
  if (values.length > 4) return range(values);
  const list = Array.from(values, rounded).join(", ");
  return shape.length === 0 ? list : `[${list}]`;
}

/** What explain found: `String(it)` is a table, one line per gate in topological order. */
export class Explanation {
  readonly gates: readonly ExplainedGate[];

  /** @internal */
  constructor(gates: readonly ExplainedGate[]) {
    this.gates = gates;
  }

  /** A table: name, operation, inputs, shape, value, gradient and pattern. More than four numbers are shown as a range. */
  toString(): string {
    const uses = this.gates.map(() => 0);
    for (const g of this.gates)
      g.inputs.forEach((i, k) => {
        if (g.inputGradients[k]) uses[i]++;
      });
    const rows = this.gates.map((g, i) => [
      g.name,
      g.op,
      g.inputs.map((k) => this.gates[k].name).join(" "),
      show(g.shape),
      brief(g.value, g.shape),
      brief(g.gradient, g.shape) + (uses[i] > 1 ? ` (sum of ${uses[i]})` : ""),
      g.pattern,
    ]);
    const table = [["gate", "op", "from", "shape", "value", "gradient", "backward"], ...rows];
    const widths = table[0].map((_, c) => Math.max(...table.map((row) => row[c].length)));
    return table
      .map((row) =>
        row
          .map((cell, c) => cell.padEnd(widths[c]))
          .join("  ")
          .trimEnd(),
      )
      .join("\n");
  }

  /** For Graphviz: a box per gate, an edge per value, with the value above and its gradient below. */
  toDot(): string {
    const text = (s: string): string => `"${s.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
    const lines = this.drawn(
      (g) => ` [shape=${g.inputs.length > 0 ? "box" : "ellipse"}, label=${text(labelOf(g).join("\n"))}]`,
      (from, to, value, gradient) => {
        const below = gradient && `<br/><font color="red">${gradient}</font>`;
        const label = value && ` [label=<<font color="darkgreen">${value}</font>${below}>]`;
        return `${from} -> ${to}${label}`;
      },
    );
    return `digraph {\n  rankdir=LR;\n${lines.map((line) => `  ${line};\n`).join("")}  out [shape=plaintext];\n}`;
  }

  /** The same for Mermaid, which many sites render in Markdown. */
  toMermaid(): string {
    const text = (s: string): string => `"${s.replace(/[#"<>\s]/g, (c) => (c === " " ? c : `#${c.charCodeAt(0)};`))}"`;
    const lines = this.drawn(
      (g) => {
        const label = labelOf(g)
          .map((s) => text(s).slice(1, -1))
          .join("<br/>");
        return g.inputs.length > 0 ? `["${label}"]` : `(["${label}"])`;
      },
      (from, to, value, gradient) =>
        `${from} -->${value && `|${text(gradient ? `${value} / ${gradient}` : value)}|`} ${to}`,
    );
    return ["flowchart LR", ...lines.map((line) => `  ${line}`)].join("\n");
  }

  /** Lines for all gates and edges, the last of which leads out. */
  private drawn(
    gate: (g: ExplainedGate) => string,
    edge: (from: string, to: string, value: string, gradient: string) => string,
  ): string[] {
    const edges = this.gates.flatMap((g, to) =>
      g.inputs.map((from, k) => {
        const { value, shape } = this.gates[from];
        return edge(`g${from}`, `g${to}`, brief(value, shape), brief(g.inputGradients[k] ?? null, shape));
      }),
    );
    const last = this.gates.length - 1;
    const { value, gradient, shape } = this.gates[last];
    edges.push(edge(`g${last}`, "out", brief(value, shape), brief(gradient, shape)));
    return [...this.gates.map((g, i) => `g${i}${gate(g)}`), ...edges];
  }
}

/** What stands in the box of a gate. */
function labelOf(g: ExplainedGate): string[] {
  return g.inputs.length > 0 ? [g.op, g.pattern] : [g.name, `${g.dtype}${show(g.shape)}`];
}

// What console.log shows in Node.
Object.defineProperty(Explanation.prototype, Symbol.for("nodejs.util.inspect.custom"), {
  value(this: Explanation): string {
    return this.toString();
  },
});

/**
 * Computes a loss and its gradient with respect to every intermediate value, and says what each gate does: add distributes
 * the gradient, mul switches the operands, max routes it, sum copies it and a copy (expand) sums; the gradient of a value that
 * is used more than once is a sum. Print the result, or its `toDot()` or `toMermaid()`.
 *
 * @param loss A tensor of one element; or a Graph, explained as far as it has been run.
 * @param names A tree of tensors, say `{ x, ...model.stateDict() }`: their gates are named by their paths. Those that are
 * constants or random draws (zeros, randn) count as inputs, like data, and have a gradient.
 * @example console.log(String(await explain(loss, { x, w })));
 * @throws ShapeError if the loss has more than one element.
 */
export async function explain(loss: Tensor | Graph, names: unknown = {}): Promise<Explanation> {
  const gates = loss instanceof Graph ? loss.gates : gatesOfLoss(loss, names);
  giveNames(gates, names);
  const place = new Map<Gate, number>(gates.map((g, i) => [g, i]));
  const tensors = gates.flatMap((g) => [g.value, g.gradient, ...g.inputGradients]).filter((t) => t !== null);
  const arrays = await evaluate(tensors.map((t) => t.node));
  const found = new Map<Tensor, TypedArray>(tensors.map((t, i) => [t, arrays[i]]));
  const numbers = (t: Tensor | null): TypedArray | null => (t && found.get(t)) ?? null;
  return new Explanation(
    gates.map((g) => ({
      name: g.name,
      op: g.op,
      pattern: g.pattern,
      shape: g.shape,
      dtype: g.dtype,
      inputs: g.inputs.map((input) => place.get(input) as number),
      value: numbers(g.value),
      gradient: numbers(g.gradient),
      inputGradients: g.inputGradients.map(numbers),
    })),
  );
}

function gatesOfLoss(loss: unknown, names: unknown): readonly Gate[] {
  if (!(loss instanceof Tensor)) throw new ValueError(`explain: a tensor or a Graph is wanted, got ${String(loss)}`);
  if (loss.numel() !== 1)
    throw new ShapeError(`explain: the loss must have one element, got shape ${show(loss.shape)}`);
  const named = new Set(leavesOf(names).map((t) => t.node));
  // Without a name they carry no gradient.
  const inert = gatesOf(loss.node).filter((g) => named.has(g.node) && isFloat(g.dtype) && !g.carries);
  const inputs = new Set(inert.map((g) => g.node));
  const gates = gatesOf(loss.node, (n) => inputs.has(n));
  for (const g of gates) g.value = new Tensor(g.node);
  if (gates[gates.length - 1].carries) for (const _ of sendBack(gates, new Tensor(constantLike(loss.node, 1))));
  return gates;
}
