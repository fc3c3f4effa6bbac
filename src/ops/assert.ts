/** @file What must hold, or the step fails. */
import { DTypeError } from "../core/errors.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";

/** What each element tells of. */
export type AssertAttrs = { readonly names: readonly string[] };

const ASSERT_FINITE: OpDef<AssertAttrs> = {
  name: "assertFinite",
  kind: "other",
  pattern: "stops",
  infer: ([x]) => {
    if (x.dtype !== "int32") throw new DTypeError(`assertFinite: flags are int32, got ${x.dtype}`);
    return { shape: x.shape, dtype: x.dtype };
  },
  ref: ([x]) => x.data.slice(),
};

/** x, int32; an element that is not 0 fails the step with a NonFiniteError that has its name. */
export function assertFinite(x: Node, names: readonly string[]): Node {
  return makeNode(ASSERT_FINITE, [x], { names });
}

export const ASSERT = { assertFinite: ASSERT_FINITE };
