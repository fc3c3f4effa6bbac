/** @file Graphs computed in float64, operation by operation, by the table's references: slow, and what everything is held to. */
import { FourlaneError } from "../core/errors.ts";
import { numel } from "../core/shape.ts";
import { type Node, toposort } from "../graph/node.ts";
import { referenceOf } from "./reference/table.ts";

export type Values = Map<Node, Float64Array>;

function valueOf(n: Node, of: (s: Node) => Float64Array): Float64Array {
  const reference = referenceOf(n.op);
  if (!reference)
    throw new FourlaneError("NO_REFERENCE", `${n.op.name}: there is no value, and no reference to compute it`);
  const src = n.src.map((s) => ({ shape: s.shape, data: of(s) }));
  const data = reference(src, n, functionOf);
  if (data.length !== numel(n.shape))
    throw new FourlaneError("INTERNAL", `${n.op.name}: the reference gives ${data.length} elements`);
  return data;
}

/** The known values, and those of all nodes the outputs need beside them. */
export function interpret(outputs: readonly Node[], known: ReadonlyMap<Node, Float64Array>): Values {
  const values: Values = new Map(known);
  for (const n of toposort(outputs, (x) => known.has(x)))
    if (!values.has(n))
      values.set(
        n,
        valueOf(n, (s) => values.get(s) as Float64Array),
      );
  return values;
}

/** The outputs as a function of the values of some nodes; what does not depend on these is computed once, now. */
export function functionOf(
  outputs: readonly Node[],
  inputs: readonly Node[],
  known: ReadonlyMap<Node, Float64Array>,
): (...values: Float64Array[]) => Float64Array[] {
  const moves = new Set(inputs);
  const order = toposort(outputs, (n) => moves.has(n) || known.has(n));
  for (const n of order) if (!known.has(n) && n.src.some((s) => moves.has(s))) moves.add(n);
  const fixed = interpret(
    order.filter((n) => !moves.has(n)),
    known,
  );
  const given = new Set(inputs);
  const moving = order.filter((n) => moves.has(n) && !given.has(n));
  return (...arrays) => {
    const values: Values = new Map(inputs.map((x, i) => [x, arrays[i]]));
    const get = (n: Node): Float64Array => values.get(n) ?? (fixed.get(n) as Float64Array);
    for (const n of moving) values.set(n, valueOf(n, get));
    return outputs.map(get);
  };
}
