/** @file Many numbers in a few words. */
import type { TypedArray } from "../core/dtype.ts";

/** How many are NaN, how many infinite; the least and the largest of the others and the infinite. */
export function count(values: TypedArray): { nan: number; infinite: number; low: number; high: number } {
  const c = { nan: 0, infinite: 0, low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY };
  for (const v of values) {
    if (Number.isNaN(v)) c.nan++;
    else {
      if (!Number.isFinite(v)) c.infinite++;
      c.low = Math.min(c.low, v);
      c.high = Math.max(c.high, v);
    }
  }
  return c;
}

/** With four digits. */
export const rounded = (v: number): string => String(Number(v.toPrecision(4)));

/** "-1.2 to 3", "-1.2 to 3, 1 NaN", "all 0" */
export function range(values: TypedArray): string {
  const { nan, low, high } = count(values);
  const ends = low === high ? `all ${rounded(low)}` : `${rounded(low)} to ${rounded(high)}`;
  return `${low > high ? "" : ends}${nan > 0 ? `, ${nan} NaN` : ""}`;
}
