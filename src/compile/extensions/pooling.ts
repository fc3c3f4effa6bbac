/** @file Pooling of windows. */
import { isOp, type Node } from "../../graph/node.ts";
import { apply, SELECT } from "../../ops/elementwise.ts";
import { maxTaps, POOLING, putTaps, sameWindows, sumWindows, takeTaps } from "../../ops/pooling.ts";
import { extended } from "../extension.ts";
import * as rules from "../lower/rules/pooling.ts";
import { rule } from "../lower/table.ts";
import type { Work } from "../match.ts";
import { ownPadding, partOfImage } from "../padding.ts";
import { rule as simplification } from "../simplify.ts";

/**
 * What flows back through max pooling of a relu, and then through the relu: where windows have put something, the relu was what
 * they took. So it is masked before it is put, and the relu's own image is not read again.
 */
function maskOfPut(n: Node): Node | undefined {
  const [t, x] = n.src;
  if (!isOp(t, POOLING.putTaps)) return;
  const [y, taps] = t.src;
  if (taps.op !== POOLING.maxTaps || taps.src[0] !== x) return;
  const { attrs } = t;
  return putTaps(
    apply(SELECT.reluMask, y, takeTaps(x, taps, attrs, Number.NEGATIVE_INFINITY)),
    taps,
    attrs,
    attrs.size,
  );
}

/** Where the largest elements of windows are, and these: one pass finds both. */
function largest(values: Node): Work | undefined {
  if (!isOp(values, POOLING.takeTaps)) return;
  const [x, taps] = values.src;
  if (!isOp(taps, POOLING.maxTaps) || taps.src[0] !== x || !sameWindows(taps.attrs, values.attrs)) return;
  return { nodes: [taps, values], emit: (l) => rules.maxPool(l, taps, values) };
}

export const pooling = /* @__PURE__ */ extended({ maxTaps, sumWindows, takeTaps }, () => ({
  lower: [
    rule(POOLING.maxTaps, rules.maxPool),
    rule(POOLING.takeTaps, rules.takeTaps),
    rule(POOLING.putTaps, rules.putTaps),
    rule(POOLING.sumWindows, rules.sumWindows),
    rule(POOLING.spreadWindows, rules.sumWindows),
  ],
  simplify: [simplification(SELECT.reluMask, maskOfPut), simplification(POOLING.sumWindows, ownPadding)],
  slices: [simplification(POOLING.spreadWindows, partOfImage)],
  match: largest,
}));
