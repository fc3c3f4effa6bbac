/** @file Sorted order. */
import * as isa from "../../../../assembly/isa.ts";
import { byteLength, isFloat } from "../../../core/dtype.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import type { ArgsortAttrs } from "../../../ops/order.ts";
import { NS } from "../cost.ts";
import type { Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { rowsOf } from "./axes.ts";

export function argsort(l: Lowering, n: Node<ArgsortAttrs>): void {
  const [x] = n.src;
  const { rows, cols } = rowsOf(x);
  const from = l.ref(x);
  const out = l.result(n);
  const spare = { buffer: l.buffer(byteLength(n.shape, n.dtype), n.dtype), offset: 0 };
  const words = l.words<typeof isa.Argsort>({
    [isa.Argsort.Out]: out,
    [isa.Argsort.In]: from,
    [isa.Argsort.Spare]: spare,
    [isa.Argsort.Rows]: rows,
    [isa.Argsort.Cols]: cols,
    [isa.Argsort.Descending]: n.attrs.descending ? 1 : 0,
    [isa.Argsort.Integer]: isFloat(x.dtype) ? 0 : 1,
    [isa.Argsort.Block]: 1,
  });
  const unit = cols * 4;
  const writes: Touch[] = [
    [out, unit],
    [spare, unit],
  ];
  l.emit(isa.Opcode.Argsort, words, rows, n, [[from, unit]], writes, numel(n.shape) * NS.sort);
}
