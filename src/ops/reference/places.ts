/** @file What references are made of: an operation's entry, walks over places, rows. */
import { numel, type Shape } from "../../core/shape.ts";
import type { Attrs, OpDef, RefArray, Reference } from "../../graph/node.ts";

/** An operation, by name, and what it computes. */
export type Entry = readonly [name: string, reference: Reference];

export const entry = <A extends Attrs>({ name }: OpDef<A>, reference: Reference<NoInfer<A>>): Entry => [
  name,
  reference as Reference,
];

/** Calls f(i, place) for each element i of a shape, place = offset + the sum of its coordinates times the strides. */
export function eachPlace(
  shape: Shape,
  strides: readonly number[],
  offset: number,
  f: (i: number, place: number) => void,
): void {
  const at = new Array<number>(shape.length).fill(0);
  const count = numel(shape);
  let place = offset;
  for (let i = 0; i < count; i++) {
    f(i, place);
    for (let d = shape.length - 1; d >= 0; d--) {
      place += strides[d];
      if (++at[d] < shape[d]) break;
      place -= at[d] * strides[d];
      at[d] = 0;
    }
  }
}

/** The elements of x at the places of a shape. */
export function strided(x: RefArray, shape: Shape, strides: readonly number[], offset = 0): Float64Array {
  const out = new Float64Array(numel(shape));
  eachPlace(shape, strides, offset, (i, from) => {
    out[i] = x.data[from];
  });
  return out;
}

export function eachRow(x: RefArray, f: (row: Float64Array, r: number) => void): void {
  const cols = x.shape[x.shape.length - 1];
  for (let r = 0; r * cols < x.data.length; r++) f(x.data.subarray(r * cols, (r + 1) * cols), r);
}
