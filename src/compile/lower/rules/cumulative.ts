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
  const { outer, rows, inner } = around(n, n.attrs.axis);
  const from = l.ref(n.src[0]);
  const out = l.result(n);
  const grain = linesOf(inner);
  const words = l.words<typeof isa.Cumsum>({
    [isa.Cumsum.Out]: out,
    [isa.Cumsum.In]: from,
    [isa.Cumsum.Outer]: outer,
    [isa.Cumsum.R]: rows,
    [isa.Cumsum.Inner]: inner,
    [isa.Cumsum.Reverse]: n.attrs.reverse ? 1 : 0,
    [isa.Cumsum.Integer]: isFloat(n.dtype) ? 0 : 1,
    [isa.Cumsum.Grain]: grain,
  });
  const unit = inner === 1 ? grain * rows * 4 : 0;
  const units = Math.ceil((outer * inner) / grain);
  l.emit(isa.Opcode.Cumsum, words, units, n, [[from, unit]], [[out, unit]], numel(n.shape) * NS.cumsum);
}
