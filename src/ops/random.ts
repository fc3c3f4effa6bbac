/**
 * @file Counter-based randomness: threefry2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). The state is three int32 words: key 0, key 1, counter. A draw depends on (key, counter, draw, element) alone.
 */
import { DTypeError } from "../core/errors.ts";
import { type Shape, show } from "../core/shape.ts";
import { threefry } from "../core/threefry.ts";
import { makeNode, type Node, type OpDef, type RefArray } from "../graph/node.ts";

type Value = (k0: number, k1: number, counter: number, element: number, a: number, b: number) => number;

function draw(name: string, dtype: "float32" | "int32", value: Value): OpDef {
  return {
    name,
    kind: "other",
    pattern: "stops",
    random: true,
    infer: ([state], attrs) => {
      if (state.dtype !== "int32" || state.shape.length !== 1 || state.shape[0] !== 3)
        throw new DTypeError(`${name}: the state must be int32[3], got ${state.dtype}${show(state.shape)}`);
      return { shape: attrs.shape as Shape, dtype };
    },
    vjp: () => [null],
    jvp: () => null,
    ref: ([state]: readonly RefArray[], n) => {
      const [k0, k1, counter] = state.data;
      const { draw: d, a, b } = n.attrs as { draw: number; a: number; b: number };
      const size = n.shape.reduce((p, x) => p * x, 1);
      return Float64Array.from({ length: size }, (_, e) => value(k0, k1, counter + d, e, a, b));
    },
  };
}

/** Word (e >> 2) & 1 of block (e >> 3) * 4 + (e & 3). */
function word(k0: number, k1: number, counter: number, e: number): number {
  return threefry(k0, k1, (e >> 3) * 4 + (e & 3), counter)[(e >> 2) & 1];
}

const BITS = draw("randomBits", "int32", (k0, k1, c, e) => word(k0, k1, c, e) | 0);
const UNIFORM = draw("uniform", "float32", (k0, k1, c, e, a, b) => {
  const u = (word(k0, k1, c, e) >>> 8) * 2 ** -24;
  return a + (b - a) * u;
});
const NORMAL = draw("normal", "float32", (k0, k1, c, e, a, b) => {
  const [x0, x1] = threefry(k0, k1, e, c);
  const u1 = ((x0 >>> 8) + 1) * 2 ** -24;
  return a + b * Math.sqrt(-2 * Math.log(u1)) * Math.cos(2 * Math.PI * (x1 >>> 8) * 2 ** -24);
});

/** int32 of random bits. `draw` tells draws from one state apart. */
export function randomBits(state: Node, shape: Shape, d: number): Node {
  return makeNode(BITS, [state], { shape, draw: d, a: 0, b: 0 });
}

/** float32 uniform in [low, high). */
export function uniform(state: Node, shape: Shape, d: number, low: number, high: number): Node {
  return makeNode(UNIFORM, [state], { shape, draw: d, a: low, b: high });
}

/** float32 normal. */
export function normal(state: Node, shape: Shape, d: number, mean: number, std: number): Node {
  return makeNode(NORMAL, [state], { shape, draw: d, a: mean, b: std });
}

export const RANDOM = { randomBits: BITS, uniform: UNIFORM, normal: NORMAL };
