/** @file Attention in float64. */
import type { Attrs, Node, RefArray, Reference } from "../../graph/node.ts";
import { ATTENTIONS, type AttentionAttrs } from "../attention.ts";
import { type Entry, entry } from "./places.ts";

/** Entries, queries, keys, elements of a row of q and k, and of v. */
function extents([q, , v]: readonly RefArray[]): { n: number; l: number; s: number; e: number; ev: number } {
  const [l, e] = q.shape.slice(-2);
  const [s, ev] = v.shape.slice(-2);
  return { n: q.shape.slice(0, -2).reduce((a, b) => a * b, 1), l, s, e, ev };
}

/** Weights [n, L, S]: for a query without keys all 0. */
function weightsOf(src: readonly RefArray[], mask: RefArray | undefined, isBool: boolean, attrs: AttentionAttrs) {
  const { n, l, s, e } = extents(src);
  const [q, k] = src;
  const by = Math.fround(attrs.scale);
  const p = new Float64Array(n * l * s);
  for (let b = 0; b < n; b++)
    for (let i = 0; i < l; i++) {
      const row = p.subarray((b * l + i) * s, (b * l + i + 1) * s);
      for (let j = 0; j < s; j++) {
        let x = 0;
        for (let c = 0; c < e; c++) x += q.data[(b * l + i) * e + c] * k.data[(b * s + j) * e + c];
        x *= by;
        const m = mask?.data[(b * l + i) * s + j];
        if (m !== undefined) x = isBool ? (m ? x : Number.NEGATIVE_INFINITY) : x + m;
        row[j] = attrs.causal && j > i ? Number.NEGATIVE_INFINITY : x;
      }
      const most = row.reduce((a, x) => Math.max(a, x), Number.NEGATIVE_INFINITY);
      row.forEach((x, j) => {
        row[j] = most === Number.NEGATIVE_INFINITY ? 0 : Math.exp(x - most);
      });
      const sum = row.reduce((a, x) => a + x, 0);
      if (sum !== 0)
        row.forEach((x, j) => {
          row[j] = x / sum;
        });
    }
  return p;
}

const isBool = (n: Node<Attrs>, at: number): boolean => n.src[at]?.dtype === "bool";

const attention: Reference<AttentionAttrs> = (src, node) => {
  const { n, l, s, ev } = extents(src);
  const p = weightsOf(src, src[3], isBool(node, 3), node.attrs);
  const v = src[2].data;
  const out = new Float64Array(n * l * ev);
  for (let r = 0; r < n * l; r++)
    for (let j = 0; j < s; j++)
      for (let c = 0; c < ev; c++) out[r * ev + c] += p[r * s + j] * v[(Math.floor(r / l) * s + j) * ev + c];
  return out;
};

/** What goes back to q (0), k (1) or v (2). */
const back =
  (operand: number): Reference<AttentionAttrs> =>
  (src, node) => {
    const { n, l, s, e, ev } = extents(src);
    const [q, k, v, g] = src.map((x) => x.data);
    const p = weightsOf(src, src[4], isBool(node, 4), node.attrs);
    const by = Math.fround(node.attrs.scale);
    const out = new Float64Array(src[operand].data.length);
    for (let r = 0; r < n * l; r++) {
      const first = Math.floor(r / l) * s;
      const d = new Float64Array(s);
      let along = 0;
      for (let j = 0; j < s; j++) {
        for (let c = 0; c < ev; c++) d[j] += g[r * ev + c] * v[(first + j) * ev + c];
        along += p[r * s + j] * d[j];
      }
      for (let j = 0; j < s; j++) {
        const weight = p[r * s + j];
        const score = weight * (d[j] - along) * by;
        if (operand === 2) for (let c = 0; c < ev; c++) out[(first + j) * ev + c] += weight * g[r * ev + c];
        else
          for (let c = 0; c < e; c++)
            if (operand === 0) out[r * e + c] += score * k[(first + j) * e + c];
            else out[(first + j) * e + c] += score * q[r * e + c];
      }
    }
    return out;
  };

export const attentions = (): readonly Entry[] => [
  entry(ATTENTIONS.attention, attention),
  entry(ATTENTIONS.attentionQuery, back(0)),
  entry(ATTENTIONS.attentionKey, back(1)),
  entry(ATTENTIONS.attentionValue, back(2)),
];
