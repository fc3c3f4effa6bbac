/** @file Expressions that have an instruction of their own, recognised by what they compute. */
import { ADD, BINARY, MUL, SUB, UNARY } from "../ops/elementwise.ts";
import { constantValue } from "../ops/leaf.ts";
import { STRUCTURE } from "../ops/structure.ts";
import type { Node, OpDef } from "../graph/node.ts";

/** Adam's update of a parameter; see Adam in assembly/isa.ts. */
export interface AdamUpdate {
  readonly w: Node;
  readonly m: Node;
  readonly v: Node;
  readonly g: Node;
  /** Nodes of one element. */
  readonly stepSize: Node;
  readonly root: Node;
  readonly newW: Node;
  readonly newM: Node;
  readonly newV: Node;
  readonly beta1: number;
  readonly rest1: number;
  readonly beta2: number;
  readonly rest2: number;
  readonly eps: number;
  /** All nodes of the expression. */
  readonly nodes: ReadonlySet<Node>;
}

/** Operands of a binary node of which one satisfies f: [that one's result, the other]. */
function either<T>(n: Node, f: (x: Node) => T | undefined): [T, Node] | undefined {
  for (const [x, y] of [n.src, [n.src[1], n.src[0]]]) {
    const r = f(x);
    if (r !== undefined) return [r, y];
  }
  return undefined;
}

const is = (n: Node | undefined, op: OpDef): n is Node => n !== undefined && n.op === op;

/** x times a constant: [the constant, x]. */
function scaled(n: Node): [number, Node] | undefined {
  return n.op === MUL ? either(n, constantValue) : undefined;
}

/** The node of one element that n repeats. */
function repeated(n: Node): Node | undefined {
  let x = n;
  while (x.op === STRUCTURE.expand || x.op === STRUCTURE.reshape) x = x.src[0];
  return x !== n && x.shape.every((d) => d === 1) ? x : undefined;
}

/** Whether `newW` is Adam's new value of a parameter. */
export function matchAdam(newW: Node): AdamUpdate | undefined {
  if (newW.op !== SUB) return undefined;
  const [w, quotient] = newW.src;
  if (!is(quotient, BINARY.div) || !is(quotient.src[0], MUL) || !is(quotient.src[1], ADD)) return undefined;
  const [numerator, denominator] = quotient.src;
  const step = either(numerator, repeated);
  const eps = either(denominator, constantValue);
  if (!step || !eps || !is(eps[1], MUL)) return undefined;
  const rooted = either(eps[1], repeated);
  if (!rooted || !is(rooted[1], UNARY.sqrt)) return undefined;
  const [stepSize, newM] = step;
  const [root, sqrt] = rooted;
  const newV = sqrt.src[0];
  if (!is(newM, ADD) || !is(newV, ADD)) return undefined;
  const [m, gm] = newM.src.map(scaled);
  const [v, gv] = newV.src.map(scaled);
  if (!m || !gm || !v || !gv || !is(gv[1], MUL) || gv[1].src[0] !== gv[1].src[1] || gv[1].src[0] !== gm[1])
    return undefined;
  return {
    w,
    m: m[1],
    v: v[1],
    g: gm[1],
    stepSize,
    root,
    newW,
    newM,
    newV,
    beta1: m[0],
    rest1: gm[0],
    beta2: v[0],
    rest2: gv[0],
    eps: eps[0],
    nodes: new Set([newW, quotient, numerator, denominator, eps[1], sqrt, newM, newV, ...newM.src, ...newV.src, gv[1]]),
  };
}
