/** @file Rows chosen by an index tensor: gatherRows | scatterAddRows, each the other's adjoint. */
import { bytesOf } from "../core/dtype.ts";
import { DTypeError, ShapeError } from "../core/errors.ts";
import { numel, type Shape, show } from "../core/shape.ts";
import { makeNode, type Node, type OpDef, type RefArray } from "../graph/node.ts";

function checkIndex(op: string, index: Node): void {
  if (index.dtype !== "int32") throw new DTypeError(`${op}: the index must be int32, got ${index.dtype}`);
  if (index.shape.length !== 1) throw new ShapeError(`${op}: the index must be of rank 1, got ${show(index.shape)}`);
}

function rowWidth(x: { shape: Shape }): number {
  return numel(x.shape.slice(1));
}

const GATHER_ROWS: OpDef = {
  name: "gatherRows",
  kind: "other",
  infer: ([table, index]) => {
    checkIndex("gatherRows", index);
    if (table.shape.length < 1) throw new ShapeError("gatherRows: the table must have rank 1 or more");
    // Rows are copied in words.
    if (bytesOf(table.dtype) === 1 && rowWidth(table) % 4 !== 0)
      throw new DTypeError(
        `gatherRows: rows of ${rowWidth(table)} ${table.dtype} are not supported, only multiples of 4`,
      );
    return { shape: [index.shape[0], ...table.shape.slice(1)], dtype: table.dtype };
  },
  vjp: (n, g) => [n.dtype === "float32" ? scatterAddRows(g, n.src[1], n.src[0].shape[0]) : null, null],
  jvp: (n, [t]) => (t ? gatherRows(t, n.src[1]) : null),
  ref: ([table, index], n) => {
    const w = rowWidth(n);
    const out = new Float64Array(numel(n.shape));
    index.data.forEach((row, i) => out.set(table.data.subarray(row * w, (row + 1) * w), i * w));
    return out;
  },
};

const SCATTER_ADD_ROWS: OpDef = {
  name: "scatterAddRows",
  kind: "other",
  infer: ([x, index], attrs) => {
    checkIndex("scatterAddRows", index);
    if (x.dtype !== "float32") throw new DTypeError(`scatterAddRows: dtype ${x.dtype} is not supported, only float32`);
    if (x.shape[0] !== index.shape[0])
      throw new ShapeError(`scatterAddRows: ${show(x.shape)} does not have the index's ${index.shape[0]} rows`);
    return { shape: [attrs.rows as number, ...x.shape.slice(1)], dtype: x.dtype };
  },
  vjp: (n, g) => [gatherRows(g, n.src[1]), null],
  jvp: (n, [t]) => (t ? scatterAddRows(t, n.src[1], n.shape[0]) : null),
  ref: ([x, index]: readonly RefArray[], n) => {
    const w = rowWidth(n);
    const out = new Float64Array(numel(n.shape));
    index.data.forEach((row, i) => {
      for (let k = 0; k < w; k++) out[row * w + k] += x.data[i * w + k];
    });
    return out;
  },
};

/** Rows table[index[i]] of the first axis. An index outside it fails the step with an IndexError. */
export function gatherRows(table: Node, index: Node): Node {
  return makeNode(GATHER_ROWS, [table, index]);
}

/** Zeros of `rows` rows, plus x[i] at row index[i], in the order of i. */
export function scatterAddRows(x: Node, index: Node, rows: number): Node {
  return makeNode(SCATTER_ADD_ROWS, [x, index], { rows });
}

export const LOOKUP = { gatherRows: GATHER_ROWS, scatterAddRows: SCATTER_ADD_ROWS };
