/** @file What work costs, estimated: nanoseconds on one worker, for elements in a cache. They decide how many workers take part. */

/** For each element of what the name says. */
export const NS = {
  /** A multiply-add of a matrix product; an element of B that is packed for it. */
  multiplyAdd: 0.05,
  pack: 0.2,
  /** A multiply-add in float64. */
  preciseMultiplyAdd: 0.3,
  /** A tap, to all points of minimal filtering. */
  taps: 3,
  /** An exponential of attention, with what is done around it. */
  weight: 2,
  /** A micro-operation; loading and storing around all of them. */
  micro: 0.12,
  tile: 0.1,
  zeros: 0.15,
  iota: 0.2,
  transpose: 0.5,
  /** For each of the two times a norm passes over an element; for statistics that are merged. */
  norm: 0.3,
  normGrad: 0.3,
  merge: 5,
  reduce: 0.2,
  softmax: 3,
  softmaxGrad: 2,
  crossEntropy: 3,
  gather: 0.3,
  /** An index that every worker reads; an element of the result. */
  scatterIndex: 0.4,
  scatter: 0.1,
  cumsum: 1.5,
  sort: 40,
  foldTerm: 1,
  fold: 0.1,
  /** An element of an image; a tap of a window; a tap that is looked up. */
  pool: 0.1,
  poolTap: 0.2,
  takeTap: 2,
  random: 8,
  adam: 1,
} as const;
