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
  const In = l.ref(n.src[0]);
  const Out = l.result(n);
  const Log = n.op === FUSED.logSoftmax ? 1 : 0;
  const words = l.words(isa.Softmax, { Out, In, Rows: rows, Cols: cols, Log, Block: ROWS });
  emitRows(l, [isa.Opcode.Softmax, words], n, rows, [[In, cols]], [Out, cols], rows * cols * NS.softmax);
}

export function softmaxGrad(l: Lowering, n: Node): void {
  const { rows, cols } = rowsOf(n);
  const [Y, G] = n.src.map((x) => l.ref(x));
  const Out = l.result(n);
  const Log = n.op === FUSED.logSoftmaxGrad ? 1 : 0;
  const words = l.words(isa.SoftmaxGrad, { Out, Y, G, Rows: rows, Cols: cols, Log, Block: ROWS });
  const reads = [Y, G].map((ref) => [ref, cols] as const);
  emitRows(l, [isa.Opcode.SoftmaxGrad, words], n, rows, reads, [Out, cols], rows * cols * NS.softmaxGrad);
}

/** The loss of each row, or, given its cotangent, what flows back to the row. */
export function crossEntropy(l: Lowering, n: Node<CrossEntropyAttrs>): void {
  const [rows, cols] = n.src[0].shape;
  const [X, Label, G] = n.src.map((x) => l.ref(x));
  const out = l.result(n);
  const of = { X, Label, Rows: rows, Cols: cols, Ignore: n.attrs.ignore, Block: ROWS };
  const [opcode, words] = G
    ? [isa.Opcode.CrossEntropyGrad, l.words(isa.CrossEntropyGrad, { Out: out, G }, of)]
    : [isa.Opcode.CrossEntropy, l.words(isa.CrossEntropy, { Loss: out }, of)];
  const reads = [[X, cols] as const, ...[Label, G].filter((ref) => ref).map((ref) => [ref, 1] as const)];
  emitRows(l, [opcode, words], n, rows, reads, [out, G ? cols : 1], rows * cols * NS.crossEntropy);
}
