/** @file What rules share: the extents around an axis. */
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";

/** Extents before, along and after an axis. */
export function around(n: Node, axis: number): { Outer: number; rows: number; Inner: number } {
  return { Outer: numel(n.shape.slice(0, axis)), rows: n.shape[axis], Inner: numel(n.shape.slice(axis + 1)) };
}
