/** @file Matrix products. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import type { MatmulAttrs } from "../../../ops/contract.ts";
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

/** Two matrices, and many of them, as operands: what both kernels take. */
function operands(n: Node, A: Matrix, B: Matrix, C: Ref) {
  const [M, K] = n.src[0].shape.slice(-2);
  return {
    C,
    A: A.ref,
    B: B.ref,
    M,
    N: n.shape[n.shape.length - 1],
    K,
    ARow: A.row,
    ACol: A.col,
    BRow: B.row,
    BCol: B.col,
    Batch: numel(n.shape.slice(0, -2)),
    ABatch: A.batch,
    BBatch: B.batch,
  };
}

/** Whether the rows of all of A lie one after the other. */
function isRowMajor(A: Matrix, { M, K, Batch }: { M: number; K: number; Batch: number }): boolean {
  return A.col === 1 && A.row === K && (Batch === 1 || A.batch === M * K);
}

const orientation = ({ row, col }: Matrix): string => (row === 1 && col !== 1 ? "T" : "N");

export function matmul(l: Lowering, n: Node<MatmulAttrs>): void {
  const A = matrix(l, n.src[0]);
  const B = matrix(l, n.src[1]);
  const of = operands(n, A, B, l.result(n));
  const { M, N, K, Batch } = of;
  const text = `matmul ${orientation(A)}${orientation(B)} ${Batch > 1 ? `${Batch} x ` : ""}${M}x${K}x${N}`;
  if (n.dtype === "int32" || (n.attrs.precise === true && Batch * M * N * K <= SMALL_PRODUCT))
    product(l, n, A, of, text);
  else gemm(l, n, A, of, text);
}

function gemm(l: Lowering, n: Node, A: Matrix, of: ReturnType<typeof operands>, text: string): void {
  const { M, N, K, Batch } = of;
  // Rows are cut where there are enough of them; otherwise columns keep all workers busy.
  const byRows = Batch * rowBlocks(M) >= 8 || N <= 16;
  const block = byRows ? ROWS : 8 * Math.max(1, Math.ceil(N / 256));
  const blocks = Math.ceil((byRows ? M : N) / block);
  const words = l.words(isa.Gemm, { CRow: N, CBatch: M * N, Slice: byRows ? 0 : 1, Block: block }, of);
  const even = byRows && (Batch === 1 || M % ROWS === 0);
  const reads: Touch[] = [
    [of.A, even && isRowMajor(A, of) ? ROWS * K * 4 : 0],
    [of.B, 0],
  ];
  const cost = Batch * (M * N * K * NS.multiplyAdd + K * N * NS.pack);
  l.emit(isa.Opcode.Gemm, words, Batch * blocks, n, reads, [[of.C, even ? ROWS * N * 4 : 0]], cost, text);
}

function product(l: Lowering, n: Node, A: Matrix, of: ReturnType<typeof operands>, text: string): void {
  const { M, N, K, Batch } = of;
  const words = l.words(isa.Product, { Block: ROWS, Integer: n.dtype === "int32" ? 1 : 0 }, of);
  const reads: Touch[] = [
    [of.A, isRowMajor(A, of) ? ROWS * K * 4 : 0],
    [of.B, 0],
  ];
  const cost = Batch * M * N * K * NS.preciseMultiplyAdd;
  l.emit(isa.Opcode.Product, words, rowBlocks(Batch * M), n, reads, [[of.C, ROWS * N * 4]], cost, text);
}

/** Base address and strides of a matrix operand; copied if its batch has no single stride. */
function matrix(l: Lowering, n: Node): Matrix {
  let v = l.view(n);
  const lead = v.shape.length - 2;
  let c = collapse(v.shape.slice(0, lead), v.strides.slice(0, lead));
  if (v.base.op === CONSTANT || c.dims.length > 1 || v.strides.slice(lead).some((s) => s < 0)) {
    l.copy(n);
    v = dense(n);
    c = collapse(v.shape.slice(0, lead), v.strides.slice(0, lead));
  }
  const [row, col] = v.strides.slice(lead);
  return { ref: l.origin(v), row, col, batch: c.dims.length === 0 ? 0 : c.strides[0] };
}
