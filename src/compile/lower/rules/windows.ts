/** @file Windows added up. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import type { FoldAttrs } from "../../../ops/windows.ts";
import { NS } from "../cost.ts";
import { rowBlocks, ROWS } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { around } from "./axes.ts";

export function fold(l: Lowering, n: Node<FoldAttrs>): void {
  const [x] = n.src;
  const { axis, step, dilation } = n.attrs;
  const { outer, rows, inner } = around(n, axis);
  const size = x.shape[x.shape.length - 1];
  const from = l.ref(x);
  const out = l.result(n);
  const words = l.words<typeof isa.Fold>({
    [isa.Fold.Out]: out,
    [isa.Fold.In]: from,
    [isa.Fold.Outer]: outer,
    [isa.Fold.Extent]: rows,
    [isa.Fold.Windows]: x.shape[axis],
    [isa.Fold.Inner]: inner,
    [isa.Fold.Size]: size,
    [isa.Fold.Step]: step,
    [isa.Fold.Dilation]: dilation,
    [isa.Fold.Block]: ROWS,
  });
  const units = rowBlocks(outer * rows);
  const cost = numel(x.shape) * NS.foldTerm + numel(n.shape) * NS.fold;
  l.emit(isa.Opcode.Fold, words, units, n, [[from, 0]], [[out, ROWS * inner * 4]], cost);
}
