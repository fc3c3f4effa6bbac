/** @file What windows that slide over up to three axes have in common, whatever is done with them. */

/** Units there should be at least, for as many workers; and blocks of samples that have sums of their own. */
export const PIECES = 8;

/** Three axes, whatever there are: those in front have one place. */
export const three = (values: readonly number[], fill = 1): number[] => [
  ...new Array<number>(3 - values.length).fill(fill),
  ...values,
];

export interface Geometry {
  readonly inner: readonly number[];
  readonly outer: readonly number[];
  readonly taps: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: readonly number[];
  readonly spread: readonly number[];
}
