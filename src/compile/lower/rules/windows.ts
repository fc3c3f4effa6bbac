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
  const { Outer, rows, Inner } = around(n, axis);
  const size = x.shape[x.shape.length - 1];
  const from = l.ref(x);
  const out = l.result(n);
  const words = l.words(isa.Fold, {
    Out: out,
    In: from,
    Outer,
    Extent: rows,
    Windows: x.shape[axis],
    Inner,
    Size: size,
    Step: step,
    Dilation: dilation,
    Block: ROWS,
  });
  const units = rowBlocks(Outer * rows);
  const cost = numel(x.shape) * NS.foldTerm + numel(n.shape) * NS.fold;
  l.emit(isa.Opcode.Fold, words, units, n, [[from, 0]], [[out, ROWS * Inner * 4]], cost);
}
