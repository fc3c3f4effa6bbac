/**
 * @file Counter-based randomness: threefry2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). The state is three int32 words: key 0, key 1, counter. A draw depends on (key, counter, draw, element) alone.
 */
import { DTypeError } from "../core/errors.ts";
import { type Shape, show } from "../core/shape.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { liftShape } from "./lift.ts";

export type DrawAttrs = {
  readonly shape: Shape;
  /** Which of the draws from one state. */
  readonly draw: number;
  /** low and high, mean and standard deviation. */
  readonly a: number;
  readonly b: number;
};

function draw(name: string, dtype: "float32" | "int32"): OpDef<DrawAttrs> {
  return {
    name,
    kind: "other",
    pattern: "stops",
    random: true,
    lift: liftShape,
    infer: ([state], { shape }) => {
      if (state.dtype !== "int32" || state.shape.length !== 1 || state.shape[0] !== 3)
        throw new DTypeError(`${name}: the state must be int32[3], got ${state.dtype}${show(state.shape)}`);
      return { shape, dtype };
    },
    vjp: () => [null],
    jvp: () => null,
  };
}

const BITS = draw("randomBits", "int32");
const UNIFORM = draw("uniform", "float32");
const NORMAL = draw("normal", "float32");

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
