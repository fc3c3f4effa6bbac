/** @file Running sums. */
import * as isa from "../../../../assembly/isa.ts";
import { isFloat } from "../../../core/dtype.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import type { CumsumAttrs } from "../../../ops/cumulative.ts";
import { NS } from "../cost.ts";
import { linesOf } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { around } from "./axes.ts";

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
