/** @file Whole rows: softmax, cross-entropy. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import { FUSED } from "../../../ops/fused.ts";
import { NS } from "../cost.ts";
import { rowBlocks, ROWS, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";

export function softmax(l: Lowering, n: Node): void {
  const [x] = n.src;
  const cols = x.shape[x.shape.length - 1];
  const rows = cols === 0 ? 0 : numel(x.shape) / cols;
  const from = l.ref(x);
  const out = l.result(n);
  const words = l.words(isa.Softmax, {
    Out: out,
    In: from,
    Rows: rows,
    Cols: cols,
    Log: n.op === FUSED.logSoftmax ? 1 : 0,
    Block: ROWS,
  });
  const unit = ROWS * cols * 4;
  l.emit(isa.Opcode.Softmax, words, rowBlocks(rows), n, [[from, unit]], [[out, unit]], rows * cols * NS.softmax);
}

export function softmaxGrad(l: Lowering, n: Node): void {
  const [y, g] = n.src;
  const cols = y.shape[y.shape.length - 1];
  const rows = cols === 0 ? 0 : numel(y.shape) / cols;
  const fy = l.ref(y);
  const fg = l.ref(g);
  const out = l.result(n);
  const words = l.words(isa.SoftmaxGrad, {
    Out: out,
    Y: fy,
    G: fg,
    Rows: rows,
    Cols: cols,
    Log: n.op === FUSED.logSoftmaxGrad ? 1 : 0,
    Block: ROWS,
  });
  const unit = ROWS * cols * 4;
  const reads: Touch[] = [
    [fy, unit],
    [fg, unit],
  ];
  l.emit(isa.Opcode.SoftmaxGrad, words, rowBlocks(rows), n, reads, [[out, unit]], rows * cols * NS.softmaxGrad);
}

export function crossEntropy(l: Lowering, n: Node): void {
  const [x, labels, g] = n.src;
  const [rows, cols] = x.shape;
  const fx = l.ref(x);
  const fl = l.ref(labels);
  const reads: Touch[] = [
    [fx, ROWS * cols * 4],
    [fl, ROWS * 4],
  ];
  if (g) {
    const fg = l.ref(g);
    reads.push([fg, ROWS * 4]);
    const out = l.result(n);
    const words = l.words(isa.CrossEntropyGrad, {
      Out: out,
      X: fx,
      Label: fl,
      G: fg,
      Rows: rows,
      Cols: cols,
      Ignore: n.attrs.ignore as number,
      Block: ROWS,
    });
    const writes: Touch[] = [[out, ROWS * cols * 4]];
    l.emit(isa.Opcode.CrossEntropyGrad, words, rowBlocks(rows), n, reads, writes, rows * cols * NS.crossEntropy);
    return;
  }
  const out = l.result(n);
  const words = l.words(isa.CrossEntropy, {
    Loss: out,
    X: fx,
    Label: fl,
    Rows: rows,
    Cols: cols,
    Ignore: n.attrs.ignore as number,
    Block: ROWS,
  });
  l.emit(isa.Opcode.CrossEntropy, words, rowBlocks(rows), n, reads, [[out, ROWS * 4]], rows * cols * NS.crossEntropy);
}
