/**
 * @file Attention. Queries, keys and values are read where they are, whatever lies between their rows, and results are written where they
 * go: heads are split and merged by strides. What the forward pass knows of each row, its largest score and the sum of
 * exponentials, is no node: it is kept for whoever follows.
 */
import * as isa from "../../../../assembly/isa.ts";
import { bytesOf } from "../../../core/dtype.ts";
import { numel } from "../../../core/shape.ts";
import { isOp, type Node } from "../../../graph/node.ts";
import { ATTENTIONS, type AttentionAttrs } from "../../../ops/attention.ts";
import { CONSTANT } from "../../../ops/leaf.ts";
import type { Ref, Word } from "../../instr.ts";
import { dense } from "../../view.ts";
import { NS } from "../cost.ts";
import { floatBits, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { PIECES } from "./axes.ts";

const { Attention: A, AttentionOperand: Operand, AttentionSplit: Split, AttentionTile: Tile } = isa;

/** Where rows of an operand lie. */
interface Rows {
  readonly ref: Ref;
  /** Of the axes in front, of rows, and of the elements of a row. */
  readonly strides: readonly number[];
}

type Operands = Partial<Record<keyof typeof Operand, Rows>>;

const NAMES = ["Out", "Q", "K", "V", "Mask", "Grad", "ToQ", "ToK", "ToV"] as const;

/** An operand where it is; copied where elements of a row do not lie side by side, unless they `may` lie apart. */
function rowsOf(l: Lowering, n: Node, may = false): Rows {
  let v = l.view(n);
  const last = n.shape.length - 1;
  const apart = !may && n.shape[last] !== 1 && v.strides[last] !== 1;
  if (v.base.op === CONSTANT || apart || v.strides.some((s) => s < 0)) {
    l.copy(n);
    v = dense(n);
  }
  return { ref: l.origin(v), strides: v.strides };
}

/** A place for a result, wherever its rows go. */
function placeOf(l: Lowering, n: Node): Rows {
  const { to, into } = l.destination(n);
  return { ref: to, strides: (into ?? dense(n)).strides };
}

/** The axes in front with those merged that all operands can walk in one stride; of each operand its strides. */
function batchOf(lead: readonly number[], lists: readonly (readonly number[])[]) {
  const extents: number[] = [];
  const strides: number[][] = lists.map(() => []);
  lead.forEach((extent, i) => {
    if (extent === 1) return;
    const last = extents.length - 1;
    if (last >= 0 && lists.every((s, k) => strides[k][last] === s[i] * extent)) {
      extents[last] *= extent;
      lists.forEach((s, k) => {
        strides[k][last] = s[i];
      });
    } else {
      extents.push(extent);
      lists.forEach((s, k) => {
        strides[k].push(s[i]);
      });
    }
  });
  return { extents, strides };
}

interface Geometry {
  readonly lead: readonly number[];
  readonly entries: number;
  readonly l: number;
  readonly s: number;
  readonly e: number;
  readonly ev: number;
}

function geometryOf([q, , v]: readonly Node[]): Geometry {
  const lead = q.shape.slice(0, -2);
  const [l, e] = q.shape.slice(-2);
  const [s, ev] = v.shape.slice(-2);
  return { lead, entries: numel(lead), l, s, e, ev };
}

/** Rows of a unit, where each entry has so many: whole tiles, unless there would be too few units. */
function blockOf(entries: number, rows: number): number {
  let block: number = Tile.Queries;
  while (block > 16 && entries * Math.ceil(rows / block) < PIECES) block /= 2;
  return block;
}

function wordsOf(
  l: Lowering,
  g: Geometry,
  attrs: AttentionAttrs,
  operands: Operands,
  statistics: Ref,
  maskBytes: number,
  [split, block]: readonly [isa.AttentionSplit, number],
): Word[] {
  const rank = g.lead.length;
  const none = new Array<number>(rank + 2).fill(0);
  const all = NAMES.map((name) => operands[name]?.strides ?? none);
  const batch = batchOf(g.lead, all);
  const ref = (name: keyof Operands): Word => operands[name]?.ref ?? 0;
  const row = (name: keyof Operands): number => operands[name]?.strides[rank] ?? 0;
  const words = l.words<typeof A>({
    [A.Out]: ref("Out"),
    [A.Q]: ref("Q"),
    [A.K]: ref("K"),
    [A.V]: ref("V"),
    [A.Mask]: ref("Mask"),
    [A.Statistics]: statistics,
    [A.Grad]: ref("Grad"),
    [A.ToQ]: ref("ToQ"),
    [A.ToK]: ref("ToK"),
    [A.ToV]: ref("ToV"),
    [A.L]: g.l,
    [A.S]: g.s,
    [A.E]: g.e,
    [A.Ev]: g.ev,
    [A.Scale]: floatBits(attrs.scale),
    [A.Causal]: attrs.causal ? 1 : 0,
    [A.MaskBytes]: maskBytes,
    [A.Split]: split,
    [A.Block]: block,
    [A.OutRow]: row("Out"),
    [A.QRow]: row("Q"),
    [A.KRow]: row("K"),
    [A.VRow]: row("V"),
    [A.MaskRow]: row("Mask"),
    [A.MaskCol]: operands.Mask?.strides[rank + 1] ?? 0,
    [A.GradRow]: row("Grad"),
    [A.ToQRow]: row("ToQ"),
    [A.ToKRow]: row("ToK"),
    [A.ToVRow]: row("ToV"),
    [A.Rank]: batch.extents.length,
  });
  return [...words, ...batch.extents, ...batch.strides.flat()];
}

/** Time of `products` products of queries and keys, and of their exponentials. */
function costOf({ entries, l, s, e, ev }: Geometry, { causal }: AttentionAttrs, products: number): number {
  return entries * l * s * (causal ? 0.5 : 1) * ((products / 2) * (e + ev) * NS.multiplyAdd + NS.weight);
}

const touch = (list: readonly (Rows | undefined)[]): Touch[] => list.flatMap((r) => (r ? [[r.ref, 0] as const] : []));

/** Sources of an operation by name. */
interface Sources {
  readonly q: Node;
  readonly k: Node;
  readonly v: Node;
  readonly mask?: Node;
}

/** The name under which what is known of rows is kept. */
const keyOf = ({ q, k, v, mask }: Sources, { scale, causal }: AttentionAttrs): string =>
  `attention ${[q, k, v, mask].map((n) => n?.id).join(" ")} ${scale} ${causal}`;

function inputs(l: Lowering, { q, k, v, mask }: Sources): Operands {
  return {
    Q: rowsOf(l, q),
    K: rowsOf(l, k),
    V: rowsOf(l, v),
    ...(mask && { Mask: rowsOf(l, mask, true) }),
  };
}

/** Computes attention, unless that was done; where the result lies, and what is known of its rows. */
function forward(l: Lowering, of: Sources, attrs: AttentionAttrs, label: Node): { out: Rows; statistics: Ref } {
  const g = geometryOf([of.q, of.k, of.v]);
  const key = keyOf(of, attrs);
  const known = l.kept.get(key);
  const src = [of.q, of.k, of.v, ...(of.mask ? [of.mask] : [])];
  const isIt = (n: Node): n is Node<AttentionAttrs> =>
    isOp(n, ATTENTIONS.attention) && n.src.every((s, i) => s === src[i]) && keyOf(of, n.attrs) === key;
  const node = l.readersOf(of.q).find(isIt);
  if (known) {
    const elsewhere = l.kept.get(`${key} result`);
    const shape = [...of.q.shape.slice(0, -1), g.ev];
    const out = node ? rowsOf(l, node) : { ref: elsewhere as Ref, strides: dense({ ...of.q, shape }).strides };
    return { out, statistics: known };
  }
  const operands = inputs(l, of);
  const statistics: Ref = { buffer: l.buffer(g.entries * g.l * 8, "float32"), offset: 0 };
  l.kept.set(key, statistics);
  let out: Rows;
  if (node) out = placeOf(l, node);
  else {
    const ref = { buffer: l.buffer(g.entries * g.l * g.ev * 4, "float32"), offset: 0 };
    l.kept.set(`${key} result`, ref);
    out = { ref, strides: dense({ ...of.q, shape: [...of.q.shape.slice(0, -1), g.ev] }).strides };
  }
  const block = blockOf(g.entries, g.l);
  const bytes = of.mask ? bytesOf(of.mask.dtype) : 0;
  const words = wordsOf(l, g, attrs, { ...operands, Out: out }, statistics, bytes, [Split.Queries, block]);
  const { Q, K, V, Mask } = operands;
  l.emit(
    isa.Opcode.Attention,
    words,
    g.entries * Math.ceil(g.l / block),
    label,
    touch([Q, K, V, Mask]),
    [...touch([out]), [statistics, 0]],
    costOf(g, attrs, 2),
    `attention ${g.entries} x ${g.l}x${g.s}, ${g.e}${attrs.causal ? ", causal" : ""}`,
  );
  return { out, statistics };
}

export function attention(l: Lowering, n: Node<AttentionAttrs>): void {
  const [q, k, v, mask] = n.src;
  if (!l.kept.has(keyOf({ q, k, v, mask }, n.attrs))) forward(l, { q, k, v, mask }, n.attrs, n);
}

/** What comes back to queries, keys and values: whatever of it the program wants, at once. */
export function attentionGrad(l: Lowering, n: Node<AttentionAttrs>): void {
  const [q, k, v, grad, mask] = n.src;
  const of = { q, k, v, mask };
  const key = `${keyOf(of, n.attrs)} ${grad.id}`;
  if (l.kept.has(key)) return;
  const { out, statistics } = forward(l, of, n.attrs, n);
  l.kept.set(key, statistics);
  const g = geometryOf([q, k, v]);
  const wanted = (op: typeof n.op): Rows | undefined => {
    const alike = (m: Node): boolean =>
      isOp(m, op) && m.src.every((s, i) => s === n.src[i]) && keyOf(of, m.attrs) === keyOf(of, n.attrs);
    const found = l.readersOf(grad).find(alike);
    return found && placeOf(l, found);
  };
  const operands: Operands = { ...inputs(l, of), Out: out, Grad: rowsOf(l, grad) };
  const to = {
    ToQ: wanted(ATTENTIONS.attentionQuery),
    ToK: wanted(ATTENTIONS.attentionKey),
    ToV: wanted(ATTENTIONS.attentionValue),
  };
  const bytes = mask ? bytesOf(mask.dtype) : 0;
  const emit = (results: Operands, split: isa.AttentionSplit, rows: number, products: number): void => {
    const block = split === Split.None ? rows : blockOf(g.entries, rows);
    const units = g.entries * (split === Split.None ? 1 : Math.ceil(rows / block));
    const words = wordsOf(l, g, n.attrs, { ...operands, ...results }, statistics, bytes, [split, block]);
    l.emit(
      isa.Opcode.AttentionGrad,
      words,
      units,
      n,
      [...touch(Object.values(operands)), [statistics, 0]],
      touch(Object.values(results)),
      costOf(g, n.attrs, products),
      `attentionGrad ${g.entries} x ${g.l}x${g.s}, ${g.e}${n.attrs.causal ? ", causal" : ""}`,
    );
  };
  // Entry by entry weights are computed once; of few entries, by blocks of queries and then by blocks of keys.
  if (g.entries >= PIECES) emit(to, Split.None, Math.max(g.l, 1), 5);
  else {
    if (to.ToQ) emit({ ToQ: to.ToQ }, Split.Queries, g.l, 3);
    if (to.ToK || to.ToV) emit({ ToK: to.ToK, ToV: to.ToV }, Split.Keys, g.s, 4);
  }
}
