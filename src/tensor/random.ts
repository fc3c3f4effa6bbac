/** @file Random tensors, from one generator whose whole state is three integers. */
import { checkNumber } from "../core/check.ts";
import { converted } from "../core/convert.ts";
import { ValueError } from "../core/errors.ts";
import { checkOptions, type Names } from "../core/options.ts";
import { checkShape, type Shape } from "../core/shape.ts";
import { seedWords } from "../core/threefry.ts";
import type { Node } from "../graph/node.ts";
import { add, apply, cast, COMPARE, scale } from "../ops/elementwise.ts";
import { constantLike, iota } from "../ops/leaf.ts";
import * as ops from "../ops/random.ts";
import { BY_IDENTITY } from "../trace/signature.ts";
import { perSession, Variable } from "../trace/variable.ts";
import { Tensor } from "./tensor.ts";

/** Nodes that are "this state, k draws later". */
const later = new WeakMap<Node, { base: Node; draws: number }>();

/** A source of randomness: threefry keyed by a seed, with a counter of draws. Inside compiled functions it moves on too. */
export class Generator {
  /** @internal */
  get [BY_IDENTITY](): true {
    return true;
  }

  private readonly state: Variable;

  /** @param seed Any integer from 0 to 2^53 - 1. */
  constructor(seed = 0) {
    this.state = new Variable([3], "int32", Generator.words(seed), { lasting: true });
  }

  private static words(seed: number): Int32Array {
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new ValueError(`seed: must be an integer from 0 to 2^53 - 1, got ${seed}`);
    return Int32Array.of(...seedWords(seed), 0);
  }

  /** Starts anew from a seed. */
  manualSeed(seed: number): this {
    this.state.set(Generator.words(seed));
    return this;
  }

  /** The state: two words of the key, the counter. */
  async getState(): Promise<Int32Array> {
    return (await this.state.read()) as Int32Array;
  }

  /** Continues from a state of getState(). */
  setState(state: Int32Array): void {
    this.state.set(converted("setState", state, "int32"));
  }

  /** @internal The state of a draw and its number, which no other draw has. */
  draw(): { state: Node; draw: number } {
    const now = this.state.node;
    const { base, draws } = later.get(now) ?? { base: now, draws: 0 };
    const last = cast(apply(COMPARE.eq, iota([3]), constantLike({ shape: [3], dtype: "int32" }, 2)), "int32");
    const next = this.state.assign(add(base, scale(last, draws + 1)));
    later.set(next, { base, draws: draws + 1 });
    return { state: base, draw: draws };
  }

  /** @internal */
  get disposed(): boolean {
    return this.state.home.disposed;
  }
}

/** The generator used where none is given, one for each runtime. Its seed is 0 until manualSeed(). */
export const defaultGenerator: () => Generator = /* @__PURE__ */ perSession(() => new Generator(0));

/** Seeds the default generator: initialisation, dropout and random tensors draw from it. */
export function manualSeed(seed: number): Generator {
  return defaultGenerator().manualSeed(seed);
}

export interface RandomOptions {
  generator?: Generator;
}

const NAMES: Names<RandomOptions> = { generator: true };

/** The generator to draw from. */
function generatorOf(op: string, options: RandomOptions | undefined): Generator {
  const { generator } = checkOptions(op, options, NAMES);
  if (generator !== undefined && !(generator instanceof Generator))
    throw new ValueError(`${op}: generator must be a Generator, got ${String(generator)}`);
  return generator ?? defaultGenerator();
}

/** float32, uniform in [low, high). */
export function uniform(shape: Shape, low = 0, high = 1, options: RandomOptions = {}): Tensor {
  if (!Number.isFinite(low) || !Number.isFinite(high) || low > high)
    throw new ValueError(`uniform: low ${low} and high ${high} must be finite, low not above high`);
  for (const [name, v] of Object.entries({ low, high, "high - low": high - low })) checkNumber("uniform", name, v);
  const { state, draw } = generatorOf("uniform", options).draw();
  return new Tensor(ops.uniform(state, checkShape("uniform", shape), draw, low, high));
}

/** float32, uniform in [0, 1). */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  checkOptions("rand", options, NAMES);
  return uniform(shape, 0, 1, options);
}

/** float32, normal with mean 0 and standard deviation 1. */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  const { state, draw } = generatorOf("randn", options).draw();
  return new Tensor(ops.normal(state, checkShape("randn", shape), draw, 0, 1));
}
