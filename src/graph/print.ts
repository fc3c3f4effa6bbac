/** @file The text form of a graph: one line a node, in topological order. Tests and explain() read it. */
import { show } from "../core/shape.ts";
import { type Attrs, type Computation, type Node, toposort } from "./node.ts";

function attrsText(attrs: Attrs): string {
  const parts = Object.entries(attrs)
    .filter(([, v]) => (v !== undefined && typeof v !== "object" ? true : Array.isArray(v)))
    .map(([k, v]) => `${k}=${Array.isArray(v) ? `[${v.join(",")}]` : String(v)}`);
  return parts.length > 0 ? ` {${parts.join(", ")}}` : "";
}

/** `%2 float32[2, 3] = add %0 %1` ... then `return %2`, numbered from 0. */
export function printGraph(graph: Pick<Computation, "outputs"> & Partial<Computation>): string {
  const roots = [...graph.outputs, ...(graph.updates ?? [])];
  const order = toposort([...(graph.inputs ?? []), ...(graph.residents ?? []), ...roots]);
  const name = new Map<Node, string>(order.map((n, i) => [n, `%${i}`]));
  const lines = order.map((n) => {
    const src = n.src.map((s) => ` ${name.get(s)}`).join("");
    return `${name.get(n)} ${n.dtype}${show(n.shape)} = ${n.op.name}${src}${attrsText(n.attrs)}`;
  });
  lines.push(`return ${graph.outputs.map((n) => name.get(n)).join(", ")}`);
  if (graph.updates?.length) lines.push(`update ${graph.updates.map((n) => name.get(n)).join(", ")}`);
  return lines.join("\n");
}
