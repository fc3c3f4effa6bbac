/** @file Nodes that compute the same from the same sources, found by hash. */
import type { Attrs, Node } from "./node.ts";

const float = new Float64Array(1);
const floatAsInts = new Int32Array(float.buffer);

function mix(hash: number, x: number): number {
  const h = Math.imul(hash ^ x, 0x9e3779b1);
  return h ^ (h >>> 15);
}

function mixNumber(hash: number, x: number): number {
  if (x === (x | 0)) return mix(hash, x);
  float[0] = x;
  return mix(mix(hash, floatAsInts[0]), floatAsInts[1]);
}

/** A small integer that equal nodes share. */
function hashOf(n: Node): number {
  let h = n.op.name.length;
  for (const s of n.src) h = mix(h, s.id);
  for (const k in n.attrs) {
    const v = n.attrs[k];
    if (typeof v === "number") h = mixNumber(h, v);
    else if (Array.isArray(v)) for (const x of v) h = mixNumber(h, x);
  }
  return h & 0x3fffffff;
}

/** Whether two lists hold the same, where NaN is NaN and -0 is not 0. */
function sameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

/** Whether attributes of one operation are the same, where one that is undefined is none. */
function sameAttrs(a: Attrs, b: Attrs): boolean {
  if (a === b) return true;
  // Those that only one of them has, too.
  for (const k in { ...a, ...b }) {
    const x = a[k];
    const y = b[k];
    if (!(Array.isArray(x) && Array.isArray(y) ? sameList(x, y) : Object.is(x, y))) return false;
  }
  return true;
}

const sameNode = (a: Node, b: Node): boolean =>
  a.op === b.op && a.dtype === b.dtype && sameList(a.src, b.src) && sameAttrs(a.attrs, b.attrs);

/** A set of nodes of which no two compute the same. */
export class Interned {
  /** By hash; if that is taken, by the next number that is free. */
  private readonly nodes = new Map<number, Node>();

  /** The node of the set that computes what n does; with `add`, n joins the set if there is none. */
  private lookUp(n: Node, add: boolean): Node | undefined {
    for (let h = hashOf(n); ; h++) {
      const known = this.nodes.get(h);
      if (!known) {
        if (add) this.nodes.set(h, n);
        return add ? n : undefined;
      }
      if (known === n || sameNode(known, n)) return known;
    }
  }

  find(n: Node): Node | undefined {
    return this.lookUp(n, false);
  }

  /** The node of the set that computes what n does: n itself, which joins the set, if there is no other. */
  intern(n: Node): Node {
    return this.lookUp(n, true) as Node;
  }
}
