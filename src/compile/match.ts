/**
 * @file Groups that have an instruction of their own, recognised by what they compute: an optimiser's update, what extensions know.
 */
import { type Computation, type Node, type OpDef } from "../graph/node.ts";
import { ADD, BINARY, MUL, SUB, UNARY } from "../ops/elementwise.ts";
import { constantValue } from "../ops/leaf.ts";
import { MOVEMENT } from "../ops/movement.ts";
import type { Fused, Group } from "./fuse.ts";
import type { Lowering } from "./lower/lowering.ts";

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
  while (x.op === MOVEMENT.expand || x.op === MOVEMENT.reshape) x = x.src[0];
  return x !== n && x.shape.every((d) => d === 1) ? x : undefined;
}

/** Whether `newW` is Adam's new value of a parameter. */
function matchAdam(newW: Node): AdamUpdate | undefined {
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

/** Elementwise nodes that become one instruction, or as few as hold them; or an update of parameters; or what an extension knows. */
export interface Work {
  readonly nodes: Group;
  readonly update?: AdamUpdate;
  readonly emit?: (l: Lowering) => void;
}

/** Nodes one instruction computes of which n is the last, in the place of the first. */
export type Matcher = (n: Node) => Work | undefined;

const MATCHERS: Matcher[] = [];

/** For extensions. */
export function addMatcher(matcher: Matcher): void {
  MATCHERS.push(matcher);
}

/** A graph in the order in which it is lowered. */
export interface Matched {
  readonly order: readonly Node[];
  /** What is to be done when the last node of a group has come; of other elementwise nodes nothing. */
  readonly works: ReadonlyMap<Node, readonly Work[]>;
  /** Nodes that someone outside their own group reads, or that leave the program. */
  readonly needed: ReadonlySet<Node>;
}

/** Splits updates of parameters off the groups they are in; what is in the group beside them comes before. */
export function match({ outputs, updates }: Computation, { order, groups }: Fused): Matched {
  const needed = new Set<Node>([...outputs, ...updates]);
  for (const n of order) for (const s of n.src) if (!groups.get(s) || groups.get(s) !== groups.get(n)) needed.add(s);
  const split = (group: Group): Work[] => {
    for (const n of group) {
      const a = matchAdam(n);
      if (!a || !group.includes(a.newM)) continue;
      const results = [a.newW, a.newM, a.newV];
      const operands = [a.w, a.m, a.v, a.g, a.stepSize, a.root];
      const rest = group.filter((x) => !a.nodes.has(x));
      const inside = (x: Node): boolean => a.nodes.has(x);
      // What it reads is there before: it is none of its own results either.
      if (
        operands.some(inside) ||
        rest.some((x) => x.src.some(inside)) ||
        [...a.nodes].some((x) => needed.has(x) && !results.includes(x))
      )
        continue;
      for (const x of operands) needed.add(x);
      return [...(rest.length > 0 ? split(rest) : []), { nodes: group.filter(inside), update: a }];
    }
    return [{ nodes: group }];
  };
  const works = new Map<Node, readonly Work[]>();
  for (const group of new Set(groups.values())) {
    for (const n of group) works.set(n, []);
    works.set(group[group.length - 1], split(group));
  }
  for (const n of order)
    for (const matcher of MATCHERS) {
      const work = matcher(n);
      if (!work || works.has(work.nodes[0])) continue;
      for (const x of work.nodes) works.set(x, []);
      works.set(work.nodes[0], [work]);
    }
  return { order, works, needed };
}
