/** @file What rules share: the extents around an axis, the rows of a shape, spatial axes. */
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";

/** Extents before, along and after an axis. */
export function around(n: Node, axis: number): { outer: number; rows: number; inner: number } {
  return { outer: numel(n.shape.slice(0, axis)), rows: n.shape[axis], inner: numel(n.shape.slice(axis + 1)) };
}

/** A value as rows along its last axis. */
export function rowsOf({ shape }: Node): { rows: number; cols: number } {
  const cols = shape[shape.length - 1];
  return { rows: cols === 0 ? 0 : numel(shape) / cols, cols };
}

/** Units that work on few samples is cut into, at least, for as many workers. */
export const PIECES = 8;

/** Three spatial axes, whatever there are: those in front have one place. */
export const three = (values: readonly number[], fill = 1): number[] => [
  ...new Array<number>(3 - values.length).fill(fill),
  ...values,
];
