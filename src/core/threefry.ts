/** @file threefry2x32-20 on the host, for what is decided there: the order of a shuffle. The kernels have their own. */

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];

/** The two words of block (c0, c1) under key (k0, k1), as unsigned 32-bit numbers. */
export function threefry(k0: number, k1: number, c0: number, c1: number): [number, number] {
  const keys = [k0 | 0, k1 | 0, k0 ^ k1 ^ 0x1bd11bda];
  let x0 = (c0 + k0) | 0;
  let x1 = (c1 + k1) | 0;
  for (let round = 0; round < 20; round++) {
    const r = ROTATIONS[round & 7];
    x0 = (x0 + x1) | 0;
    x1 = ((x1 << r) | (x1 >>> (32 - r))) ^ x0;
    if ((round & 3) === 3) {
      const s = (round >> 2) + 1;
      x0 = (x0 + keys[s % 3]) | 0;
      x1 = (x1 + keys[(s + 1) % 3] + s) | 0;
    }
  }
  return [x0 >>> 0, x1 >>> 0];
}

/** The two key words of a seed: any integer up to 2^53; 0 is a seed like any other. */
export function seedWords(seed: number): [number, number] {
  return [seed | 0, Math.floor(seed / 2 ** 32) | 0];
}

/** begin, begin + 1, ..., end - 1. A loop: Uint32Array.from({ length }) takes thirty times as long. */
export function consecutive(begin: number, end: number): Uint32Array {
  const list = new Uint32Array(end - begin);
  for (let i = 0; i < list.length; i++) list[i] = begin + i;
  return list;
}

/** A permutation of 0 .. n-1 by Fisher and Yates, drawn from (seed, stream). */
export function permutation(n: number, seed: number, stream: number): Uint32Array {
  const [k0, k1] = seedWords(seed);
  const order = consecutive(0, n);
  for (let i = n - 1; i > 0; i--) {
    const [a, b] = threefry(k0, k1, i, stream);
    // 53 random bits, so that the bias of the product is far below one in n.
    const j = Math.floor(((a >>> 5) * 2 ** 26 + (b >>> 6)) * 2 ** -53 * (i + 1));
    const t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
  return order;
}
