/** @file Matrix products. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import { CONSTANT } from "../../../ops/leaf.ts";
import type { Ref } from "../../instr.ts";
import { collapse, dense } from "../../view.ts";
import { NS } from "../cost.ts";
import { rowBlocks, ROWS, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";

/** Multiply-adds up to which a product that is to be precise is computed in float64: some microseconds. */
const SMALL_PRODUCT = 1 << 14;

/** A matrix operand: base address and strides in elements. */
interface Matrix {
  readonly ref: Ref;
  readonly row: number;
  readonly col: number;
  readonly batch: number;
}

export function matmul(l: Lowering, n: Node): void {
  const [a, b] = n.src;
  const r = n.shape.length;
  const [m, k] = a.shape.slice(-2);
  const cols = n.shape[r - 1];
  const A = matrix(l, a);
  const B = matrix(l, b);
  const out = l.result(n);
  const batch = numel(n.shape.slice(0, -2));
  const orientation = `${A.row === 1 && A.col !== 1 ? "T" : "N"}${B.row === 1 && B.col !== 1 ? "T" : "N"}`;
  const text = `matmul ${orientation} ${batch > 1 ? `${batch} x ` : ""}${m}x${k}x${cols}`;
  if (n.dtype === "int32" || (n.attrs.precise === true && batch * m * cols * k <= SMALL_PRODUCT)) {
    product(l, n, A, B, out, text);
    return;
  }
  // Rows are cut where there are enough of them; otherwise columns keep all workers busy.
  const byRows = batch * rowBlocks(m) >= 8 || cols <= 16;
  const block = byRows ? ROWS : 8 * Math.max(1, Math.ceil(cols / 256));
  const blocks = Math.ceil((byRows ? m : cols) / block);
  const words = l.words(isa.Gemm, {
    C: out,
    A: A.ref,
    B: B.ref,
    M: m,
    N: cols,
    K: k,
    CRow: cols,
    ARow: A.row,
    ACol: A.col,
    BRow: B.row,
    BCol: B.col,
    Batch: batch,
    CBatch: m * cols,
    ABatch: A.batch,
    BBatch: B.batch,
    Slice: byRows ? 0 : 1,
    Block: block,
  });
  const even = byRows && (batch === 1 || m % ROWS === 0);
  const rowMajor = A.col === 1 && A.row === k && (batch === 1 || A.batch === m * k);
  l.emit(
    isa.Opcode.Gemm,
    words,
    batch * blocks,
    n,
    [
      [A.ref, even && rowMajor ? ROWS * k * 4 : 0],
      [B.ref, 0],
    ],
    [[out, even ? ROWS * cols * 4 : 0]],
    batch * (m * cols * k * NS.multiplyAdd + k * cols * NS.pack),
    text,
  );
}

export function product(l: Lowering, n: Node, A: Matrix, B: Matrix, out: Ref, text: string): void {
  const [m, k] = n.src[0].shape.slice(-2);
  const cols = n.shape[n.shape.length - 1];
  const batch = numel(n.shape.slice(0, -2));
  const words = l.words(isa.Product, {
    C: out,
    A: A.ref,
    B: B.ref,
    M: m,
    N: cols,
    K: k,
    ARow: A.row,
    ACol: A.col,
    BRow: B.row,
    BCol: B.col,
    Batch: batch,
    ABatch: A.batch,
    BBatch: B.batch,
    Block: ROWS,
    Integer: n.dtype === "int32" ? 1 : 0,
  });
  const rowMajor = A.col === 1 && A.row === k && (batch === 1 || A.batch === m * k);
  const reads: Touch[] = [
    [A.ref, rowMajor ? ROWS * k * 4 : 0],
    [B.ref, 0],
  ];
  const units = rowBlocks(batch * m);
  l.emit(
    isa.Opcode.Product,
    words,
    units,
    n,
    reads,
    [[out, ROWS * cols * 4]],
    batch * m * cols * k * NS.preciseMultiplyAdd,
    text,
  );
}

/** Base address and strides of a matrix operand; copied if its batch has no single stride. */
export function matrix(l: Lowering, n: Node): Matrix {
  let v = l.view(n);
  const lead = v.shape.length - 2;
  let c = collapse(v.shape.slice(0, lead), v.strides.slice(0, lead));
  if (v.base.op === CONSTANT || c.dims.length > 1 || v.strides.slice(lead).some((s) => s < 0)) {
    l.copy(n);
    v = dense(n);
    c = collapse(v.shape.slice(0, lead), v.strides.slice(0, lead));
  }
  const base = l.ref(v.base);
  const [row, col] = v.strides.slice(lead);
  return {
    ref: { ...base, offset: base.offset + v.offset * 4 },
    row,
    col,
    batch: c.dims.length === 0 ? 0 : c.strides[0],
  };
}
