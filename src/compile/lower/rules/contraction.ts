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

/** A product of two matrices, or many of them. */
interface Product {
  readonly a: Matrix;
  readonly b: Matrix;
  readonly c: Ref;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch: number;
  /** Whether it is added to what C holds. */
  readonly add: boolean;
  readonly text: string;
}

/** The operands that both kernels take. */
const operands = ({ a, b, c, m, n, k, batch }: Product, block: number) => ({
  [isa.Product.C]: c,
  [isa.Product.A]: a.ref,
  [isa.Product.B]: b.ref,
  [isa.Product.M]: m,
  [isa.Product.N]: n,
  [isa.Product.K]: k,
  [isa.Product.ARow]: a.row,
  [isa.Product.ACol]: a.col,
  [isa.Product.BRow]: b.row,
  [isa.Product.BCol]: b.col,
  [isa.Product.Batch]: batch,
  [isa.Product.ABatch]: a.batch,
  [isa.Product.BBatch]: b.batch,
  [isa.Product.Block]: block,
});

/** What is read of two matrices: of rows that lie one after the other in all of A, those of the unit. */
const reads = ({ a, b, m, k, batch }: Product, even: boolean): Touch[] => [
  [a.ref, even && a.col === 1 && a.row === k && (batch === 1 || a.batch === m * k) ? ROWS * k * 4 : 0],
  [b.ref, 0],
];

const orientation = ({ row, col }: Matrix): string => (row === 1 && col !== 1 ? "T" : "N");

/** The product that a node with operands x and y computes, or adds to what is at `c`. */
function productOf(l: Lowering, node: Node, [x, y]: readonly Node[], c?: Ref): Product {
  const [a, b] = [matrix(l, x), matrix(l, y)];
  const [m, k] = x.shape.slice(-2);
  const n = node.shape[node.shape.length - 1];
  const batch = numel(node.shape.slice(0, -2));
  const text = `${node.op.name} ${orientation(a)}${orientation(b)} ${batch > 1 ? `${batch} x ` : ""}${m}x${k}x${n}`;
  return { a, b, c: c ?? l.result(node), m, n, k, batch, add: c !== undefined, text };
}

export function addmm(l: Lowering, node: Node): void {
  const [c, ...factors] = node.src;
  gemm(l, node, productOf(l, node, factors, l.takeOver(node, c)));
}

export function matmul(l: Lowering, node: Node<MatmulAttrs>): void {
  const p = productOf(l, node, node.src);
  const { m, n, k, batch } = p;
  if (node.dtype === "int32" || (node.attrs.precise === true && batch * m * n * k <= SMALL_PRODUCT))
    product(l, node, p);
  else gemm(l, node, p);
}

function gemm(l: Lowering, node: Node, p: Product): void {
  const { c, m, n, k, batch, text } = p;
  // Rows are cut where there are enough of them; otherwise columns keep all workers busy.
  const byRows = batch * rowBlocks(m) >= 8 || n <= 16;
  const block = byRows ? ROWS : isa.GemmTile.Cols * Math.max(1, Math.ceil(n / 256));
  const blocks = Math.ceil((byRows ? m : n) / block);
  const words = l.words<typeof isa.Gemm>({
    ...operands(p, block),
    [isa.Gemm.Slice]: byRows ? 0 : 1,
    [isa.Gemm.CRow]: n,
    [isa.Gemm.CBatch]: m * n,
    [isa.Gemm.Add]: p.add ? 1 : 0,
  });
  const even = byRows && (batch === 1 || m % ROWS === 0);
  const cost = batch * (m * n * k * NS.multiplyAdd + k * n * NS.pack);
  const result: Touch = [c, even ? ROWS * n * 4 : 0];
  const read = [...reads(p, even), ...(p.add ? [result] : [])];
  l.emit(isa.Opcode.Gemm, words, batch * blocks, node, read, [result], cost, text);
}

function product(l: Lowering, node: Node, p: Product): void {
  const { c, m, n, k, batch, text } = p;
  const words = l.words<typeof isa.Product>({
    ...operands(p, ROWS),
    [isa.Product.Integer]: node.dtype === "int32" ? 1 : 0,
  });
  const cost = batch * m * n * k * NS.preciseMultiplyAdd;
  l.emit(isa.Opcode.Product, words, rowBlocks(batch * m), node, reads(p, true), [[c, ROWS * n * 4]], cost, text);
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
