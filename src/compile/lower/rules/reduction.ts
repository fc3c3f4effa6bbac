/** @file Reductions along axes. */
import * as isa from "../../../../assembly/isa.ts";
import { isFloat } from "../../../core/dtype.ts";
import { FourlaneError } from "../../../core/errors.ts";
import { numel } from "../../../core/shape.ts";
import type { Node, OpDef } from "../../../graph/node.ts";
import type { AxesAttrs, AxisAttrs } from "../../../ops/linear.ts";
import { MOVEMENT } from "../../../ops/movement.ts";
import { REDUCTION } from "../../../ops/reduction.ts";
import type { Ref } from "../../instr.ts";
import { NS } from "../cost.ts";
import { linesOf } from "../emission.ts";
import type { Lowering } from "../lowering.ts";

/** Rows summed into one partial result when a long reduction has few outputs. */
const SUM_BLOCK = 4096;

/** For operands of float32, and of int32. */
const KINDS: ReadonlyMap<OpDef, readonly [float: isa.ReduceKind, whole: isa.ReduceKind]> = new Map<
  OpDef,
  readonly [isa.ReduceKind, isa.ReduceKind]
>([
  [MOVEMENT.sum, [isa.ReduceKind.Sum, isa.ReduceKind.SumI]],
  [REDUCTION.prod, [isa.ReduceKind.Prod, isa.ReduceKind.ProdI]],
  [REDUCTION.max, [isa.ReduceKind.Max, isa.ReduceKind.MaxI]],
  [REDUCTION.min, [isa.ReduceKind.Min, isa.ReduceKind.MinI]],
  [REDUCTION.argmax, [isa.ReduceKind.ArgMax, isa.ReduceKind.ArgMaxI]],
  [REDUCTION.argmin, [isa.ReduceKind.ArgMin, isa.ReduceKind.ArgMinI]],
]);

function kindOf({ op, src: [x] }: Node): isa.ReduceKind {
  const kinds = KINDS.get(op);
  if (!kinds) throw new FourlaneError("NO_KERNEL", `${op.name}: is no reduction`);
  return kinds[isFloat(x.dtype) ? 0 : 1];
}

/** Sum, max, min over any axes: runs of neighbouring axes one after the other, innermost first. */
export function reduce(l: Lowering, n: Node<AxesAttrs>): void {
  const [x] = n.src;
  const { axes } = n.attrs;
  const kind = kindOf(n);
  let from = l.ref(x);
  const shape = [...x.shape];
  const left = [...axes];
  while (left.length > 0) {
    const last = left.pop() as number;
    let first = last;
    while (left.length > 0 && left[left.length - 1] === first - 1) first = left.pop() as number;
    const outer = numel(shape.slice(0, first));
    const rows = numel(shape.slice(first, last + 1));
    const inner = numel(shape.slice(last + 1));
    for (let d = first; d <= last; d++) shape[d] = 1;
    from = reduceRun(l, n, from, kind, outer, rows, inner, left.length === 0);
  }
}

export function argReduce(l: Lowering, n: Node<AxisAttrs>): void {
  const [x] = n.src;
  const { axis } = n.attrs;
  const kind = kindOf(n);
  const outer = numel(x.shape.slice(0, axis));
  reduceInto(l, n, l.ref(x), l.result(n), kind, outer, x.shape[axis], numel(x.shape.slice(axis + 1)), 0);
}

export function reduceRun(
  l: Lowering,
  n: Node,
  from: Ref,
  kind: isa.ReduceKind,
  outer: number,
  rows: number,
  inner: number,
  final: boolean,
): Ref {
  const target = (): Ref => (final ? l.result(n) : { buffer: l.buffer(outer * inner * 4, n.dtype), offset: 0 });
  // Few results of many rows: partial results first, cut by shape alone.
  if (rows >= 4 * SUM_BLOCK && outer * inner < 256) {
    const blocks = Math.ceil(rows / SUM_BLOCK);
    const partial = { buffer: l.buffer(outer * blocks * inner * 4, n.dtype), offset: 0 };
    reduceInto(l, n, from, partial, kind, outer, rows, inner, SUM_BLOCK);
    const out = target();
    reduceInto(l, n, partial, out, kind, outer, blocks, inner, 0);
    return out;
  }
  const out = target();
  reduceInto(l, n, from, out, kind, outer, rows, inner, 0);
  return out;
}

export function reduceInto(
  l: Lowering,
  n: Node,
  from: Ref,
  to: Ref,
  kind: isa.ReduceKind,
  outer: number,
  rows: number,
  inner: number,
  blockRows: number,
): void {
  const block = blockRows || Math.max(rows, 1);
  const blocks = Math.max(1, Math.ceil(rows / block));
  const count = outer * blocks * inner;
  // Row reductions follow the rows of whoever made them; column reductions take whole vectors.
  const grain = linesOf(inner);
  const words = l.words<typeof isa.Reduce>({
    [isa.Reduce.Out]: to,
    [isa.Reduce.In]: from,
    [isa.Reduce.Outer]: outer,
    [isa.Reduce.R]: rows,
    [isa.Reduce.Inner]: inner,
    [isa.Reduce.Block]: block,
    [isa.Reduce.Blocks]: blocks,
    [isa.Reduce.Kind]: kind,
    [isa.Reduce.Grain]: grain,
  });
  l.emit(
    isa.Opcode.Reduce,
    words,
    Math.ceil(count / grain),
    n,
    [[from, inner === 1 && blocks === 1 ? grain * rows * 4 : 0]],
    [[to, grain * 4]],
    outer * rows * inner * NS.reduce,
    `${n.op.name} [${outer}, ${rows}, ${inner}]${blocks > 1 ? ` in ${blocks} blocks` : ""}`,
  );
}
