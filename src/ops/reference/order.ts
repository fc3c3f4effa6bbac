/** @file The sorted order of float64. */
import { ORDER } from "../order.ts";
import { eachRow, type Entry, entry } from "./places.ts";

export const orders = (): readonly Entry[] => [
  entry(ORDER.argsort, ([x], n) => {
    const cols = x.shape[x.shape.length - 1];
    const sign = n.attrs.descending ? -1 : 1;
    const ascending = (a: number, b: number): number =>
      Number.isNaN(a) || Number.isNaN(b) ? Number(Number.isNaN(a)) - Number(Number.isNaN(b)) : Math.sign(a - b) || 0;
    const out = new Float64Array(x.data.length);
    eachRow(x, (row, r) => {
      // Equal infinities have no difference.
      const compare = (i: number, j: number): number => (row[i] === row[j] ? 0 : sign * ascending(row[i], row[j]));
      out.set([...row.keys()].sort(compare), r * cols);
    });
    return out;
  }),
];
