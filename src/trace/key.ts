/** @file Graphs as text: equal texts mean that one program serves both. */
import { identityOf } from "../core/identity.ts";
import { type Attrs, type Computation, holdsGraph, type Node, toposort } from "../graph/node.ts";
import { LEAF } from "../ops/leaf.ts";

/** A value of an attribute as text; -0 and NaN keep apart from 0, text from what looks like it. */
function attrKey(v: unknown): string {
  if (Array.isArray(v)) return `[${v.map(attrKey).join()}]`;
  if (typeof v === "string") return JSON.stringify(v);
  if (holdsGraph(v)) return v.keyOf(keyOf);
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
export function keyOf(graph: Computation): string {
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
