/**
 * @file Rebuilds a graph from its leaves: equal subexpressions become one node, what no output needs is left behind, and
 * local rules fire. All rules are exact in float32, for NaN, infinities and signed zeros too.
 */
import { numel } from "../core/shape.ts";
import { type Attrs, type Graph, makeNode, type Node, toposort } from "../graph/node.ts";
import { CONTRACT, matmul } from "../ops/contract.ts";
import { CAST, DIV, MUL, NEG, SUB } from "../ops/elementwise.ts";
import { CONSTANT, constant, constantValue, LEAF } from "../ops/leaf.ts";
import { STRUCTURE, transposeLast } from "../ops/structure.ts";

type Rule = (n: Node) => Node | undefined;

const isConstant = (n: Node, v: number): boolean => {
  const c = constantValue(n);
  return c !== undefined && Object.is(c, v);
};

/** One list; the first rule that fires replaces the node, and the result is looked at again. */
const RULES: readonly Rule[] = [
  function identity(n) {
    if (n.op === STRUCTURE.alias || n.op === STRUCTURE.detach || n.op === STRUCTURE.scaleGradient) return n.src[0];
    if (n.op === CAST && n.src[0].dtype === n.dtype) return n.src[0];
  },
  function timesOne(n) {
    if (n.op === MUL && isConstant(n.src[1], 1)) return n.src[0];
    if (n.op === MUL && isConstant(n.src[0], 1)) return n.src[1];
    if (n.op === DIV && isConstant(n.src[1], 1)) return n.src[0];
    if (n.op === SUB && isConstant(n.src[1], 0)) return n.src[0];
  },
  function doubleNegation(n) {
    if (n.op === NEG && n.src[0].op === NEG) return n.src[0].src[0];
  },
  function viewOfView(n) {
    const [x] = n.src;
    if (!x || n.op !== x.op) return;
    if (n.op === STRUCTURE.reshape || n.op === STRUCTURE.expand) return makeNode(n.op, x.src, n.attrs);
    if (n.op === STRUCTURE.permute) {
      const inner = x.attrs.axes as number[];
      return makeNode(n.op, x.src, { axes: (n.attrs.axes as number[]).map((a) => inner[a]) });
    }
  },
  function viewOfNothing(n) {
    const [x] = n.src;
    if (n.op === STRUCTURE.reshape && n.shape.length === x.shape.length && n.shape.every((d, i) => d === x.shape[i]))
      return x;
    if (n.op === STRUCTURE.permute && (n.attrs.axes as number[]).every((a, i) => a === i)) return x;
  },
  function ofConstants(n) {
    if (n.src.length === 0 || !n.src.every((s) => s.op === CONSTANT) || !n.op.ref) return;
    const uniform = n.op.kind === "elementwise" || (n.op.kind === "view" && numel(n.shape) > 0);
    if (!uniform) return;
    if (n.op.kind === "view") return constant(constantValue(n.src[0]) as number, n.shape, n.dtype);
    const one = n.src.map((s) => ({ shape: [], data: Float64Array.of(constantValue(s) as number) }));
    return constant(n.op.ref(one, n)[0], n.shape, n.dtype);
  },
];

function key(n: Node, ids: Map<Node, number>): string {
  return `${n.op.name}|${n.dtype}|${n.src.map((s) => ids.get(s)).join(",")}|${attrsKey(n.attrs)}`;
}

/** Attributes as text; -0 and NaN keep apart from 0. */
export function attrsKey(attrs: Attrs): string {
  let text = "";
  for (const k in attrs) {
    const v = attrs[k];
    text += `${k}:${Array.isArray(v) ? `[${v.join()}]` : Object.is(v, -0) ? "-0" : String(v)};`;
  }
  return text;
}

/** Rules that pay only if nothing else uses the source: it would be computed twice. */
const LONE_RULES: readonly Rule[] = [
  function transposeOfProduct(n) {
    const [x] = n.src;
    if (n.op !== STRUCTURE.permute || x.op !== CONTRACT.matmul) return;
    const r = n.shape.length;
    const axes = n.attrs.axes as number[];
    if (axes[r - 1] !== r - 2 || axes.slice(0, r - 2).some((a, i) => a !== i)) return;
    return matmul(transposeLast(x.src[1]), transposeLast(x.src[0]), x.attrs.precise === true);
  },
];

/** The simplified graph. Leaves keep their identity. */
export function simplify(graph: Graph): Graph {
  const once = rebuild(graph, RULES);
  const uses = new Map<Node, number>();
  const roots = [...once.outputs, ...once.updates];
  for (const n of [...toposort(roots).flatMap((n) => n.src), ...roots]) uses.set(n, (uses.get(n) ?? 0) + 1);
  const lone: Rule[] = LONE_RULES.map(
    (rule) => (n) => (n.src.length === 1 && uses.get(n.src[0]) === 1 ? rule(n) : undefined),
  );
  return rebuild(once, [...lone, ...RULES]);
}

/** n with other sources of the same shapes: what was inferred when it was made still holds. */
function withSources(n: Node, src: readonly Node[]): Node {
  return src.every((s, i) => s === n.src[i]) ? n : { ...n, src };
}

function rebuild(graph: Graph, rules: readonly Rule[]): Graph {
  const known = new Map<string, Node>();
  const ids = new Map<Node, number>();
  const done = new Map<Node, Node>();

  const intern = (n: Node): Node => {
    let now = n;
    for (let changed = true; changed; ) {
      changed = false;
      // What a rule made is made of nodes this graph does not know yet.
      now = withSources(
        now,
        now.src.map((s) => (ids.has(s) ? s : intern(s))),
      );
      for (const rule of rules) {
        const next = rule(now);
        if (next && next !== now) {
          now = next;
          changed = true;
          break;
        }
      }
    }
    if (ids.has(now)) return now;
    if (now.op === LEAF) {
      ids.set(now, ids.size);
      return now;
    }
    const k = key(now, ids);
    const twin = known.get(k);
    if (twin) return twin;
    known.set(k, now);
    ids.set(now, ids.size);
    return now;
  };

  for (const n of toposort([...graph.inputs, ...graph.residents, ...graph.outputs, ...graph.updates])) {
    done.set(
      n,
      intern(
        withSources(
          n,
          n.src.map((s) => done.get(s) as Node),
        ),
      ),
    );
  }
  const map = (list: readonly Node[]): Node[] => list.map((n) => done.get(n) as Node);
  return { inputs: graph.inputs, residents: graph.residents, outputs: map(graph.outputs), updates: map(graph.updates) };
}
