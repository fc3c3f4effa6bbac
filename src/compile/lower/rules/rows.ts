/** @file Whole rows: softmax, cross-entropy. */
import * as isa from "../../../../assembly/isa.ts";
import type { Node } from "../../../graph/node.ts";
import { type CrossEntropyAttrs, FUSED } from "../../../ops/fused.ts";
import type { Ref, Word } from "../../instr.ts";
import { NS } from "../cost.ts";
import { rowBlocks, ROWS, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { rowsOf } from "./axes.ts";

/** An instruction on rows; of each operand and the result, how many elements it has for one. */
function emitRows(
  l: Lowering,
  [opcode, words]: readonly [isa.Opcode, Word[]],
  n: Node,
  rows: number,
  reads: readonly (readonly [Ref, number])[],
  [out, width]: readonly [Ref, number],
  cost: number,
): void {
  const touch = (ref: Ref, each: number): Touch => [ref, ROWS * each * 4];
  const from = reads.map(([ref, each]) => touch(ref, each));
  l.emit(opcode, words, rowBlocks(rows), n, from, [touch(out, width)], cost);
}

export function softmax(l: Lowering, n: Node): void {
  const { rows, cols } = rowsOf(n);
  const from = l.ref(n.src[0]);
  const out = l.result(n);
  const words = l.words<typeof isa.Softmax>({
    [isa.Softmax.Out]: out,
    [isa.Softmax.In]: from,
    [isa.Softmax.Rows]: rows,
    [isa.Softmax.Cols]: cols,
    [isa.Softmax.Log]: n.op === FUSED.logSoftmax ? 1 : 0,
    [isa.Softmax.Block]: ROWS,
  });
  emitRows(l, [isa.Opcode.Softmax, words], n, rows, [[from, cols]], [out, cols], rows * cols * NS.softmax);
}

export function softmaxGrad(l: Lowering, n: Node): void {
  const { rows, cols } = rowsOf(n);
  const [y, g] = n.src.map((x) => l.ref(x));
  const out = l.result(n);
  const words = l.words<typeof isa.SoftmaxGrad>({
    [isa.SoftmaxGrad.Out]: out,
    [isa.SoftmaxGrad.Y]: y,
    [isa.SoftmaxGrad.G]: g,
    [isa.SoftmaxGrad.Rows]: rows,
    [isa.SoftmaxGrad.Cols]: cols,
    [isa.SoftmaxGrad.Log]: n.op === FUSED.logSoftmaxGrad ? 1 : 0,
    [isa.SoftmaxGrad.Block]: ROWS,
  });
  const reads = [y, g].map((ref) => [ref, cols] as const);
  emitRows(l, [isa.Opcode.SoftmaxGrad, words], n, rows, reads, [out, cols], rows * cols * NS.softmaxGrad);
}

/** The loss of each row, or, given its cotangent, what flows back to the row. */
export function crossEntropy(l: Lowering, n: Node<CrossEntropyAttrs>): void {
  const [rows, cols] = n.src[0].shape;
  const [x, label, g] = n.src.map((s) => l.ref(s));
  const out = l.result(n);
  const words = l.words<typeof isa.CrossEntropy>({
    [isa.CrossEntropy.Out]: out,
    [isa.CrossEntropy.X]: x,
    [isa.CrossEntropy.Label]: label,
    [isa.CrossEntropy.Rows]: rows,
    [isa.CrossEntropy.Cols]: cols,
    [isa.CrossEntropy.Ignore]: n.attrs.ignore,
    [isa.CrossEntropy.Block]: ROWS,
  });
  if (g) words[isa.CrossEntropyGrad.G] = g;
  const opcode = g ? isa.Opcode.CrossEntropyGrad : isa.Opcode.CrossEntropy;
  const reads = [[x, cols] as const, ...[label, g].filter((ref) => ref).map((ref) => [ref, 1] as const)];
  emitRows(l, [opcode, words], n, rows, reads, [out, g ? cols : 1], rows * cols * NS.crossEntropy);
}
