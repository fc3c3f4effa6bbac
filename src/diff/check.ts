/** @file Derivatives held against finite differences, in float64: those of a graph, and of one operation alone. */
import { isFloat } from "../core/dtype.ts";
import { numel } from "../core/shape.ts";
import { makeNode, type Node, toposort } from "../graph/node.ts";
import { functionOf, interpret, type Values } from "../ops/interpret.ts";
import { constantLike, leaf } from "../ops/leaf.ts";
import { isDetached, operandsOf } from "../ops/identity.ts";
import { jvp } from "./jvp.ts";
import { vjp } from "./vjp.ts";

export interface CheckOptions {
  /** Half the distance between the points of a difference. */
  readonly eps: number;
  /** A derivative d may differ from the difference by atol + rtol |d|. */
  readonly atol: number;
  readonly rtol: number;
  /** A few random directions instead of every element. */
  readonly fastMode: boolean;
  readonly checkForwardAd: boolean;
  readonly checkBackwardAd: boolean;
  /** The values of a leaf that was made from them: a derivative may have leaves of its own. */
  readonly dataOf: (leaf: Node) => ArrayLike<number> | undefined;
}

/** A derivative that is not what differences say. */
export interface Mismatch {
  readonly mode: "forward" | "reverse";
  /** Which of the outputs and inputs, and which element of it; undefined along a random direction. */
  readonly output: number;
  readonly outputElement?: number;
  readonly input: number;
  readonly inputElement?: number;
  readonly got: number;
  readonly wanted: number;
}

/** An operation whose own derivatives are wrong. */
export interface Culprit {
  readonly node: Node;
  /** The inputs are its operands. */
  readonly mismatch: Mismatch;
}

/** Numbers in (-1, 1) that look random and are always the same. */
export function arbitrary(count: number, seed: number): Float64Array {
  const numbers = new Float64Array(count);
  for (let i = 0; i < count; i++) numbers[i] = Math.sin(12.9898 * (i + 1) + 78.233 * (seed + 1));
  return numbers;
}

/** Along element k alone, or along a vector. */
type Direction = number | Float64Array;

function directions(count: number, fast: boolean, seed: number): Direction[] {
  if (fast) return count === 0 ? [] : [0, 1].map((k) => arbitrary(count, 2 * seed + k));
  return Array.from({ length: count }, (_, k) => k);
}

function vectorOf(d: Direction, count: number): Float64Array {
  return typeof d === "number" ? new Float64Array(count).fill(1, d, d + 1) : d;
}

function component(values: Float64Array, d: Direction): number {
  return typeof d === "number" ? values[d] : values.reduce((s, v, i) => s + v * d[i], 0);
}

/** For each input and each direction of it, the derivatives of all outputs; or the other way about. */
type Derivatives = readonly (readonly (readonly Float64Array[])[])[];

/**
 * The first derivative of the outputs with respect to the inputs that differs from central differences; undefined if none
 * does. `values` has the inputs, and every leaf without a reference.
 */
export function firstMismatch(
  outputs: readonly Node[],
  inputs: readonly Node[],
  values: ReadonlyMap<Node, Float64Array>,
  options: CheckOptions,
): Mismatch | undefined {
  const { eps, atol, rtol, fastMode, checkForwardAd, checkBackwardAd, dataOf } = options;
  const along = (nodes: readonly Node[], seed: number): Direction[][] =>
    nodes.map((n, i) => directions(numel(n.shape), fastMode, seed + i));
  const vs = along(inputs, 0);
  const us = along(outputs, inputs.length);
  /** Derivatives along each direction, by a graph that is linear in the leaf of the i-th node. */
  const swept = (
    nodes: readonly Node[],
    list: readonly Direction[][],
    of: (i: number, t: Node) => readonly Node[],
  ): Derivatives =>
    nodes.map((n, i) => {
      const t = leaf(n.shape, n.dtype);
      const graph = of(i, t);
      const known = new Map(values);
      for (const x of toposort(graph, (s) => known.has(s))) {
        const data = known.has(x) ? undefined : dataOf(x);
        if (data) known.set(x, Float64Array.from(data));
      }
      const f = functionOf(graph, [t], known);
      return list[i].map((d) => f(vectorOf(d, numel(n.shape))));
    });
  const orZero = (found: readonly (Node | null)[], like: readonly Node[]): Node[] =>
    found.map((n, i) => n ?? constantLike(like[i], 0));

  const numeric: Derivatives = inputs.map((x, i) => {
    const f = functionOf(outputs, [x], values);
    const at = values.get(x) as Float64Array;
    return vs[i].map((d) => {
      const v = vectorOf(d, at.length);
      const [high, low] = [eps, -eps].map((s) => f(at.map((a, k) => a + s * v[k])));
      return high.map((y, o) => y.map((a, k) => (a - low[o][k]) / (2 * eps)));
    });
  });
  const forward =
    checkForwardAd &&
    swept(inputs, vs, (i, t) => {
      const tangents = inputs.map((_, k) => (k === i ? t : null));
      return orZero(jvp(outputs, inputs, tangents), outputs);
    });
  const reverse = checkBackwardAd && swept(outputs, us, (o, u) => orZero(vjp([outputs[o]], [u], inputs), inputs));

  for (let i = 0; i < inputs.length; i++)
    for (const [k, v] of vs[i].entries())
      for (let o = 0; o < outputs.length; o++)
        for (const [l, u] of us[o].entries()) {
          const wanted = component(numeric[i][k][o], u);
          const found = {
            forward: forward ? component(forward[i][k][o], u) : wanted,
            reverse: reverse ? component(reverse[o][l][i], v) : wanted,
          };
          for (const mode of ["forward", "reverse"] as const) {
            const got = found[mode];
            if (Math.abs(got - wanted) <= atol + rtol * Math.abs(wanted)) continue;
            const [outputElement, inputElement] = fastMode ? [] : [l, k];
            return { mode, output: o, outputElement, input: i, inputElement, got, wanted };
          }
        }
  return undefined;
}

/**
 * The first operation between inputs and outputs whose own derivatives, at the values it has there, are not those of its
 * reference; undefined if there is none. One of more than `limit` elements is checked along random directions.
 */
export function findCulprit(
  outputs: readonly Node[],
  inputs: readonly Node[],
  known: ReadonlyMap<Node, Float64Array>,
  options: CheckOptions,
  limit: number,
): Culprit | undefined {
  const values: Values = interpret(outputs, known);
  const depends = new Set(inputs);
  let stop: Culprit | undefined;
  for (const n of toposort(outputs, (x) => known.has(x))) {
    if (depends.has(n) || !isFloat(n.dtype) || !n.src.some((s) => depends.has(s))) continue;
    depends.add(n);
    const operands = operandsOf(n);
    const moving = operands.map((_, i) => i).filter((i) => depends.has(operands[i]));
    if (moving.length === 0) continue;
    // The same operation on leaves of its own: only those that matter move. Or the value that is behind it, on its operands.
    const whole = operands === n.src;
    const own = whole ? operands.map((s) => leaf(s.shape, s.dtype)) : operands;
    const at = new Map(whole ? [] : known);
    own.forEach((x, i) => at.set(x, values.get(operands[i]) as Float64Array));
    const fastMode = options.fastMode || [n, ...n.src].some((s) => numel(s.shape) > limit);
    const mismatch = firstMismatch(
      [whole ? makeNode(n.op, own, n.attrs) : n],
      moving.map((i) => own[i]),
      at,
      { ...options, fastMode },
    );
    if (!mismatch) continue;
    const culprit = { node: n, mismatch: { ...mismatch, input: moving[mismatch.input] } };
    // Gradients stop at detach on purpose, and rightly if its operand does not matter (logsumexp's maximum).
    if (!isDetached(n)) return culprit;
    stop ??= culprit;
  }
  return stop;
}
