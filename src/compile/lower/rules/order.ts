/** @file Running sums and sorted order. */
import * as isa from "../../../../assembly/isa.ts";
import { byteLength, isFloat } from "../../../core/dtype.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import type { ArgsortAttrs, CumsumAttrs } from "../../../ops/scan.ts";
import { NS } from "../cost.ts";
import { linesOf, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { around, rowsOf } from "./axes.ts";

export function cumsum(l: Lowering, n: Node<CumsumAttrs>): void {
  const { Outer, rows, Inner } = around(n, n.attrs.axis);
  const from = l.ref(n.src[0]);
  const out = l.result(n);
  const grain = linesOf(Inner);
  const words = l.words(isa.Scan, {
    Out: out,
    In: from,
    Outer,
    R: rows,
    Inner,
    Reverse: n.attrs.reverse ? 1 : 0,
    Integer: isFloat(n.dtype) ? 0 : 1,
    Grain: grain,
  });
  const unit = Inner === 1 ? grain * rows * 4 : 0;
  const units = Math.ceil((Outer * Inner) / grain);
  l.emit(isa.Opcode.Scan, words, units, n, [[from, unit]], [[out, unit]], numel(n.shape) * NS.scan);
}

export function argsort(l: Lowering, n: Node<ArgsortAttrs>): void {
  const [x] = n.src;
  const { rows, cols } = rowsOf(x);
  const from = l.ref(x);
  const out = l.result(n);
  const spare = { buffer: l.buffer(byteLength(n.shape, n.dtype), n.dtype), offset: 0 };
  const words = l.words(isa.Argsort, {
    Out: out,
    In: from,
    Spare: spare,
    Rows: rows,
    Cols: cols,
    Descending: n.attrs.descending ? 1 : 0,
    Integer: isFloat(x.dtype) ? 0 : 1,
    Block: 1,
  });
  const unit = cols * 4;
  const writes: Touch[] = [
    [out, unit],
    [spare, unit],
  ];
  l.emit(isa.Opcode.Argsort, words, rows, n, [[from, unit]], writes, numel(n.shape) * NS.sort);
}
