/** @file Forward mode: tangents travel with the values, in topological order. */
import { isFloat } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import { type Node, toposort } from "../graph/node.ts";
import { constantValue, leaf } from "../ops/leaf.ts";
import { isDetached, operandsOf } from "../ops/identity.ts";
import { MOVEMENT } from "../ops/movement.ts";
import { vjp, walkOver } from "./vjp.ts";

/** The places among n's sources of what it is a function of. */
function operandPlaces(n: Node): number[] {
  const operands = operandsOf(n);
  return operands.map((_, i) => n.src.indexOf(operands[0]) + i);
}

/** The outputs and what was made after u that they are functions of, sources first. */
function madeAfter(outputs: readonly Node[], u: Node): Node[] {
  const found = new Set<Node>();
  const open = [...outputs];
  for (let n = open.pop(); n; n = open.pop()) {
    if (found.has(n)) continue;
    found.add(n);
    if (n.id > u.id) open.push(...operandsOf(n));
  }
  return [...found].sort((a, b) => a.id - b.id);
}

/** Whether an elementwise operation is k times as large where those of its sources are that `vanish`, whatever the others are. */
function isHomogeneous(n: Node, vanish: ReadonlySet<Node>): boolean {
  const at = (k: number, other: number): number | undefined => {
    const value = (s: Node, i: number): number =>
      constantValue(s) ?? (vanish.has(s) ? k * (i + 0.7) : isFloat(s.dtype) ? other + 1 : other);
    const src = n.src.map((s, i) => ({ shape: [], data: Float64Array.of(value(s, i)) }));
    return n.op.ref?.(src, n)[0];
  };
  return [0, 1].every((other) => {
    const one = at(1, other) ?? Number.NaN;
    return [0, 2.5, -1.5].every((k) => Math.abs((at(k, other) ?? Number.NaN) - k * one) <= 1e-9 * Math.abs(one));
  });
}

/** Whether n is 0 where those of its sources are that `vanish`, some of which are made of u if it `depends` on that. */
function vanishes(n: Node, vanish: ReadonlySet<Node>, depends: boolean): boolean {
  if (constantValue(n) === 0) return true;
  const places = operandPlaces(n);
  if (!places.some((i) => vanish.has(n.src[i]))) return false;
  // Data beside a gradient may well be zeros.
  if (n.op === MOVEMENT.concat || n.op === MOVEMENT.pad)
    return n.src.every((s) => vanish.has(s) || (constantValue(s) ?? 0) === 0);
  if (n.op.kind === "elementwise") return isHomogeneous(n, vanish);
  // Whatever else has no derivative that depends on u is linear in what is made of it.
  return depends || n.op.kind === "view" || n.op.kind === "linear" || places.length < n.src.length;
}

/**
 * Whether a gradient by u is the whole story of what was made of u: that is 0 where u is, and nothing on the way is cut off, or
 * flat like a sign.
 */
function isProportional(outputs: readonly Node[], u: Node): boolean {
  const made = new Set([u]);
  const vanish = new Set([u]);
  for (const n of madeAfter(outputs, u)) {
    if (n === u) continue;
    const places = operandPlaces(n);
    const depends = places.some((i) => made.has(n.src[i]));
    if (vanishes(n, vanish, depends)) vanish.add(n);
    if (!depends) continue;
    if (!isFloat(n.dtype) || !vanish.has(n)) return false;
    made.add(n);
    const back = n.op.vjp?.(n, leaf(n.shape, n.dtype));
    if (back ? places.some((i) => made.has(n.src[i]) && !back[i]) : !n.op.decompose) return false;
  }
  return outputs.every((g) => vanish.has(g));
}

/**
 * The tangent of a node from its reverse rule. That is linear in the cotangent u, as the tangent is in those of the sources;
 * one is the transpose of the other, and to transpose a linear map is to differentiate it, in reverse, by u.
 */
function transposed(n: Node, rule: NonNullable<Node["op"]["vjp"]>, tangents: readonly (Node | null)[]): Node | null {
  const u = leaf(n.shape, n.dtype);
  const pairs = rule(n, u).flatMap((g, i) => {
    const t = tangents[i];
    return g && t ? [{ g, t }] : [];
  });
  const gs = pairs.map(({ g }) => g);
  const [tangent] = vjp(
    gs,
    pairs.map(({ t }) => t),
    [u],
  );
  if (!isProportional(gs, u) || (tangent && toposort([tangent], (x) => x.id < u.id).includes(u)))
    throw new FourlaneError(
      "NO_GRADIENT",
      `${n.op.name}: has no forward-mode derivative, and its reverse-mode one cannot be shown to be linear in the gradient, so ` +
        "that none follows from it: give it a jvp",
    );
  return tangent;
}

/** Tangents of `outputs`, given those of `inputs`; null where zero. */
export function jvp(
  outputs: readonly Node[],
  inputs: readonly Node[],
  tangents: readonly (Node | null)[],
): (Node | null)[] {
  const map = new Map<Node, Node | null>(inputs.map((x, i) => [x, tangents[i]]));
  walkOver(toposort(outputs, isDetached), "forward", (n) => {
    if (map.has(n)) return;
    const ts = n.src.map((s) => map.get(s) ?? null);
    if (!isFloat(n.dtype) || ts.every((t) => t === null)) map.set(n, null);
    else if (n.op.jvp) map.set(n, n.op.jvp(n, ts));
    else if (n.op.loop) map.set(n, n.op.loop.forward(n, ts, jvp));
    else if (n.op.decompose) map.set(n, jvp([n.op.decompose(n)], n.src, ts)[0]);
    else if (n.op.vjp) map.set(n, transposed(n, n.op.vjp, ts));
    else throw new FourlaneError("NO_GRADIENT", `${n.op.name}: has no forward-mode derivative`);
  });
  return outputs.map((y) => map.get(y) ?? null);
}
