/** @file Nodes to instructions. What is in this folder, and nothing else, knows both operations and kernels. */
import { byteLength } from "../../core/dtype.ts";
import { FourlaneError, ShapeError } from "../../core/errors.ts";
import { show } from "../../core/shape.ts";
import type { Computation, Node, OpDef } from "../../graph/node.ts";
import { LEAF } from "../../ops/leaf.ts";
import type { Allocation, Home } from "../instr.ts";
import type { Matched } from "../match.ts";
import { rootsOf, usesOf } from "../rebuild.ts";
import { type Lowered, Lowering } from "./lowering.ts";
import { partsOf } from "./parts.ts";
import { emitAdam as adam } from "./rules/optimizer.ts";
import { ruleOf } from "./table.ts";

/** Whether the compiler can run an operation: for the test that the op table is covered. */
export function canLower(op: OpDef): boolean {
  return ["elementwise", "view", "identity", "leaf"].includes(op.kind) || ruleOf(op) !== undefined;
}

function rule(l: Lowering, n: Node): void {
  const lowerNode = ruleOf(n.op);
  if (!lowerNode) throw new FourlaneError("NO_KERNEL", `${n.op.name}: cannot be compiled, it has no kernel`);
  lowerNode(l, n);
}

/** Instructions for a simplified graph. */
export function lower(
  graph: Computation,
  { order, works, needed }: Matched,
  compileBody: Lowering["compileBody"],
): Lowered {
  for (const n of order)
    if (n.shape.length > 8) throw new ShapeError(`${n.op.name}: rank ${n.shape.length} of ${show(n.shape)} is above 8`);
  const uses = usesOf(order, rootsOf(graph));
  const low = new Lowering(needed, order, uses, partsOf(order, uses), compileBody);
  const homes: (Home | undefined)[] = [];
  const bind = (list: readonly Node[], kind: Home["kind"]): Allocation[] =>
    list.map((n, i) => {
      if (n.op !== LEAF) throw new FourlaneError("INTERNAL", `${n.op.name}: only leaves can be bound`);
      const buffer = low.buffer(byteLength(n.shape, n.dtype), n.dtype);
      homes[buffer.id] = { kind, index: i };
      low.places.set(n, { buffer, offset: 0 });
      return buffer;
    });
  const inputs = bind(graph.inputs, "input");
  const residents = bind(graph.residents, "resident");
  for (const n of order) {
    const list = works.get(n);
    for (const { update, emit, nodes } of list ?? []) {
      if (update) adam(low, update);
      else if (emit) emit(low);
      else low.map(nodes);
    }
    if (!list && !["elementwise", "leaf", "view"].includes(n.op.kind)) rule(low, n);
  }
  // What leaves the program has a buffer of its own: a copy, if what it lies in has a home already, or holds more.
  const leave = (kind: "output" | "update", n: Node, i: number): Allocation => {
    let { buffer, offset } = low.ref(n);
    const home = homes[buffer.id];
    if (home?.kind === "output" && kind === "output" && offset === 0) return buffer;
    const whole = offset === 0 && buffer.bytes === byteLength(n.shape, n.dtype);
    if (home || !whole) ({ buffer, offset } = low.copy(n));
    homes[buffer.id] = { kind, index: i };
    return buffer;
  };
  const updates = graph.updates.map((n, i) => leave("update", n, i));
  const outputs = graph.outputs.map((node, i) => ({ buffer: leave("output", node, i), node }));
  return { instrs: low.instrs, buffers: low.buffers, homes, outputs, inputs, residents, updates };
}
