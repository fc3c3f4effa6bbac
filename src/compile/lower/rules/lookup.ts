/** @file Elements by index. */
import * as isa from "../../../../assembly/isa.ts";
import { isFloat } from "../../../core/dtype.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import type { AxisAttrs } from "../../../ops/linear.ts";
import { CONSTANT } from "../../../ops/leaf.ts";
import { LOOKUP } from "../../../ops/lookup.ts";
import type { Ref } from "../../instr.ts";
import { collapse, dense, type Strided } from "../../view.ts";
import { NS } from "../cost.ts";
import { rowBlocks, ROWS, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { around } from "./axes.ts";

/** An index operand: where it lies, its strides. */
interface Index {
  readonly ref: Ref;
  readonly outer: number;
  readonly row: number;
  readonly inner: number;
}

/** An index operand by its strides before, along and after the axis; copied if these are not one each. */
function indexOf(l: Lowering, n: Node, axis: number): Index {
  const parts = (v: Strided): { dims: number[]; strides: number[] }[] =>
    [0, axis, axis + 1].map((from, i) => {
      const to = [axis, axis + 1, v.shape.length][i];
      return collapse(v.shape.slice(from, to), v.strides.slice(from, to));
    });
  let v = l.view(n);
  if (v.base.op === CONSTANT || parts(v).some((p) => p.dims.length > 1)) {
    l.copy(n);
    v = dense(n);
  }
  const [outer, row, inner] = parts(v).map((p) => p.strides[0] ?? 0);
  return { ref: l.origin(v), outer, row, inner };
}

export function gather(l: Lowering, n: Node<AxisAttrs>): void {
  const [x, index] = n.src;
  const { axis } = n.attrs;
  const { outer, rows, inner } = around(n, axis);
  const from = l.ref(x);
  const at = indexOf(l, index, axis);
  const out = l.result(n);
  const words = l.words<typeof isa.Gather>({
    [isa.Gather.Out]: out,
    [isa.Gather.In]: from,
    [isa.Gather.Index]: at.ref,
    [isa.Gather.Outer]: outer,
    [isa.Gather.Rows]: rows,
    [isa.Gather.Bound]: x.shape[axis],
    [isa.Gather.Inner]: inner,
    [isa.Gather.IndexOuter]: at.outer,
    [isa.Gather.IndexRow]: at.row,
    [isa.Gather.IndexInner]: at.inner,
    [isa.Gather.Block]: ROWS,
  });
  const own = outer === 1 && at.row === 1 && at.inner === 0;
  const reads: Touch[] = [
    [from, 0],
    [at.ref, own ? ROWS * 4 : 0],
  ];
  const units = rowBlocks(outer * rows);
  l.emit(isa.Opcode.Gather, words, units, n, reads, [[out, ROWS * inner * 4]], numel(n.shape) * NS.gather);
}

/** scatterAdd of values by an index, or scatterLast of an index alone. */
export function scatter(l: Lowering, n: Node<AxisAttrs>): void {
  const index = n.src[n.src.length - 1];
  const { axis } = n.attrs;
  const { outer, rows, inner } = around(n, axis);
  const at = indexOf(l, index, axis);
  const last = n.op === LOOKUP.scatterLast;
  const from = last ? at.ref : l.ref(n.src[0]);
  const out = l.result(n);
  const words = l.words<typeof isa.ScatterAdd>({
    [isa.ScatterAdd.Out]: out,
    [isa.ScatterAdd.In]: from,
    [isa.ScatterAdd.Index]: at.ref,
    [isa.ScatterAdd.Outer]: outer,
    [isa.ScatterAdd.Rows]: index.shape[axis],
    [isa.ScatterAdd.Bound]: rows,
    [isa.ScatterAdd.Inner]: inner,
    [isa.ScatterAdd.IndexOuter]: at.outer,
    [isa.ScatterAdd.IndexRow]: at.row,
    [isa.ScatterAdd.IndexInner]: at.inner,
    [isa.ScatterAdd.Kind]: last ? isa.ScatterKind.Last : isFloat(n.dtype) ? isa.ScatterKind.Sum : isa.ScatterKind.SumI,
    [isa.ScatterAdd.Block]: ROWS,
  });
  const reads: Touch[] = [
    [from, 0],
    [at.ref, 0],
  ];
  const cost = numel(index.shape) * NS.scatterIndex + numel(n.shape) * NS.scatter;
  const units = rowBlocks(outer * rows);
  l.emit(isa.Opcode.ScatterAdd, words, units, n, reads, [[out, ROWS * inner * 4]], cost);
}
