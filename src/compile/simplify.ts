/**
 * @file Rebuilds a graph from its leaves: equal subexpressions become one node, what no output needs is left behind, and
 * local rules fire. All rules are exact in float32, for NaN, infinities and signed zeros too.
 */
import { numel, sameShape } from "../core/shape.ts";
import { Interned } from "../graph/intern.ts";
import {
  type Attrs,
  type Computation,
  isOp,
  makeNode,
  mapSources,
  type Node,
  type OpDef,
  toposort,
} from "../graph/node.ts";
import { CONTRACT, matmul } from "../ops/contract.ts";
import { CAST, DIV, MUL, NEG, SUB } from "../ops/elementwise.ts";
import { CONSTANT, constant, constantValue, LEAF } from "../ops/leaf.ts";
import type { AxesAttrs } from "../ops/linear.ts";
import { MOVEMENT, transposeLast } from "../ops/movement.ts";
import { rebuild, rootsOf, usesOf } from "./rebuild.ts";

/** What a node may be replaced with; undefined or the node itself if there is nothing simpler. */
type Rule<A extends Attrs = Attrs> = (n: Node<A>) => Node | undefined;

const isConstant = (n: Node, v: number): boolean => Object.is(constantValue(n), v);

function timesOne({ src: [a, b] }: Node): Node | undefined {
  if (isConstant(b, 1)) return a;
  if (isConstant(a, 1)) return b;
}

/** A reshape of a reshape, an expand of an expand: only the last one matters. */
function viewOfView(n: Node): Node {
  const [x] = n.src;
  return x.op === n.op ? makeNode(n.op, x.src, n.attrs) : n;
}

function permuteOfPermute(n: Node<AxesAttrs>): Node {
  const [x] = n.src;
  const { axes } = n.attrs;
  if (!isOp(x, MOVEMENT.permute)) return axes.every((a, i) => a === i) ? x : n;
  return makeNode(n.op, x.src, { axes: axes.map((a) => x.attrs.axes[a]) });
}

/** An operation with the rule that looks at it. */
export const rule = <A extends Attrs>(op: OpDef<A>, f: Rule<NoInfer<A>>): readonly [OpDef, Rule] => [op, f as Rule];

/** Rules by the operation they look at. */
const RULES = new Map<OpDef, Rule>([
  rule(CAST, (n) => (n.src[0].dtype === n.dtype ? n.src[0] : n)),
  rule(MUL, timesOne),
  rule(DIV, ({ src: [a, b] }) => (isConstant(b, 1) ? a : undefined)),
  rule(SUB, ({ src: [a, b] }) => (isConstant(b, 0) ? a : undefined)),
  rule(NEG, ({ src: [x] }) => (x.op === NEG ? x.src[0] : undefined)),
  rule(MOVEMENT.reshape, (n) => (sameShape(n.shape, n.src[0].shape) ? n.src[0] : viewOfView(n))),
  rule(MOVEMENT.expand, viewOfView),
  rule(MOVEMENT.permute, permuteOfPermute),
]);

/** For extensions: of operations no other rule looks at. */
export function addSimplifications(rules: readonly ReturnType<typeof rule>[]): void {
  for (const [op, f] of rules) RULES.set(op, f);
}

/** The constant that an operation on constants makes. */
function foldedConstant(n: Node): Node | undefined {
  const { op, src, shape, dtype } = n;
  if (src.length === 0 || !src.every((s) => s.op === CONSTANT)) return;
  if (op.kind === "view" && numel(shape) > 0) return constant(constantValue(src[0]) as number, shape, dtype);
  if (op.kind !== "elementwise" || !op.ref) return;
  const one = src.map((s) => ({ shape: [], data: Float64Array.of(constantValue(s) as number) }));
  return constant(op.ref(one, n)[0], shape, dtype);
}

const simpler: Rule = (n) => {
  if (n.op.kind === "identity") return n.src[0];
  const next = RULES.get(n.op)?.(n);
  return next && next !== n ? next : foldedConstant(n);
};

/** The transpose of a product is the product of the transposes. */
function transposedProduct(n: Node): Node | undefined {
  const [x] = n.src;
  if (!isOp(n, MOVEMENT.permute) || !isOp(x, CONTRACT.matmul)) return;
  const r = n.shape.length;
  const { axes } = n.attrs;
  if (axes[r - 1] !== r - 2 || axes.slice(0, r - 2).some((a, i) => a !== i)) return;
  const [a, b] = x.src;
  return matmul(transposeLast(b), transposeLast(a), x.attrs.precise === true);
}

/** What slices of operations become, by the operation. */
const SLICES = new Map<OpDef, Rule>();

/** Rules that pay only if nothing else uses the source of what they look at: it would be computed twice. */
const ofOne: Rule = (n) => transposedProduct(n) ?? (n.op === MOVEMENT.slice ? SLICES.get(n.src[0].op)?.(n) : undefined);

/** More of them. */
export function addSlices(rules: readonly (readonly [OpDef, Rule])[]): void {
  for (const [op, f] of rules) SLICES.set(op, f);
}

/** The simplified graph. Leaves keep their identity. */
export function simplify(graph: Computation): Computation {
  const known = new Interned();
  /** The simplest form of a node whose sources are in theirs. */
  const simplest = (n: Node): Node => {
    const next = simpler(n);
    return next ? adopted(next) : known.intern(n);
  };
  /** The simplest form of what a rule made: it may be known, or be made of what is not known yet. */
  const adopted = (n: Node): Node => (n.op === LEAF ? n : (known.find(n) ?? simplest(mapSources(n, adopted))));

  const once = rebuild(graph, toposort(rootsOf(graph)), (n, sources) =>
    n.op === LEAF ? n : simplest(mapSources(n, sources)),
  );

  const order = toposort(rootsOf(once));
  if (!order.some(ofOne)) return once;
  const uses = usesOf(order, rootsOf(once));
  return rebuild(once, order, (n, sources) => {
    const now = mapSources(n, sources);
    const next = uses.get(n.src[0]) === 1 ? ofOne(now) : undefined;
    if (next) return adopted(next);
    return now === n ? n : simplest(now);
  });
}
